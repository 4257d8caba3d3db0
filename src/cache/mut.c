/* Mutable handles, and the views of retained ones. */
#include "cache/cache_impl.h"

#include "base/mem.h"

#include <assert.h>

const char *cache_mut_id(const struct cache_mut *m)
{
	return m->rec->id;
}

struct err *cache_mut_mounts(struct cache_mut *m, struct ctx *ctx, struct arena *a, bool readonly,
			     struct mounts **ret)
{
	struct record *r = m->rec;
	struct mounts *got;

	if (!readonly) {
		TRY(cache_mut_wake(m));
		return cache_mut_mounts_resting(m, a, ret);
	}
	TRYW(snapshot_mounts(r->cache->snapshotter, a, str_from(r->id), &got), "failed to mount %s",
	     r->id);
	if (got->kind == MOUNT_OVERLAY && got->upper.len) {
		struct str *lowers = ARENA_NEW_N(a, struct str, got->n_lowers + 1);

		lowers[0] = got->upper;
		memcpy(lowers + 1, got->lowers, got->n_lowers * sizeof(*lowers));
		got->lowers = lowers;
		got->n_lowers++;
		got->upper = got->work = STR_NONE;
	}
	got->readonly = true;
	*ret = got;
	return NULL;
}

struct err *cache_mut_mounts_resting(struct cache_mut *m, struct arena *a, struct mounts **ret)
{
	struct record *r = m->rec;

	lock_take(&r->cache->lock);
	r->hash_stale = true;
	r->size = -1;
	lock_drop(&r->cache->lock);
	return err_wrap(snapshot_mounts(r->cache->snapshotter, a, str_from(r->id), ret),
			"failed to mount %s", r->id);
}

struct err *cache_mut_wake(struct cache_mut *m)
{
	return snapshot_wake(m->rec->cache->snapshotter, str_from(m->rec->id));
}

struct err *cache_mut_upper(struct cache_mut *m, struct arena *a, struct mounts **ret)
{
	struct mounts *got;

	TRY(cache_mut_mounts(m, m->rec->cache->ctx, a, false, &got));
	if (got->kind == MOUNT_OVERLAY) {
		struct mounts *bind = ARENA_NEW(a, struct mounts);

		*bind = (struct mounts) { .kind = MOUNT_BIND, .source = got->upper };
		got = bind;
	}
	*ret = got;
	return NULL;
}

static void free_now_locked(struct cache *c)
{
	c->n_freed++;
	cond_broadcast(&c->changed);
}

void cache_mut_release(struct cache_mut *m)
{
	struct record_drops drops = { 0 };
	struct record *r;
	struct cache *c;
	bool keep;

	if (!m)
		return;
	r = m->rec;
	c = r->cache;
	free(m);
	if (r->retain && r->has_snapshot)
		err_free(snapshot_rest(c->snapshotter, str_from(r->id)));
	lock_take(&c->lock);
	assert(r->n_refs == 1);
	r->n_refs = 0;
	record_unhold_locked(r, &drops);
	keep = r->retain && r->has_snapshot;
	if (keep) {
		r->last_used_ns = clock_wall();
		r->usage_count++;
		r->size = -1;
		cache_mark_dirty_locked(r);
	} else {
		record_unlink_locked(r);
	}
	free_now_locked(c);
	lock_drop(&c->lock);
	record_drops_fini(&drops);
	/* A snapshot that stays behind is dropped by the next start. */
	if (!keep)
		err_free(cache_dispose(r, c->ctx));
}

void cache_mut_releasep(struct cache_mut **m)
{
	cache_mut_release(*m);
	*m = NULL;
}

struct err *cache_mut_commit(struct cache_mut *m, struct ctx *ctx, struct cache_ref **ret)
{
	struct record *r = m->rec;
	struct cache *c = r->cache;
	struct err *e = snapshot_commit(c->snapshotter, str_from(r->id), str_from(r->id));

	if (e) {
		lock_take(&c->lock);
		r->retain = false;
		lock_drop(&c->lock);
		e = err_wrap(e, "failed to commit %s", r->id);
		cache_mut_release(m);
		return e;
	}
	free(m);
	lock_take(&c->lock);
	r->is_mutable = r->retain = false;
	r->size = -1;
	if (r->hash_stale)
		cache_drop_hash_locked(r);
	r->hash_stale = false;
	cache_mark_dirty_locked(r);
	*ret = &r->handle;
	lock_drop(&c->lock);
	return NULL;
}

/* ---- views ---- */

struct err *cache_mut_freeze(struct cache_mut *m, struct ctx *ctx, struct cache_ref **ret)
{
	struct record *r = m->rec, *v;
	struct cache *c = r->cache;
	struct cache_opts o = { .description = str_from(r->description), .type = r->type };
	struct record_drops drops = { 0 };

	if (!r->retain)
		return cache_mut_commit(m, ctx, ret);
	v = record_new(c, &o);
	free(m);
	err_free(snapshot_rest(c->snapshotter, str_from(r->id)));
	lock_take(&c->lock);
	assert(!r->view && r->n_refs == 1);
	if (r->hash_stale)
		cache_drop_hash_locked(r);
	r->hash_stale = false;
	memcpy(v->hash_key, r->hash_key, sizeof(v->hash_key));
	v->view_of = r;
	r->view = v;
	r->last_used_ns = clock_wall();
	r->usage_count++;
	record_link_locked(v, r->parents, r->n_parents);
	*ret = record_ref_locked(v);
	r->n_refs = 0;
	record_unhold_locked(r, &drops);
	cache_mark_dirty_locked(r);
	cache_mark_dirty_locked(v);
	free_now_locked(c);
	lock_drop(&c->lock);
	record_drops_fini(&drops);
	return NULL;
}

/* The mutable record's snapshot becomes the view's, and it goes on in a layer on top of that. */
static struct err *split_snapshots(struct record *v, struct record *m, bool *ret_committed)
{
	struct snapshotter *s = v->cache->snapshotter;

	TRY(snapshot_commit(s, str_from(v->id), str_from(m->id)));
	*ret_committed = true;
	TRY(snapshot_prepare(s, str_from(m->id), str_from(v->id)));
	return snapshot_rest(s, str_from(m->id));
}

static void set_parent_locked(struct record *r, struct record *parent, struct record_drops *drops)
{
	if (r->n_holds)
		record_hold_locked(parent);
	if (r->n_parents && r->parents[0]) {
		if (r->n_holds)
			record_unhold_locked(r->parents[0], drops);
		r->parents[0]->n_children--;
	}
	free(r->parents);
	r->parents = mem_calloc(1, sizeof(struct record *));
	r->parents[0] = parent;
	r->n_parents = 1;
	parent->n_children++;
}

struct err *record_split(struct record *v)
{
	struct cache *c = v->cache;
	struct record_drops drops = { 0 };
	struct record *m, *drop = NULL;
	bool committed = false;
	struct err *e;

	lock_take(&c->lock);
	while (v->splitting || (v->view_of && v->n_looking))
		cond_wait_uninterrupted(&c->changed, &c->lock);
	m = v->view_of;
	if (!m) {
		lock_drop(&c->lock);
		return NULL;
	}
	v->splitting = true;
	lock_drop(&c->lock);
	e = split_snapshots(v, m, &committed);
	lock_take(&c->lock);
	v->splitting = false;
	if (committed) {
		v->view_of = m->view = NULL;
		v->has_snapshot = true;
		v->size = m->size = -1;
		/* The tree stays with the view. */
		if (strcmp(m->hash_key, v->hash_key) == 0)
			m->hash_key[0] = '\0';
		set_parent_locked(m, v, &drops);
		m->n_splits++;
		m->has_snapshot = !e;
		m->retain &= !e;
		cache_mark_dirty_locked(v);
		if (!e)
			cache_mark_dirty_locked(m);
		if (e && !m->n_holds)
			record_unlink_locked(drop = m);
	}
	cond_broadcast(&c->changed);
	lock_drop(&c->lock);
	record_drops_fini(&drops);
	if (drop)
		err_free(cache_dispose(drop, c->ctx));
	/* Till then a kill loses the mutable record. */
	err_free(cache_flush_now(c, false));
	/* The view is well even when the other has no place to go on. */
	if (e && committed && drop)
		err_free(TAKE_PTR(e));
	return e ? err_wrap(e, "failed to split %s", v->id) : NULL;
}
