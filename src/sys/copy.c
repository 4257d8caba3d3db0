#include "sys/copy.h"

#include "base/limits.h"
#include "base/mem.h"
#include "sys/copy_internal.h"
#include "sys/fd.h"
#include "sys/rmtree.h"
#include "sys/xattr.h"

#include <errno.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
	NO_CLONE = 1,
	NO_COPY_RANGE = 2,
};
#define BUFFER_SIZE (256 * KIB)

static bool has(const unsigned *hint, unsigned bit)
{
	return hint && (__atomic_load_n(hint, __ATOMIC_RELAXED) & bit);
}

static void remember(unsigned *hint, unsigned bit)
{
	if (hint)
		__atomic_fetch_or(hint, bit, __ATOMIC_RELAXED);
}

static struct err *copy_by_buffer(int out, int in, uint64_t from, uint64_t end)
{
	size_t size = (size_t)MIN(end - from, (uint64_t)BUFFER_SIZE);
	CLEANUP_FREE char *p = mem_alloc(size);

	while (from < end) {
		size_t n;

		TRY(fd_pread_full(in, p, (size_t)MIN(end - from, (uint64_t)size), from, &n));
		if (!n)
			break; /* it shrank */
		TRY(fd_pwrite_all(out, p, n, from));
		from += n;
	}
	return NULL;
}

static struct err *copy_span(int out, int in, uint64_t from, uint64_t end, unsigned *hint)
{
	while (from < end && !has(hint, NO_COPY_RANGE)) {
		off_t src = (off_t)from, dst = (off_t)from;
		size_t len = (size_t)MIN(end - from, (uint64_t)GIB);
		ssize_t n = copy_file_range(in, &src, out, &dst, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			switch (errno) {
			case EXDEV:
			case EINVAL:
			case ENOSYS:
			case EOPNOTSUPP:
			case EPERM:
				remember(hint, NO_COPY_RANGE);
				return copy_by_buffer(out, in, from, end);
			default:
				return err_errno(errno, "copy_file_range");
			}
		}
		/* Files of /proc and the like claim a size and give nothing this way. */
		if (!n)
			return copy_by_buffer(out, in, from, end);
		from += (uint64_t)n;
	}
	return from < end ? copy_by_buffer(out, in, from, end) : NULL;
}

/* Only the parts that have data; the size is set at the end. */
static struct err *copy_sparse(int out, int in, uint64_t size, unsigned *hint)
{
	off_t at = 0;

	while ((uint64_t)at < size) {
		off_t data = lseek(in, at, SEEK_DATA), hole;

		if (data < 0 && errno == ENXIO)
			break;
		if (data < 0)
			return copy_span(out, in, (uint64_t)at, size, hint);
		if ((uint64_t)data >= size)
			break;
		hole = lseek(in, data, SEEK_HOLE);
		if (hole < 0 || (uint64_t)hole > size)
			hole = (off_t)size;
		TRY(copy_span(out, in, (uint64_t)data, (uint64_t)hole, hint));
		at = hole;
	}
	if (ftruncate(out, (off_t)size) < 0)
		return err_errno(errno, "truncate");
	return NULL;
}

struct err *copy_data(int out, int in, uint64_t size, unsigned *hint)
{
	struct stat st;

	if (!size)
		return NULL;
	if (!has(hint, NO_CLONE)) {
		if (ioctl(out, FICLONE, in) == 0)
			return NULL;
		remember(hint, NO_CLONE);
	}
	/* Small files are not worth the question for holes. */
	if (size > 64 * KIB && fstat(in, &st) == 0 && (uint64_t)st.st_blocks * 512 < size)
		return copy_sparse(out, in, size, hint);
	return copy_span(out, in, 0, size, hint);
}

static bool not_overlay(struct str name)
{
	return !str_has_prefix(name, STR("trusted.overlay.")) &&
	       !str_has_prefix(name, STR("user.overlay."));
}

/* fd with name NULL is the file itself. An attribute that the target may not have is left out. */
static struct err *copy_xattrs(int src, const char *src_name, int dst, const char *dst_name,
			       unsigned flags)
{
	struct xattr *list;
	size_t n;

	if ((flags & COPY_NO_XATTR) || !xattr_any(src, src_name))
		return NULL;
	SCOPED_ARENA(a);
	TRY(xattr_read_all(src, src_name, flags & COPY_OVERLAY_XATTRS ? NULL : not_overlay, &a,
			   &list, &n));
	for (size_t i = 0; i < n; i++) {
		struct err *e = xattr_set(dst, dst_name, list[i].name.ptr, list[i].value);
		int errnum = err_get_errno(e);

		if (e && errnum != ENOTSUP && errnum != EPERM && errnum != EACCES)
			return e;
		err_free(e);
	}
	return NULL;
}

void copy_attr_of(const struct stat *st, struct copy_attr *ret)
{
	*ret = (struct copy_attr) {
		.uid = st->st_uid,
		.gid = st->st_gid,
		.mode = st->st_mode,
		.atime = st->st_atim,
		.mtime = st->st_mtim,
	};
}

/* Owner first (it clears setuid bits and capabilities), times last. */
static struct err *set_by_fd(int src, int dst, const struct copy_attr *at, unsigned flags)
{
	struct timespec times[2] = { at->atime, at->mtime };

	if (!(flags & COPY_NO_OWNER) && fchown(dst, at->uid, at->gid) < 0)
		return err_errno(errno, "chown");
	if (fchmod(dst, at->mode & 07777) < 0)
		return err_errno(errno, "chmod");
	TRY(copy_xattrs(src, NULL, dst, NULL, flags));
	if (!(flags & COPY_NO_TIMES) && futimens(dst, times) < 0)
		return err_errno(errno, "utimes");
	return NULL;
}

static struct err *set_by_name(const struct copy_what *w, const struct copy_attr *at,
			       unsigned flags)
{
	struct timespec times[2] = { at->atime, at->mtime };

	if (!(flags & COPY_NO_OWNER) &&
	    fchownat(w->dst_dirfd, w->dst_name, at->uid, at->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(errno, "lchown");
	/* A symlink has no mode; the other kinds here can't be followed to somewhere else. */
	if (!S_ISLNK(w->st->st_mode) &&
	    fchmodat(w->dst_dirfd, w->dst_name, at->mode & 07777, 0) < 0)
		return err_errno(errno, "chmod");
	TRY(copy_xattrs(w->src_dirfd, w->src_name, w->dst_dirfd, w->dst_name, flags));
	if (!(flags & COPY_NO_TIMES) &&
	    utimensat(w->dst_dirfd, w->dst_name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(errno, "utimes");
	return NULL;
}

static struct err *copy_regular(const struct copy_what *w, const struct copy_attr *at,
				unsigned flags, unsigned *hint)
{
	CLEANUP_FD int in = -1;
	CLEANUP_FD int out = -1;

	if (flags & COPY_HARDLINK) {
		if (linkat(w->src_dirfd, w->src_name, w->dst_dirfd, w->dst_name, 0) == 0)
			return NULL;
		if (errno != EXDEV && errno != EPERM && errno != EMLINK)
			return err_errno(errno, "link");
	}
	/* Non-blocking, in case it is a fifo by now. */
	in = openat(w->src_dirfd, w->src_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (in < 0)
		return err_errno(errno, "open");
	out = openat(w->dst_dirfd, w->dst_name,
		     O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (out < 0)
		return err_errno(errno, "create");
	TRY(copy_data(out, in, (uint64_t)w->st->st_size, hint));
	return set_by_fd(in, out, at, flags);
}

static struct err *make_node(const struct copy_what *w)
{
	char target[LIMIT_PATH + 1];
	ssize_t n;

	if (!S_ISLNK(w->st->st_mode)) {
		if (mknodat(w->dst_dirfd, w->dst_name, (w->st->st_mode & S_IFMT) | 0600,
			    w->st->st_rdev) < 0)
			return err_errno(errno, "mknod");
		return NULL;
	}
	n = readlinkat(w->src_dirfd, w->src_name, target, sizeof(target) - 1);
	if (n < 0)
		return err_errno(errno, "readlink");
	target[n] = '\0';
	if (symlinkat(target, w->dst_dirfd, w->dst_name) < 0)
		return err_errno(errno, "symlink");
	return NULL;
}

static struct err *copy_once(const struct copy_what *w, const struct copy_attr *at, unsigned flags,
			     unsigned *hint)
{
	if (S_ISREG(w->st->st_mode))
		return copy_regular(w, at, flags, hint);
	TRY(make_node(w));
	return set_by_name(w, at, flags);
}

struct err *copy_make_way(int dirfd, const char *name, const char *path, unsigned flags)
{
	struct stat st;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? NULL : err_errno(errno, "lstat");
	if (S_ISDIR(st.st_mode)) {
		if (!(flags & COPY_REPLACE_ANY))
			return err_new(ERR_UNKNOWN, "cannot replace to directory %s with file",
				       path);
		return rmtree(dirfd, name);
	}
	if (unlinkat(dirfd, name, 0) < 0 && errno != ENOENT)
		return err_errno(errno, "unlink");
	return NULL;
}

struct err *copy_non_dir(const struct copy_what *w, const struct copy_attr *at, unsigned flags,
			 unsigned *hint)
{
	struct err *e;

	if (S_ISSOCK(w->st->st_mode) && (flags & COPY_SKIP_SOCKETS))
		return NULL;
	e = copy_once(w, at, flags, hint);
	if (err_get_errno(e) == EEXIST && (flags & (COPY_REPLACE | COPY_REPLACE_ANY))) {
		err_free(e);
		TRYW(copy_make_way(w->dst_dirfd, w->dst_name, w->path, flags), "copy %s", w->path);
		e = copy_once(w, at, flags, hint);
	}
	return err_wrap(e, "copy %s", w->path);
}

struct err *copy_dir_attrs(int src, int dst, const struct copy_attr *at, unsigned flags)
{
	return set_by_fd(src, dst, at, flags);
}

static struct err *filtered(const struct copy_opts *o, const char *path, const struct stat *st,
			    struct copy_attr *at, enum copy_verdict *v)
{
	copy_attr_of(st, at);
	*v = COPY_TAKE;
	return o->filter ? o->filter(o->arg, str_from(path), st, at, v) : NULL;
}

struct err *copy_entry(int src_dirfd, const char *src_name, int dst_dirfd, const char *dst_name,
		       const struct copy_opts *o)
{
	struct stat st;
	struct copy_what w = { src_dirfd, src_name, dst_dirfd, dst_name, src_name, &st };
	struct copy_attr at;
	enum copy_verdict v;

	if (fstatat(src_dirfd, src_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(errno, "lstat %s", src_name);
	TRY(filtered(o, src_name, &st, &at, &v));
	if (v != COPY_TAKE)
		return NULL;
	if (S_ISDIR(st.st_mode)) {
		CLEANUP_FD int src = -1;
		CLEANUP_FD int dst = -1;
		bool existed;

		TRY(fd_open(src_dirfd, src_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, &src));
		TRY(copy_make_dir(dst_dirfd, dst_name, src_name, o->flags, &dst, &existed));
		if (!existed || !(o->flags & COPY_KEEP_DIR_META))
			TRYW(set_by_fd(src, dst, &at, o->flags), "copy %s", src_name);
	} else {
		TRY(copy_non_dir(&w, &at, o->flags, NULL));
	}
	if (o->done)
		o->done(o->arg, str_from(src_name), &st);
	return NULL;
}

struct err *copy_make_dir(int dirfd, const char *name, const char *path, unsigned flags,
			  int *ret_fd, bool *ret_existed)
{
	const int how = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	bool existed = false;
	int fd;

	if (mkdirat(dirfd, name, 0700) < 0) {
		if (errno != EEXIST)
			return err_errno(errno, "mkdir %s", path);
		existed = true;
	}
	fd = openat(dirfd, name, how);
	if (fd < 0 && existed && (errno == ENOTDIR || errno == ELOOP)) {
		if (!(flags & COPY_REPLACE_ANY))
			return err_new(ERR_UNKNOWN, "cannot copy to non-directory: %s", path);
		if ((unlinkat(dirfd, name, 0) < 0 && errno != ENOENT) ||
		    mkdirat(dirfd, name, 0700) < 0)
			return err_errno(errno, "mkdir %s", path);
		existed = false;
		fd = openat(dirfd, name, how);
	}
	if (fd < 0)
		return err_errno(errno, "open %s", path);
	*ret_fd = fd;
	*ret_existed = existed;
	return NULL;
}

struct err *copy_dir_meta(int src_dirfd, int dst_dirfd, const struct copy_opts *o)
{
	CLEANUP_FD int src = -1;
	CLEANUP_FD int dst = -1;
	struct copy_attr at;
	struct stat st;

	TRY(fd_open_dir(src_dirfd, ".", &src));
	TRY(fd_open_dir(dst_dirfd, ".", &dst));
	if (fstat(src, &st) < 0)
		return err_errno(errno, "fstat");
	copy_attr_of(&st, &at);
	return set_by_fd(src, dst, &at, o->flags);
}
