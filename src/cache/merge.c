/* MergeOp and DiffOp: records whose snapshots are made from others' when they are needed. */
#include "cache/cache_impl.h"

#include "base/mem.h"
#include "cache/materialise.h"

static struct cache_ref *add_record(struct cache *c, enum record_kind kind,
				    struct record *const *parents, size_t n,
				    const struct cache_opts *o)
{
	struct record *r = record_new(c, o);

	r->kind = kind;
	LOCKED(&c->lock);
	record_link_locked(r, parents, n);
	cache_mark_dirty_locked(r);
	return record_ref_locked(r);
}

struct err *cache_merge(struct cache *c, struct ctx *ctx, struct cache_ref *const *inputs, size_t n,
			const struct cache_opts *o, struct cache_ref **ret)
{
	CLEANUP_FREE struct record **parents = mem_calloc(n, sizeof(*parents));
	size_t n_parents = 0;

	for (size_t i = 0; i < n; i++)
		if (inputs[i])
			parents[n_parents++] = inputs[i]->rec;
	if (!n_parents)
		*ret = NULL;
	else if (n_parents == 1)
		*ret = cache_ref_clone(&parents[0]->handle);
	else
		*ret = add_record(c, RECORD_MERGE, parents, n_parents, o);
	return NULL;
}

struct err *cache_diff(struct cache *c, struct ctx *ctx, struct cache_ref *lower,
		       struct cache_ref *upper, const struct cache_opts *o, struct cache_ref **ret)
{
	struct record *parents[2] = { lower ? lower->rec : NULL, upper ? upper->rec : NULL };

	if (lower == upper)
		*ret = NULL;
	else if (!lower)
		*ret = cache_ref_clone(upper);
	else
		*ret = add_record(c, RECORD_DIFF, parents, 2, o);
	return NULL;
}

/* ---- snapshots ---- */

static struct err *make_merge(struct record *r, struct ctx *ctx)
{
	SCOPED_ARENA(a);
	struct str *names = ARENA_NEW_N(&a, struct str, r->n_parents);

	for (size_t i = 0; i < r->n_parents; i++)
		names[i] = str_from(r->parents[i]->id);
	return snapshot_merge(r->cache->snapshotter, ctx, str_from(r->id), names, r->n_parents);
}

static struct err *make_diff(struct record *r, struct ctx *ctx)
{
	const struct record *lower = r->parents[0], *upper = r->parents[1];

	return snapshot_between(r->cache->snapshotter, ctx, str_from(r->id),
				str_from(lower ? lower->id : ""), str_from(upper ? upper->id : ""));
}

static void free_job(void *arg)
{
	record_unhold(arg);
}

static struct err *run_other(struct ctx *ctx, void *arg)
{
	struct record *r = arg;
	struct err *e;
	bool lazy;

	lock_take(&r->cache->lock);
	lazy = record_is_lazy(r);
	lock_drop(&r->cache->lock);
	if (!lazy)
		return NULL;
	e = r->kind == RECORD_MERGE ? make_merge(r, ctx) : make_diff(r, ctx);
	if (e)
		return err_wrap(e, r->kind == RECORD_MERGE ? "failed to merge" : "failed to diff");
	LOCKED(&r->cache->lock);
	r->has_snapshot = true;
	r->size = -1;
	cache_mark_dirty_locked(r);
	return NULL;
}

static struct err *run_input(struct ctx *ctx, void *arg)
{
	struct record *r = arg;

	TRY(materialise(r, ctx));
	return record_split(r);
}

/* The inputs at once: each may have to be pulled. */
static struct err *make_inputs(struct record *r, struct ctx *ctx)
{
	struct task_group g;
	size_t n_lazy = 0;

	lock_take(&r->cache->lock);
	for (size_t i = 0; i < r->n_parents; i++)
		n_lazy += r->parents[i] && !r->parents[i]->has_snapshot;
	lock_drop(&r->cache->lock);
	if (!n_lazy)
		return NULL;
	task_group_init(&g, ctx, 0);
	for (size_t i = 0; i < r->n_parents; i++)
		if (r->parents[i])
			task_group_go(&g, "merge input", run_input, r->parents[i]);
	return task_group_wait(&g);
}

struct err *materialise_other(struct record *r, struct ctx *ctx)
{
	TRY(make_inputs(r, ctx));
	record_hold(r);
	return singleflight_do(&r->cache->unlazy, ctx, str_from(r->id), run_other, r, free_job);
}
