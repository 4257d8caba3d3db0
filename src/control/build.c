#include "control/build.h"

#include "base/mem.h"
#include "control/cacheimport.h"
#include "control/policy.h"
#include "op/workers.h"

/* ---- the workers as frontends see them ---- */

static void fill_worker(struct build *b, const struct worker *w, struct bridge_worker *ret)
{
	struct frontend_kv *labels = ARENA_NEW_N(&b->arena, struct frontend_kv, w->n_labels + 1);

	for (size_t i = 0; i < w->n_labels; i++)
		labels[i] = (struct frontend_kv) { w->labels[i].key, w->labels[i].value };
	*ret = (struct bridge_worker) {
		.id = str_from(w->id),
		.labels = labels,
		.n_labels = w->n_labels,
		.platforms = w->platforms,
		.n_platforms = w->n_platforms,
	};
}

static void fill_workers(struct build *b)
{
	const struct control *c = b->control;

	b->workers = ARENA_NEW_N(&b->arena, struct bridge_worker, c->n_workers + 1);
	b->n_workers = c->n_workers;
	for (size_t i = 0; i < c->n_workers; i++)
		fill_worker(b, c->workers[i].worker, &b->workers[i]);
}

static struct err *grant_entitlements(struct build *b)
{
	for (size_t i = 0; i < b->req->n_entitlements; i++) {
		enum entitlement en;

		TRY(entitlement_parse(str_from(b->req->entitlements[i]), &en));
		if (!(b->control->entitlements & en))
			return err_new(ERR_UNKNOWN,
				       "granting entitlement %s is not allowed by build daemon "
				       "configuration",
				       b->req->entitlements[i]);
		b->entitlements |= en;
		TRY(entitlement_add_device(&b->arena, str_from(b->req->entitlements[i]),
					   &b->devices));
	}
	return NULL;
}

struct err *build_new(struct control *c, struct ctx *ctx, struct arena *take_arena,
		      const Moby__Buildkit__V1__SolveRequest *req, struct build **ret)
{
	struct build *b = NEW(struct build);
	struct err *e;

	b->control = c;
	b->ctx = ctx_new(ctx);
	b->arena = *take_arena;
	*take_arena = ARENA_INIT;
	b->req = req;
	b->proxy_network = req->proxynetwork || c->proxy_network;
	b->ref = str_from(req->ref);
	b->session_id = str_from(req->session);
	b->sessions = session_group_new(*req->session ? req->session : NULL);
	lock_init(&b->lock, LOCK_BRIDGE);
	cond_init(&b->imported);
	fill_workers(b);
	e = grant_entitlements(b);
	if (!e)
		e = policy_new(c, b->sessions, req->sourcepolicy,
			       str_from(req->sourcepolicysession), &b->policy);
	if (!e)
		e = job_new(c->solver, b->ref, b->sessions, &b->job);
	if (e) {
		build_free(b);
		return e;
	}
	*ret = b;
	return NULL;
}

/* ---- what failed steps leave ---- */

/* One entry an id: the same step may be reported several times. */
static const char *register_result(struct build *b, struct result *r, const struct result_ops *ops)
{
	const char *id = r ? ops->id(r) : NULL;

	if (!id)
		return "";
	LOCKED(&b->lock);
	if (!map_has(&b->failed_results, str_from(id)))
		(void)map_put(&b->failed_results, str_from(id), ops->ref(r));
	return id;
}

void build_note_failure(struct build *b, struct op_failure *f, struct err *e)
{
	SCOPED_ARENA(a);
	const char **inputs = ARENA_NEW_N(&a, const char *, f->n_inputs + 1);
	const char **mounts = ARENA_NEW_N(&a, const char *, f->n_mounts + 1);
	struct result_ops ops;

	op_result_ops_init(&ops, b->control->worker);
	for (size_t i = 0; i < f->n_inputs; i++)
		inputs[i] = register_result(b, f->inputs[i], &ops);
	for (size_t i = 0; i < f->n_mounts; i++)
		mounts[i] = register_result(b, f->mounts[i], &ops);
	op_failure_detail(f, e, inputs, mounts);
}

struct err *build_failed_result(struct build *b, const char *id, struct cache_ref **ret,
				bool *ret_found)
{
	struct result *r;

	lock_take(&b->lock);
	r = map_get(&b->failed_results, str_from(id));
	lock_drop(&b->lock);
	*ret_found = r != NULL;
	/* The build holds it to its end. */
	return r ? worker_bring(b->control->worker, b->ctx, r, ret) : NULL;
}

static void free_failed_results(struct build *b)
{
	struct result_ops ops;

	op_result_ops_init(&ops, b->control->worker);
	for (struct map_entry *e = map_next(&b->failed_results, NULL); e;
	     e = map_next(&b->failed_results, e))
		ops.unref(e->value);
	map_fini(&b->failed_results, NULL);
}

void build_free(struct build *b)
{
	ctx_cancel(b->ctx, NULL);
	free_failed_results(b);
	cacheimport_stop(b);
	policy_unref(b->policy);
	job_discard(b->job);
	session_group_unref(b->sessions);
	ctx_unref(b->ctx);
	cond_fini(&b->imported);
	lock_fini(&b->lock);
	arena_fini(&b->arena);
	free(b);
}
