#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "snapshot/apply_impl.h"
#include "sys/fd.h"
#include "sys/rmtree.h"
#include "sys/xattr.h"

#include <errno.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static bool ids_fit(const struct apply_meta *m)
{
	/* The last id means "unchanged" to the kernel. */
	return m->uid < UINT32_MAX && m->gid < UINT32_MAX;
}

static struct err *chown_error(const struct apply *ap, int errnum, const struct apply_meta *m)
{
	struct err *e = err_errno(errnum, "failed to Lchown for UID %llu, GID %llu",
				  (unsigned long long)m->uid, (unsigned long long)m->gid);

	if (errnum == EINVAL && ap->userns)
		return err_wrap(e, "try increasing the number of subordinate IDs in /etc/subuid "
				   "and /etc/subgid");
	return e;
}

static struct err *apply_xattrs(int fd, const char *name, mode_t type, const struct apply_meta *m)
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

struct err *apply_meta_fd(struct apply *ap, int fd, const struct apply_meta *m, bool same_owner,
			  bool same_mode)
{
	struct timespec ts[2];

	if (!same_owner) {
		if (!ids_fit(m))
			return chown_error(ap, EINVAL, m);
		if (fchown(fd, (uid_t)m->uid, (gid_t)m->gid) < 0)
			return chown_error(ap, errno, m);
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

struct err *apply_meta_at(struct apply *ap, const char *name, mode_t type,
			  const struct apply_meta *m)
{
	struct timespec ts[2];
	int dirfd = ap->dir.fd;

	if (!ids_fit(m))
		return chown_error(ap, EINVAL, m);
	if (fchownat(dirfd, name, (uid_t)m->uid, (gid_t)m->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return chown_error(ap, errno, m);
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
static bool mode_by_open(const struct apply *ap, const struct apply_meta *m)
{
	return !ap->umask && !(m->mode & 07000);
}

static bool owner_by_open(const struct apply *ap, const struct apply_meta *m)
{
	return m->uid == ap->uid && m->gid == ap->gid && !ap->dir.setgid;
}

/* What is in the way goes. */
static struct err *create(struct apply *ap, const char *name, const struct apply_meta *m,
			  int *ret_fd)
{
	const int how = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	mode_t mode = mode_by_open(ap, m) ? m->mode : 0600;
	int fd = openat(ap->dir.fd, name, how, mode);

	if (fd < 0 && errno == EEXIST) {
		TRY(rmtree(ap->dir.fd, name));
		fd = openat(ap->dir.fd, name, how, mode);
	}
	if (fd < 0)
		return err_errno(errno, "open");
	*ret_fd = fd;
	return NULL;
}

static bool all_zero(const char *p, size_t len)
{
	return !len || (!p[0] && memcmp(p, p + 1, len - 1) == 0);
}

/* Long runs of zeros become holes: a sparse file reads as if whole. */
struct err *apply_data(struct apply *ap, int fd, uint64_t size)
{
	uint64_t at = 0;

	if (ftruncate(fd, (off_t)size) < 0)
		return err_errno(errno, "truncate");
	while (at < size) {
		size_t want = (size_t)MIN(size - at, (uint64_t)APPLY_CHUNK), got = 0, n;

		TRY(ctx_err(ap->ctx));
		while (got < want) {
			TRY(tar_read(ap->tar, ap->chunk + got, want - got, &n));
			if (!n)
				return err_new(ERR_DATA_LOSS, "unexpected EOF");
			got += n;
		}
		if (!all_zero(ap->chunk, want))
			TRY(fd_pwrite_all(fd, ap->chunk, want, at));
		at += want;
	}
	return NULL;
}

static struct err *read_small(struct apply *ap, char *p, size_t size)
{
	size_t got = 0, n;

	while (got < size) {
		TRY(tar_read(ap->tar, p + got, size - got, &n));
		if (!n)
			return err_new(ERR_DATA_LOSS, "unexpected EOF");
		got += n;
	}
	return NULL;
}

struct err *apply_regular(struct apply *ap, const char *name, const struct apply_meta *m,
			  uint64_t size)
{
	CLEANUP_FD int fd = -1;

	TRY(create(ap, name, m, &fd));
	if (size > APPLY_CHUNK) {
		TRY(apply_data(ap, fd, size));
	} else if (size) {
		TRY(read_small(ap, ap->chunk, (size_t)size));
		TRY(fd_write_all(fd, ap->chunk, (size_t)size));
	}
	return apply_meta_fd(ap, fd, m, owner_by_open(ap, m), mode_by_open(ap, m));
}

/* Symlinks, devices, pipes. */
static struct err *make_node(int dirfd, const char *name, const struct tar_header *h, mode_t type,
			     const char *target)
{
	for (int tries = 0;; tries++) {
		int r = type == S_IFLNK
				? symlinkat(target, dirfd, name)
				: mknodat(dirfd, name, type | 0600,
					  type == S_IFIFO ? 0 : makedev(h->devmajor, h->devminor));

		if (r == 0)
			return NULL;
		if (errno != EEXIST || tries)
			return err_errno(errno, type == S_IFLNK ? "symlink" : "mknod");
		TRY(rmtree(dirfd, name));
	}
}

struct err *apply_node(struct apply *ap, const char *name, const struct tar_header *h, mode_t type,
		       const struct apply_meta *m)
{
	SCOPED_ARENA(a);

	TRY(make_node(ap->dir.fd, name, h, type, str_cstr(&a, h->linkname)));
	return apply_meta_at(ap, name, type, m);
}
