#include "sys/inroot.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/vec.h"
#include "sys/fd.h"

#include <errno.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_LINKS 255
#define MAX_RETRIES 128

/* NUL-terminated copy for the system call. */
static struct err *to_cstr(struct str path, char out[LIMIT_PATH + 1])
{
	if (path.len > LIMIT_PATH - 1)
		return err_errno(ENAMETOOLONG, "open %.64s...", path.ptr);
	if (path.len && memchr(path.ptr, '\0', path.len))
		return err_new(ERR_INVALID_ARGUMENT, "invalid path: contains a NUL byte");
	if (!path.len) {
		memcpy(out, ".", 2);
		return NULL;
	}
	memcpy(out, path.ptr, path.len);
	out[path.len] = '\0';
	return NULL;
}

/* The descriptor, or -errno. */
static int open_raw(int rootfd, const char *path, int flags, mode_t mode, uint64_t resolve)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
		.mode = flags & (O_CREAT | __O_TMPFILE) ? mode & 07777 : 0,
		.resolve = resolve | RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};

	/* EAGAIN: a rename or mount happened while ".." was walked, the kernel can't tell
	 * whether it stayed inside. */
	for (int tries = 0;; tries++) {
		long fd = syscall(SYS_openat2, rootfd, path, &how, sizeof(how));

		if (fd >= 0)
			return (int)fd;
		if (errno != EINTR && (errno != EAGAIN || tries >= MAX_RETRIES))
			return -errno;
	}
}

struct err *inroot_open(int rootfd, struct str path, int flags, mode_t mode, int *ret)
{
	char p[LIMIT_PATH + 1];
	int fd;

	TRY(to_cstr(path, p));
	fd = open_raw(rootfd, p, flags, mode, 0);
	if (fd < 0)
		return err_errno(-fd, "open %s", p);
	*ret = fd;
	return NULL;
}

struct err *inroot_stat(int rootfd, struct str path, bool follow, struct stat *ret)
{
	char p[LIMIT_PATH + 1];
	CLEANUP_FD int fd = -1;
	struct stat st;

	TRY(to_cstr(path, p));
	fd = open_raw(rootfd, p, O_PATH | (follow ? 0 : O_NOFOLLOW), 0, 0);
	if (fd < 0)
		return err_errno(-fd, "%s %s", follow ? "stat" : "lstat", p);
	if (fstat(fd, &st) < 0)
		return err_errno(errno, "%s %s", follow ? "stat" : "lstat", p);
	*ret = st;
	return NULL;
}

static struct str strip_slashes(struct str p)
{
	while (p.len && p.ptr[p.len - 1] == '/')
		p.len--;
	return p;
}

struct err *inroot_parent(int rootfd, struct str path, struct arena *a, int *ret_dirfd,
			  const char **ret_base)
{
	struct str p = strip_slashes(path), dir, base;
	ptrdiff_t slash = str_rfind(p, '/');

	base = str_sub(p, (size_t)(slash + 1), p.len);
	dir = slash < 0 ? STR("") : str_sub(p, 0, (size_t)slash + 1);
	if (!base.len || str_eq(base, STR(".")) || str_eq(base, STR(".."))) {
		/* Which name that is can only be told from the real path. */
		TRY(inroot_resolve(rootfd, path, true, a, &p));
		slash = str_rfind(p, '/');
		base = str_sub(p, (size_t)(slash + 1), p.len);
		dir = str_sub(p, 0, (size_t)(slash + 1));
		if (!base.len)
			return err_new(ERR_INVALID_ARGUMENT, "invalid path %.*s: is the root",
				       STR_ARG(path));
	}
	if (base.len && memchr(base.ptr, '\0', base.len))
		return err_new(ERR_INVALID_ARGUMENT, "invalid path: contains a NUL byte");
	if (base.len > LIMIT_FILE_NAME)
		return err_errno(ENAMETOOLONG, "open %.*s", STR_ARG(path));
	TRY(inroot_open(rootfd, dir, O_RDONLY | O_DIRECTORY, 0, ret_dirfd));
	*ret_base = str_cstr(a, base);
	return NULL;
}

/* One component looked at: in done (a path without symlinks) plus name. */
struct resolver {
	int rootfd;
	struct buf done; /* "" is the root, else "/a/b" */
	struct buf todo; /* what is still to be walked */
	int links;
};

static void pop_component(struct buf *b)
{
	while (b->len && b->data[--b->len] != '/')
		;
	if (b->data)
		b->data[b->len] = '\0';
}

/* Puts a symlink's target in front of what is left. */
static struct err *follow_link(struct resolver *r, int fd)
{
	char target[LIMIT_PATH + 1];
	ssize_t n = readlinkat(fd, "", target, sizeof(target) - 1);
	SCOPED_BUF(next, 2 * LIMIT_PATH);

	if (n < 0)
		return err_errno(errno, "readlink %s", buf_cstr(&r->done));
	if (++r->links > MAX_LINKS)
		return err_errno(ELOOP, "readlink %s", buf_cstr(&r->done));
	pop_component(&r->done);
	if (n && target[0] == '/')
		buf_clear(&r->done);
	buf_add(&next, target, (size_t)n);
	buf_add_char(&next, '/');
	buf_add_str(&next, buf_str(&r->todo));
	if (next.overflow)
		return err_errno(ENAMETOOLONG, "readlink %s", buf_cstr(&r->done));
	buf_clear(&r->todo);
	buf_add_str(&r->todo, buf_str(&next));
	return NULL;
}

static struct err *resolve_step(struct resolver *r, struct str name, bool follow)
{
	CLEANUP_FD int fd = -1;
	struct stat st;

	if (!name.len || str_eq(name, STR(".")))
		return NULL;
	if (str_eq(name, STR(".."))) {
		pop_component(&r->done);
		return NULL;
	}
	if (r->done.len + 1 + name.len > LIMIT_PATH - 1)
		return err_errno(ENAMETOOLONG, "open %s", buf_cstr(&r->done));
	buf_add_char(&r->done, '/');
	buf_add_str(&r->done, name);
	fd = open_raw(r->rootfd, r->done.data, O_PATH | O_NOFOLLOW, 0, RESOLVE_NO_SYMLINKS);
	if (fd == -ENOENT || fd == -ENOTDIR)
		return NULL;
	if (fd < 0)
		return err_errno(-fd, "lstat %s", r->done.data);
	if (fstat(fd, &st) < 0)
		return err_errno(errno, "lstat %s", r->done.data);
	if (!S_ISLNK(st.st_mode) || !follow)
		return NULL;
	return follow_link(r, fd);
}

static struct err *resolve_slow(struct resolver *r, bool follow)
{
	while (r->todo.len) {
		ptrdiff_t at = str_find(buf_str(&r->todo), '/');
		size_t n = at < 0 ? r->todo.len : (size_t)at;
		char name[LIMIT_PATH + 1];
		bool last;

		/* A component longer than a file name can't exist, but stays as written. */
		if (n > LIMIT_PATH)
			return err_errno(ENAMETOOLONG, "open %.64s...", r->todo.data);
		memcpy(name, r->todo.data, n);
		buf_consume(&r->todo, at < 0 ? n : n + 1);
		last = !strip_slashes(buf_str(&r->todo)).len;
		TRY(resolve_step(r, str_make(name, n), follow || !last));
	}
	return NULL;
}

struct err *inroot_resolve(int rootfd, struct str path, bool follow, struct arena *a,
			   struct str *ret)
{
	char p[LIMIT_PATH + 1];
	CLEANUP_FD int fd = -1;
	struct resolver r = { .rootfd = rootfd };
	struct err *e;

	TRY(to_cstr(path, p));
	/* Mostly it is there and no symlink is in the way. */
	fd = open_raw(rootfd, p, O_PATH | O_NOFOLLOW, 0, RESOLVE_NO_SYMLINKS);
	if (fd >= 0) {
		struct stat st;

		if (!follow || (fstat(fd, &st) == 0 && !S_ISLNK(st.st_mode))) {
			*ret = path_join(a, STR("/"), path);
			return NULL;
		}
	}
	buf_init(&r.done, LIMIT_PATH);
	buf_init(&r.todo, 2 * LIMIT_PATH);
	buf_add_str(&r.todo, path);
	e = resolve_slow(&r, follow);
	if (!e)
		*ret = r.done.len ? str_dup(a, buf_str(&r.done)) : STR("/");
	buf_fini(&r.done);
	buf_fini(&r.todo);
	return e;
}

static struct err *made(int fd, struct str path, const struct inroot_mkdirs_opts *o)
{
	if ((o->uid != (uid_t)-1 || o->gid != (gid_t)-1) && fchown(fd, o->uid, o->gid) < 0)
		return err_errno(errno, "chown %.*s", STR_ARG(path));
	if (fchmod(fd, o->mode & 07777) < 0)
		return err_errno(errno, "chmod %.*s", STR_ARG(path));
	if (o->created)
		o->created(o->arg, path);
	return NULL;
}

/* path is absolute, clean and without symlinks: a symlink that is there all the same was put
 * there meanwhile and is refused. fds gets the directories made. */
static struct err *make_all(int rootfd, struct str path, const struct inroot_mkdirs_opts *o,
			    int *fd, int **fds, size_t *n_fds)
{
	VEC(int) made_fds = VEC_INIT;
	struct err *e = fd_open_dir(rootfd, ".", fd);
	size_t at = 1;

	while (!e && at < path.len) {
		ptrdiff_t slash = str_find(str_sub(path, at, path.len), '/');
		size_t end = slash < 0 ? path.len : at + (size_t)slash;
		char name[LIMIT_FILE_NAME + 1];
		bool is_new = false;
		int next;

		if (end - at > LIMIT_FILE_NAME) {
			e = err_errno(ENAMETOOLONG, "mkdir %.*s", (int)end, path.ptr);
			break;
		}
		memcpy(name, path.ptr + at, end - at);
		name[end - at] = '\0';
		next = openat(*fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0 && errno == ENOENT) {
			is_new = mkdirat(*fd, name, 0700) == 0;
			if (is_new || errno == EEXIST)
				next = openat(*fd, name,
					      O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		}
		if (next < 0) {
			e = err_errno(errno, "mkdir %.*s", (int)end, path.ptr);
			break;
		}
		if (is_new)
			e = made(next, str_sub(path, 0, end), o);
		if (is_new && !e && o->set_mtime) {
			int keep = -1;

			e = fd_dup(next, &keep);
			if (!e)
				vec_push(&made_fds, keep);
		}
		(void)close(*fd);
		*fd = next;
		at = end + 1;
	}
	*fds = made_fds.items;
	*n_fds = made_fds.len;
	return e;
}

struct err *inroot_mkdirs(int rootfd, struct str path, const struct inroot_mkdirs_opts *o,
			  int *ret_fd)
{
	SCOPED_ARENA(a);
	char p[LIMIT_PATH + 1];
	CLEANUP_FD int fd = -1;
	CLEANUP_FREE int *fds = NULL;
	size_t n_fds = 0;
	struct str real;
	struct err *e;

	TRY(to_cstr(path, p));
	fd = open_raw(rootfd, p, O_RDONLY | O_DIRECTORY, 0, 0);
	if (fd >= 0) {
		if (ret_fd)
			*ret_fd = TAKE_FD(fd);
		return NULL;
	}
	TRY(inroot_resolve(rootfd, path, true, &a, &real));
	e = make_all(rootfd, real, o, &fd, &fds, &n_fds);
	/* Making a child changes its parent's time: innermost first, all at the end. */
	while (n_fds) {
		struct timespec ts = clock_to_timespec(o->mtime_ns), both[2] = { ts, ts };

		n_fds--;
		if (!e && futimens(fds[n_fds], both) < 0)
			e = err_errno(errno, "utimes %.*s", STR_ARG(real));
		(void)close(fds[n_fds]);
	}
	if (e)
		return e;
	if (ret_fd)
		*ret_fd = TAKE_FD(fd);
	return NULL;
}
