#include "snapshot/link.h"

#include "base/limits.h"
#include "base/mem.h"
#include "snapshot/store.h"
#include "sys/copy.h"
#include "sys/fd.h"
#include "sys/inroot.h"
#include "sys/rmtree.h"
#include "sys/xattr.h"

#include <errno.h>
#include <linux/openat2.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <unistd.h>

struct err *link_dir_attrs(int from, int to)
{
	const struct copy_opts o = { .flags = COPY_NO_TIMES };

	return copy_dir_meta(from, to, &o);
}

struct err *link_file(int from, int to, const char *name)
{
	const struct copy_opts o = { 0 };
	struct stat st;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(errno, "lstat %s", name);
	/* Two trees must not talk through one pipe. */
	if (!S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode)) {
		if (linkat(from, name, to, name, 0) == 0)
			return NULL;
		if (errno != EXDEV && errno != EMLINK && errno != EPERM)
			return err_errno(errno, "link %s", name);
	}
	return copy_entry(from, name, to, name, &o);
}

struct err *link_whiteout(int dirfd, const char *name, bool userxattr)
{
	const char *origin = userxattr ? "user.overlay.origin" : "trusted.overlay.origin";
	SCOPED_ARENA(a);
	struct str v;
	bool found;

	if (mknodat(dirfd, name, S_IFCHR, makedev(0, 0)) < 0) {
		if (errno != EEXIST)
			return err_errno(errno, "whiteout %s", name);
		TRY(rmtree(dirfd, name));
		if (mknodat(dirfd, name, S_IFCHR, makedev(0, 0)) < 0)
			return err_errno(errno, "whiteout %s", name);
	}
	/* Directories that are in one layer only are read without a look for whiteouts, unless
	 * they say that they were copied up; empty is "from somewhere". */
	TRY(xattr_get(dirfd, NULL, origin, &a, &v, &found));
	return found ? NULL : xattr_set(dirfd, NULL, origin, STR(""));
}

void linker_init(struct linker *k, int root)
{
	*k = (struct linker) { .root = root, .fd = -1 };
}

void linker_fini(struct linker *k)
{
	if (k->fd >= 0)
		(void)close(k->fd);
	free(k->fd_path);
	vec_each (&k->dirs, d)
		free(d->path);
	vec_fini(&k->dirs);
	map_fini(&k->made, NULL);
	map_fini(&k->copied, free);
}

static struct err *go_to(struct linker *k, struct str path)
{
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

/* Makes directory name in the current one, or takes the one that is there, with the attributes of
 * the upper tree's. */
static struct err *make_dir(struct linker *k, struct str path, const char *name, int from,
			    const struct stat *st)
{
	CLEANUP_FD int fd = -1;

	if (mkdirat(k->fd, name, 0700) < 0) {
		struct stat there;

		if (errno != EEXIST || fstatat(k->fd, name, &there, AT_SYMLINK_NOFOLLOW) < 0)
			return err_errno(errno, "mkdir %.*s", STR_ARG(path));
		if (!S_ISDIR(there.st_mode) &&
		    (unlinkat(k->fd, name, 0) < 0 || mkdirat(k->fd, name, 0700) < 0))
			return err_errno(errno, "mkdir %.*s", STR_ARG(path));
	}
	TRY(fd_open(k->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, &fd));
	TRY(link_dir_attrs(from, fd));
	(void)map_put(&k->made, path, k);
	vec_push(&k->dirs, ((struct linked_dir) { .path = mem_strndup(path.ptr, path.len),
						  .times = { st->st_atim, st->st_mtim } }));
	return NULL;
}

static const char *last_name(struct str path)
{
	return path.ptr + str_rfind(path, '/') + 1;
}

/* The directory of a change and those above it, then goes there. */
static struct err *make_parents(struct linker *k, struct change_dir *d)
{
	if (d->up && !map_has(&k->made, d->path)) {
		TRY(make_parents(k, d->up));
		TRY(make_dir(k, d->path, last_name(d->path), d->fd, &d->st));
	}
	return go_to(k, d->path);
}

/* The layer directory that really has the file. The path is visible in the whole, so the topmost
 * layer that has it is the one. */
static struct err *find_source(const struct linker *k, const struct change *c, int *ret_dirfd)
{
	struct open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
	};

	for (size_t i = 0; i < k->sources.n; i++) {
		long fd = syscall(SYS_openat2, k->sources.fds[i],
				  c->dir->path.len ? c->dir->path.ptr : ".", &how, sizeof(how));
		struct stat st;

		if (fd < 0)
			continue;
		if (fstatat((int)fd, c->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    (st.st_mode & S_IFMT) == (c->st->st_mode & S_IFMT)) {
			*ret_dirfd = (int)fd;
			return NULL;
		}
		(void)close((int)fd);
	}
	return fd_dup(c->dir->fd, ret_dirfd);
}

/* Another name for the copy that there is. *ret false: it is not there any more. */
static struct err *link_to_copy(struct linker *k, const char *first, const char *name, bool *ret)
{
	CLEANUP_FD int fd = -1;
	struct err *e = inroot_open(k->root, str_from(first), O_PATH | O_NOFOLLOW, 0, &fd);
	char path[FD_PATH_MAX];

	*ret = false;
	if (e) {
		err_free(e);
		return NULL;
	}
	if (linkat(AT_FDCWD, fd_path(fd, NULL, path), k->fd, name, AT_SYMLINK_FOLLOW) < 0)
		return errno == EMLINK || errno == EXDEV ? NULL : err_errno(errno, "link %s", name);
	*ret = true;
	return NULL;
}

static struct err *copy_file(struct linker *k, const struct change *c)
{
	struct {
		dev_t dev;
		ino_t ino;
	} inode = { 0 };
	struct str key = str_make(&inode, sizeof(inode));
	const char *first;
	bool done = false;

	if (c->st->st_nlink < 2)
		return link_file(c->dir->fd, k->fd, c->name);
	inode.dev = c->st->st_dev;
	inode.ino = c->st->st_ino;
	first = map_get(&k->copied, key);
	if (first)
		TRY(link_to_copy(k, first, c->name, &done));
	if (done)
		return NULL;
	TRY(link_file(c->dir->fd, k->fd, c->name));
	free(map_put(&k->copied, key, mem_strndup(c->path.ptr, c->path.len)));
	return NULL;
}

struct err *linker_change(void *arg, const struct change *c)
{
	struct linker *k = arg;
	CLEANUP_FD int from = -1;

	if (c->kind == CHANGE_SAME)
		return NULL;
	TRY(make_parents(k, c->dir));
	if (c->kind == CHANGE_DELETE) {
		if (k->whiteouts)
			return link_whiteout(k->fd, c->name, k->userxattr);
		return rmtree(k->fd, c->name);
	}
	if (S_ISDIR(c->st->st_mode)) {
		TRY(fd_open(c->dir->fd, c->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, &from));
		return make_dir(k, c->path, c->name, from, c->st);
	}
	TRY(rmtree(k->fd, c->name));
	if (k->copies)
		return copy_file(k, c);
	if (!k->sources.n)
		return link_file(c->dir->fd, k->fd, c->name);
	TRY(find_source(k, c, &from));
	return link_file(from, k->fd, c->name);
}

struct err *linker_finish(struct linker *k)
{
	vec_each (&k->dirs, d) {
		int fd = -1;
		struct err *e = inroot_open(k->root, str_from(d->path),
					    O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, &fd);

		if (e) {
			/* Replaced by something later. */
			err_free(e);
			continue;
		}
		if (futimens(fd, d->times) < 0)
			e = err_errno(errno, "utimes %s", d->path);
		(void)close(fd);
		TRY(e);
	}
	return NULL;
}
