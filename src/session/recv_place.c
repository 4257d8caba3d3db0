#include "session/recv.h"

#include "base/id.h"
#include "sys/fd.h"
#include "sys/rmtree.h"
#include "sys/xattr.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define PERMS 07777u
#define WHAT(e) STR_ARG((e)->meta.path)

void recv_owner_init(struct recv_owner *o)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[256];
	unsigned mask;

	*o = (struct recv_owner) { geteuid(), getegid(), 0777 };
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Umask: %o", &mask) == 1)
			o->umask = (mode_t)mask;
	if (f)
		(void)fclose(f);
}

void recv_temp_name(char out[RECV_TEMP_LEN])
{
	uint64_t r;

	id_random(&r, sizeof(r));
	(void)snprintf(out, RECV_TEMP_LEN, ".tmp.%016llx", (unsigned long long)r);
}

struct err *recv_rename(int dirfd, const char *temp, const char *name)
{
	if (renameat(dirfd, temp, dirfd, name) == 0)
		return NULL;
	if (errno != EISDIR && errno != ENOTDIR && errno != EEXIST && errno != ENOTEMPTY)
		return err_errno(errno, "rename");
	TRY(rmtree(dirfd, name));
	if (renameat(dirfd, temp, dirfd, name) < 0)
		return err_errno(errno, "rename");
	return NULL;
}

struct err *recv_remove(struct recv_dirs *ds, struct recv_dir *dir, const char *name)
{
	struct err *e = NULL;
	int fd;

	TRY(recv_dir_get(ds, dir, &fd));
	if (unlinkat(fd, name, 0) < 0 && errno != ENOENT)
		e = errno == EISDIR || errno == EPERM ? rmtree(fd, name)
						      : err_errno(errno, "unlink");
	recv_dir_put(ds, dir);
	return err_wrap(e, "failed to remove: %.*s%s%s", STR_ARG(dir->path),
			dir->path.len ? "/" : "", name);
}

static struct timespec mtime_of(const struct recv_entry *e)
{
	int64_t s = e->meta.mtime_ns / NSEC_PER_SEC, ns = e->meta.mtime_ns % NSEC_PER_SEC;

	if (ns < 0) {
		s--;
		ns += NSEC_PER_SEC;
	}
	return (struct timespec) { s, ns };
}

static struct err *set_times(int dirfd, const char *name, const struct recv_entry *e)
{
	struct timespec t[2] = { mtime_of(e), mtime_of(e) };

	if (utimensat(dirfd, name, t, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(errno, "utimensat");
	return NULL;
}

static bool other_owner(const struct recv_owner *o, const struct recv_entry *e)
{
	return e->meta.uid != o->uid || e->meta.gid != o->gid || e->dir->setgid;
}

/* ---- directories ---- */

/* Mode, owner and xattrs of a directory that is there. */
static struct err *set_dir_meta(int dirfd, const struct recv_entry *e, mode_t mode)
{
	CLEANUP_FD int fd = openat(dirfd, e->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 && errno == EACCES) {
		/* Ours, but shut: a mode first. */
		if (fchmodat(dirfd, e->name, mode | 0700, 0) == 0)
			fd = openat(dirfd, e->name,
				    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	}
	if (fd < 0)
		return err_errno(errno, "open");
	if (fchown(fd, e->meta.uid, e->meta.gid) < 0)
		return err_errno(errno, "lchown");
	if (fchmod(fd, mode) < 0)
		return err_errno(errno, "chmod");
	for (size_t i = 0; i < e->n_xattrs; i++)
		/* Not every file system takes every attribute. */
		err_free(xattr_set(fd, NULL, e->xattrs[i].name.ptr, e->xattrs[i].value));
	return NULL;
}

static struct err *make_dir(int dirfd, const struct recv_owner *o, const struct recv_entry *e,
			    mode_t mode, bool *ret_exists)
{
	*ret_exists = false;
	if (mkdirat(dirfd, e->name, mode & 0777) < 0) {
		if (errno != EEXIST)
			return err_errno(errno, "mkdir");
		*ret_exists = true;
		return NULL;
	}
	if (other_owner(o, e) || (mode & o->umask) || (mode & 07000) || e->n_xattrs)
		return set_dir_meta(dirfd, e, mode);
	return NULL;
}

static struct err *place_dir(int dirfd, const struct recv_owner *o, struct recv_entry *e,
			     enum recv_was was)
{
	mode_t mode = e->meta.mode & PERMS;
	struct stat st;
	bool exists;

	/* Without rights of its own its owner could not fill it. */
	if (o->uid != 0 && (mode & 0700) != 0700) {
		e->self->fix_mode = true;
		mode |= 0700;
	}
	if (was == WAS_DIR)
		return set_dir_meta(dirfd, e, mode);
	if (was == WAS_OTHER && unlinkat(dirfd, e->name, 0) < 0 && errno != ENOENT)
		return err_errno(errno, "unlink");
	TRY(make_dir(dirfd, o, e, mode, &exists));
	if (!exists)
		return NULL;
	if (fstatat(dirfd, e->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
		return set_dir_meta(dirfd, e, mode);
	if (unlinkat(dirfd, e->name, 0) < 0 && errno != ENOENT)
		return err_errno(errno, "unlink");
	TRY(make_dir(dirfd, o, e, mode, &exists));
	return exists ? err_errno(EEXIST, "mkdir") : NULL;
}

struct err *recv_place_dir(struct recv_dirs *ds, const struct recv_owner *o, struct recv_entry *e,
			   enum recv_was was)
{
	struct err *err;
	int fd;

	TRY(recv_dir_get(ds, e->dir, &fd));
	err = place_dir(fd, o, e, was);
	recv_dir_put(ds, e->dir);
	return err_wrap(err, "failed to create dir %.*s", WHAT(e));
}

struct err *recv_set_dir_time(struct recv_dirs *ds, struct recv_dir *d)
{
	const struct recv_entry *e = d->entry;
	struct err *err = NULL;
	int fd;

	TRY(recv_dir_get(ds, e->dir, &fd));
	if (d->fix_mode && fchmodat(fd, e->name, e->meta.mode & PERMS, 0) < 0)
		err = err_errno(errno, "chmod");
	if (!err)
		err = set_times(fd, e->name, e);
	recv_dir_put(ds, e->dir);
	return err_wrap(err, "error setting metadata for %.*s", WHAT(e));
}

/* ---- everything else without data ---- */

static int make_node(int dirfd, const char *name, const struct recv_entry *e)
{
	switch (e->meta.mode & S_IFMT) {
	case S_IFLNK:
		return symlinkat(e->meta.linkname.ptr, dirfd, name);
	case S_IFIFO:
		return mknodat(dirfd, name, S_IFIFO | (e->meta.mode & 0777), 0);
	case S_IFCHR:
	case S_IFBLK:
		return mknodat(dirfd, name, e->meta.mode & (S_IFMT | 0777),
			       makedev(e->meta.devmajor, e->meta.devminor));
	default:
		errno = EINVAL;
		return -1;
	}
}

static struct err *node_meta(int dirfd, const char *name, const struct recv_owner *o,
			     const struct recv_entry *e)
{
	if (other_owner(o, e) &&
	    fchownat(dirfd, name, e->meta.uid, e->meta.gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(errno, "lchown");
	if (!S_ISLNK(e->meta.mode) && fchmodat(dirfd, name, e->meta.mode & PERMS, 0) < 0)
		return err_errno(errno, "chmod");
	return set_times(dirfd, name, e);
}

static struct err *place_node(int dirfd, const struct recv_owner *o, const struct recv_entry *e,
			      enum recv_was was)
{
	char temp[RECV_TEMP_LEN];
	bool direct = was != WAS_OTHER;
	struct err *err;

	if (was == WAS_DIR)
		TRY(rmtree(dirfd, e->name));
	if (direct && make_node(dirfd, e->name, e) < 0) {
		if (errno != EEXIST)
			return err_errno(errno, "mknod");
		direct = false;
	}
	if (direct)
		return node_meta(dirfd, e->name, o, e);
	recv_temp_name(temp);
	if (make_node(dirfd, temp, e) < 0)
		return err_errno(errno, "mknod");
	err = node_meta(dirfd, temp, o, e);
	if (!err)
		err = recv_rename(dirfd, temp, e->name);
	if (err)
		(void)unlinkat(dirfd, temp, 0);
	return err;
}

struct err *recv_place_node(struct recv_dirs *ds, const struct recv_owner *o, struct recv_entry *e,
			    enum recv_was was)
{
	struct err *err;
	int fd;

	TRY(recv_dir_get(ds, e->dir, &fd));
	err = place_node(fd, o, e, was);
	recv_dir_put(ds, e->dir);
	return err_wrap(err,
			S_ISLNK(e->meta.mode) ? "failed to symlink %.*s"
					      : "failed to create device %.*s",
			WHAT(e));
}

struct err *recv_place_link(struct recv_dirs *ds, struct recv_entry *e,
			    const struct recv_entry *source)
{
	struct err *err = NULL;
	char temp[RECV_TEMP_LEN];
	int from, to;

	recv_temp_name(temp);
	TRY(recv_dir_get(ds, source->dir, &from));
	err = recv_dir_get(ds, e->dir, &to);
	if (!err) {
		if (linkat(from, source->name, to, e->name, 0) < 0) {
			if (errno != EEXIST)
				err = err_errno(errno, "link");
			else if (linkat(from, source->name, to, temp, 0) < 0)
				err = err_errno(errno, "link");
			else
				err = recv_rename(to, temp, e->name);
			/* A rename of two names of one inode leaves both. */
			if (!err)
				(void)unlinkat(to, temp, 0);
		}
		recv_dir_put(ds, e->dir);
	}
	recv_dir_put(ds, source->dir);
	return err_wrap(err, "failed to link %.*s to %.*s", WHAT(e), STR_ARG(e->meta.linkname));
}
