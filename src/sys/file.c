#include "sys/file.h"

#include "base/id.h"
#include "base/limits.h"
#include "base/mem.h"
#include "sys/fd.h"

#include <errno.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct err *file_read(int dirfd, const char *path, struct buf *out)
{
	CLEANUP_FD int fd = -1;
	struct stat st;

	TRY(fd_open(dirfd, path, O_RDONLY, 0, &fd));
	/* One read for a file of known size; those of /proc say 0. */
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
		uint64_t room = out->max - MIN(out->len, out->max);

		if ((uint64_t)st.st_size > room)
			out->overflow = true;
		else
			(void)buf_reserve(out, (size_t)MIN((uint64_t)st.st_size + 1, room));
		TRYW(buf_check(out, "file"), "read %s", path);
	}
	TRYW(fd_read_all(fd, out), "read %s", path);
	return NULL;
}

struct err *file_read_str(int dirfd, const char *path, struct arena *a, size_t max, struct str *ret)
{
	SCOPED_BUF(b, max);

	TRY(file_read(dirfd, path, &b));
	*ret = str_dup(a, buf_str(&b));
	return NULL;
}

static struct err *write_fd(int fd, const char *path, struct str data, mode_t mode)
{
	TRYW(fd_write_all(fd, data.ptr, data.len), "write %s", path);
	if (fchmod(fd, mode) < 0)
		return err_errno(errno, "chmod %s", path);
	return NULL;
}

/* The part before the last component, to sync it. */
static struct err *sync_parent(int dirfd, const char *path)
{
	const char *slash = strrchr(path, '/');
	CLEANUP_FREE char *dir = NULL;
	CLEANUP_FD int fd = -1;

	if (slash)
		dir = mem_strndup(path, slash == path ? 1 : (size_t)(slash - path));
	TRY(fd_open_dir(dirfd, dir ? dir : ".", &fd));
	return file_sync_dir(fd);
}

struct err *file_replace(int dirfd, const char *path, struct str data, mode_t mode,
			 enum file_sync sync)
{
	CLEANUP_FREE char *tmp = NULL;
	CLEANUP_FD int fd = -1;
	struct err *e;
	uint64_t salt;

	id_random(&salt, sizeof(salt));
	tmp = mem_printf("%s.%016llx", path, (unsigned long long)salt);
	TRY(fd_open(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600, &fd));
	e = write_fd(fd, path, data, mode);
	if (!e && sync == FILE_SYNC && fdatasync(fd) < 0)
		e = err_errno(errno, "fdatasync %s", path);
	if (!e && renameat(dirfd, tmp, dirfd, path) < 0)
		e = err_errno(errno, "rename %s", path);
	if (e) {
		(void)unlinkat(dirfd, tmp, 0);
		return e;
	}
	return sync == FILE_SYNC ? sync_parent(dirfd, path) : NULL;
}

struct err *file_write(int dirfd, const char *path, struct str data, mode_t mode)
{
	CLEANUP_FD int fd = -1;

	TRY(fd_open(dirfd, path, O_WRONLY | O_CREAT | O_TRUNC, mode, &fd));
	return write_fd(fd, path, data, mode);
}

struct err *file_sync_dir(int dirfd)
{
	if (fsync(dirfd) < 0)
		return err_errno(errno, "fsync directory");
	return NULL;
}

struct err *file_sync_fs(int fd)
{
	if (syncfs(fd) < 0)
		return err_errno(errno, "syncfs");
	return NULL;
}

struct err *file_mkdirs(int dirfd, const char *path, mode_t mode)
{
	CLEANUP_FREE char *p = NULL;

	if (file_is_dir(dirfd, path))
		return NULL;
	p = mem_strdup(path);
	for (char *s = p; *s; s++) {
		char c;

		if (s[1] != '/' && s[1] != '\0')
			continue;
		c = s[1];
		s[1] = '\0';
		if (mkdirat(dirfd, p, mode) < 0) {
			int errnum = errno;

			if (errnum != EEXIST)
				return err_errno(errnum, "mkdir %s", p);
			if (c == '\0' && !file_is_dir(dirfd, p))
				return err_errno(ENOTDIR, "mkdir %s", p);
		}
		s[1] = c;
	}
	return NULL;
}

bool file_exists(int dirfd, const char *path)
{
	struct stat st;

	return fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

bool file_is_dir(int dirfd, const char *path)
{
	struct stat st;

	return fstatat(dirfd, path, &st, 0) == 0 && S_ISDIR(st.st_mode);
}

struct err *file_lock(int dirfd, const char *path, int *ret_fd)
{
	CLEANUP_FD int fd = -1;

	TRY(fd_open(dirfd, path, O_RDWR | O_CREAT, 0600, &fd));
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EINTR)
			continue;
		if (errno == EWOULDBLOCK)
			return err_new(ERR_UNAVAILABLE, "%s is locked by another process", path);
		return err_errno(errno, "flock %s", path);
	}
	*ret_fd = TAKE_FD(fd);
	return NULL;
}

struct err *file_unlink(int dirfd, const char *path)
{
	if (unlinkat(dirfd, path, 0) < 0 && errno != ENOENT)
		return err_errno(errno, "unlink %s", path);
	return NULL;
}

struct err *file_space(const char *path, struct file_space *ret)
{
	struct statvfs v;

	if (statvfs(path, &v) < 0)
		return err_errno(errno, "statfs %s", path);
	*ret = (struct file_space) {
		.total = (uint64_t)v.f_blocks * v.f_frsize,
		.free = (uint64_t)v.f_bfree * v.f_frsize,
		.available = (uint64_t)v.f_bavail * v.f_frsize,
	};
	return NULL;
}

struct err *file_boot_id(char ret[FILE_BOOT_ID_LEN + 1])
{
	SCOPED_BUF(b, 64);
	struct str s;

	TRY(file_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &b));
	s = str_trim(buf_str(&b));
	if (s.len != FILE_BOOT_ID_LEN)
		return err_new(ERR_INTERNAL, "boot id is malformed");
	memcpy(ret, s.ptr, s.len);
	ret[s.len] = '\0';
	return NULL;
}
