#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "snapshot/apply_impl.h"
#include "sys/fd.h"
#include "sys/rmtree.h"
#include "sys/xattr.h"

#include <errno.h>
#include <unistd.h>

void apply_dir_unref(struct apply_dir *d)
{
	if (!d || atomic_fetch_sub(&d->refs, 1) != 1)
		return;
	(void)close(d->fd);
	free((char *)d->path.ptr);
	free(d);
}

void apply_meta_of(const struct tar_header *h, struct apply_meta *ret)
{
	/* Times before the epoch are taken for junk. */
	int64_t mtime = MAX(h->mtime_ns, INT64_C(0));

	*ret = (struct apply_meta) {
		.uid = h->uid,
		.gid = h->gid,
		.mode = h->mode & 07777,
		.mtime_ns = mtime,
		.atime_ns = MAX(h->atime_ns, mtime),
		.xattrs = h->xattrs,
		.n_xattrs = h->n_xattrs,
	};
}

static bool ids_fit(const struct apply_meta *m)
{
	/* The last id means "unchanged" to the kernel. */
	return m->uid < UINT32_MAX && m->gid < UINT32_MAX;
}

static struct err *chown_error(const struct apply_env *env, int errnum, const struct apply_meta *m)
{
	struct err *e = err_errno(errnum, "failed to Lchown for UID %llu, GID %llu",
				  (unsigned long long)m->uid, (unsigned long long)m->gid);

	if (errnum == EINVAL && env->userns)
		return err_wrap(e, "try increasing the number of subordinate IDs in /etc/subuid "
				   "and /etc/subgid");
	return e;
}

struct err *apply_xattrs(int fd, const char *name, mode_t type, const struct apply_meta *m)
{
	for (size_t i = 0; i < m->n_xattrs; i++) {
		const struct tar_xattr *x = &m->xattrs[i];
		SCOPED_ARENA(a);
		struct err *e;
		int errnum;

		/* Not for archives to say, least of all those that overlayfs obeys. */
		if (str_has_prefix(x->name, STR("trusted.")) ||
		    str_has_prefix(x->name, STR("user.overlay.")))
			continue;
		e = xattr_set(fd, name, str_cstr(&a, x->name), x->value);
		errnum = err_get_errno(e);
		if (errnum == ENOTSUP ||
		    (errnum == EPERM && str_has_prefix(x->name, STR("user.")) && type != S_IFREG &&
		     type != S_IFDIR)) {
			err_free(e);
			continue;
		}
		TRY(e);
	}
	return NULL;
}

static void times_of(const struct apply_meta *m, struct timespec ts[2])
{
	ts[0] = clock_to_timespec(m->atime_ns);
	ts[1] = clock_to_timespec(m->mtime_ns);
}

struct err *apply_meta_fd(const struct apply_env *env, int fd, const struct apply_meta *m,
			  bool same_owner, bool same_mode)
{
	struct timespec ts[2];

	if (!same_owner) {
		if (!ids_fit(m))
			return chown_error(env, EINVAL, m);
		if (fchown(fd, (uid_t)m->uid, (gid_t)m->gid) < 0)
			return chown_error(env, errno, m);
	}
	if (m->n_xattrs)
		TRY(apply_xattrs(fd, NULL, S_IFREG, m));
	/* After chown, which takes setuid bits away. */
	if (!same_mode && fchmod(fd, m->mode) < 0)
		return err_errno(errno, "chmod");
	times_of(m, ts);
	if (futimens(fd, ts) < 0)
		return err_errno(errno, "utimes");
	return NULL;
}

struct err *apply_meta_at(const struct apply_env *env, int dirfd, const char *name, mode_t type,
			  const struct apply_meta *m)
{
	struct timespec ts[2];

	if (!ids_fit(m))
		return chown_error(env, EINVAL, m);
	if (fchownat(dirfd, name, (uid_t)m->uid, (gid_t)m->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return chown_error(env, errno, m);
	if (m->n_xattrs)
		TRY(apply_xattrs(dirfd, name, type, m));
	/* It was made or seen by us: not a symlink. */
	if (type != S_IFLNK && fchmodat(dirfd, name, m->mode, 0) < 0)
		return err_errno(errno, "chmod");
	times_of(m, ts);
	if (utimensat(dirfd, name, ts, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(errno, "utimes");
	return NULL;
}

/* Bits that open() sets as they are: not those that chown or a write would take away, and none
 * under an umask. */
static bool mode_by_open(const struct apply_env *env, const struct apply_meta *m)
{
	return !env->umask && !(m->mode & 07000);
}

static bool owner_by_open(const struct apply_env *env, const struct apply_dir *d,
			  const struct apply_meta *m)
{
	return m->uid == env->uid && m->gid == env->gid && !d->setgid;
}

struct err *apply_create(const struct apply_env *env, const struct apply_dir *d, const char *name,
			 const struct apply_meta *m, int *ret_fd)
{
	const int how = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	mode_t mode = mode_by_open(env, m) ? m->mode : 0600;
	int fd = openat(d->fd, name, how, mode);

	if (fd < 0 && errno == EEXIST) {
		TRY(rmtree(d->fd, name));
		fd = openat(d->fd, name, how, mode);
	}
	if (fd < 0)
		return err_errno(errno, "open");
	*ret_fd = fd;
	return NULL;
}

struct err *apply_close_file(const struct apply_env *env, const struct apply_dir *d, int fd,
			     const struct apply_meta *m)
{
	return apply_meta_fd(env, fd, m, owner_by_open(env, d, m), mode_by_open(env, m));
}

struct err *apply_file(const struct apply_env *env, const struct apply_dir *d, const char *name,
		       const struct apply_meta *m, const char *data, size_t len)
{
	CLEANUP_FD int fd = -1;
	struct err *e;

	TRY(apply_create(env, d, name, m, &fd));
	e = fd_write_all(fd, data, len);
	return e ? e : apply_close_file(env, d, fd, m);
}
