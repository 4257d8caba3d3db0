#include "sys/unixsock.h"

#include "base/mem.h"
#include "base/str.h"
#include "sys/fd.h"
#include "sys/file.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Fills the address; one that is too long is taken relative to its open directory, whose
 * descriptor is *ret_dir then. */
static struct err *address(const char *path, struct sockaddr_un *a, int *ret_dir)
{
	const char *base;
	CLEANUP_FREE char *dir = NULL;
	int n;

	*a = (struct sockaddr_un) { .sun_family = AF_UNIX };
	if (strlen(path) < sizeof(a->sun_path)) {
		memcpy(a->sun_path, path, strlen(path));
		return NULL;
	}
	base = strrchr(path, '/');
	if (!base)
		return err_errno(ENAMETOOLONG, "unix socket %s", path);
	dir = mem_strndup(path, MAX((size_t)(base - path), (size_t)1));
	TRY(fd_open(AT_FDCWD, dir, O_PATH | O_DIRECTORY, 0, ret_dir));
	n = snprintf(a->sun_path, sizeof(a->sun_path), "/proc/self/fd/%d%s", *ret_dir, base);
	if (n >= (int)sizeof(a->sun_path))
		return err_errno(ENAMETOOLONG, "unix socket %s", path);
	return NULL;
}

static struct err *make_parent(const char *path)
{
	const char *slash = strrchr(path, '/');
	CLEANUP_FREE char *dir = NULL;

	if (!slash || slash == path)
		return NULL;
	dir = mem_strndup(path, (size_t)(slash - path));
	return file_mkdirs(AT_FDCWD, dir, 0755);
}

static struct err *bind_and_listen(int fd, const char *path, const struct sockaddr_un *a,
				   mode_t mode, uid_t uid, gid_t gid)
{
	struct stat st;

	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
		(void)unlink(path);
	if (bind(fd, (const struct sockaddr *)a, sizeof(*a)) < 0)
		return err_errno(errno, "listen unix %s: bind", path);
	/* It can't be connected to before listen(). */
	if ((uid != (uid_t)-1 || gid != (gid_t)-1) && lchown(path, uid, gid) < 0)
		return err_errno(errno, "chown %s", path);
	if (chmod(path, mode) < 0)
		return err_errno(errno, "chmod %s", path);
	if (listen(fd, SOMAXCONN) < 0)
		return err_errno(errno, "listen unix %s: listen", path);
	return NULL;
}

struct err *unixsock_listen(const char *path, mode_t mode, uid_t uid, gid_t gid, int *ret)
{
	struct sockaddr_un a;
	CLEANUP_FD int dir = -1;
	CLEANUP_FD int fd = -1;

	TRY(make_parent(path));
	TRY(address(path, &a, &dir));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_errno(errno, "socket");
	TRY(bind_and_listen(fd, path, &a, mode, uid, gid));
	*ret = TAKE_FD(fd);
	return NULL;
}

struct err *unixsock_connect(const char *path, int *ret)
{
	struct sockaddr_un a;
	CLEANUP_FD int dir = -1;
	CLEANUP_FD int fd = -1;
	int r;

	TRY(address(path, &a, &dir));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_errno(errno, "socket");
	do
		r = connect(fd, (struct sockaddr *)&a, sizeof(a));
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return err_errno(errno, "dial unix %s: connect", path);
	*ret = TAKE_FD(fd);
	return NULL;
}

struct err *unixsock_accept(int fd, int *ret)
{
	for (;;) {
		int c = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

		if (c >= 0) {
			*ret = c;
			return NULL;
		}
		if (errno == EINVAL || errno == EBADF)
			return err_new(ERR_UNAVAILABLE, "listener was closed");
		if (errno != EINTR && errno != ECONNABORTED)
			return err_errno(errno, "accept");
	}
}

struct err *unixsock_pair(int ret[2])
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ret) < 0)
		return err_errno(errno, "socketpair");
	return NULL;
}

union control {
	struct cmsghdr h;
	char space[CMSG_SPACE(sizeof(int) * 8)];
};

struct err *unixsock_send_fd(int sock, int fd)
{
	union control c = { 0 };
	char byte = 0;
	struct iovec v = { &byte, 1 };
	struct msghdr m = { .msg_iov = &v,
			    .msg_iovlen = 1,
			    .msg_control = c.space,
			    .msg_controllen = CMSG_SPACE(sizeof(int)) };
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);

	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &fd, sizeof(fd));
	while (sendmsg(sock, &m, MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			return err_errno(errno, "sendmsg");
	return NULL;
}

struct err *unixsock_recv_fd(int sock, int *ret)
{
	union control c = { 0 };
	char text[4096];
	struct iovec v = { text, sizeof(text) };
	struct msghdr m = { .msg_iov = &v,
			    .msg_iovlen = 1,
			    .msg_control = c.space,
			    .msg_controllen = sizeof(c.space) };
	int got = -1;

	while (recvmsg(sock, &m, MSG_CMSG_CLOEXEC) < 0)
		if (errno != EINTR)
			return err_errno(errno, "recvmsg");
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) {
		size_t n;

		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(fd));
			if (got < 0)
				got = fd;
			else
				(void)close(fd);
		}
	}
	if (got < 0)
		return err_new(ERR_NOT_FOUND, "message without a file descriptor");
	*ret = got;
	return NULL;
}
