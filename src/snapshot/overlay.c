#include "base/limits.h"
#include "snapshot/layers.h"
#include "snapshot/merge.h"
#include "snapshot/store.h"
#include "snapshot/usage.h"
#include "sys/fd.h"
#include "sys/overlay_probe.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#define EMPTY "empty" /* beneath a lone layer with whiteouts, and the view of nothing */

static struct err *overlay_prepare(struct snapshotter *sn, struct str name, struct str parent)
{
	struct store *st = store_of(sn);
	struct layer *own = NULL;
	struct layers stack = { 0 };
	struct snap *s;
	struct err *e = NULL;

	TRY(store_add(st, name, SNAPSHOT_ACTIVE, parent, &s));
	if (s->parent)
		e = layers_limit(st, s->parent);
	if (!e) {
		lock_take(&st->lock);
		if (s->parent)
			store_stack_locked(s->parent, false, &stack);
		lock_drop(&st->lock);
		e = store_layer_new(st, stack.len ? stack.items[0] : NULL, &own);
	}
	if (own) {
		s->own = own;
		own->whiteouts = stack.len > 0;
		own->clean = !stack.len;
	}
	vec_fini(&stack);
	return store_finish(st, s, e);
}

static struct err *overlay_view(struct snapshotter *sn, struct str name, struct str parent)
{
	struct store *st = store_of(sn);
	struct snap *s;
	struct err *e = NULL;

	TRY(store_add(st, name, SNAPSHOT_VIEW, parent, &s));
	if (s->parent)
		e = layers_limit(st, s->parent);
	return store_finish(st, s, e);
}

static struct str in_dir(const struct store *st, const char *name, struct arena *a)
{
	return str_from(arena_printf(a, "%s/%s", st->dir, name));
}

struct mounts *layers_mounts(const struct store *st, const struct layers *l, struct arena *a)
{
	struct mounts *m = ARENA_NEW(a, struct mounts);

	m->readonly = true;
	if (!l->len || (l->len == 1 && !l->items[0]->whiteouts)) {
		m->kind = MOUNT_BIND;
		m->source = l->len ? store_layer_path(st, l->items[0], a) : in_dir(st, EMPTY, a);
		return m;
	}
	m->kind = MOUNT_OVERLAY;
	m->lowers = ARENA_NEW_N(a, struct str, l->len + 1);
	for (size_t i = 0; i < l->len; i++)
		m->lowers[m->n_lowers++] = store_layer_path(st, l->items[i], a);
	/* A mount without an upper dir wants two. */
	if (l->len == 1)
		m->lowers[m->n_lowers++] = in_dir(st, EMPTY, a);
	return m;
}

static struct mounts *active_mounts(const struct store *st, const struct layers *l, struct arena *a)
{
	struct mounts *m = ARENA_NEW(a, struct mounts);
	const struct layer *own = l->items[0];

	if (l->len == 1) {
		m->kind = MOUNT_BIND;
		m->source = store_layer_path(st, own, a);
		return m;
	}
	m->kind = MOUNT_OVERLAY;
	m->is_volatile = true;
	m->upper = store_layer_path(st, own, a);
	m->work = str_from(arena_printf(a, "%s/%llu/work", st->dir, (unsigned long long)own->id));
	m->lowers = ARENA_NEW_N(a, struct str, l->len - 1);
	for (size_t i = 1; i < l->len; i++)
		m->lowers[m->n_lowers++] = store_layer_path(st, l->items[i], a);
	return m;
}

static struct err *overlay_mounts(struct snapshotter *sn, struct arena *a, struct str name,
				  struct mounts **ret)
{
	struct store *st = store_of(sn);
	struct layers l = { 0 };
	struct snap *s;

	LOCKED(&st->lock);
	TRY(store_find_locked(st, name, &s));
	store_stack_locked(s, false, &l);
	if (s->kind == SNAPSHOT_ACTIVE)
		*ret = active_mounts(st, &l, a);
	else
		*ret = layers_mounts(st, &l, a);
	vec_fini(&l);
	return NULL;
}

static const struct snapshotter_ops overlay_ops = {
	.name = "overlayfs",
	.stat = store_stat,
	.prepare = overlay_prepare,
	.view = overlay_view,
	.commit = store_commit,
	.rest = store_rest,
	.wake = store_wake,
	.mounts = overlay_mounts,
	.remove = store_remove,
	.usage = store_usage,
	.each = store_each,
	.merge = overlay_merge,
	.between = overlay_between,
	.free = store_free_op,
};

struct err *snapshotter_open_overlay(const char *dir, struct kv *kv, struct snapshotter **ret)
{
	struct store *st;

	TRY(store_open(dir, kv, &overlay_ops, &st));
	if (mkdirat(st->dirfd, EMPTY, 0755) < 0 && errno != EEXIST) {
		struct err *e = err_errno(errno, "mkdir %s/" EMPTY, dir);

		store_free(st);
		return e;
	}
	*ret = &st->base;
	return NULL;
}

bool snapshot_is_overlay(const struct snapshotter *s)
{
	return s->ops == &overlay_ops;
}

bool snapshot_overlay_supported(const char *dir)
{
	struct overlay_features f;
	struct err *e = file_mkdirs(AT_FDCWD, dir, 0700);

	if (!e)
		e = overlay_probe(dir, &f);
	if (e) {
		err_free(e);
		return false;
	}
	return f.works;
}
