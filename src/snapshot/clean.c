#include "base/limits.h"
#include "snapshot/changes.h"
#include "snapshot/layers.h"
#include "snapshot/link.h"
#include "snapshot/mounts.h"
#include "sys/fd.h"
#include "sys/userns.h"

#include <unistd.h>

/* Overlayfs writes an upper directory for the base that it has: a directory made anew is opaque (a
 * mere optimisation where the base has none of that name), a file opened for writing and left alone
 * is there in full, and a directory in which something was made and removed again is there too. On
 * another base such a layer would hide, revert or bring what its changes do not touch. A clean
 * layer is what an archive of its changes would unpack to. */

/* More layers than can be mounted are joined for the while. */
#define VIEW_MAX 450

struct err *layers_open_view(struct store *st, struct layer *const *l, size_t n,
			     struct localmount **ret, struct layer **ret_tmp)
{
	struct layers few = { .items = (struct layer **)l, .len = n };
	SCOPED_ARENA(a);
	struct err *e;

	*ret_tmp = NULL;
	if (n <= VIEW_MAX)
		return localmount_open(layers_mounts(st, &few, &a), NULL, ret);
	TRY(layers_join(st, l, n, true, ret_tmp));
	few = (struct layers) { .items = ret_tmp, .len = 1 };
	e = localmount_open(layers_mounts(st, &few, &a), NULL, ret);
	if (e) {
		store_layer_unref(st, *ret_tmp);
		*ret_tmp = NULL;
	}
	return e;
}

static struct err *make_copy(struct store *st, struct ctx *ctx, const struct layer *l, int fd,
			     int base, struct layer **ret)
{
	struct layer *copy = NULL;
	CLEANUP_FD int to = -1;
	struct linker k;
	struct err *e;

	TRY(store_layer_new(st, l, &copy));
	copy->linked = copy->whiteouts = copy->clean = true;
	e = store_layer_open(st, copy, &to);
	linker_init(&k, to);
	k.whiteouts = true;
	k.userxattr = userns_inside();
	if (!e)
		e = changes_of_upper(ctx, fd, base, linker_change, &k, NULL);
	if (!e)
		e = linker_finish(&k);
	linker_fini(&k);
	if (e) {
		store_layer_unref(st, copy);
		return e;
	}
	store_layer_made(st, copy);
	*ret = copy;
	return NULL;
}

static struct err *clean(struct store *st, struct ctx *ctx, struct layer *l, int base,
			 struct layer **ret)
{
	struct changes_seen seen = { 0 };
	CLEANUP_FD int fd = -1;

	*ret = NULL;
	TRY(store_layer_open(st, l, &fd));
	TRY(changes_of_upper(ctx, fd, base, NULL, NULL, &seen));
	if (!seen.opaque && !seen.same)
		return NULL;
	return make_copy(st, ctx, l, fd, base, ret);
}

struct err *layers_clean(struct store *st, struct ctx *ctx, struct layer *l,
			 const struct layers *base, struct layer **ret)
{
	struct localmount *view = NULL;
	struct layer *tmp = NULL, *copy = NULL;
	struct err *e;

	lock_take(&st->lock);
	if (l->clean || l->clean_copy || !base->len) {
		*ret = store_layer_ref_locked(l->clean_copy ? l->clean_copy : l);
		lock_drop(&st->lock);
		return NULL;
	}
	lock_drop(&st->lock);
	TRY(layers_open_view(st, base->items, base->len, &view, &tmp));
	e = clean(st, ctx, l, localmount_dirfd(view), &copy);
	localmount_close(view);
	if (tmp)
		store_layer_unref(st, tmp);
	TRYW(e, "make layer fit for another base");
	lock_take(&st->lock);
	/* Another thread may have been faster. */
	if (copy && !l->clean_copy)
		l->clean_copy = store_layer_ref_locked(copy);
	else if (!copy)
		l->clean = true;
	*ret = store_layer_ref_locked(copy ? copy : l);
	store_layer_unref_locked(st, copy);
	lock_drop(&st->lock);
	store_bury(st);
	return NULL;
}
