#include "cache/usage.h"

#include "base/buf.h"
#include "base/mem.h"

#include <stdatomic.h>

#define MEASURERS 4

bool usage_counts_locked(const struct record *r)
{
	if (r->view && r->view->n_holds)
		return false;
	return !r->view_of || r->n_holds;
}

void usage_fill_locked(const struct record *r, struct arena *a, struct cache_usage *ret)
{
	struct str *parents = ARENA_NEW_N(a, struct str, r->n_parents);
	size_t n = 0;

	for (size_t i = 0; i < r->n_parents; i++)
		if (r->parents[i])
			parents[n++] = str_dup(a, str_from(r->parents[i]->id));
	*ret = (struct cache_usage) {
		.id = str_dup(a, str_from(r->id)),
		.description = str_dup(a, str_from(r->description)),
		.type = str_dup(a, str_from(r->type)),
		.is_mutable = r->is_mutable,
		.in_use = r->n_holds,
		.size = MAX(r->size, INT64_C(0)),
		.created_ns = r->created_ns,
		.last_used_ns = r->last_used_ns,
		.usage_count = r->usage_count,
		.parents = parents,
		.n_parents = n,
	};
}

/* ---- sizes ---- */

struct blob_size {
	struct digest digest;
	int64_t size;
};

static struct err *measure(struct record *r, struct ctx *ctx)
{
	struct cache *c = r->cache;
	SCOPED_ARENA(a);
	struct blob_size *blobs;
	uint64_t bytes = 0, inodes;
	bool has_snapshot;
	struct str name;
	int64_t size;
	size_t n;

	lock_take(&c->lock);
	has_snapshot = !record_is_lazy(r);
	name = record_snapshot_locked(r, &a);
	n = r->variants.len;
	blobs = ARENA_NEW_N(&a, struct blob_size, n);
	for (size_t i = 0; i < n; i++)
		blobs[i] = (struct blob_size) { r->variants.items[i]->desc.digest,
						r->variants.items[i]->desc.size };
	lock_drop(&c->lock);
	if (has_snapshot) {
		struct err *e = snapshot_usage(c->snapshotter, ctx, name, &bytes, &inodes);

		if (err_is(e, ERR_NOT_FOUND))
			err_free(TAKE_PTR(e));
		TRY(e);
	}
	size = (int64_t)bytes;
	for (size_t i = 0; i < n; i++)
		if (content_has(c->content, ctx, &blobs[i].digest))
			size += blobs[i].size;
	lock_take(&c->lock);
	if (has_snapshot == !record_is_lazy(r) && n == r->variants.len) {
		r->size = size;
		/* What is being written to is measured again next time. */
		if (!(r->is_mutable && r->n_refs))
			cache_mark_dirty_locked(r);
	}
	lock_drop(&c->lock);
	return NULL;
}

struct measuring {
	const struct record_vec *records;
	atomic_size_t next;
};

static struct err *measure_some(struct ctx *ctx, void *arg)
{
	struct measuring *m = arg;
	size_t i;

	while ((i = atomic_fetch_add(&m->next, 1)) < m->records->len) {
		struct record *r = m->records->items[i];
		bool known;

		if (ctx_done(ctx))
			return ctx_err(ctx);
		lock_take(&r->cache->lock);
		known = r->size >= 0 && !(r->is_mutable && r->n_refs);
		lock_drop(&r->cache->lock);
		if (!known)
			TRY(measure(r, ctx));
	}
	return NULL;
}

struct err *usage_measure(struct cache *c, struct ctx *ctx, const struct record_vec *v)
{
	struct measuring m = { .records = v };
	struct task_group g;
	size_t unknown = 0;

	lock_take(&c->lock);
	for (size_t i = 0; i < v->len; i++)
		unknown += v->items[i]->size < 0;
	lock_drop(&c->lock);
	if (unknown < 2 * MEASURERS || !ctx_pool(ctx))
		return measure_some(ctx, &m);
	task_group_init(&g, ctx, 0);
	for (int i = 0; i < MEASURERS; i++)
		task_group_go(&g, "disk usage", measure_some, &m);
	return task_group_wait(&g);
}

/* ---- lists ---- */

void usage_collect(struct cache *c, bool (*want)(void *arg, struct record *r), void *arg,
		   struct record_vec *ret)
{
	LOCKED(&c->lock);
	/* First look, then hold: being held counts as use. */
	for (struct map_entry *e = map_next(&c->records, NULL); e; e = map_next(&c->records, e))
		if (want(arg, e->value))
			vec_push(ret, (struct record *)e->value);
	for (size_t i = 0; i < ret->len; i++)
		record_hold_locked(ret->items[i]);
}

void usage_release(struct cache *c, struct record_vec *v)
{
	struct record_drops drops = { 0 };

	lock_take(&c->lock);
	for (size_t i = 0; i < v->len; i++)
		record_unhold_locked(v->items[i], &drops);
	lock_drop(&c->lock);
	record_drops_fini(&drops);
	vec_fini(v);
}

struct err *usage_parse_filters(struct arena *a, const char *what, const struct str *list, size_t n,
				struct filter **ret)
{
	struct err *e = filter_parse(a, list, n, ret);
	SCOPED_BUF(all, 4096);

	if (!e)
		return NULL;
	for (size_t i = 0; i < n; i++)
		buf_addf(&all, "%s%.*s", i ? " " : "", STR_ARG(list[i]));
	return err_wrap(e, "failed to parse %s filters [%s]", what, buf_cstr(&all));
}

/* ---- disk usage ---- */

struct listing {
	struct arena *a;
	const struct filter *filter;
	int64_t used_before; /* 0: any */
	struct {
		struct cache_usage *items;
		size_t len, cap;
	} out;
};

static bool list_one(void *arg, struct record *r)
{
	struct listing *l = arg;
	struct cache_usage u;

	if (!usage_counts_locked(r) ||
	    (l->used_before && r->last_used_ns && r->last_used_ns > l->used_before))
		return false;
	usage_fill_locked(r, l->a, &u);
	if (!filter_match(l->filter, &u))
		return false;
	vec_push(&l->out, u);
	return true;
}

struct err *cache_disk_usage(struct cache *c, struct ctx *ctx, struct arena *a,
			     const struct str *filters, size_t n_filters, int64_t age_limit_ns,
			     struct cache_usage **ret, size_t *ret_n)
{
	CLEANUP(filter_freep) struct filter *filter = NULL;
	struct record_vec records = { 0 };
	struct listing l = { .a = a };
	struct err *e;

	TRY(usage_parse_filters(a, "diskusage", filters, n_filters, &filter));
	l.filter = filter;
	if (age_limit_ns > 0)
		l.used_before = clock_wall() - age_limit_ns;
	usage_collect(c, list_one, &l, &records);
	e = usage_measure(c, ctx, &records);
	if (!e) {
		lock_take(&c->lock);
		for (size_t i = 0; i < records.len; i++)
			l.out.items[i].size = MAX(records.items[i]->size, INT64_C(0));
		lock_drop(&c->lock);
		*ret = arena_dup(a, l.out.items, l.out.len * sizeof(*l.out.items));
		*ret_n = l.out.len;
	}
	usage_release(c, &records);
	vec_fini(&l.out);
	return e;
}
