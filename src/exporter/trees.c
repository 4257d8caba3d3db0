#include "exporter/trees.h"

#include "base/mem.h"
#include "sys/inroot.h"
#include "sys/walk.h"

#include <errno.h>
#include <fcntl.h>

static struct str dir_name(struct arena *a, const struct export_item *it)
{
	char *s = it->platform_id.len ? str_cstr(a, it->platform_id)
				      : platform_format(a, it->platform);

	for (char *p = s; *p; p++)
		if (strchr("/\\:", *p))
			*p = '_';
	/* A name of nothing but dots would be another directory. */
	if (!s[strspn(s, ".")])
		return STR("unknown");
	return str_from(s);
}

static struct err *open_sub(struct tree *x, struct str src)
{
	struct err *e;

	if (!src.len || str_eq_cstr(src, "/"))
		return NULL;
	if (x->dirfd < 0)
		return err_errno(ENOENT, "src=%.*s", STR_ARG(src));
	e = inroot_open(x->dirfd, src, O_RDONLY | O_DIRECTORY, 0, &x->sub_fd);
	if (e) {
		int n = err_get_errno(e);

		err_free(e);
		return err_errno(n ? n : ENOENT, "src=%.*s", STR_ARG(src));
	}
	x->dirfd = x->sub_fd;
	return NULL;
}

struct err *trees_open(const struct exporter_env *env, const struct export_input *in,
		       const struct tree_attrs *o, bool split, struct arena *a, struct trees *ret)
{
	struct trees t = { ARENA_NEW_N(a, struct tree, in->n_items), in->n_items };
	struct err *e = NULL;

	for (size_t i = 0; i < t.n; i++)
		t.items[i].dirfd = t.items[i].sub_fd = -1;
	for (size_t i = 0; i < t.n && !e; i++) {
		struct tree *x = &t.items[i];
		struct mounts *m;

		x->item = &in->items[i];
		if (split)
			x->prefix = dir_name(a, x->item);
		e = attrs_item_epoch(o->epoch_s, o->epoch_set, x->item, &x->epoch_s);
		if (!e && x->item->ref) {
			e = cache_ref_mounts(x->item->ref, env->ctx, a, &m);
			if (!e)
				e = localmount_open(m, env->host->tmp_dir, &x->mount);
			if (!e)
				x->dirfd = localmount_dirfd(x->mount);
		}
		if (!e)
			e = open_sub(x, o->src);
	}
	if (e)
		trees_close(&t);
	else
		*ret = t;
	return e;
}

void trees_close(struct trees *t)
{
	for (size_t i = 0; i < t->n; i++) {
		if (t->items[i].sub_fd >= 0)
			(void)close(t->items[i].sub_fd);
		localmount_close(t->items[i].mount);
	}
	t->n = 0;
}

static struct err *note_paths(struct map *seen, const struct tree *t)
{
	CLEANUP(walk_closep) struct walk *w = NULL;
	const struct walk_entry *en;

	TRY(walk_open(t->dirfd, WALK_UNSORTED, &w));
	for (;;) {
		const struct tree *other;

		TRY(walk_next(w, &en));
		if (!en)
			return NULL;
		if (S_ISDIR(en->st.st_mode))
			continue;
		other = map_put(seen, en->path, (void *)t);
		if (other)
			return err_new(ERR_UNKNOWN,
				       "cannot overwrite %.*s from %.*s with %.*s when split "
				       "option is disabled",
				       STR_ARG(en->path), STR_ARG(other->item->platform_id),
				       STR_ARG(t->item->platform_id));
	}
}

struct err *trees_check_overlap(const struct trees *t)
{
	struct map seen = MAP_INIT;
	struct err *e = NULL;

	for (size_t i = 0; i < t->n && !e; i++)
		if (t->items[i].dirfd >= 0)
			e = note_paths(&seen, &t->items[i]);
	map_fini(&seen, NULL);
	return e;
}
