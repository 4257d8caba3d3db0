#include "control/build.h"

#include "base/mem.h"

/* ---- the worker as frontends see it ---- */

static void fill_worker(struct build *b)
{
	struct control *c = b->control;
	struct frontend_kv *labels = ARENA_NEW_N(&b->arena, struct frontend_kv, c->n_labels);

	for (size_t i = 0; i < c->n_labels; i++)
		labels[i] = (struct frontend_kv) { c->labels[i].key, c->labels[i].value };
	b->worker_info = (struct bridge_worker) {
		.id = str_from(c->worker->id),
		.labels = labels,
		.n_labels = c->n_labels,
		.platforms = c->worker->platforms,
		.n_platforms = c->worker->n_platforms,
	};
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
	b->ref = str_from(req->ref);
	b->session_id = str_from(req->session);
	b->sessions = session_group_new(*req->session ? req->session : NULL);
	lock_init(&b->lock, LOCK_BRIDGE);
	cond_init(&b->returned);
	fill_worker(b);
	e = grant_entitlements(b);
	if (!e)
		e = job_new(c->solver, b->ref, b->sessions, &b->job);
	if (e) {
		build_free(b);
		return e;
	}
	*ret = b;
	return NULL;
}

static void put_ref(void *r)
{
	bridge_ref_put(r);
}

void build_free(struct build *b)
{
	map_fini(&b->refs, put_ref);
	frontend_result_fini(&b->result);
	err_free(b->result_err);
	job_discard(b->job);
	session_group_unref(b->sessions);
	ctx_cancel(b->ctx, NULL);
	ctx_unref(b->ctx);
	cond_fini(&b->returned);
	lock_fini(&b->lock);
	arena_fini(&b->arena);
	free(b);
}
