#include "sys/fd.h"

#include "base/arena.h"
#include "base/limits.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

struct err *fd_open(int dirfd, const char *path, int flags, mode_t mode, int *ret)
{
	int fd;

	do
		fd = openat(dirfd, path, flags | O_CLOEXEC, mode);
	while (fd < 0 && errno == EINTR);
	if (fd < 0)
		return err_errno(errno, "open %s", path);
	*ret = fd;
	return NULL;
}

struct err *fd_open_dir(int dirfd, const char *path, int *ret)
{
	return fd_open(dirfd, path, O_RDONLY | O_DIRECTORY, 0, ret);
}

const char *fd_path(int fd, const char *name, char out[FD_PATH_MAX])
{
	(void)snprintf(out, FD_PATH_MAX, "/proc/self/fd/%d%s%s", fd, name ? "/" : "",
		       name ? name : "");
	return out;
}

struct err *fd_reopen(int fd, int flags, int *ret)
{
	char path[FD_PATH_MAX];

	/* A directory has a shorter way that needs no /proc. */
	if (flags & O_DIRECTORY)
		return fd_open(fd, ".", flags, 0, ret);
	return fd_open(AT_FDCWD, fd_path(fd, NULL, path), flags & ~O_NOFOLLOW, 0, ret);
}

struct err *fd_dup(int fd, int *ret)
{
	int n = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (n < 0)
		return err_errno(errno, "dup");
	*ret = n;
	return NULL;
}

struct err *fd_read(int fd, void *p, size_t len, size_t *ret_n)
{
	ssize_t n;

	do
		n = read(fd, p, len);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_errno(errno, "read");
	*ret_n = (size_t)n;
	return NULL;
}

struct err *fd_read_full(int fd, void *p, size_t len, size_t *ret_n)
{
	size_t at = 0, n;

	while (at < len) {
		TRY(fd_read(fd, (char *)p + at, len - at, &n));
		if (!n)
			break;
		at += n;
	}
	*ret_n = at;
	return NULL;
}

struct err *fd_pread_full(int fd, void *p, size_t len, uint64_t offset, size_t *ret_n)
{
	size_t at = 0;

	while (at < len) {
		ssize_t n = pread(fd, (char *)p + at, len - at, (off_t)(offset + at));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(errno, "read");
		if (!n)
			break;
		at += (size_t)n;
	}
	*ret_n = at;
	return NULL;
}

struct err *fd_read_all(int fd, struct buf *out)
{
	/* What the caller reserved is filled first. */
	size_t chunk = MAX((size_t)4096, out->cap - MIN(out->cap, out->len + 1)), n;

	for (;;) {
		size_t room = out->max > out->len ? out->max - out->len : 0;
		char *p, probe;

		if (!room) {
			/* Exactly full is fine: is there one byte more? */
			TRY(fd_read(fd, &probe, 1, &n));
			if (n)
				out->overflow = true;
			if (out->data)
				out->data[out->len] = '\0';
			return buf_check(out, "file");
		}
		p = buf_reserve(out, MIN(chunk, room));
		TRY(fd_read(fd, p, MIN(chunk, room), &n));
		if (!n)
			return NULL;
		out->len += n;
		if (n == chunk && chunk < MIB)
			chunk *= 2;
	}
}

struct err *fd_write_all(int fd, const void *p, size_t len)
{
	size_t at = 0;

	while (at < len) {
		ssize_t n = write(fd, (const char *)p + at, len - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(errno, "write");
		at += (size_t)n;
	}
	return NULL;
}

struct err *fd_pwrite_all(int fd, const void *p, size_t len, uint64_t offset)
{
	size_t at = 0;

	while (at < len) {
		ssize_t n = pwrite(fd, (const char *)p + at, len - at, (off_t)(offset + at));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(errno, "write");
		at += (size_t)n;
	}
	return NULL;
}

struct err *fd_memfd(const char *name, struct str data, bool sealed, int *ret)
{
	CLEANUP_FD int fd = memfd_create(name, MFD_CLOEXEC | (sealed ? MFD_ALLOW_SEALING : 0));

	if (fd < 0)
		return err_errno(errno, "memfd_create %s", name);
	TRY(fd_write_all(fd, data.ptr, data.len));
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_errno(errno, "seek %s", name);
	if (sealed &&
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
		return err_errno(errno, "seal %s", name);
	*ret = TAKE_FD(fd);
	return NULL;
}

struct err *fd_pipe(int ret_fds[2])
{
	if (pipe2(ret_fds, O_CLOEXEC) < 0)
		return err_errno(errno, "pipe");
	return NULL;
}

struct err *fd_set_nonblock(int fd, bool on)
{
	int fl = fcntl(fd, F_GETFL);

	if (fl < 0 || fcntl(fd, F_SETFL, on ? fl | O_NONBLOCK : fl & ~O_NONBLOCK) < 0)
		return err_errno(errno, "fcntl");
	return NULL;
}

struct err *fd_real_path(struct arena *a, int fd, struct str *ret)
{
	char link[FD_PATH_MAX], path[LIMIT_PATH + 1];
	ssize_t n = readlink(fd_path(fd, NULL, link), path, sizeof(path));

	if (n < 0)
		return err_errno(errno, "readlink %s", link);
	if ((size_t)n > LIMIT_PATH)
		return err_new(ERR_INVALID_ARGUMENT, "path is too long");
	*ret = str_dup(a, str_make(path, (size_t)n));
	return NULL;
}
