#include "exporter/trees.h"

#include "base/mem.h"
#include "exporter/attrs.h"
#include "sys/walk.h"

static struct str dir_name(struct arena *a, const struct export_item *it)
{
	char *s = str_cstr(a, it->platform_id);

	for (char *p = s; *p; p++)
		if (*p == '/')
			*p = '_';
	return str_from(s);
}

struct err *trees_open(const struct exporter_env *env, const struct export_input *in, bool split,
		       int64_t epoch_s, bool epoch_set, struct arena *a, struct trees *ret)
{
	struct trees t = { ARENA_NEW_N(a, struct tree, in->n_items), in->n_items };
	struct err *e = NULL;

	for (size_t i = 0; i < t.n; i++)
		t.items[i].dirfd = -1;
	for (size_t i = 0; i < t.n && !e; i++) {
		struct tree *x = &t.items[i];
		struct mounts *m;

		x->item = &in->items[i];
		if (split)
			x->prefix = dir_name(a, x->item);
		e = attrs_item_epoch(epoch_s, epoch_set, x->item, &x->epoch_s);
		if (e || !x->item->ref)
			continue;
		e = cache_ref_mounts(x->item->ref, env->ctx, a, &m);
		if (!e)
			e = localmount_open(m, env->host->tmp_dir, &x->mount);
		if (!e)
			x->dirfd = localmount_dirfd(x->mount);
	}
	if (e)
		trees_close(&t);
	else
		*ret = t;
	return e;
}

void trees_close(struct trees *t)
{
	for (size_t i = 0; i < t->n; i++)
		localmount_close(t->items[i].mount);
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
			return err_new(ERR_INVALID_ARGUMENT,
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
