#include "control/files.h"

#include "base/clock.h"
#include "base/glob.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/path.h"
#include "sys/fd.h"
#include "sys/inroot.h"
#include "sys/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

struct view {
	struct localmount *mount;
	int fd;
};

static struct err *view_open(struct control *c, struct ctx *ctx, struct cache_ref *ref,
			     struct view *ret)
{
	SCOPED_ARENA(a);
	struct mounts empty = { .kind = MOUNT_TMPFS, .readonly = true }, *m = &empty;

	if (ref)
		TRY(cache_ref_mounts(ref, ctx, &a, &m));
	TRY(localmount_open(m, c->host.tmp_dir, &ret->mount));
	ret->fd = localmount_dirfd(ret->mount);
	return NULL;
}

static void view_close(struct view *v)
{
	localmount_close(v->mount);
	v->mount = NULL;
}

static struct err *read_range(int fd, struct str path, int64_t offset, int64_t length,
			      struct buf *out)
{
	uint64_t left = length > 0 ? (uint64_t)length : UINT64_MAX;

	while (left) {
		size_t want = (size_t)MIN(left, (uint64_t)(64 * KIB));
		char *to;
		ssize_t n;

		want = MIN(want, MAX(out->max - MIN(out->len, out->max), (size_t)1));
		to = buf_reserve(out, want);
		if (!to)
			return buf_check(out, "file");
		n = pread(fd, to, want, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(errno, "read %.*s", STR_ARG(path));
		if (n == 0)
			return NULL;
		out->len += (size_t)n;
		out->data[out->len] = '\0';
		offset += n;
		left -= (uint64_t)n;
	}
	return NULL;
}

/* A file that is found to be a regular one before anything of it is opened: a device's driver or a
 * pipe without a writer must not see us. */
static struct err *open_regular(int root, struct str path, int *ret)
{
	CLEANUP_FD int at = -1;
	struct stat st;
	struct err *e = inroot_open(root, path, O_PATH, 0, &at);

	if (e) {
		int n = err_get_errno(e);

		err_free(e);
		return err_errno(n ? n : ENOENT, "open %.*s", STR_ARG(path));
	}
	if (fstat(at, &st) < 0)
		return err_errno(errno, "stat %.*s", STR_ARG(path));
	if (S_ISDIR(st.st_mode))
		return err_errno(EISDIR, "read %.*s", STR_ARG(path));
	if (!S_ISREG(st.st_mode))
		return err_new(ERR_UNKNOWN, "open %.*s: not a regular file", STR_ARG(path));
	TRYW(fd_reopen(at, O_RDONLY, ret), "open %.*s", STR_ARG(path));
	return NULL;
}

struct err *files_read_at(int root, struct str path, int64_t offset, int64_t length,
			  struct buf *out)
{
	CLEANUP_FD int fd = -1;

	if (offset < 0 || length < 0)
		return err_new(ERR_INVALID_ARGUMENT, "invalid range for %.*s", STR_ARG(path));
	TRY(open_regular(root, path, &fd));
	return read_range(fd, path, offset, length, out);
}

struct err *files_read(struct control *c, struct ctx *ctx, struct cache_ref *ref, struct str path,
		       int64_t offset, int64_t length, struct buf *out)
{
	CLEANUP(view_close) struct view v = { 0 };

	TRY(view_open(c, ctx, ref, &v));
	return files_read_at(v.fd, path, offset, length, out);
}

/* Go's file mode bits. */
static uint32_t go_mode(mode_t m)
{
	uint32_t out = m & 0777;

	switch (m & S_IFMT) {
	case S_IFDIR:
		out |= 1u << 31;
		break;
	case S_IFLNK:
		out |= 1u << 27;
		break;
	case S_IFBLK:
		out |= 1u << 26;
		break;
	case S_IFCHR:
		out |= 1u << 26 | 1u << 21;
		break;
	case S_IFIFO:
		out |= 1u << 25;
		break;
	case S_IFSOCK:
		out |= 1u << 24;
		break;
	}
	if (m & S_ISUID)
		out |= 1u << 23;
	if (m & S_ISGID)
		out |= 1u << 22;
	if (m & S_ISVTX)
		out |= 1u << 20;
	return out;
}

static struct err *to_pb(int dirfd, const char *name, const struct stat *st, struct arena *a,
			 Fsutil__Types__Stat **ret)
{
	Fsutil__Types__Stat *s = ARENA_NEW(a, Fsutil__Types__Stat);

	fsutil__types__stat__init(s);
	s->path = arena_strdup(a, name);
	s->mode = go_mode(st->st_mode);
	s->uid = st->st_uid;
	s->gid = st->st_gid;
	s->size = S_ISREG(st->st_mode) ? st->st_size : 0;
	s->modtime = clock_from_timespec(st->st_mtim);
	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode)) {
		s->devmajor = major(st->st_rdev);
		s->devminor = minor(st->st_rdev);
	}
	if (S_ISLNK(st->st_mode)) {
		char target[LIMIT_PATH + 1];
		ssize_t n = readlinkat(dirfd, name, target, LIMIT_PATH);

		if (n < 0)
			return err_errno(errno, "readlink %s", name);
		s->linkname = str_cstr(a, str_make(target, (size_t)n));
		s->size = n;
	}
	*ret = s;
	return NULL;
}

struct err *files_stat_at(int root, struct str path, bool follow, struct arena *a,
			  Fsutil__Types__Stat **ret)
{
	CLEANUP_FD int dir = -1;
	struct str clean = path_clean(a, path);
	const char *base;
	struct stat st;

	if (str_eq_cstr(clean, "/") || str_eq_cstr(clean, ".")) {
		if (fstat(root, &st) < 0)
			return err_errno(errno, "lstat %.*s", STR_ARG(path));
		return to_pb(root, str_cstr(a, clean), &st, a, ret);
	}
	TRYW(inroot_parent(root, path, a, &dir, &base), "lstat %.*s", STR_ARG(path));
	if (fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(errno, "lstat %.*s", STR_ARG(path));
	if (follow && S_ISLNK(st.st_mode))
		TRYW(inroot_stat(root, path, true, &st), "stat %.*s", STR_ARG(path));
	return to_pb(dir, base, &st, a, ret);
}

struct err *files_stat(struct control *c, struct ctx *ctx, struct cache_ref *ref, struct str path,
		       struct arena *a, Fsutil__Types__Stat **ret)
{
	CLEANUP(view_close) struct view v = { 0 };

	TRY(view_open(c, ctx, ref, &v));
	return files_stat_at(v.fd, path, false, a, ret);
}

struct err *files_list_at(int root, struct str path, struct str include, struct arena *a,
			  Fsutil__Types__Stat ***ret, size_t *ret_n)
{
	CLEANUP_FD int dir = -1;
	struct walk_names names;
	Fsutil__Types__Stat **out;
	struct err *e;
	size_t n = 0;

	e = inroot_open(root, path, O_RDONLY | O_DIRECTORY, 0, &dir);
	if (e) {
		int errnum = err_get_errno(e);

		err_free(e);
		return err_errno(errnum ? errnum : ENOENT, "open %.*s", STR_ARG(path));
	}
	TRY(walk_read_names(dir, true, &names));
	out = ARENA_NEW_N(a, Fsutil__Types__Stat *, names.n + 1);
	for (size_t i = 0; i < names.n && !e; i++) {
		const char *name = names.items[i].name;
		bool match = true;
		struct stat st;

		if (include.len)
			e = glob_match(include, str_from(name), &match);
		if (e || !match || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		e = to_pb(dir, name, &st, a, &out[n]);
		n += !e;
	}
	walk_names_fini(&names);
	if (e)
		return e;
	*ret = out;
	*ret_n = n;
	return NULL;
}

struct err *files_list(struct control *c, struct ctx *ctx, struct cache_ref *ref, struct str path,
		       struct str include, struct arena *a, Fsutil__Types__Stat ***ret,
		       size_t *ret_n)
{
	CLEANUP(view_close) struct view v = { 0 };

	TRY(view_open(c, ctx, ref, &v));
	return files_list_at(v.fd, path, include, a, ret, ret_n);
}
