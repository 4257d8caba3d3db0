/* Deleting records by rules. A rule without a cap deletes all that match; with one it deletes the
 * least used, one after the other, until the total is below. Parents that were only kept by their
 * children follow. */
#include "cache/usage.h"

#include "base/mem.h"
#include "sys/file.h"

#define CONTENT_MIN_AGE_NS (3600 * NSEC_PER_SEC)

struct pruning {
	struct cache *c;
	struct ctx *ctx;
	const struct cache_prune *rule;
	const struct filter *filter;
	int64_t used_before; /* 0: any */
	bool capped;
	int64_t total, keep;
	struct err *(*each)(void *arg, const struct cache_usage *u);
	void *arg;
	size_t n_deleted;
};

static bool is_free_locked(const struct record *r)
{
	if (r->n_holds || r->n_children || r->splitting)
		return false;
	/* Goes with its mutable record, of which it is another face. */
	if (r->view_of)
		return false;
	return !r->view || (!r->view->n_holds && !r->view->n_children);
}

static bool is_candidate(void *arg, struct record *r)
{
	struct pruning *p = arg;
	SCOPED_ARENA(a);
	struct cache_usage u;

	if (!is_free_locked(r))
		return false;
	if (!p->rule->all && (strcmp(r->type, CACHE_TYPE_INTERNAL) == 0 ||
			      strcmp(r->type, CACHE_TYPE_FRONTEND) == 0))
		return false;
	if (p->used_before && r->last_used_ns > p->used_before)
		return false;
	usage_fill_locked(r, &a, &u);
	return filter_match(p->filter, &u);
}

/* ---- deleting ---- */

struct victim {
	struct record *rec, *view; /* unlinked */
	struct cache_usage usage;
};

struct victims {
	struct victim *items;
	size_t len, cap;
};

/* Held by us alone, and still free: out of the map with it. */
static void unlink_locked(struct pruning *p, struct record *r, struct arena *a, struct victims *out)
{
	struct victim v = { .rec = r, .view = r->view };

	if (r->removed || !is_free_locked(r))
		return;
	usage_fill_locked(r, a, &v.usage);
	if (v.view)
		record_unlink_locked(v.view);
	record_unlink_locked(r);
	p->total -= v.usage.size;
	p->n_deleted++;
	vec_push(out, v);
}

static struct err *dispose_all(struct pruning *p, struct victims *v)
{
	struct err *e = NULL;

	for (size_t i = 0; i < v->len; i++) {
		struct victim *x = &v->items[i];

		if (x->view)
			e = err_first(e, cache_dispose(x->view, p->ctx));
		e = err_first(e, cache_dispose(x->rec, p->ctx));
		if (!e && p->each)
			e = p->each(p->arg, &x->usage);
	}
	vec_fini(v);
	return e;
}

/* Takes the holds of those given. */
static struct err *delete_held(struct pruning *p, struct record_vec *records)
{
	struct record_drops drops = { 0 };
	struct victims victims = { 0 };
	SCOPED_ARENA(a);
	struct err *e = usage_measure(p->c, p->ctx, records);

	lock_take(&p->c->lock);
	for (size_t i = 0; i < records->len; i++)
		record_unhold_locked(records->items[i], &drops);
	for (size_t i = 0; !e && i < records->len; i++)
		unlink_locked(p, records->items[i], &a, &victims);
	lock_drop(&p->c->lock);
	record_drops_fini(&drops);
	vec_clear(records);
	return err_first(e, dispose_all(p, &victims));
}

static struct err *prune_all(struct pruning *p)
{
	struct record_vec records = { 0 };
	struct err *e = NULL;
	size_t before;

	do {
		before = p->n_deleted;
		if (ctx_done(p->ctx))
			e = ctx_err(p->ctx);
		if (!e) {
			usage_collect(p->c, is_candidate, p, &records);
			e = delete_held(p, &records);
		}
	} while (!e && p->n_deleted > before);
	vec_fini(&records);
	return e;
}

/* ---- with a cap ---- */

struct ranked {
	struct record *rec;
	int64_t last_used, count;
	size_t used_rank, count_rank;
};

struct ranking {
	struct ranked *items;
	size_t len, cap;
};

static int by_last_used(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	return x->last_used < y->last_used ? -1 : x->last_used > y->last_used;
}

static int by_count(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	return x->count < y->count ? -1 : x->count > y->count;
}

static double score(const struct ranked *r, size_t max_used, size_t max_count)
{
	return (max_used ? (double)r->used_rank / (double)max_used : 0) +
	       (max_count ? (double)r->count_rank / (double)max_count : 0);
}

static int by_scored(const void *a, const void *b, void *max)
{
	const size_t *m = max;
	double x = score(a, m[0], m[1]), y = score(b, m[0], m[1]);

	return x < y ? -1 : x > y;
}

/* Equal ones share a rank; ranks count from 1, never used and count 0 are 0. Sorted, first to go
 * first. */
static void rank(struct ranking *v)
{
	size_t max[2] = { 0, 0 };
	int64_t last = 0;

	if (!v->len)
		return;
	qsort(v->items, v->len, sizeof(*v->items), by_last_used);
	vec_each (v, r) {
		if (r->last_used > last) {
			last = r->last_used;
			max[0]++;
		}
		r->used_rank = max[0];
	}
	qsort(v->items, v->len, sizeof(*v->items), by_count);
	last = 0;
	vec_each (v, r) {
		if (r->count != last) {
			last = r->count;
			max[1]++;
		}
		r->count_rank = max[1];
	}
	qsort_r(v->items, v->len, sizeof(*v->items), by_scored, max);
}

/* How many of a ranking are taken before it is made anew: the order changes but little by what
 * went, and newly free parents come in. */
static size_t stride(size_t n)
{
	return 1 + n / 64;
}

static struct err *prune_to_cap(struct pruning *p)
{
	struct record_vec records = { 0 };
	struct err *e = NULL;
	size_t before;

	do {
		struct ranking ranking = { 0 };

		before = p->n_deleted;
		usage_collect(p->c, is_candidate, p, &records);
		lock_take(&p->c->lock);
		for (size_t i = 0; i < records.len; i++) {
			struct record *r = records.items[i];

			vec_push(&ranking, ((struct ranked) { .rec = r,
							      .last_used = r->last_used_ns,
							      .count = r->usage_count }));
		}
		lock_drop(&p->c->lock);
		rank(&ranking);
		for (size_t i = 0;
		     !e && i < stride(ranking.len) && i < ranking.len && p->total >= p->keep; i++) {
			struct record_vec one = { 0 };

			e = ctx_done(p->ctx) ? ctx_err(p->ctx) : NULL;
			if (e)
				break;
			/* Its hold moves from the list to this call. */
			for (size_t k = 0; k < records.len; k++) {
				if (records.items[k] != ranking.items[i].rec)
					continue;
				records.items[k] = vec_pop(&records);
				break;
			}
			vec_push(&one, ranking.items[i].rec);
			e = delete_held(p, &one);
			vec_fini(&one);
		}
		usage_release(p->c, &records);
		vec_fini(&ranking);
	} while (!e && p->total >= p->keep && p->n_deleted > before);
	return e;
}

static int64_t bytes_to_keep(const struct cache_prune *r, int64_t total, int64_t free_space)
{
	int64_t keep = r->max_used_space, lacking = r->min_free_space - free_space;

	if (r->min_free_space && lacking > 0) {
		int64_t most = MAX(total - lacking, INT64_C(0));

		keep = keep ? MIN(keep, most) : most;
	} else if (!keep && r->min_free_space) {
		keep = total + 1; /* enough is free: nothing has to go */
	}
	return MAX(keep, r->reserved_space);
}

static bool counts(void *arg, struct record *r)
{
	return usage_counts_locked(r);
}

static struct err *measure_total(struct pruning *p)
{
	struct record_vec records = { 0 };
	struct err *e;

	usage_collect(p->c, counts, NULL, &records);
	e = usage_measure(p->c, p->ctx, &records);
	lock_take(&p->c->lock);
	for (size_t i = 0; i < records.len; i++)
		p->total += MAX(records.items[i]->size, INT64_C(0));
	lock_drop(&p->c->lock);
	usage_release(p->c, &records);
	return e;
}

static struct err *prune_by(struct pruning *p)
{
	const struct cache_prune *r = p->rule;
	struct file_space space;

	p->capped = r->reserved_space || r->max_used_space || r->min_free_space;
	if (!p->capped)
		return prune_all(p);
	TRY(measure_total(p));
	TRY(file_space(p->c->tmp_dir, &space));
	p->keep = bytes_to_keep(r, p->total, (int64_t)space.available);
	return p->total < p->keep ? NULL : prune_to_cap(p);
}

/* ---- blobs nobody knows any more ---- */

static bool keep_blob(void *arg, const struct content_info *info)
{
	struct cache *c = arg;
	const struct digest *d = &info->digest;

	LOCKED(&c->lock);
	return map_has(&c->blobs, str_make(d, digest_size((enum digest_algo)d->algo) + 1));
}

struct err *cache_prune(struct cache *c, struct ctx *ctx, const struct cache_prune *rules,
			size_t n_rules, struct err *(*each)(void *arg, const struct cache_usage *u),
			void *arg)
{
	size_t n_deleted = 0;
	bool idle = false;

	for (size_t i = 0; i < n_rules; i++) {
		SCOPED_ARENA(a);
		CLEANUP(filter_freep) struct filter *filter = NULL;
		struct pruning p = { .c = c, .ctx = ctx, .rule = &rules[i], .each = each };

		p.arg = arg;
		TRY(usage_parse_filters(&a, "prune", rules[i].filters, rules[i].n_filters,
					&filter));
		p.filter = filter;
		if (rules[i].keep_duration_ns)
			p.used_before = clock_wall() - rules[i].keep_duration_ns;
		TRY(prune_by(&p));
		n_deleted += p.n_deleted;
	}
	for (size_t i = 0; i < n_rules; i++)
		idle |= rules[i].idle;
	if (n_deleted || idle)
		TRY(content_gc(c->content, ctx, idle ? 0 : CONTENT_MIN_AGE_NS, keep_blob, c, NULL));
	return NULL;
}
