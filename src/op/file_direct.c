/* Making things in an overlay that is not mounted: its layers are looked at, and what is new is
 * written into the upper one. For one new file a mount of many layers costs more than all the rest.
 */
#include "base/vec.h"
#include "op/file.h"
#include "sys/copy.h"
#include "sys/fd.h"
#include "sys/xattr.h"

/* A directory on the way that exists in the merged tree. */
struct step {
	char name[LIMIT_FILE_NAME + 1];
	int first;  /* the topmost one; O_PATH */
	bool upper; /* that is in the upper layer */
};

struct way {
	const struct mounts *m;
	VEC(struct step) steps;
	VEC(int) here; /* the current directory in each layer that has it, topmost first; O_PATH */
	bool here_upper; /* the first of them is in the upper layer */
};

enum found { FOUND_NOTHING, FOUND_DIR, FOUND_OTHER, FOUND_ERROR };

static void close_all(struct way *w)
{
	vec_each (&w->here, fd)
		(void)close(*fd);
	vec_clear(&w->here);
}

static void way_fini(struct way *w)
{
	close_all(w);
	vec_fini(&w->here);
	vec_each (&w->steps, s)
		if (s->first >= 0)
			(void)close(s->first);
	vec_fini(&w->steps);
}

/* One layer's entry: dirfd AT_FDCWD with the path of a layer's root in front for the first
 * component. *ret_fd is a directory's. */
static enum found look(int dirfd, const char *path, bool *ret_opaque, int *ret_fd)
{
	struct stat st;
	struct str value;
	bool found;
	struct err *e;
	SCOPED_ARENA(a);

	if (fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT || errno == ENOTDIR ? FOUND_NOTHING : FOUND_ERROR;
	if (!S_ISDIR(st.st_mode))
		return FOUND_OTHER;
	*ret_fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (*ret_fd < 0)
		return FOUND_ERROR;
	*ret_opaque = false;
	e = xattr_get(*ret_fd, NULL, "trusted.overlay.opaque", &a, &value, &found);
	if (!e && !found)
		e = xattr_get(*ret_fd, NULL, "user.overlay.opaque", &a, &value, &found);
	*ret_opaque = !e && found;
	err_free(e);
	return FOUND_DIR;
}

static bool is_whiteout(int dirfd, const char *path)
{
	struct stat st;

	return fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISCHR(st.st_mode) &&
	       st.st_rdev == 0;
}

struct merged {
	VEC(int) fds;
	bool any, upper, other, whiteout, error;
};

/* Takes the next layer's entry into account; false when layers below don't count any more. */
static bool merge_one(struct merged *g, int dirfd, const char *path, bool is_upper)
{
	bool opaque;
	int fd;

	switch (look(dirfd, path, &opaque, &fd)) {
	case FOUND_NOTHING:
		return true;
	case FOUND_DIR:
		vec_push(&g->fds, fd);
		g->upper = g->upper || is_upper;
		g->any = true;
		return !opaque;
	case FOUND_OTHER:
		if (!g->any) {
			g->whiteout = is_whiteout(dirfd, path);
			/* A mark in the upper layer itself would be in the way. */
			g->other = !g->whiteout || is_upper;
		}
		return false;
	default:
		g->error = true;
		return false;
	}
}

static struct merged merge(struct way *w, const char *name, bool at_root)
{
	struct merged g = { 0 };

	if (!at_root) {
		for (size_t i = 0; i < w->here.len; i++)
			if (!merge_one(&g, w->here.items[i], name, i == 0 && w->here_upper))
				break;
		return g;
	}
	for (size_t i = 0; i <= w->m->n_lowers; i++) {
		struct str layer = i ? w->m->lowers[i - 1] : w->m->upper;
		CLEANUP_FREE char *path = mem_printf("%.*s/%s", STR_ARG(layer), name);

		if (!merge_one(&g, AT_FDCWD, path, i == 0))
			break;
	}
	return g;
}

/* Goes down as far as there are directories. False: it can't be told without the overlay. */
static bool go_down(struct way *w, struct str *rest)
{
	struct str left = str_trim_prefix(*rest, STR("/"));
	bool at_root = true;

	while (left.len) {
		struct str part, after = STR_NONE;
		struct step s = { .first = -1 };
		struct merged g;

		(void)str_cut(left, '/', &part, &after);
		if (part.len > LIMIT_FILE_NAME)
			return false;
		memcpy(s.name, part.ptr, part.len);
		g = merge(w, s.name, at_root);
		close_all(w);
		vec_each (&g.fds, fd)
			vec_push(&w->here, *fd);
		vec_fini(&g.fds);
		if (g.error || g.other)
			return false;
		if (!g.any)
			break;
		w->here_upper = s.upper = g.upper;
		s.first = openat(w->here.items[0], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		vec_push(&w->steps, s);
		left = after;
		at_root = false;
	}
	*rest = left;
	return true;
}

/* The directory of the last step in the upper layer, made like those below where it isn't there. */
static struct err *open_upper(struct way *w, int *ret)
{
	CLEANUP_FREE char *dir = str_heap(w->m->upper);
	const struct copy_opts as_is = { 0 };
	int fd;

	TRY(fd_open_dir(AT_FDCWD, dir, &fd));
	for (size_t i = 0; i < w->steps.len; i++) {
		const struct step *s = &w->steps.items[i];
		struct timespec times[2];
		struct stat st;
		int next;

		if (!s->upper) {
			struct err *e = NULL;

			if (fstat(fd, &st) < 0 || mkdirat(fd, s->name, 0700) < 0)
				e = err_errno(errno, "mkdir %s", s->name);
			times[0] = st.st_atim;
			times[1] = st.st_mtim;
			/* That it comes up here changes nothing in its parent. */
			if (!e && futimens(fd, times) < 0)
				e = err_errno(errno, "utimes");
			if (e) {
				(void)close(fd);
				return e;
			}
		}
		next = openat(fd, s->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		(void)close(fd);
		if (next < 0)
			return err_errno(errno, "open %s", s->name);
		fd = next;
		if (!s->upper) {
			struct err *e = copy_dir_meta(s->first, fd, &as_is);

			if (e) {
				(void)close(fd);
				return e;
			}
		}
	}
	*ret = fd;
	return NULL;
}

struct err *file_direct(const struct mounts *m, struct str path, int *ret_fd, struct str *ret_rest,
			bool *ret_ok)
{
	struct way w = { .m = m };
	struct err *e = NULL;

	*ret_ok = m->kind == MOUNT_OVERLAY && m->upper.len && go_down(&w, &path);
	*ret_fd = -1;
	*ret_rest = path;
	if (*ret_ok && path.len)
		e = open_upper(&w, ret_fd);
	way_fini(&w);
	return e;
}
