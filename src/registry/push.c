/* Pushing: blobs side by side, then manifests, children before parents, the root last. */
#include "registry/push.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/task.h"

#define DELAY_FIRST_S 1
#define DELAY_LAST_S 8 /* would be reached: given up */

void push_report(struct push *p, const struct oci_descriptor *d, int64_t current)
{
	const struct registry_progress *pr = p->o->progress;

	if (pr && pr->report)
		pr->report(pr->arg, d, current, d->size);
}

static void say(struct push *p, const char *text)
{
	if (p->o->log)
		p->o->log(p->o->log_arg, text);
}

typedef struct err *(*push_fn)(struct push *p, struct ctx *ctx, struct arena *a,
			       const struct oci_descriptor *d, bool root, struct push_failure *why);

/* What the registry's answer says counts more than its status, but is known late: the log has
 * the status, the result the words. */
static struct err *final_error(struct err *e, const struct push_failure *why)
{
	enum err_code code = err_code(e);

	if (!why->says.len)
		return e;
	err_free(e);
	return err_new(code, "%.*s", STR_ARG(why->says));
}

static struct err *with_retries(struct push *p, struct ctx *ctx, const struct oci_descriptor *d,
				push_fn fn, bool root)
{
	for (int delay = DELAY_FIRST_S;; delay *= 2) {
		SCOPED_ARENA(a);
		struct push_failure why = { 0 };
		struct err *e = fn(p, ctx, &a, d, root, &why);

		if (!e)
			return NULL;
		if (ctx_done(ctx) || !why.transient)
			return final_error(e, &why);
		say(p, arena_printf(&a, "error: %s", err_text(e)));
		if (delay >= DELAY_LAST_S)
			return final_error(e, &why);
		err_free(e);
		say(p, arena_printf(&a, "retrying in %ds", delay));
		TRY(ctx_sleep(ctx, delay * NSEC_PER_SEC));
	}
}

struct blob_task {
	struct push *p;
	const struct oci_descriptor *d;
};

static struct err *blob_fn(struct push *p, struct ctx *ctx, struct arena *a,
			   const struct oci_descriptor *d, bool root, struct push_failure *why)
{
	return push_blob(p, ctx, a, d, why);
}

static struct err *run_blob(struct ctx *ctx, void *arg)
{
	struct blob_task *t = arg;

	return with_retries(t->p, ctx, t->d, blob_fn, false);
}

static struct err *push_blobs(struct push *p)
{
	CLEANUP_FREE struct blob_task *tasks = mem_calloc(p->blobs.len + 1, sizeof(*tasks));
	struct task_group g;

	/* One more than may talk at once: its lookups in the store go on beside them. */
	task_group_init(&g, p->ctx, (size_t)p->r->max + 1);
	for (size_t i = 0; i < p->blobs.len; i++) {
		tasks[i] = (struct blob_task) { p, &p->blobs.items[i] };
		task_group_go(&g, "push blob", run_blob, &tasks[i]);
	}
	return task_group_wait(&g);
}

static struct err *push_all(struct push *p, const struct oci_descriptor *root)
{
	TRY(push_walk(p, root));
	TRY(push_blobs(p));
	for (size_t i = 0; i < p->manifests.len; i++)
		TRY(with_retries(p, p->ctx, &p->manifests.items[i], push_manifest,
				 i + 1 == p->manifests.len));
	return NULL;
}

struct err *registry_push(struct registry *r, struct ctx *ctx, const struct imageref *ref,
			  const struct oci_descriptor *root, struct content *store,
			  const struct registry_auth *auth, const struct registry_push_opts *o)
{
	static const struct registry_push_opts none = { 0 };
	struct imageref full = imageref_with_default_tag(*ref);
	struct push p = {
		.r = r, .ctx = ctx, .ref = ref, .store = store, .auth = auth, .o = o ? o : &none
	};
	struct err *e;
	size_t n;

	if (!p.o->by_digest)
		p.tag = full.tag;
	e = hosts_endpoints(&r->hosts, &p.arena, ref->domain, true, p.o->insecure, &p.ep, &n);
	if (!e)
		e = push_all(&p, root);
	vec_fini(&p.manifests);
	vec_fini(&p.blobs);
	map_fini(&p.seen, NULL);
	arena_fini(&p.arena);
	return e;
}
