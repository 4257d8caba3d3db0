#include "sys/rmtree.h"

#include "base/limits.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/vec.h"
#include "sys/fd.h"
#include "sys/walk.h"

#include <dirent.h>
#include <errno.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Ancestors beyond this are closed while we are deep below them, and found again by "..", which
 * must lead back to the same directory. */
#define MAX_OPEN 64

struct level {
	int fd; /* -1: closed for now */
	dev_t dev;
	ino_t ino;
	char *name; /* of it in its parent; NULL for the start */
	struct walk_names names;
	size_t at;
};

struct remover {
	VEC(struct level) levels;
	dev_t dev;
	struct err *err; /* the first failure; the rest is still removed */
};

/* Takes the immutable and append-only flags off. */
static bool clear_flags(int dirfd, const char *name)
{
	CLEANUP_FD int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	int flags;

	if (fd < 0 || ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
		return false;
	if (!(flags & (FS_IMMUTABLE_FL | FS_APPEND_FL)))
		return false;
	flags &= ~(FS_IMMUTABLE_FL | FS_APPEND_FL);
	return ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0;
}

/* 0 or errno. */
static int unlink_hard(int dirfd, const char *name, int flags)
{
	struct stat st;
	bool cleared;
	int errnum;

	if (unlinkat(dirfd, name, flags) == 0 || errno == ENOENT)
		return 0;
	errnum = errno;
	if (errnum != EPERM && errnum != EACCES)
		return errnum;
	/* The flag may be on the directory or on the entry. */
	cleared = clear_flags(dirfd, ".");
	cleared = clear_flags(dirfd, name) || cleared;
	if (cleared && (unlinkat(dirfd, name, flags) == 0 || errno == ENOENT))
		return 0;
	if (fstat(dirfd, &st) == 0 && (st.st_mode & 0700) != 0700 &&
	    fchmod(dirfd, (st.st_mode & 07777) | 0700) == 0 &&
	    (unlinkat(dirfd, name, flags) == 0 || errno == ENOENT))
		return 0;
	return errnum;
}

static int open_dir_hard(int dirfd, const char *name)
{
	const int how = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	int fd = openat(dirfd, name, how);

	/* Without read permission, and not the superuser. It is a directory of ours: not a
	 * symlink by O_NOFOLLOW above, which comes before the permission check. */
	if (fd < 0 && errno == EACCES && fchmodat(dirfd, name, 0700, 0) == 0)
		fd = openat(dirfd, name, how);
	return fd;
}

static struct level *top(struct remover *r)
{
	return &r->levels.items[r->levels.len - 1];
}

static void fail(struct remover *r, int errnum, const char *what, const char *name)
{
	struct err *e = err_errno(errnum, "%s %s", what, name);

	r->err = err_first(r->err, e);
}

/* Takes fd. name NULL for the start. */
static struct err *push(struct remover *r, int fd, const char *name, const struct stat *st)
{
	struct level l = { .fd = fd, .dev = st->st_dev, .ino = st->st_ino };
	struct err *e = walk_read_names(fd, false, &l.names);

	if (e) {
		(void)close(fd);
		return e;
	}
	l.name = name ? mem_strdup(name) : NULL;
	vec_push(&r->levels, l);
	if (r->levels.len > MAX_OPEN) {
		struct level *old = &r->levels.items[r->levels.len - 1 - MAX_OPEN];

		/* The start directory stays: its ".." may be somebody else's. */
		if (old->fd >= 0 && r->levels.len - 1 - MAX_OPEN > 0) {
			(void)close(old->fd);
			old->fd = -1;
		}
	}
	return NULL;
}

static void drop_top(struct remover *r)
{
	struct level *l = top(r);

	if (l->fd >= 0)
		(void)close(l->fd);
	walk_names_fini(&l->names);
	free(l->name);
	r->levels.len--;
}

/* Goes up one level and removes the directory that was left. False to give up. */
static bool leave(struct remover *r)
{
	struct level *l = top(r), *up = l - 1;
	CLEANUP_FREE char *name = TAKE_PTR(l->name);
	int errnum;

	if (up->fd < 0) {
		struct stat st;

		up->fd = openat(l->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (up->fd < 0 || fstat(up->fd, &st) < 0 || st.st_dev != up->dev ||
		    st.st_ino != up->ino) {
			fail(r, up->fd < 0 ? errno : ESTALE, "open", "..");
			drop_top(r);
			return false;
		}
	}
	drop_top(r);
	errnum = unlink_hard(top(r)->fd, name, AT_REMOVEDIR);
	if (errnum)
		fail(r, errnum, "rmdir", name);
	return true;
}

static void remove_one(struct remover *r, struct level *l, const struct walk_name *n)
{
	struct stat st;
	int errnum = EISDIR, fd;

	if (n->type != DT_DIR) {
		errnum = unlink_hard(l->fd, n->name, 0);
		if (!errnum)
			return;
		/* EISDIR, or EPERM by POSIX: a directory of unknown type. */
		if (errnum != EISDIR && n->type != DT_UNKNOWN) {
			fail(r, errnum, "unlink", n->name);
			return;
		}
	}
	/* An empty directory needs no look inside. */
	if (unlinkat(l->fd, n->name, AT_REMOVEDIR) == 0)
		return;
	fd = open_dir_hard(l->fd, n->name);
	if (fd < 0) {
		if (errno != ENOENT)
			fail(r, errnum == EISDIR ? errno : errnum, "open", n->name);
		return;
	}
	if (fstat(fd, &st) < 0 || st.st_dev != r->dev) {
		(void)close(fd);
		fail(r, EBUSY, "remove mount", n->name);
		return;
	}
	r->err = err_first(r->err, push(r, fd, n->name, &st));
}

static struct err *remove_content(int take_fd)
{
	struct remover r = { 0 };
	struct stat st;

	if (fstat(take_fd, &st) < 0) {
		int errnum = errno;

		(void)close(take_fd);
		return err_errno(errnum, "fstat");
	}
	r.dev = st.st_dev;
	TRY(push(&r, take_fd, NULL, &st));
	for (;;) {
		struct level *l = top(&r);

		if (l->at < l->names.n)
			remove_one(&r, l, &l->names.items[l->at++]);
		else if (r.levels.len == 1 || !leave(&r))
			break;
	}
	while (r.levels.len)
		drop_top(&r);
	vec_fini(&r.levels);
	return r.err;
}

struct err *rmtree_content(int dirfd)
{
	int fd = -1;

	TRY(fd_open_dir(dirfd, ".", &fd));
	return remove_content(fd);
}

struct err *rmtree(int dirfd, const char *name)
{
	int fd, errnum = unlinkat(dirfd, name, 0) == 0 ? 0 : errno;

	if (!errnum || errnum == ENOENT || errnum == ENOTDIR)
		return NULL;
	fd = open_dir_hard(dirfd, name);
	if (fd < 0) {
		if (errno == ENOTDIR || errno == ELOOP)
			errnum = unlink_hard(dirfd, name, 0);
		else
			errnum = errno;
		return errnum && errnum != ENOENT ? err_errno(errnum, "unlink %s", name) : NULL;
	}
	TRYW(remove_content(fd), "remove %s", name);
	errnum = unlink_hard(dirfd, name, AT_REMOVEDIR);
	return errnum ? err_errno(errnum, "rmdir %s", name) : NULL;
}
