#include "base/limits.h"
#include "snapshot/changes.h"
#include "snapshot/link.h"
#include "snapshot/mounts.h"
#include "snapshot/store.h"
#include "snapshot/usage.h"
#include "sys/copy.h"
#include "sys/fd.h"

#include <unistd.h>

/* Every snapshot with a layer of its own is a whole tree. A view, and a committed one without a
 * layer, shows its parent's. What is "between" two snapshots is its additions, and remembers the
 * two for the deletions. */

static struct layer *shown_locked(const struct snap *s)
{
	while (s && !s->own)
		s = s->parent;
	return s ? s->own : NULL;
}

static struct err *copy_layer(struct store *st, struct ctx *ctx, const struct layer *from,
			      const struct layer *to)
{
	const struct copy_opts o = { .flags = COPY_SKIP_SOCKETS };
	CLEANUP_FD int src = -1;
	CLEANUP_FD int dst = -1;

	TRY(store_layer_open(st, from, &src));
	TRY(store_layer_open(st, to, &dst));
	TRY(copy_tree(ctx, src, dst, &o));
	return copy_dir_meta(src, dst, &o);
}

static struct err *native_prepare(struct snapshotter *sn, struct str name, struct str parent)
{
	struct store *st = store_of(sn);
	struct layer *from, *own = NULL;
	struct snap *s;
	struct err *e;

	TRY(store_add(st, name, SNAPSHOT_ACTIVE, parent, &s));
	lock_take(&st->lock);
	from = shown_locked(s->parent);
	lock_drop(&st->lock);
	e = store_layer_new(st, from, &own);
	if (!e && from)
		e = copy_layer(st, NULL, from, own);
	s->own = own;
	return store_finish(st, s, e);
}

static struct err *native_view(struct snapshotter *sn, struct str name, struct str parent)
{
	struct store *st = store_of(sn);
	struct layer *own = NULL;
	struct snap *s;
	struct err *e = NULL;

	TRY(store_add(st, name, SNAPSHOT_VIEW, parent, &s));
	if (!s->parent) {
		e = store_layer_new(st, NULL, &own);
		s->own = own;
	}
	return store_finish(st, s, e);
}

static struct err *native_mounts(struct snapshotter *sn, struct arena *a, struct str name,
				 struct mounts **ret)
{
	struct store *st = store_of(sn);
	struct mounts *m = ARENA_NEW(a, struct mounts);
	struct snap *s;

	LOCKED(&st->lock);
	TRY(store_find_locked(st, name, &s));
	m->kind = MOUNT_BIND;
	m->source = store_layer_path(st, shown_locked(s), a);
	m->readonly = s->kind != SNAPSHOT_ACTIVE;
	*ret = m;
	return NULL;
}

/* Applies what upper has and lower (NULL: nothing) has not. */
static struct err *apply_between(struct store *st, struct ctx *ctx, const struct layer *lower,
				 const struct layer *upper, int to)
{
	CLEANUP_FD int low = -1;
	CLEANUP_FD int up = -1;
	struct linker k;
	struct err *e;

	if (lower)
		TRY(store_layer_open(st, lower, &low));
	TRY(store_layer_open(st, upper, &up));
	linker_init(&k, to);
	e = changes_between(ctx, low, up, linker_change, &k);
	if (!e)
		e = linker_finish(&k);
	linker_fini(&k);
	return e;
}

struct step {
	struct layer *lower, *upper; /* counted */
};

struct steps { /* topmost first */
	struct step *items;
	size_t len, cap;
};

/* The differences that a snapshot consists of, each layer on its parent. */
static void add_steps_locked(const struct snap *s, struct steps *out)
{
	for (; s; s = s->parent) {
		struct step x = { .upper = shown_locked(s), .lower = shown_locked(s->parent) };

		if (!s->own)
			continue;
		if (s->is_diff) {
			x.lower = shown_locked(s->diff_lower);
			x.upper = shown_locked(s->diff_upper);
		}
		if (x.lower)
			(void)store_layer_ref_locked(x.lower);
		if (x.upper)
			(void)store_layer_ref_locked(x.upper);
		vec_push(out, x);
	}
}

static struct err *run_steps(struct store *st, struct ctx *ctx, struct steps *steps, int to)
{
	struct layer *empty = NULL;
	struct err *e = NULL;

	while (steps->len) {
		struct step x = vec_pop(steps);

		/* Nothing above something: all of it goes. */
		if (!e && !x.upper && !empty)
			e = store_layer_new(st, NULL, &empty);
		if (!e)
			e = apply_between(st, ctx, x.lower, x.upper ? x.upper : empty, to);
		if (x.lower)
			store_layer_unref(st, x.lower);
		if (x.upper)
			store_layer_unref(st, x.upper);
	}
	vec_fini(steps);
	if (empty)
		store_layer_unref(st, empty);
	return e;
}

static struct err *native_merge(struct snapshotter *sn, struct ctx *ctx, struct str name,
				const struct str *parents, size_t n)
{
	struct store *st = store_of(sn);
	struct steps steps = { 0 };
	struct layer *own = NULL;
	CLEANUP_FD int to = -1;
	struct snap *s;
	struct err *e;

	TRY(store_add(st, name, SNAPSHOT_COMMITTED, STR(""), &s));
	e = store_layer_new(st, NULL, &own);
	s->own = own;
	if (!e)
		e = store_layer_open(st, own, &to);
	lock_take(&st->lock);
	for (size_t i = n; i-- > 0 && !e;) {
		struct snap *p;

		e = store_find_parent_locked(st, parents[i], &p);
		if (!e)
			add_steps_locked(p, &steps);
	}
	lock_drop(&st->lock);
	if (own)
		own->linked = true;
	e = err_first(e, run_steps(st, ctx, &steps, e ? -1 : to));
	return store_finish(st, s, err_wrap(e, "failed to merge"));
}

static struct err *native_between(struct snapshotter *sn, struct ctx *ctx, struct str name,
				  struct str lower, struct str upper)
{
	struct store *st = store_of(sn);
	struct layer *own = NULL;
	CLEANUP_FD int to = -1;
	struct steps steps = { 0 };
	struct snap *s, *low = NULL, *up = NULL;
	struct err *e;

	TRY(store_add(st, name, SNAPSHOT_COMMITTED, STR(""), &s));
	e = store_layer_new(st, NULL, &own);
	if (!e)
		e = store_layer_open(st, own, &to);
	lock_take(&st->lock);
	s->own = own;
	s->is_diff = true;
	if (!e && lower.len)
		e = store_find_parent_locked(st, lower, &low);
	if (!e && upper.len)
		e = store_find_parent_locked(st, upper, &up);
	if (!e) {
		own->linked = true;
		s->diff_lower = low;
		s->diff_upper = up;
		if (low)
			low->children++;
		if (up)
			up->children++;
		add_steps_locked(s, &steps);
	}
	lock_drop(&st->lock);
	e = err_first(e, run_steps(st, ctx, &steps, to));
	return store_finish(st, s, err_wrap(e, "failed to take the difference"));
}

static const struct snapshotter_ops native_ops = {
	.name = "native",
	.stat = store_stat,
	.prepare = native_prepare,
	.view = native_view,
	.commit = store_commit,
	.rest = store_rest,
	.wake = store_wake,
	.mounts = native_mounts,
	.remove = store_remove,
	.usage = store_usage,
	.each = store_each,
	.merge = native_merge,
	.between = native_between,
	.free = store_free_op,
};

struct err *snapshotter_open_native(const char *dir, struct kv *kv, struct snapshotter **ret)
{
	struct store *st;

	TRY(store_open(dir, kv, &native_ops, &st));
	*ret = &st->base;
	return NULL;
}
