#include "snapshot/merge.h"

#include "base/limits.h"
#include "snapshot/changes.h"
#include "snapshot/layers.h"
#include "snapshot/link.h"
#include "snapshot/mounts.h"
#include "sys/userns.h"

#include <unistd.h>

/* A merge is its inputs' layers on top of each other: nothing is copied, except
 * - layers that are not clean (clean.c), once in their life;
 * - a layer that is there twice: overlayfs takes a directory only once, so further ones are linked
 *   copies;
 * - stacks that are too deep (join.c). */

struct part {
	struct layer *layer;
	struct layers base; /* what is below it, if that matters */
};

struct parts { /* topmost first */
	struct part *items;
	size_t len, cap;
};

static void parts_fini(struct parts *p)
{
	vec_each (p, it)
		vec_fini(&it->base);
	vec_fini(p);
}

static bool needs_base(const struct layer *l)
{
	return !l->clean && !l->clean_copy;
}

/* The stack of s down to (not including) `end`, each layer with its base. */
static void add_parts_locked(const struct snap *s, const struct snap *end, struct parts *out)
{
	for (; s && s != end; s = s->parent) {
		if (s->own) {
			struct part p = { .layer = s->own };

			if (needs_base(s->own) && s->parent)
				store_stack_locked(s->parent, false, &p.base);
			vec_push(out, p);
		}
		for (size_t i = 0; i < s->n_base; i++) {
			struct part p = { .layer = s->base[i] };

			for (size_t k = i + 1; needs_base(s->base[i]) && k < s->n_base; k++)
				vec_push(&p.base, s->base[k]);
			vec_push(out, p);
		}
	}
}

static void give_back(struct store *st, struct layers *l)
{
	vec_each (l, it)
		store_layer_unref(st, *it);
	vec_fini(l);
}

static bool is_in(const struct layers *l, const struct layer *x)
{
	for (size_t i = 0; i < l->len; i++)
		if (l->items[i] == x)
			return true;
	return false;
}

/* Adds counted layers, lowest first: of a layer that comes twice the lower one stays itself, so
 * that what a merge stands on can be told from its layers. as_they_are: at the bottom of the merge,
 * where they have the base that they were made for. */
static struct err *take_parts(struct store *st, struct ctx *ctx, const struct parts *p,
			      bool as_they_are, struct layers *out)
{
	for (size_t i = p->len; i-- > 0;) {
		struct layer *l = p->items[i].layer, *copy = NULL;

		if (as_they_are) {
			lock_take(&st->lock);
			(void)store_layer_ref_locked(l);
			lock_drop(&st->lock);
		} else {
			TRY(ctx_err(ctx));
			TRY(layers_clean(st, ctx, l, &p->items[i].base, &l));
		}
		if (is_in(out, l)) {
			struct err *e = layers_join(st, &l, 1, false, &copy);

			if (!e)
				copy->clean = true;
			store_layer_unref(st, l);
			TRY(e);
			l = copy;
		}
		vec_push(out, l);
	}
	return NULL;
}

/* The new snapshot shows these (lowest first), which it takes over. */
static struct err *finish(struct store *st, struct snap *s, struct layers *take_l,
			  struct err *take_e)
{
	if (take_e) {
		give_back(st, take_l);
		return store_finish(st, s, take_e);
	}
	for (size_t i = 0, k = take_l->len; i + 1 < k; i++) {
		struct layer *l = take_l->items[i];

		take_l->items[i] = take_l->items[--k];
		take_l->items[k] = l;
	}
	lock_take(&st->lock);
	s->base = take_l->items;
	s->n_base = take_l->len;
	s->busy = false; /* layers_limit takes it; nobody else has its name yet */
	lock_drop(&st->lock);
	take_e = layers_limit(st, s);
	lock_take(&st->lock);
	s->busy = true;
	lock_drop(&st->lock);
	return store_finish(st, s, take_e);
}

/* Finds a committed snapshot and keeps it. NULL for "". */
static struct err *hold_locked(struct store *st, struct str name, struct snap **ret)
{
	*ret = NULL;
	if (!name.len)
		return NULL;
	TRY(store_find_parent_locked(st, name, ret));
	(*ret)->children++;
	return NULL;
}

static void let_go(struct store *st, struct snap *s)
{
	if (!s)
		return;
	LOCKED(&st->lock);
	s->children--;
}

static struct err *merge_input(struct store *st, struct ctx *ctx, struct str parent, bool lowest,
			       struct layers *out)
{
	struct parts parts = { 0 };
	struct snap *p;
	struct err *e;

	lock_take(&st->lock);
	e = hold_locked(st, parent, &p);
	if (!e)
		add_parts_locked(p, NULL, &parts);
	lock_drop(&st->lock);
	TRY(e);
	e = take_parts(st, ctx, &parts, lowest, out);
	parts_fini(&parts);
	let_go(st, p);
	return e;
}

struct err *overlay_merge(struct snapshotter *sn, struct ctx *ctx, struct str name,
			  const struct str *parents, size_t n)
{
	struct store *st = store_of(sn);
	struct layers l = { 0 };
	struct snap *s;
	struct err *e = NULL;

	TRY(store_add(st, name, SNAPSHOT_COMMITTED, STR(""), &s));
	for (size_t i = 0; i < n && !e; i++)
		e = merge_input(st, ctx, parents[i], i == 0, &l);
	return finish(st, s, &l, err_wrap(e, "failed to merge"));
}

/* ---- between ---- */

/* lower is below upper: the layers above it are what is between. */
static bool is_below_locked(const struct snap *lower, const struct snap *upper)
{
	for (; upper; upper = upper->parent)
		if (upper == lower)
			return true;
	return !lower;
}

/* A merge on top of what lower shows: its lowest layers are lower's stack. */
static bool is_base_of_locked(const struct snap *lower, const struct snap *upper,
			      struct parts *parts)
{
	struct layers low = { 0 };
	bool same;

	store_stack_locked(lower, true, &low);
	same = low.len <= parts->len;
	for (size_t i = 1; same && i <= low.len; i++)
		same = low.items[low.len - i] == parts->items[parts->len - i].layer;
	for (size_t i = 0; same && i < low.len; i++) {
		struct part *last = &vec_pop(parts);

		vec_fini(&last->base);
	}
	vec_fini(&low);
	return same;
}

struct opened_layers {
	int *fds;
	size_t n;
};

static void opened_fini(struct opened_layers *o)
{
	for (size_t i = 0; i < o->n; i++)
		(void)close(o->fds[i]);
	free(o->fds);
}

/* Links together what a walk of both trees finds. */
static struct err *link_between(struct store *st, struct ctx *ctx, const struct layers *low,
				const struct layers *up, struct layer *to)
{
	struct localmount *lower = NULL, *upper = NULL;
	struct layer *tmp_low = NULL, *tmp_up = NULL;
	CLEANUP(opened_fini) struct opened_layers o = { 0 };
	CLEANUP(linker_fini) struct linker k;
	CLEANUP_FD int fd = -1;
	struct err *e = store_layer_open(st, to, &fd);

	linker_init(&k, fd);
	k.whiteouts = true;
	k.userxattr = userns_inside();
	o.fds = mem_calloc(up->len + 1, sizeof(*o.fds));
	for (; o.n < up->len && !e; o.n++)
		if ((e = store_layer_open(st, up->items[o.n], &o.fds[o.n])))
			break;
	k.sources = (struct link_sources) { o.fds, o.n };
	if (!e)
		e = layers_open_view(st, low->items, low->len, &lower, &tmp_low);
	if (!e)
		e = layers_open_view(st, up->items, up->len, &upper, &tmp_up);
	if (!e)
		e = changes_between(ctx, localmount_dirfd(lower), localmount_dirfd(upper),
				    linker_change, &k);
	if (!e)
		e = linker_finish(&k);
	localmount_close(lower);
	localmount_close(upper);
	if (tmp_low)
		store_layer_unref(st, tmp_low);
	if (tmp_up)
		store_layer_unref(st, tmp_up);
	return e;
}

static struct err *make_between(struct store *st, struct ctx *ctx, struct snap *lower,
				struct snap *upper, struct layers *out)
{
	struct layers low = { 0 }, up = { 0 };
	struct layer *to = NULL;
	struct err *e;

	lock_take(&st->lock);
	store_stack_locked(lower, false, &low);
	if (upper)
		store_stack_locked(upper, false, &up);
	lock_drop(&st->lock);
	e = store_layer_new(st, up.len ? up.items[0] : NULL, &to);
	if (!e) {
		to->linked = to->whiteouts = to->clean = true;
		e = link_between(st, ctx, &low, &up, to);
		vec_push(out, to);
	}
	vec_fini(&low);
	vec_fini(&up);
	return e;
}

struct err *overlay_between(struct snapshotter *sn, struct ctx *ctx, struct str name,
			    struct str lower, struct str upper)
{
	struct store *st = store_of(sn);
	struct snap *s, *low = NULL, *up = NULL;
	struct parts parts = { 0 };
	struct layers l = { 0 };
	bool shared = false;
	struct err *e;

	TRY(store_add(st, name, SNAPSHOT_COMMITTED, STR(""), &s));
	lock_take(&st->lock);
	e = hold_locked(st, lower, &low);
	if (!e)
		e = hold_locked(st, upper, &up);
	if (!e && is_below_locked(low, up)) {
		add_parts_locked(up, low, &parts);
		shared = true;
	} else if (!e && up) {
		add_parts_locked(up, NULL, &parts);
		shared = is_base_of_locked(low, up, &parts);
	}
	lock_drop(&st->lock);
	if (!e && shared)
		e = take_parts(st, ctx, &parts, !low, &l);
	else if (!e)
		e = make_between(st, ctx, low, up, &l);
	parts_fini(&parts);
	let_go(st, low);
	let_go(st, up);
	return finish(st, s, &l, err_wrap(e, "failed to take the difference"));
}

struct err *layers_open_single(struct store *st, struct str lower, struct str upper, int *ret_fd)
{
	struct layers low = { 0 }, up = { 0 };
	struct layer *l = NULL;
	struct snap *s;
	struct err *e = NULL;

	lock_take(&st->lock);
	if (lower.len && !(e = store_find_locked(st, lower, &s)))
		store_stack_locked(s, true, &low);
	if (!e && !(e = store_find_locked(st, upper, &s)))
		store_stack_locked(s, true, &up);
	if (!e && up.len == low.len + 1) {
		l = up.items[0];
		for (size_t i = 0; l && i < low.len; i++)
			if (low.items[i] != up.items[i + 1])
				l = NULL;
	}
	if (l)
		(void)store_layer_ref_locked(l);
	lock_drop(&st->lock);
	vec_fini(&low);
	vec_fini(&up);
	if (!l)
		return e;
	e = store_layer_open(st, l, ret_fd);
	store_layer_unref(st, l);
	return e;
}
