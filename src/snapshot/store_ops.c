#include "base/limits.h"
#include "snapshot/store.h"

#include <errno.h>
#include <unistd.h>

static void snap_info(const struct snap *s, struct arena *a, struct snapshot_info *ret)
{
	*ret = (struct snapshot_info) {
		.kind = s->kind,
		.name = str_dup(a, str_from(s->name)),
		.parent = s->parent ? str_dup(a, str_from(s->parent->name)) : STR(""),
	};
}

struct err *store_stat(struct snapshotter *sn, struct arena *a, struct str name,
		       struct snapshot_info *ret)
{
	struct store *st = store_of(sn);
	struct snap *s;

	LOCKED(&st->lock);
	TRY(store_find_locked(st, name, &s));
	snap_info(s, a, ret);
	return NULL;
}

struct err *store_each(struct snapshotter *sn,
		       struct err *(*fn)(void *arg, const struct snapshot_info *info), void *arg)
{
	struct store *st = store_of(sn);
	VEC(struct snapshot_info) all = VEC_INIT;
	struct err *e = NULL;
	SCOPED_ARENA(a);

	lock_take(&st->lock);
	for (struct map_entry *m = map_next(&st->snaps, NULL); m; m = map_next(&st->snaps, m)) {
		const struct snap *s = m->value;
		struct snapshot_info i;

		if (s->busy)
			continue;
		snap_info(s, &a, &i);
		vec_push(&all, i);
	}
	lock_drop(&st->lock);
	for (size_t i = 0; i < all.len && !e; i++)
		e = fn(arg, &all.items[i]);
	vec_fini(&all);
	return e;
}

/* Gives up a snapshot that could not be made. */
static struct err *undo(struct store *st, struct snap *s, struct err *take_e)
{
	lock_take(&st->lock);
	store_drop_locked(st, s);
	lock_drop(&st->lock);
	store_bury(st);
	err_free(store_flush(st));
	return take_e;
}

struct err *store_finish(struct store *st, struct snap *s, struct err *take_e)
{
	if (take_e)
		return undo(st, s, take_e);
	lock_take(&st->lock);
	/* Only now: a syncfs may have begun while it was made. */
	s->made = ++st->n_made;
	store_put_locked(st, s);
	lock_drop(&st->lock);
	take_e = store_flush(st);
	if (take_e)
		return undo(st, s, take_e);
	lock_take(&st->lock);
	s->busy = false;
	cond_broadcast(&st->changed);
	lock_drop(&st->lock);
	return NULL;
}

struct err *store_add(struct store *st, struct str name, enum snapshot_kind kind, struct str parent,
		      struct snap **ret)
{
	struct snap *p = NULL;

	LOCKED(&st->lock);
	if (parent.len)
		TRY(store_find_parent_locked(st, parent, &p));
	return store_add_locked(st, name, kind, p, ret);
}

struct err *store_commit(struct snapshotter *sn, struct str name, struct str active)
{
	struct store *st = store_of(sn);
	struct snap *s;
	char work[40];

	TRY(store_check_name(name));
	lock_take(&st->lock);
	struct err *e = store_find_locked(st, active, &s);

	if (!e && s->kind != SNAPSHOT_ACTIVE)
		e = err_new(ERR_FAILED_PRECONDITION,
			    "snapshot %.*s is not active: failed precondition", STR_ARG(active));
	if (!e && !str_eq(name, active) && map_has(&st->snaps, name))
		e = err_new(ERR_ALREADY_EXISTS, "snapshot %.*s: already exists", STR_ARG(name));
	if (e) {
		lock_drop(&st->lock);
		return e;
	}
	(void)snprintf(work, sizeof(work), "%llu/work", (unsigned long long)s->own->id);
	store_rename_locked(st, s, name);
	s->kind = SNAPSHOT_COMMITTED;
	s->made = ++st->n_made;
	s->durable = s->awake = false;
	store_put_locked(st, s);
	lock_drop(&st->lock);
	if (unlinkat(st->dirfd, work, AT_REMOVEDIR) < 0 && errno != ENOENT)
		err_free(trash_put(st->trash, st->dirfd, work));
	return store_flush(st);
}

static struct err *find_active_locked(struct store *st, struct str name, struct snap **ret)
{
	TRY(store_find_locked(st, name, ret));
	if ((*ret)->kind == SNAPSHOT_ACTIVE)
		return NULL;
	return err_new(ERR_FAILED_PRECONDITION, "snapshot %.*s is not active: failed precondition",
		       STR_ARG(name));
}

struct err *store_rest(struct snapshotter *sn, struct str name)
{
	struct store *st = store_of(sn);
	struct snap *s;

	LOCKED(&st->lock);
	TRY(find_active_locked(st, name, &s));
	if (!s->awake)
		return NULL;
	s->awake = false;
	s->made = ++st->n_made;
	store_want_sync_locked(st);
	return NULL;
}

struct err *store_wake(struct snapshotter *sn, struct str name)
{
	struct store *st = store_of(sn);
	struct snap *s;
	bool was_durable;

	lock_take(&st->lock);
	struct err *e = find_active_locked(st, name, &s);

	if (e || s->awake) {
		lock_drop(&st->lock);
		return e;
	}
	s->awake = true;
	was_durable = s->durable;
	s->durable = false;
	if (was_durable)
		store_put_locked(st, s);
	lock_drop(&st->lock);
	if (!was_durable)
		return NULL;
	TRY(store_flush(st));
	return kv_sync(st->kv);
}

struct err *store_remove(struct snapshotter *sn, struct str name)
{
	struct store *st = store_of(sn);
	struct snap *s;
	struct err *e;

	lock_take(&st->lock);
	e = store_find_locked(st, name, &s);
	if (!e && s->children)
		e = err_new(ERR_FAILED_PRECONDITION,
			    "cannot remove snapshot %.*s with child: failed precondition",
			    STR_ARG(name));
	if (!e) {
		store_drop_locked(st, s);
		/* A record without a directory is nothing to a start: many removals share a write.
		 */
		store_want_flush_locked(st);
	}
	lock_drop(&st->lock);
	TRY(e);
	store_bury(st);
	return NULL;
}

void store_free_op(struct snapshotter *sn)
{
	store_free(store_of(sn));
}
