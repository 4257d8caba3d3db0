/* Making lazy records real: fetch blobs, unpack whole chains, merge, diff. Work that several wait
 * for is done once. */
#include "cache/cache_impl.h"

#include "base/mem.h"
#include "base/ref.h"
#include "cache/materialise.h"
#include "codec/compress.h"
#include "snapshot/diff.h"

#define FETCHERS_MAX 8

/* ---- fetching ---- */

void record_add_fetcher_locked(struct record *r, const struct cache_fetcher *f,
			       struct cache_fetcher *ret_drop)
{
	for (size_t i = 0; i < r->fetchers.len; i++)
		if (r->fetchers.items[i].arg == f->arg && r->fetchers.items[i].fetch == f->fetch)
			return;
	if (r->fetchers.len == FETCHERS_MAX) {
		*ret_drop = r->fetchers.items[0];
		memmove(r->fetchers.items, r->fetchers.items + 1, (FETCHERS_MAX - 1) * sizeof(*f));
		r->fetchers.len--;
	}
	f->ref(f->arg);
	vec_push(&r->fetchers, *f);
}

struct fetch_job {
	struct ref ref;     /* the caller's and the flight's */
	struct record *rec; /* held */
	const struct variant *v;
	atomic_bool ran; /* not only joined another's */
};

static void fetch_unref(void *arg)
{
	struct fetch_job *j = arg;

	if (!ref_put(&j->ref))
		return;
	record_unhold(j->rec);
	free(j);
}

/* The latest first: its credentials are the freshest. */
static struct err *run_fetch(struct ctx *ctx, void *arg)
{
	struct fetch_job *j = arg;
	struct record *r = j->rec;
	struct cache *c = r->cache;
	struct cache_fetcher all[FETCHERS_MAX];
	struct err *e = NULL;
	char text[DIGEST_TEXT_MAX];
	size_t n;

	j->ran = true;
	if (content_has(c->content, ctx, &j->v->desc.digest))
		return NULL;
	lock_take(&c->lock);
	n = r->fetchers.len;
	for (size_t i = 0; i < n; i++) {
		all[i] = r->fetchers.items[n - 1 - i];
		all[i].ref(all[i].arg);
	}
	lock_drop(&c->lock);
	if (!n)
		e = err_new(ERR_NOT_FOUND, "content %s: not found",
			    digest_format(&j->v->desc.digest, text));
	for (size_t i = 0; i < n; i++) {
		if (i == 0 || (e && !ctx_done(ctx))) {
			err_free(e);
			e = all[i].fetch(all[i].arg, ctx, &j->v->desc);
		}
		all[i].unref(all[i].arg);
	}
	return e;
}

struct err *record_fetch(struct record *r, struct ctx *ctx, const struct variant *v)
{
	struct cache *c = r->cache;
	struct str key =
		str_make(&v->desc.digest, digest_size((enum digest_algo)v->desc.digest.algo) + 1);
	struct err *e = NULL;

	/* Another record with the same blob may have fetchers that fail where ours don't. */
	for (bool again = true; again;) {
		struct fetch_job *j;

		if (content_has(c->content, ctx, &v->desc.digest))
			return NULL;
		j = NEW(struct fetch_job);
		ref_init(&j->ref);
		ref_get(&j->ref);
		j->rec = r;
		j->v = v;
		record_hold(r);
		e = singleflight_do(&c->fetch, ctx, key, run_fetch, j, fetch_unref);
		again = e && !j->ran && !ctx_done(ctx);
		fetch_unref(j);
		if (again)
			err_free(TAKE_PTR(e));
	}
	return e;
}

/* ---- unpacking a chain ---- */

struct layer {
	struct record *rec;
	const struct variant *v;
	struct digest got; /* diff id of what was unpacked */
};

struct unpack_job {
	struct cache *cache;
	struct record *top;  /* held */
	struct record *base; /* what the chain stands on; NULL: nothing */
	struct layer *layers;
	size_t n, n_all; /* n_all: also those that were given up */
};

static void free_unpack(void *arg)
{
	struct unpack_job *j = arg;

	record_unhold(j->top);
	free(j->layers);
	free(j);
}

/* The plain tar of a layer, hashed as it is read. */
struct layer_reader {
	struct reader base;
	struct reader *tar;
	struct hasher *hasher;
	struct layer *layer;
	struct cache *cache;
	bool at_end;
};

static struct err *layer_read(struct reader *r, void *p, size_t len, size_t *ret_n)
{
	struct layer_reader *l = container_of(r, struct layer_reader, base);

	TRY(reader_read(l->tar, p, len, ret_n));
	if (*ret_n)
		hasher_add(l->hasher, p, *ret_n);
	else if (len)
		l->at_end = true;
	return NULL;
}

static void layer_close(struct reader *r)
{
	struct layer_reader *l = container_of(r, struct layer_reader, base);
	char rest[4096];
	size_t n = 1;

	/* What follows the end of the archive counts, too. */
	while (!l->at_end && n)
		if (layer_read(r, rest, sizeof(rest), &n)) {
			hasher_reset(l->hasher);
			break;
		}
	l->layer->got = hasher_sum(l->hasher);
	materialise_report(l->cache, l->layer->rec, &l->layer->v->desc, true);
	hasher_free(l->hasher);
	reader_close(l->tar);
	free(l);
}

static struct err *open_layer(void *arg, struct ctx *ctx, size_t i, struct reader **ret)
{
	struct unpack_job *j = arg;
	struct layer *layer = &j->layers[i];
	const struct oci_descriptor *d = &layer->v->desc;
	struct content_reader *blob;
	struct layer_reader *l;
	struct reader *tar;
	enum compression type;

	TRY(record_fetch(layer->rec, ctx, layer->v));
	TRY(content_open(j->cache->content, ctx, &d->digest, &blob));
	TRY(decompress_auto(content_as_reader(blob), &tar, &type));
	l = NEW(struct layer_reader);
	*l = (struct layer_reader) { .base = { layer_read, layer_close },
				     .tar = tar,
				     .hasher = hasher_new((enum digest_algo)layer->v->diff_id.algo),
				     .layer = layer,
				     .cache = j->cache };
	materialise_report(j->cache, layer->rec, d, false);
	*ret = &l->base;
	return NULL;
}

/* Snapshots that are there in spite of a failure (of another layer) are kept. */
static void note_snapshots(struct unpack_job *j)
{
	bool ok = true;

	for (size_t i = 0; i < j->n; i++) {
		struct record *r = j->layers[i].rec;
		SCOPED_ARENA(a);
		SCOPED_ERR(e);
		struct snapshot_info info;

		e = snapshot_stat(j->cache->snapshotter, &a, str_from(r->id), &info);
		ok = ok && !e && info.kind == SNAPSHOT_COMMITTED;
		if (!ok)
			break;
		LOCKED(&j->cache->lock);
		r->has_snapshot = true;
		r->broken = false;
		r->size = -1;
		cache_mark_dirty_locked(r);
	}
}

static struct err *check_diff_ids(struct unpack_job *j)
{
	for (size_t i = 0; i < j->n; i++) {
		struct layer *l = &j->layers[i];
		char got[DIGEST_TEXT_MAX], want[DIGEST_TEXT_MAX];

		if (digest_eq(&l->got, &l->v->diff_id))
			continue;
		/* It and what stands on it: nothing of a wrong layer is served. */
		for (size_t k = j->n; k-- > i;)
			err_free(snapshot_remove(j->cache->snapshotter,
						 str_from(j->layers[k].rec->id)));
		j->n = i;
		return err_new(ERR_DATA_LOSS,
			       "wrong diff id calculated on extraction \"%s\", expected \"%s\"",
			       digest_format(&l->got, got), digest_format(&l->v->diff_id, want));
	}
	return NULL;
}

/* And not a full disk or a lost connection, after which the same blob will do. */
static bool is_bad_data(const struct err *e)
{
	return err_is(e, ERR_DATA_LOSS) || err_is(e, ERR_INVALID_ARGUMENT);
}

static void note_broken(struct unpack_job *j)
{
	LOCKED(&j->cache->lock);
	for (size_t i = 0; i < j->n_all; i++)
		j->layers[i].rec->broken = record_is_lazy(j->layers[i].rec);
}

static struct err *run_unpack(struct ctx *ctx, void *arg)
{
	struct unpack_job *j = arg;
	SCOPED_ARENA(a);
	struct str *names = ARENA_NEW_N(&a, struct str, j->n);
	struct err *e;

	for (size_t i = 0; i < j->n; i++)
		names[i] = str_from(j->layers[i].rec->id);
	e = snapshot_unpack_chain(j->cache->snapshotter, ctx, str_from(j->base ? j->base->id : ""),
				  names, j->n, open_layer, j);
	if (!e)
		e = check_diff_ids(j);
	note_snapshots(j);
	if (is_bad_data(e))
		note_broken(j);
	return e ? err_wrap(e, "failed to extract layer") : NULL;
}

/* The lazy layers from r downwards as a job; its base is what is below them. */
static struct unpack_job *plan_unpack_locked(struct record *r)
{
	struct unpack_job *j = NEW(struct unpack_job);
	struct record *x = r;

	for (; x && x->kind == RECORD_LAYER && record_is_lazy(x);
	     x = x->n_parents ? x->parents[0] : NULL)
		j->n++;
	j->base = x;
	j->cache = r->cache;
	j->top = r;
	record_hold_locked(r);
	j->n_all = j->n;
	j->layers = mem_calloc(j->n, sizeof(*j->layers));
	x = r;
	for (size_t i = j->n; i-- > 0; x = x->n_parents ? x->parents[0] : NULL) {
		j->layers[i].rec = x;
		j->layers[i].v = x->variants.items[0];
	}
	return j;
}

static struct err *unlazy_layer(struct record *r, struct ctx *ctx)
{
	struct cache *c = r->cache;
	struct unpack_job *j;
	struct record *base;
	char key[ID_LEN + 1];

	lock_take(&c->lock);
	if (!record_is_lazy(r)) {
		lock_drop(&c->lock);
		return NULL;
	}
	j = plan_unpack_locked(r);
	base = j->base;
	memcpy(key, j->layers[0].rec->id, sizeof(key));
	lock_drop(&c->lock);
	if (base) {
		struct err *e = materialise(base, ctx);

		if (!e)
			e = record_split(base);
		if (e) {
			free_unpack(j);
			return e;
		}
	}
	/* By the lowest one: who wants more of the same chain comes again for the rest. */
	return singleflight_do(&c->unlazy, ctx, str_from(key), run_unpack, j, free_unpack);
}

struct err *materialise(struct record *r, struct ctx *ctx)
{
	struct cache *c = r->cache;

	for (;;) {
		bool lazy;

		lock_take(&c->lock);
		lazy = record_is_lazy(r);
		lock_drop(&c->lock);
		if (!lazy)
			return NULL;
		if (ctx_done(ctx))
			return ctx_err(ctx);
		TRY(r->kind == RECORD_LAYER ? unlazy_layer(r, ctx) : materialise_other(r, ctx));
	}
}

/* ---- progress ---- */

struct subscriber {
	struct list link;
	const struct record *top;
	const struct cache_progress *p;
	size_t calling;
};

static bool stands_on(const struct record *top, const struct record *r)
{
	for (; top && top != r && top->n_parents == 1; top = top->parents[0])
		;
	for (size_t i = 0; top && top != r && i < top->n_parents; i++)
		if (top->parents[i] && stands_on(top->parents[i], r))
			return true;
	return top == r;
}

/* The latest fetcher that wants to know; a reference. */
static bool own_reporter(struct cache *c, struct record *r, struct cache_fetcher *ret)
{
	LOCKED(&c->lock);
	for (size_t i = r->fetchers.len; i-- > 0;) {
		if (!r->fetchers.items[i].unpacking)
			continue;
		*ret = r->fetchers.items[i];
		ret->ref(ret->arg);
		return true;
	}
	return false;
}

void materialise_report(struct cache *c, struct record *r, const struct oci_descriptor *d,
			bool done)
{
	VEC(struct subscriber *) all = VEC_INIT;
	char id[DIGEST_TEXT_MAX];
	struct cache_fetcher own;

	if (own_reporter(c, r, &own)) {
		own.unpacking(own.arg, d, done);
		own.unref(own.arg);
		return;
	}
	lock_take(&c->lock);
	list_each (&c->subscribers, n) {
		struct subscriber *s = list_entry(n, struct subscriber, link);

		if (!stands_on(s->top, r))
			continue;
		s->calling++;
		vec_push(&all, s);
	}
	lock_drop(&c->lock);
	(void)digest_format(&d->digest, id);
	vec_each (&all, s)
		(*s)->p->report((*s)->p->arg, id, "extracting", done ? d->size : 0, d->size, done);
	lock_take(&c->lock);
	vec_each (&all, s)
		(*s)->calling--;
	cond_broadcast(&c->changed);
	lock_drop(&c->lock);
	vec_fini(&all);
}

struct err *cache_ref_unlazy(struct cache_ref *ref, struct ctx *ctx, const struct cache_progress *p)
{
	struct subscriber s = { .top = ref->rec, .p = p };
	struct cache *c = ref->rec->cache;
	struct err *e;
	bool lazy;

	lock_take(&c->lock);
	lazy = record_is_lazy(ref->rec);
	if (lazy && p)
		list_add_tail(&c->subscribers, &s.link);
	lock_drop(&c->lock);
	if (!lazy)
		return NULL;
	e = materialise(ref->rec, ctx);
	if (p) {
		LOCKED(&c->lock);
		list_del(&s.link);
		while (s.calling)
			cond_wait_uninterrupted(&c->changed, &c->lock);
	}
	return e;
}
