/* Merges and differences, which containerd has not, by copying: the steps from tree to tree that
 * stacks are made of are done again on a new snapshot. */
#include "containerd/snapshotter.h"

#include "base/mem.h"
#include "base/vec.h"
#include "snapshot/link.h"
#include "sys/fd.h"

#include <unistd.h>

/* containerd's limit of a label, less its name. */
#define MERGED_MAX 4000

/* From one tree to another; "" is the empty one. */
struct step {
	struct str lower, upper;
};
struct steps { /* the last one first */
	struct step *items;
	size_t len, cap;
};

/* Differences of differences and so on. */
#define DIFF_DEPTH_MAX 64

static struct err *add_steps(struct csnapshotter *cs, struct arena *a, struct str name,
			     unsigned depth, struct steps *out);

/* Does the stack `up` stand on all of `low`? */
static bool stands_on(const struct steps *up, const struct steps *low)
{
	size_t above = up->len - MIN(low->len, up->len);

	for (size_t i = 0; i < low->len; i++)
		if (above + i >= up->len ||
		    !str_eq(up->items[above + i].lower, low->items[i].lower) ||
		    !str_eq(up->items[above + i].upper, low->items[i].upper))
			return false;
	return true;
}

/* What upper has above lower: its steps from there on, when it stands on it; else as one step from
 * the one to the other. */
static struct err *add_diff_steps(struct csnapshotter *cs, struct arena *a, struct str lower,
				  struct str upper, unsigned depth, struct steps *out)
{
	struct steps up = { 0 }, low = { 0 };
	struct err *e = NULL;

	if (depth == DIFF_DEPTH_MAX)
		return err_new(ERR_RESOURCE_EXHAUSTED, "differences nested more than %d deep",
			       DIFF_DEPTH_MAX);
	if (upper.len)
		e = add_steps(cs, a, upper, depth + 1, &up);
	if (!e && lower.len)
		e = add_steps(cs, a, lower, depth + 1, &low);
	if (!e && upper.len && low.len <= up.len && stands_on(&up, &low))
		for (size_t i = 0; i < up.len - low.len; i++)
			vec_push(out, up.items[i]);
	else if (!e)
		vec_push(out, ((struct step) { lower, upper }));
	vec_fini(&up);
	vec_fini(&low);
	return e;
}

static struct err *add_steps(struct csnapshotter *cs, struct arena *a, struct str name,
			     unsigned depth, struct steps *out)
{
	VEC(struct str) todo = VEC_INIT; /* the topmost last */
	struct err *e = NULL;

	vec_push(&todo, name);
	while (todo.len && !e) {
		struct csnap s;

		name = vec_pop(&todo);
		if (!name.len)
			continue;
		e = csnap_find(cs, a, name, &s);
		if (e)
			break;
		if (s.merged) {
			/* All that its parts deleted counts, even where there was nothing then. */
			struct str rest = str_from(s.merged), part;

			while (str_next(&rest, ',', &part))
				vec_push(&todo, part);
			continue;
		}
		if (s.is_diff) {
			e = add_diff_steps(cs, a, str_from(s.lower), str_from(s.upper), depth, out);
			continue;
		}
		vec_push(out, ((struct step) { str_from(s.parent), name }));
		vec_push(&todo, str_from(s.parent));
	}
	vec_fini(&todo);
	return e;
}

static struct err *open_tree(struct csnapshotter *cs, struct str name, struct localmount **ret)
{
	struct mounts *m;
	SCOPED_ARENA(a);

	TRY(csnap_mounts(&cs->base, &a, name, &m));
	return localmount_open(m, NULL, ret);
}

static struct err *open_nothing(int *ret)
{
	CLEANUP(localmount_closep) struct localmount *l = NULL;
	struct mounts m = { .kind = MOUNT_TMPFS, .readonly = true };

	TRY(localmount_open(&m, NULL, &l));
	return fd_dup(localmount_dirfd(l), ret);
}

static struct err *apply_step(struct csnapshotter *cs, struct ctx *ctx, const struct step *s,
			      int to)
{
	CLEANUP(localmount_closep) struct localmount *low = NULL;
	CLEANUP(localmount_closep) struct localmount *up = NULL;
	CLEANUP_FD int nothing = -1;
	struct linker k;
	struct err *e;

	if (s->lower.len)
		TRY(open_tree(cs, s->lower, &low));
	if (s->upper.len)
		TRY(open_tree(cs, s->upper, &up));
	else
		TRY(open_nothing(&nothing));
	linker_init(&k, to);
	k.copies = true;
	e = changes_between(ctx, low ? localmount_dirfd(low) : -1,
			    up ? localmount_dirfd(up) : nothing, linker_change, &k);
	if (!e)
		e = linker_finish(&k);
	linker_fini(&k);
	return e;
}

/* Makes the committed `name` on `base` by these steps. */
static struct err *run_steps(struct csnapshotter *cs, struct ctx *ctx, struct str name,
			     struct str base, struct steps *steps, const struct csnap *as)
{
	CLEANUP(localmount_closep) struct localmount *to = NULL;
	struct csnap s = *as;
	struct err *e;
	SCOPED_ARENA(a);

	TRY(csnap_prepare(&cs->base, name, base));
	e = open_tree(cs, name, &to);
	while (!e && steps->len) {
		struct step x = vec_pop(steps);

		e = apply_step(cs, ctx, &x, localmount_dirfd(to));
	}
	localmount_closep(&to);
	s.kind = SNAPSHOT_COMMITTED;
	s.parent = str_cstr(&a, base);
	if (!e)
		e = csnap_commit_as(cs, name, name, &s);
	if (e)
		err_free(csnap_remove(&cs->base, name));
	return e;
}

/* The first parent, unless that is a difference, is what the others are put on. */
struct err *csnap_merge(struct snapshotter *sn, struct ctx *ctx, struct str name,
			const struct str *parents, size_t n)
{
	struct csnapshotter *cs = csnapshotter_of(sn);
	struct steps steps = { 0 };
	struct csnap first;
	struct err *e;
	SCOPED_ARENA(a);
	SCOPED_BUF(merged, MERGED_MAX);
	struct csnap as = { 0 };
	size_t from;

	for (size_t i = 0; i < n; i++)
		buf_addf(&merged, "%s%.*s", i ? "," : "", STR_ARG(parents[i]));
	if (!merged.overflow)
		as.merged = (char *)buf_cstr(&merged);
	TRY(csnap_find(cs, &a, parents[0], &first));
	from = first.is_diff ? 0 : 1;
	e = NULL;
	for (size_t i = n; i-- > from && !e;)
		e = add_steps(cs, &a, parents[i], 0, &steps);
	if (!e)
		e = run_steps(cs, ctx, name, from ? parents[0] : STR_NONE, &steps, &as);
	vec_fini(&steps);
	return err_wrap(e, "failed to merge");
}

struct err *csnap_between(struct snapshotter *sn, struct ctx *ctx, struct str name,
			  struct str lower, struct str upper)
{
	struct csnapshotter *cs = csnapshotter_of(sn);
	struct steps steps = { 0 };
	struct csnap s = { .is_diff = true };
	struct err *e;
	SCOPED_ARENA(a);

	s.lower = str_cstr(&a, lower);
	s.upper = str_cstr(&a, upper);
	e = add_diff_steps(cs, &a, lower, upper, 0, &steps);
	if (!e)
		e = run_steps(cs, ctx, name, STR_NONE, &steps, &s);
	vec_fini(&steps);
	return err_wrap(e, "failed to take the difference");
}
