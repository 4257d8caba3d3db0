/* Immutable handles. */
#include "cache/cache_impl.h"

#include "base/mem.h"

#include <assert.h>

struct cache_ref *record_ref_locked(struct record *r)
{
	lock_assert_held(&r->cache->lock);
	r->n_refs++;
	record_hold_locked(r);
	return &r->handle;
}

struct cache_ref *cache_ref_clone(struct cache_ref *ref)
{
	LOCKED(&ref->rec->cache->lock);
	return record_ref_locked(ref->rec);
}

void cache_ref_release(struct cache_ref *ref)
{
	struct record_drops drops = { 0 };
	struct record *r;
	struct cache *c;

	if (!ref)
		return;
	r = ref->rec;
	c = r->cache;
	lock_take(&c->lock);
	assert(r->n_refs > 0);
	if (!--r->n_refs) {
		r->last_used_ns = clock_wall();
		r->usage_count++;
		cache_mark_dirty_locked(r);
	}
	record_unhold_locked(r, &drops);
	lock_drop(&c->lock);
	record_drops_fini(&drops);
}

void cache_ref_releasep(struct cache_ref **r)
{
	cache_ref_release(*r);
	*r = NULL;
}

const char *cache_ref_id(const struct cache_ref *r)
{
	return r->rec->id;
}

const char *cache_ref_description(const struct cache_ref *r)
{
	return r->rec->description;
}

struct cache_ref *cache_ref_parent(const struct cache_ref *r)
{
	const struct record *rec = r->rec;

	return rec->kind == RECORD_LAYER && rec->n_parents ? &rec->parents[0]->handle : NULL;
}

int64_t cache_ref_created(const struct cache_ref *r)
{
	return r->rec->created_ns;
}

/* ---- mounts ---- */

/* A read-only look at what is mounted for writing elsewhere. */
static void make_readonly(struct arena *a, struct mounts *m)
{
	m->readonly = true;
	if (m->kind == MOUNT_OVERLAY && m->upper.len) {
		struct str *lowers = ARENA_NEW_N(a, struct str, m->n_lowers + 1);

		lowers[0] = m->upper;
		memcpy(lowers + 1, m->lowers, m->n_lowers * sizeof(*lowers));
		m->lowers = lowers;
		m->n_lowers++;
		m->upper = m->work = STR_NONE;
	}
}

struct err *cache_ref_mounts(struct cache_ref *ref, struct ctx *ctx, struct arena *a,
			     struct mounts **ret)
{
	struct record *r = ref->rec;
	struct cache *c = r->cache;
	struct mounts *m;
	struct str name;
	struct err *e;

	TRY(cache_ref_unlazy(ref, ctx, NULL));
	lock_take(&c->lock);
	while (r->splitting)
		cond_wait_uninterrupted(&c->changed, &c->lock);
	r->n_looking++;
	name = record_snapshot_locked(r, a);
	lock_drop(&c->lock);
	e = snapshot_mounts(c->snapshotter, a, name, &m);
	lock_take(&c->lock);
	if (!--r->n_looking)
		cond_broadcast(&c->changed);
	lock_drop(&c->lock);
	if (e)
		return err_wrap(e, "failed to mount %s", r->id);
	make_readonly(a, m);
	*ret = m;
	return NULL;
}
