#include "cache/cache_impl.h"

#include "base/mem.h"

#include <assert.h>

struct err *cache_open(struct kv *kv, struct snapshotter *s, struct content *content,
		       const char *tmp_dir, struct ctx *ctx, struct cache **ret)
{
	struct cache *c = NEW(struct cache);
	struct err *e;

	c->kv = kv;
	c->snapshotter = s;
	c->content = content;
	c->tmp_dir = mem_strdup(tmp_dir);
	c->ctx = ctx_new(ctx);
	lock_init(&c->lock, LOCK_CACHE_MANAGER);
	cond_init(&c->changed);
	cond_init(&c->flushed);
	list_init(&c->dirty);
	list_init(&c->subscribers);
	list_init(&c->unstored);
	singleflight_init(&c->unlazy, c->ctx);
	singleflight_init(&c->fetch, c->ctx);
	singleflight_init(&c->blob, c->ctx);
	e = cache_load(c, ctx);
	if (e) {
		cache_close(c);
		return err_wrap(e, "failed to load cache records");
	}
	*ret = c;
	return NULL;
}

static void free_list(void *p)
{
	struct record_list *e = p;

	vec_fini(&e->records);
	free(e);
}

static void free_linked(void *p)
{
	struct record *r = p;

	assert(!r->n_holds);
	record_free(r);
}

void cache_close(struct cache *c)
{
	if (!c)
		return;
	ctx_cancel(c->ctx, NULL);
	lock_take(&c->lock);
	while (c->flush_planned)
		cond_wait_uninterrupted(&c->flushed, &c->lock);
	lock_drop(&c->lock);
	/* What fails now is made again, or found missing, by the next start. */
	err_free(cache_flush_now(c, false));
	map_fini(&c->records, free_linked);
	map_fini(&c->chains, free_list);
	map_fini(&c->indexes, free_list);
	map_fini(&c->blobs, NULL);
	vec_each (&c->deleted, s)
		free(*s);
	vec_fini(&c->deleted);
	vec_each (&c->deleted_hash, s)
		free(*s);
	vec_fini(&c->deleted_hash);
	cache_free_unstored(c);
	singleflight_fini(&c->unlazy);
	singleflight_fini(&c->fetch);
	singleflight_fini(&c->blob);
	cond_fini(&c->changed);
	cond_fini(&c->flushed);
	lock_fini(&c->lock);
	ctx_unref(c->ctx);
	free(c->tmp_dir);
	free(c);
}

size_t cache_n_held(struct cache *c)
{
	size_t n = 0;

	LOCKED(&c->lock);
	for (struct map_entry *e = map_next(&c->records, NULL); e; e = map_next(&c->records, e))
		n += ((struct record *)e->value)->n_holds > 0;
	return n;
}

struct snapshotter *cache_snapshotter(struct cache *c)
{
	return c->snapshotter;
}

struct content *cache_content(struct cache *c)
{
	return c->content;
}

/* ---- making and dropping ---- */

static struct err *drop_snapshot(struct record *r)
{
	struct err *e = snapshot_remove(r->cache->snapshotter, str_from(r->id));

	if (err_is(e, ERR_NOT_FOUND))
		err_free(TAKE_PTR(e));
	return e;
}

/* Blobs that no other record has. */
static struct err *drop_blobs(struct record *r, struct ctx *ctx)
{
	struct cache *c = r->cache;
	struct err *first = NULL;

	vec_each (&r->variants, v) {
		const struct digest *d = &(*v)->desc.digest;
		struct str key = str_make(d, digest_size((enum digest_algo)d->algo) + 1);
		struct err *e;
		bool used;

		lock_take(&c->lock);
		used = map_has(&c->blobs, key);
		lock_drop(&c->lock);
		if (used)
			continue;
		e = content_remove(c->content, ctx, d);
		if (err_is(e, ERR_NOT_FOUND))
			err_free(TAKE_PTR(e));
		first = err_first(first, e);
	}
	return first;
}

struct err *cache_dispose(struct record *r, struct ctx *ctx)
{
	struct err *e = NULL;

	if (r->has_snapshot)
		e = drop_snapshot(r);
	e = err_first(e, drop_blobs(r, ctx));
	record_free(r);
	return e;
}

struct err *cache_drop_record(struct record *r, struct ctx *ctx)
{
	struct cache *c = r->cache;

	lock_take(&c->lock);
	record_unlink_locked(r);
	lock_drop(&c->lock);
	return cache_dispose(r, ctx);
}

/* A record can stand on another's committed snapshot only. */
static struct err *make_parent(struct cache_ref *parent, struct ctx *ctx)
{
	TRY(cache_ref_unlazy(parent, ctx, NULL));
	return record_split(parent->rec);
}

struct err *cache_new(struct cache *c, struct ctx *ctx, struct cache_ref *parent,
		      const struct cache_opts *o, struct cache_mut **ret)
{
	struct record *r, *p = parent ? parent->rec : NULL;
	struct cache_mut *m;
	struct err *e = NULL;

	if (ctx_done(ctx))
		return ctx_err(ctx);
	if (parent)
		TRY(make_parent(parent, ctx));
	r = record_new(c, o);
	r->is_mutable = true;
	e = snapshot_prepare(c->snapshotter, str_from(r->id), str_from(p ? p->id : ""));
	if (e) {
		r->removed = true;
		record_free(r);
		return err_wrap(e, "failed to prepare %s", p ? p->id : "scratch");
	}
	r->has_snapshot = true;
	lock_take(&c->lock);
	record_link_locked(r, &p, p ? 1 : 0);
	(void)record_ref_locked(r);
	cache_mark_dirty_locked(r);
	lock_drop(&c->lock);
	m = NEW(struct cache_mut);
	m->rec = r;
	*ret = m;
	return NULL;
}

/* ---- by id ---- */

static struct err *missing(struct str id)
{
	return err_new(ERR_NOT_FOUND, "%.*s: not found", STR_ARG(id));
}

/* A layer known by its blob only, with nobody to fetch it. */
static bool is_out_of_reach(struct cache *c, struct ctx *ctx, struct record *r)
{
	for (; r; r = r->kind == RECORD_LAYER && r->n_parents ? r->parents[0] : NULL) {
		struct digest d = { 0 };
		bool lazy;

		lock_take(&c->lock);
		lazy = record_is_lazy(r) && r->kind == RECORD_LAYER;
		if (lazy && !r->fetchers.len)
			d = r->variants.items[0]->desc.digest;
		lock_drop(&c->lock);
		if (!lazy)
			return false;
		if (digest_is_set(&d) && !content_has(c->content, ctx, &d))
			return true;
	}
	return false;
}

struct err *cache_get(struct cache *c, struct ctx *ctx, struct str id, struct cache_ref **ret)
{
	struct cache_ref *ref = NULL;
	struct record *r;

	lock_take(&c->lock);
	r = record_find_locked(c, id);
	if (r && !r->is_mutable && !r->broken)
		ref = record_ref_locked(r);
	lock_drop(&c->lock);
	if (!ref)
		return missing(id);
	if (is_out_of_reach(c, ctx, r)) {
		cache_ref_release(ref);
		return missing(id);
	}
	*ret = ref;
	return NULL;
}

/* The view of a mutable record that is to be written to again: dropped, or made independent when
 * somebody uses it. */
static struct err *part_with_view(struct record *m, struct ctx *ctx)
{
	struct cache *c = m->cache;
	struct record *v, *drop = NULL, *split = NULL;
	struct err *e = NULL;

	lock_take(&c->lock);
	while (m->view && m->view->splitting)
		cond_wait_uninterrupted(&c->changed, &c->lock);
	v = m->view;
	if (v && !v->n_holds && !v->n_children) {
		record_unlink_locked(v);
		drop = v;
	} else if (v) {
		if (m->n_splits >= LIMIT_VIEW_SPLITS)
			e = err_new(ERR_UNAVAILABLE, "%s: locked", m->id);
		else
			record_hold_locked(split = v);
	}
	lock_drop(&c->lock);
	if (drop) {
		e = cache_dispose(drop, ctx);
		/* Else a kill would leave the view, of a snapshot that is being written to. */
		return e ? e : cache_flush_now(c, false);
	}
	if (split) {
		e = record_split(split);
		record_unhold(split);
	}
	return e;
}

struct err *cache_get_mut(struct cache *c, struct ctx *ctx, struct str id, struct cache_mut **ret)
{
	struct record *r;
	struct cache_mut *m;
	struct err *e;

	lock_take(&c->lock);
	r = record_find_locked(c, id);
	if (!r || !r->is_mutable) {
		lock_drop(&c->lock);
		return missing(id);
	}
	if (r->n_refs) {
		lock_drop(&c->lock);
		return err_new(ERR_UNAVAILABLE, "%.*s: locked", STR_ARG(id));
	}
	(void)record_ref_locked(r);
	lock_drop(&c->lock);
	m = NEW(struct cache_mut);
	m->rec = r;
	e = part_with_view(r, ctx);
	if (e) {
		cache_mut_release(m);
		return e;
	}
	*ret = m;
	return NULL;
}

/* ---- by blob ---- */

static bool is_content_digest(const struct digest *d)
{
	return d->algo > DIGEST_NONE && d->algo < DIGEST_RANDOM;
}

static bool has_blob(const struct record *r, const struct digest *d)
{
	vec_each (&r->variants, v) {
		if (digest_eq(&(*v)->desc.digest, d))
			return true;
	}
	return false;
}

/* A chain id is what an image says of itself until its layers were unpacked. So a record that is
 * lazy stands for its own blob only: another blob of the same chain id may be a lie, or this one.
 */
static struct record *find_chain_locked(struct cache *c, const struct cache_blob *b)
{
	struct str key =
		str_make(&b->chain_id, digest_size((enum digest_algo)b->chain_id.algo) + 1);
	struct record_list *l = map_get(&c->chains, key);
	struct record *lazy = NULL;

	for (size_t i = 0; l && i < l->records.len; i++) {
		struct record *r = l->records.items[i];

		if (!record_is_lazy(r))
			return r;
		if (has_blob(r, &b->desc.digest))
			lazy = r;
	}
	return lazy;
}

struct err *cache_get_by_blob(struct cache *c, struct ctx *ctx, struct cache_ref *parent,
			      const struct cache_blob *b, const struct cache_fetcher *f,
			      const struct cache_opts *o, struct cache_ref **ret)
{
	struct record *p = parent ? parent->rec : NULL, *r, *fresh;
	struct cache_fetcher drop = { 0 };

	if (!is_content_digest(&b->chain_id) || !is_content_digest(&b->diff_id) ||
	    !is_content_digest(&b->desc.digest))
		return err_new(ERR_INVALID_ARGUMENT, "layer without digest, diff ID or chain ID");
	fresh = record_new(c, o);
	fresh->from_remote = true;
	lock_take(&c->lock);
	r = find_chain_locked(c, b);
	if (!r) {
		r = TAKE_PTR(fresh);
		r->diff_id = b->diff_id;
		r->chain_id = b->chain_id;
		record_link_locked(r, &p, p ? 1 : 0);
		record_add_variant_locked(r, variant_new(&b->desc, &b->diff_id, -1));
	}
	if (f && !(f->last_resort && (!record_is_lazy(r) || r->fetchers.len)))
		record_add_fetcher_locked(r, f, &drop);
	*ret = record_ref_locked(r);
	cache_mark_dirty_locked(r);
	lock_drop(&c->lock);
	if (drop.unref)
		drop.unref(drop.arg);
	record_free(fresh);
	return NULL;
}
