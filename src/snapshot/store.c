#include "snapshot/store.h"

#include "base/limits.h"
#include "sys/fd.h"

#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- layers ---- */

struct str store_layer_path(const struct store *st, const struct layer *l, struct arena *a)
{
	return str_from(arena_printf(a, "%s/%llu/fs", st->dir, (unsigned long long)l->id));
}

struct err *store_layer_open(const struct store *st, const struct layer *l, int *ret)
{
	char name[40];

	(void)snprintf(name, sizeof(name), "%llu/fs", (unsigned long long)l->id);
	return fd_open_dir(st->dirfd, name, ret);
}

/* The root directory of a stack is that of its topmost layer. */
static struct err *root_like(struct store *st, const struct layer *like, const char *fs)
{
	char name[40];
	struct stat s;

	(void)snprintf(name, sizeof(name), "%llu/fs", (unsigned long long)like->id);
	if (fstatat(st->dirfd, name, &s, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(errno, "stat %s", name);
	if ((s.st_uid || s.st_gid) &&
	    fchownat(st->dirfd, fs, s.st_uid, s.st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(errno, "chown %s", fs);
	if (fchmodat(st->dirfd, fs, s.st_mode & 07777, 0) < 0)
		return err_errno(errno, "chmod %s", fs);
	return NULL;
}

struct err *store_layer_new(struct store *st, const struct layer *like, struct layer **ret)
{
	struct layer *l;
	char name[40];
	uint64_t id;
	struct err *e = NULL;
	size_t n;

	lock_take(&st->lock);
	id = st->next_id++;
	lock_drop(&st->lock);
	n = (size_t)snprintf(name, sizeof(name), "%llu", (unsigned long long)id);
	if (mkdirat(st->dirfd, name, 0700) < 0)
		return err_errno(errno, "failed to create snapshot directory %s", name);
	(void)snprintf(name + n, sizeof(name) - n, "/fs");
	if (mkdirat(st->dirfd, name, 0755) < 0)
		e = err_errno(errno, "failed to create snapshot directory %s", name);
	else if (like)
		e = root_like(st, like, name);
	else if (fchmodat(st->dirfd, name, 0755, 0) < 0)
		e = err_errno(errno, "chmod %s", name);
	l = NEW(struct layer);
	l->id = id;
	l->refs = 1;
	if (e) {
		store_layer_unref(st, l);
		return e;
	}
	*ret = l;
	return NULL;
}

void store_layer_made(struct store *st, struct layer *l)
{
	LOCKED(&st->lock);
	l->made = ++st->n_made;
	store_want_sync_locked(st);
}

struct layer *store_layer_ref_locked(struct layer *l)
{
	l->refs++;
	return l;
}

void store_layer_unref_locked(struct store *st, struct layer *l)
{
	lock_assert_held(&st->lock);
	while (l && --l->refs == 0) {
		struct layer *copy = l->clean_copy;

		vec_push(&st->doomed, l->id);
		free(l);
		l = copy;
	}
}

void store_layer_unref(struct store *st, struct layer *l)
{
	lock_take(&st->lock);
	store_layer_unref_locked(st, l);
	lock_drop(&st->lock);
	store_bury(st);
}

void store_bury(struct store *st)
{
	for (;;) {
		char name[24];

		lock_take(&st->lock);
		if (!st->doomed.len) {
			lock_drop(&st->lock);
			return;
		}
		(void)snprintf(name, sizeof(name), "%llu",
			       (unsigned long long)vec_pop(&st->doomed));
		lock_drop(&st->lock);
		/* What can't be moved now is an orphan to the next open. */
		err_free(trash_put(st->trash, st->dirfd, name));
	}
}

/* ---- snapshots ---- */

struct err *store_check_name(struct str name)
{
	if (!name.len || name.len > SNAPSHOT_NAME_MAX || memchr(name.ptr, '/', name.len) ||
	    memchr(name.ptr, '\0', name.len))
		return err_new(ERR_INVALID_ARGUMENT, "invalid snapshot name %.*s", STR_ARG(name));
	return NULL;
}

struct err *store_find_locked(struct store *st, struct str name, struct snap **ret)
{
	struct snap *s;

	while ((s = map_get(&st->snaps, name)) && s->busy)
		cond_wait_uninterrupted(&st->changed, &st->lock);
	if (!s)
		return err_new(ERR_NOT_FOUND, "snapshot %.*s does not exist: not found",
			       STR_ARG(name));
	*ret = s;
	return NULL;
}

struct err *store_find_parent_locked(struct store *st, struct str name, struct snap **ret)
{
	struct snap *s;

	TRY(store_find_locked(st, name, &s));
	if (s->kind != SNAPSHOT_COMMITTED)
		return err_new(ERR_INVALID_ARGUMENT,
			       "parent snapshot %.*s is not committed: invalid argument",
			       STR_ARG(name));
	*ret = s;
	return NULL;
}

struct err *store_add_locked(struct store *st, struct str name, enum snapshot_kind kind,
			     struct snap *parent, struct snap **ret)
{
	struct snap *s;

	TRY(store_check_name(name));
	if (map_has(&st->snaps, name))
		return err_new(ERR_ALREADY_EXISTS, "snapshot %.*s: already exists", STR_ARG(name));
	s = NEW(struct snap);
	s->kind = kind;
	s->name = mem_strndup(name.ptr, name.len);
	s->parent = parent;
	s->busy = true;
	s->awake = kind == SNAPSHOT_ACTIVE;
	s->made = ++st->n_made;
	if (parent)
		parent->children++;
	(void)map_put(&st->snaps, name, s);
	*ret = s;
	return NULL;
}

struct pending {
	char *value; /* NULL: delete */
	size_t len;
};

static void pending_free(void *p)
{
	struct pending *x = p;

	if (x)
		free(x->value);
	free(x);
}

static void pend_locked(struct store *st, const char *name, struct pending *take_p)
{
	st->gen++;
	pending_free(map_put(&st->pending, str_from(name), take_p));
}

void store_put_locked(struct store *st, struct snap *s)
{
	struct pending *p = NEW(struct pending);
	SCOPED_BUF(b, 16 * MIB);

	lock_assert_held(&st->lock);
	store_encode_locked(st, s, &b);
	if (!s->durable)
		store_want_sync_locked(st);
	p->len = b.len;
	p->value = buf_take(&b);
	pend_locked(st, s->name, p);
}

void store_rename_locked(struct store *st, struct snap *s, struct str name)
{
	lock_assert_held(&st->lock);
	if (str_eq_cstr(name, s->name))
		return;
	(void)map_del(&st->snaps, str_from(s->name));
	pend_locked(st, s->name, NEW(struct pending));
	free(s->name);
	s->name = mem_strndup(name.ptr, name.len);
	(void)map_put(&st->snaps, name, s);
}

void store_drop_locked(struct store *st, struct snap *s)
{
	lock_assert_held(&st->lock);
	(void)map_del(&st->snaps, str_from(s->name));
	pend_locked(st, s->name, NEW(struct pending));
	store_layer_unref_locked(st, s->own);
	for (size_t i = 0; i < s->n_base; i++)
		store_layer_unref_locked(st, s->base[i]);
	for (size_t i = 0; i < s->n_joined; i++)
		store_layer_unref_locked(st, s->joined[i]);
	if (s->parent)
		s->parent->children--;
	if (s->diff_lower)
		s->diff_lower->children--;
	if (s->diff_upper)
		s->diff_upper->children--;
	free(s->base);
	free(s->joined);
	free(s->name);
	free(s);
	cond_broadcast(&st->changed);
}

void store_stack_locked(const struct snap *s, bool raw, struct layers *out)
{
	for (; s; s = s->parent) {
		if (s->joined && !raw) {
			for (size_t i = 0; i < s->n_joined; i++)
				vec_push(out, s->joined[i]);
			return;
		}
		if (s->own)
			vec_push(out, s->own);
		for (size_t i = 0; i < s->n_base; i++)
			vec_push(out, s->base[i]);
	}
}

size_t store_stack_len_locked(const struct snap *s)
{
	size_t n = 0;

	for (; s; s = s->parent) {
		if (s->joined)
			return n + s->n_joined;
		n += (s->own ? 1 : 0) + s->n_base;
	}
	return n;
}

/* ---- writing ---- */

static struct err *write_pending(struct kv_txn *t, void *arg)
{
	const struct map *m = arg;

	for (struct map_entry *e = map_next(m, NULL); e; e = map_next(m, e)) {
		const struct pending *p = e->value;

		if (p->value)
			TRY(kv_put(t, SNAPSHOT_TABLE, map_key(e), str_make(p->value, p->len)));
		else
			TRY(kv_del(t, SNAPSHOT_TABLE, map_key(e)));
	}
	return NULL;
}

/* Back into what is to be written, except where something newer is. */
static void put_back_locked(struct store *st, struct map *m)
{
	for (struct map_entry *e = map_next(m, NULL); e; e = map_next(m, e)) {
		if (map_has(&st->pending, map_key(e)))
			continue;
		(void)map_put(&st->pending, map_key(e), e->value);
		e->value = NULL;
	}
}

struct err *store_flush(struct store *st)
{
	struct err *e = NULL;
	uint64_t mine;

	lock_take(&st->lock);
	mine = st->gen;
	/* One writes what all have put by then. */
	while (!e && st->flushed_gen < mine) {
		struct map m;
		uint64_t gen;

		if (st->flushing) {
			cond_wait_uninterrupted(&st->changed, &st->lock);
			continue;
		}
		st->flushing = true;
		m = st->pending;
		map_init(&st->pending);
		gen = st->gen;
		lock_drop(&st->lock);
		e = kv_update(st->kv, KV_LAZY, write_pending, &m);
		lock_take(&st->lock);
		if (e)
			put_back_locked(st, &m);
		else
			st->flushed_gen = gen;
		map_fini(&m, pending_free);
		st->flushing = false;
		cond_broadcast(&st->changed);
	}
	lock_drop(&st->lock);
	return e;
}

/* ---- open and close ---- */

/* Mounts are data with absolute paths. */
static struct err *absolute_dir(struct store *st)
{
	SCOPED_ARENA(a);
	struct str real;

	TRY(fd_real_path(&a, st->dirfd, &real));
	free(st->dir);
	st->dir = mem_strndup(real.ptr, real.len);
	return NULL;
}

struct err *store_open(const char *dir, struct kv *kv, const struct snapshotter_ops *ops,
		       struct store **ret)
{
	struct store *st;
	CLEANUP_FREE char *trash = mem_printf("%s/trash", dir);
	struct err *e;

	TRY(file_mkdirs(AT_FDCWD, dir, 0700));
	st = NEW(struct store);
	st->base.ops = ops;
	st->dir = mem_strdup(dir);
	st->dirfd = -1;
	st->kv = kv;
	st->next_id = 1;
	lock_init(&st->lock, LOCK_SNAPSHOT);
	cond_init(&st->changed);
	cond_init(&st->sync_cond);
	e = fd_open_dir(AT_FDCWD, dir, &st->dirfd);
	if (!e)
		e = absolute_dir(st);
	if (!e)
		e = file_boot_id(st->boot_id);
	if (!e)
		e = trash_open(trash, &st->trash);
	if (!e)
		e = store_load(st);
	if (!e)
		e = store_start_syncer(st);
	if (e) {
		store_free(st);
		return err_wrap(e, "open snapshots in %s", dir);
	}
	*ret = st;
	return NULL;
}

void store_free(struct store *st)
{
	if (!st)
		return;
	store_stop_syncer(st);
	trash_close(st->trash);
	lock_take(&st->lock);
	/* Children first does not matter here: nothing is written any more. */
	for (struct map_entry *e = map_next(&st->snaps, NULL); e; e = map_next(&st->snaps, e)) {
		struct snap *s = e->value;

		s->parent = s->diff_lower = s->diff_upper = NULL;
	}
	for (struct map_entry *e; (e = map_next(&st->snaps, NULL));)
		store_drop_locked(st, e->value);
	lock_drop(&st->lock);
	map_fini(&st->snaps, NULL);
	map_fini(&st->pending, pending_free);
	vec_fini(&st->doomed);
	cond_fini(&st->changed);
	cond_fini(&st->sync_cond);
	lock_fini(&st->lock);
	if (st->dirfd >= 0)
		(void)close(st->dirfd);
	free(st->dir);
	free(st);
}
