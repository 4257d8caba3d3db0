#include "cache/cachemount.h"

#include "base/mem.h"
#include "cache/cache_impl.h"

#include <assert.h>

#define META_DIR "cache-dir"   /* indexed by the whole name */
#define META_ID "cache-dir-id" /* indexed by the id alone */

struct cachemount {
	struct cachemounts *all;
	struct cache_mut *mut;
	char *name;
	size_t n_users; /* under the lock of cachemounts */
	bool shared;
};

struct cachemounts {
	struct cache *cache;
	struct lock lock;
	struct map shared; /* name -> struct cachemount */
	struct map making; /* names for which somebody looks or makes: one at a time */
	struct cond made;
};

struct cachemounts *cachemounts_new(struct cache *c)
{
	struct cachemounts *m = NEW(struct cachemounts);

	m->cache = c;
	lock_init(&m->lock, LOCK_CACHE_MOUNT);
	cond_init(&m->made);
	return m;
}

void cachemounts_free(struct cachemounts *m)
{
	if (!m)
		return;
	assert(!map_len(&m->shared));
	map_fini(&m->shared, NULL);
	map_fini(&m->making, NULL);
	cond_fini(&m->made);
	lock_fini(&m->lock);
	free(m);
}

/* ---- one at a time for a name ---- */

/* The directory that is shared now, with one more user; else the name is the caller's to look for,
 * until release_name(). */
static struct err *claim_name(struct cachemounts *ms, struct ctx *ctx, struct str name, bool share,
			      struct cachemount **ret)
{
	*ret = NULL;
	LOCKED(&ms->lock);
	for (;;) {
		struct cachemount *m = share ? map_get(&ms->shared, name) : NULL;

		if (m) {
			m->n_users++;
			*ret = m;
			return NULL;
		}
		if (!map_has(&ms->making, name))
			break;
		TRY(cond_wait(&ms->made, &ms->lock, ctx));
	}
	(void)map_put(&ms->making, name, ms);
	return NULL;
}

static void release_name(struct cachemounts *ms, struct str name, struct cachemount *share)
{
	LOCKED(&ms->lock);
	if (share)
		(void)map_put(&ms->shared, name, share);
	(void)map_del(&ms->making, name);
	cond_broadcast(&ms->made);
}

/* ---- finding and making ---- */

/* The first that is free. *ret_locked: there is one, but in use. */
static struct err *find_free(struct cache *c, struct ctx *ctx, struct str name,
			     struct cache_mut **ret, bool *ret_locked)
{
	SCOPED_ARENA(a);
	struct str *ids;
	size_t n;

	*ret = NULL;
	*ret_locked = false;
	TRY(cache_meta_search(c, name, &a, &ids, &n));
	for (size_t i = 0; i < n; i++) {
		struct err *e = cache_get_mut(c, ctx, ids[i], ret);

		if (!e)
			return NULL;
		if (err_is(e, ERR_UNAVAILABLE))
			*ret_locked = true;
		else if (!err_is(e, ERR_NOT_FOUND))
			return e;
		err_free(e);
	}
	return NULL;
}

static uint64_t freed_so_far(struct cache *c)
{
	LOCKED(&c->lock);
	return c->n_freed;
}

static struct err *wait_for_free(struct cache *c, struct ctx *ctx, uint64_t since)
{
	LOCKED(&c->lock);
	while (c->n_freed == since)
		TRY(cond_wait(&c->changed, &c->lock, ctx));
	return NULL;
}

static struct err *make(struct cache *c, struct ctx *ctx, struct str id, struct str name,
			struct cache_ref *ref, const struct cache_opts *o, struct cache_mut **ret)
{
	struct cache_opts opts = o ? *o : (struct cache_opts) { 0 };
	struct cache_mut *m;
	SCOPED_ARENA(a);
	struct str by_id = str_from(arena_printf(&a, "cache-dir-id:%.*s", STR_ARG(id)));
	struct err *e;

	opts.type = CACHE_TYPE_CACHEMOUNT;
	opts.retain = true;
	TRY(cache_new(c, ctx, ref, &opts, &m));
	e = cache_meta_set(c, str_from(cache_mut_id(m)), META_DIR, name, name);
	if (!e)
		e = cache_meta_set(c, str_from(cache_mut_id(m)), META_ID, id, by_id);
	if (e) {
		cache_mut_release(m);
		return e;
	}
	*ret = m;
	return NULL;
}

static struct err *find_or_make(struct cache *c, struct ctx *ctx, struct str id, struct str name,
				struct cache_ref *ref, bool wait, const struct cache_opts *o,
				struct cache_mut **ret, bool *ret_locked)
{
	TRY(find_free(c, ctx, name, ret, ret_locked));
	if (*ret || (*ret_locked && wait))
		return NULL;
	return make(c, ctx, id, name, ref, o, ret);
}

struct err *cachemount_get(struct cachemounts *ms, struct ctx *ctx, struct str id,
			   struct cache_ref *ref, enum cachemount_sharing sharing,
			   const struct cache_opts *o, struct cachemount **ret)
{
	struct cache *c = ms->cache;
	bool share = sharing == CACHEMOUNT_SHARED, wait = sharing == CACHEMOUNT_LOCKED, locked;
	struct cachemount *m;
	struct cache_mut *mut = NULL;
	SCOPED_ARENA(a);
	struct str name;
	struct err *e;

	name = str_from(ref ? arena_printf(&a, "cache-dir:%.*s:%s", STR_ARG(id), cache_ref_id(ref))
			    : arena_printf(&a, "cache-dir:%.*s", STR_ARG(id)));
	for (;;) {
		uint64_t since = freed_so_far(c);

		TRY(claim_name(ms, ctx, name, share, &m));
		if (m) {
			*ret = m;
			return NULL;
		}
		e = find_or_make(c, ctx, id, name, ref, wait, o, &mut, &locked);
		if (e || mut)
			break;
		release_name(ms, name, NULL);
		TRY(wait_for_free(c, ctx, since));
	}
	if (e) {
		release_name(ms, name, NULL);
		return e;
	}
	m = NEW(struct cachemount);
	*m = (struct cachemount) {
		.all = ms, .mut = mut, .name = str_heap(name), .n_users = 1, .shared = share
	};
	release_name(ms, name, share ? m : NULL);
	*ret = m;
	return NULL;
}

struct cachemount *cachemount_ref(struct cachemount *m)
{
	LOCKED(&m->all->lock);
	m->n_users++;
	return m;
}

void cachemount_put(struct cachemount *m)
{
	struct cachemounts *ms;
	bool last;

	if (!m)
		return;
	ms = m->all;
	lock_take(&ms->lock);
	last = !--m->n_users;
	if (last && m->shared && map_get(&ms->shared, str_from(m->name)) == m)
		(void)map_del(&ms->shared, str_from(m->name));
	lock_drop(&ms->lock);
	if (!last)
		return;
	cache_mut_release(m->mut);
	free(m->name);
	free(m);
}

void cachemount_putp(struct cachemount **m)
{
	cachemount_put(*m);
	*m = NULL;
}

const char *cachemount_record_id(const struct cachemount *m)
{
	return cache_mut_id(m->mut);
}

struct err *cachemount_mounts(struct cachemount *m, struct ctx *ctx, struct arena *a, bool readonly,
			      struct mounts **ret)
{
	return cache_mut_mounts(m->mut, ctx, a, readonly, ret);
}

/* Found no more under its name, and not kept when its handle goes. */
static void forget(struct cache *c, struct str id)
{
	struct record *r;

	LOCKED(&c->lock);
	r = record_find_locked(c, id);
	if (!r)
		return;
	record_set_meta_locked(r, META_DIR, STR_NONE, STR_NONE);
	record_set_meta_locked(r, META_ID, STR_NONE, STR_NONE);
	r->retain = false;
	if (r->stored) {
		/* Not after a restart either. */
		cache_mark_deleted_locked(r);
		r->stored = false;
	}
}

struct err *cachemount_clear(struct cachemounts *ms, struct ctx *ctx, struct str id)
{
	SCOPED_ARENA(a);
	struct str index = str_from(arena_printf(&a, "cache-dir-id:%.*s", STR_ARG(id)));
	struct cache *c = ms->cache;
	struct str *ids;
	size_t n;

	TRY(cache_meta_search(c, index, &a, &ids, &n));
	for (size_t i = 0; i < n; i++) {
		struct cache_mut *m = NULL;
		struct err *e = cache_get_mut(c, ctx, ids[i], &m);

		if (e && !err_is(e, ERR_UNAVAILABLE) && !err_is(e, ERR_NOT_FOUND))
			return e;
		err_free(e);
		lock_take(&ms->lock);
		for (struct map_entry *x = map_next(&ms->shared, NULL); x;
		     x = map_next(&ms->shared, x)) {
			struct cachemount *s = x->value;

			if (str_eq_cstr(ids[i], cache_mut_id(s->mut)))
				(void)map_del(&ms->shared, map_key(x));
		}
		lock_drop(&ms->lock);
		forget(c, ids[i]);
		cache_mut_release(m);
	}
	return NULL;
}
