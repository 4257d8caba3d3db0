#include "base/limits.h"
#include "snapshot/changes.h"
#include "snapshot/layers.h"
#include "snapshot/link.h"
#include "sys/fd.h"
#include "sys/inroot.h"
#include "sys/userns.h"
#include "sys/walk.h"
#include "sys/xattr.h"

#include <errno.h>
#include <unistd.h>

/* Most layers that a mount may have below its upper one. The kernel takes 500, but each costs time
 * at every mount; what images have in practice (127 at most) is left alone. */
#define JOIN_AT 128
/* Left alone at the bottom: base images, which have few layers with many files. */
#define KEEP_LOWEST 16

/* Layers being laid over each other, lowest first, into one upper directory. */
struct joiner {
	struct linker link; /* for the directory it is in, and the times */
	bool bottom;        /* nothing below: whiteouts and opaque marks have no use */
	bool userxattr;
};

static struct err *mark_opaque(struct joiner *j, int fd)
{
	if (j->bottom)
		return NULL;
	return xattr_set(fd, NULL, j->userxattr ? "user.overlay.opaque" : "trusted.overlay.opaque",
			 STR("y"));
}

static struct err *go_to(struct joiner *j, struct str path)
{
	struct linker *k = &j->link;
	int fd = -1;

	if (k->fd >= 0 && str_eq_cstr(path, k->fd_path))
		return NULL;
	TRY(inroot_open(k->root, path, O_RDONLY | O_DIRECTORY, 0, &fd));
	if (k->fd >= 0)
		(void)close(k->fd);
	free(k->fd_path);
	k->fd = fd;
	k->fd_path = mem_strndup(path.ptr, path.len);
	return NULL;
}

static struct err *join_dir(struct joiner *j, const struct walk_entry *we)
{
	CLEANUP_FD int from = -1;
	CLEANUP_FD int to = -1;
	bool opaque = false, hides = false;
	struct stat there;

	TRY(fd_open(we->dirfd, we->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, &from));
	TRY(change_is_opaque(from, &opaque));
	if (fstatat(j->link.fd, we->name, &there, AT_SYMLINK_NOFOLLOW) == 0) {
		/* What was here hid what is below, and so must the directory. */
		hides = !S_ISDIR(there.st_mode);
		if (hides || opaque)
			TRY(rmtree(j->link.fd, we->name));
	}
	if (mkdirat(j->link.fd, we->name, 0700) < 0 && errno != EEXIST)
		return err_errno(errno, "mkdir %s", we->path.ptr);
	TRY(fd_open(j->link.fd, we->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, &to));
	TRY(link_dir_attrs(from, to));
	if (opaque || hides)
		TRY(mark_opaque(j, to));
	vec_push(&j->link.dirs,
		 ((struct linked_dir) { .path = mem_strndup(we->path.ptr, we->path.len),
					.times = { we->st.st_atim, we->st.st_mtim } }));
	return NULL;
}

static struct err *join_entry(struct joiner *j, const struct walk_entry *we)
{
	struct str dir = str_sub(we->path, 0, (size_t)(we->name - we->path.ptr));
	size_t name_len = strlen(we->name);

	/* The name stands in its directory's names, not in the path. */
	dir = str_sub(we->path, 0, we->path.len - name_len);
	if (dir.len)
		dir.len--;
	TRY(go_to(j, dir));
	if (S_ISDIR(we->st.st_mode))
		return join_dir(j, we);
	TRY(rmtree(j->link.fd, we->name));
	if (change_is_whiteout(&we->st))
		return j->bottom ? NULL : link_whiteout(j->link.fd, we->name, j->userxattr);
	return link_file(we->dirfd, j->link.fd, we->name);
}

static struct err *join_layer(struct store *st, struct joiner *j, const struct layer *l)
{
	CLEANUP(walk_closep) struct walk *w = NULL;
	CLEANUP_FD int fd = -1;
	const struct walk_entry *we;

	TRY(store_layer_open(st, l, &fd));
	TRY(walk_open(fd, WALK_UNSORTED, &w));
	for (;;) {
		TRY(walk_next(w, &we));
		if (!we)
			return NULL;
		TRY(join_entry(j, we));
	}
}

struct err *layers_join(struct store *st, struct layer *const *l, size_t n, bool bottom,
			struct layer **ret)
{
	struct joiner j = { .bottom = bottom, .userxattr = userns_inside() };
	struct layer *to = NULL;
	CLEANUP_FD int fd = -1;
	struct err *e;

	TRY(store_layer_new(st, l[0], &to));
	e = store_layer_open(st, to, &fd);
	linker_init(&j.link, fd);
	for (size_t i = n; i-- > 0 && !e;)
		e = join_layer(st, &j, l[i]);
	if (!e)
		e = linker_finish(&j.link);
	linker_fini(&j.link);
	if (e) {
		store_layer_unref(st, to);
		return err_wrap(e, "join layers");
	}
	to->linked = true;
	to->whiteouts = !bottom;
	store_layer_made(st, to);
	*ret = to;
	return NULL;
}

/* How many of the topmost layers are to become one. */
static size_t run_to_join(const struct layers *l)
{
	size_t n = 0;

	while (n < l->len && !l->items[n]->is_join)
		n++;
	if (n == l->len)
		n -= KEEP_LOWEST;
	/* Mostly joined ones already: those too. */
	if (n < l->len / 4)
		n = l->len - KEEP_LOWEST;
	return n;
}

/* s is busy: ours. */
static struct err *join_stack(struct store *st, struct snap *s, const struct layers *l)
{
	size_t n = run_to_join(l), rest = l->len - n;
	struct layer **now, **old;
	struct layer *one = NULL;
	size_t n_old;

	TRY(layers_join(st, l->items, n, rest == 0, &one));
	one->is_join = true;
	lock_take(&st->lock);
	now = mem_calloc(rest + 1, sizeof(*now));
	now[0] = one;
	for (size_t i = 0; i < rest; i++)
		now[i + 1] = store_layer_ref_locked(l->items[n + i]);
	old = s->joined;
	n_old = s->n_joined;
	s->joined = now;
	s->n_joined = rest + 1;
	for (size_t i = 0; i < n_old; i++)
		store_layer_unref_locked(st, old[i]);
	free(old);
	store_put_locked(st, s);
	lock_drop(&st->lock);
	store_bury(st);
	return NULL;
}

struct err *layers_limit(struct store *st, struct snap *s)
{
	struct layers l = { 0 };
	struct err *e = NULL;

	lock_take(&st->lock);
	while (s->busy)
		cond_wait_uninterrupted(&st->changed, &st->lock);
	if (store_stack_len_locked(s) < JOIN_AT) {
		lock_drop(&st->lock);
		return NULL;
	}
	store_stack_locked(s, false, &l);
	s->busy = true;
	lock_drop(&st->lock);
	e = join_stack(st, s, &l);
	lock_take(&st->lock);
	s->busy = false;
	cond_broadcast(&st->changed);
	lock_drop(&st->lock);
	vec_fini(&l);
	return e;
}
