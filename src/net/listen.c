#include "net/listen.h"

#include "base/arena.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define BACKLOG 4096

static bool split(struct str address, struct str *ret_scheme, struct str *ret_rest)
{
	ptrdiff_t at = str_find_str(address, STR("://"));

	if (at < 0)
		return false;
	*ret_scheme = str_sub(address, 0, (size_t)at);
	*ret_rest = str_sub(address, (size_t)at + 3, address.len);
	return true;
}

bool net_address_is_unix(struct str address)
{
	return str_has_prefix(address, STR("unix://"));
}

/* A path too long for sun_path is reached through the directory's descriptor. */
static struct err *unix_name(struct str path, struct sockaddr_un *sa, int *ret_dirfd)
{
	*sa = (struct sockaddr_un) { .sun_family = AF_UNIX };
	*ret_dirfd = -1;
	if (path.len == 0)
		return err_new(ERR_INVALID_ARGUMENT, "empty unix socket path");
	if (path.len < sizeof(sa->sun_path)) {
		memcpy(sa->sun_path, path.ptr, path.len);
		return NULL;
	}
	SCOPED_ARENA(a);
	ptrdiff_t slash = str_rfind(path, '/');
	struct str base = str_sub(path, (size_t)(slash + 1), path.len);
	const char *dir = slash > 0 ? str_cstr(&a, str_sub(path, 0, (size_t)slash)) : "/";
	int n;

	if (slash < 0)
		return err_errno(ENAMETOOLONG, "%.*s", STR_ARG(path));
	*ret_dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*ret_dirfd < 0)
		return err_errno(errno, "open %s", dir);
	n = snprintf(sa->sun_path, sizeof(sa->sun_path), "/proc/self/fd/%d/%.*s", *ret_dirfd,
		     STR_ARG(base));
	if (n < 0 || (size_t)n >= sizeof(sa->sun_path))
		return err_errno(ENAMETOOLONG, "%.*s", STR_ARG(path));
	return NULL;
}

static struct err *make_parents(struct str path)
{
	SCOPED_ARENA(a);
	char *p = str_cstr(&a, path);

	for (char *s = strchr(p + 1, '/'); s; s = strchr(s + 1, '/')) {
		*s = '\0';
		if (mkdir(p, 0755) < 0 && errno != EEXIST)
			return err_errno(errno, "mkdir %s", p);
		*s = '/';
	}
	return NULL;
}

static struct err *listen_unix(struct str path, const struct net_listen_opts *o, int *ret_fd)
{
	CLEANUP_FD int fd = -1, dirfd = -1;
	struct sockaddr_un sa;
	mode_t mode = o && o->mode ? o->mode : 0660;

	TRY(make_parents(path));
	TRY(unix_name(path, &sa, &dirfd));
	if (unlink(sa.sun_path) < 0 && errno != ENOENT)
		return err_errno(errno, "unlink %.*s", STR_ARG(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(errno, "socket");
	/* Before bind(): the socket file takes its mode from here, less the umask. */
	(void)fchmod(fd, mode);
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return err_errno(errno, "listen unix %.*s: bind", STR_ARG(path));
	if (chmod(sa.sun_path, mode) < 0)
		return err_errno(errno, "chmod %.*s", STR_ARG(path));
	if (o && (o->uid != (uid_t)-1 || o->gid != (gid_t)-1) &&
	    chown(sa.sun_path, o->uid, o->gid) < 0)
		return err_errno(errno, "chown %.*s", STR_ARG(path));
	if (listen(fd, BACKLOG) < 0)
		return err_errno(errno, "listen unix %.*s", STR_ARG(path));
	*ret_fd = TAKE_FD(fd);
	return NULL;
}

static struct err *resolve(struct str host_port, bool passive, struct addrinfo **ret)
{
	struct addrinfo hint = { .ai_socktype = SOCK_STREAM,
				 .ai_flags = passive ? AI_PASSIVE : AI_ADDRCONFIG };
	SCOPED_ARENA(a);
	ptrdiff_t colon = str_rfind(host_port, ':');
	struct str host, port;
	int r;

	if (colon < 0)
		return err_new(ERR_INVALID_ARGUMENT, "address %.*s: missing port in address",
			       STR_ARG(host_port));
	host = str_sub(host_port, 0, (size_t)colon);
	port = str_sub(host_port, (size_t)colon + 1, host_port.len);
	if (host.len > 1 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']')
		host = str_sub(host, 1, host.len - 1);
	r = getaddrinfo(host.len  ? str_cstr(&a, host)
			: passive ? NULL
				  : "localhost",
			str_cstr(&a, port), &hint, ret);
	if (r)
		return err_new(ERR_UNAVAILABLE, "lookup %.*s: %s", STR_ARG(host),
			       r == EAI_NONAME ? "no such host" : gai_strerror(r));
	return NULL;
}

static void free_addrs(struct addrinfo **ai)
{
	if (*ai)
		freeaddrinfo(*ai);
}

static struct err *listen_tcp(struct str host_port, int *ret_fd)
{
	CLEANUP(free_addrs) struct addrinfo *list = NULL;
	CLEANUP_FD int fd = -1;
	int on = 1, off = 0;

	TRYW(resolve(host_port, true, &list), "listen tcp");
	struct addrinfo *ai = list;
	/* Without a host: one socket for both families, as the IPv6 wildcard. */
	for (struct addrinfo *x = list; x && host_port.ptr[0] == ':'; x = x->ai_next)
		if (x->ai_family == AF_INET6)
			ai = x;
	fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 && ai->ai_family == AF_INET6 && list->ai_family != AF_INET6) {
		ai = list;
		fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	}
	if (fd < 0)
		return err_errno(errno, "listen tcp %.*s: socket", STR_ARG(host_port));
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (ai->ai_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0)
		return err_errno(errno, "listen tcp %.*s: bind", STR_ARG(host_port));
	if (listen(fd, BACKLOG) < 0)
		return err_errno(errno, "listen tcp %.*s", STR_ARG(host_port));
	*ret_fd = TAKE_FD(fd);
	return NULL;
}

static struct err *listen_activation(struct str rest, int *ret_fd)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	uint64_t n_pid, n_fds;

	if (rest.len)
		return err_new(ERR_INVALID_ARGUMENT, "not supported yet");
	if (!pid || !fds || !str_to_u64(str_from(pid), &n_pid) || n_pid != (uint64_t)getpid() ||
	    !str_to_u64(str_from(fds), &n_fds) || !n_fds)
		return err_new(ERR_INVALID_ARGUMENT,
			       "no sockets found via socket activation: make sure the service was "
			       "started by systemd");
	if (fcntl(3, F_SETFD, FD_CLOEXEC) < 0 || fcntl(3, F_SETFL, O_NONBLOCK) < 0)
		return err_errno(errno, "socket activation");
	*ret_fd = 3;
	return NULL;
}

struct err *net_listen(struct str address, const struct net_listen_opts *o, int *ret_fd)
{
	struct str scheme, rest;

	if (!split(address, &scheme, &rest))
		return err_new(ERR_INVALID_ARGUMENT,
			       "address %.*s does not contain proto, you meant unix://%.*s ?",
			       STR_ARG(address), STR_ARG(address));
	if (str_eq_cstr(scheme, "unix"))
		return listen_unix(rest, o, ret_fd);
	if (str_eq_cstr(scheme, "tcp"))
		return listen_tcp(rest, ret_fd);
	if (str_eq_cstr(scheme, "fd"))
		return listen_activation(rest, ret_fd);
	return err_new(ERR_INVALID_ARGUMENT, "addr %.*s not supported", STR_ARG(address));
}

/* ---- connecting ---- */

static struct err *connect_to(struct ctx *ctx, int family, const struct sockaddr *sa, socklen_t len,
			      int *ret_fd, int *ret_errno)
{
	CLEANUP_FD int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int why = 0, on = 1, ready;
	socklen_t n = sizeof(why);

	*ret_errno = 0;
	if (fd < 0) {
		*ret_errno = errno;
		return NULL;
	}
	while (connect(fd, sa, len) < 0) {
		struct pollfd p = { .fd = fd, .events = POLLOUT };

		/* A unix socket whose backlog is full: there is nothing to poll for. */
		if (errno == EAGAIN) {
			TRY(ctx_sleep(ctx, 10 * NSEC_PER_MSEC));
			continue;
		}
		if (errno != EINPROGRESS && errno != EINTR) {
			*ret_errno = errno;
			return NULL;
		}
		TRY(ctx_poll(ctx, &p, 1, -1, &ready));
		(void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &n);
		if (why) {
			*ret_errno = why;
			return NULL;
		}
		break;
	}
	if (family != AF_UNIX) {
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	}
	*ret_fd = TAKE_FD(fd);
	return NULL;
}

static struct err *dial_failed(const char *net, struct str where, int why)
{
	struct err *e = err_errno(why, "dial %s %.*s: connect", net, STR_ARG(where));
	struct err *full = err_new(
		ERR_UNAVAILABLE, "connection error: desc = \"transport: Error while dialing: %s\"",
		err_text(e));

	err_free(e);
	return full;
}

struct err *net_dial(struct ctx *ctx, struct str address, int *ret_fd)
{
	struct str scheme, rest;
	int fd = -1, why = 0;

	if (!split(address, &scheme, &rest))
		return err_new(ERR_INVALID_ARGUMENT,
			       "address %.*s does not contain proto, you meant unix://%.*s ?",
			       STR_ARG(address), STR_ARG(address));
	if (str_eq_cstr(scheme, "unix")) {
		CLEANUP_FD int dirfd = -1;
		struct sockaddr_un sa;

		TRY(unix_name(rest, &sa, &dirfd));
		TRY(connect_to(ctx, AF_UNIX, (struct sockaddr *)&sa, sizeof(sa), &fd, &why));
		if (fd < 0)
			return dial_failed("unix", rest, why);
	} else if (str_eq_cstr(scheme, "tcp")) {
		CLEANUP(free_addrs) struct addrinfo *list = NULL;
		struct err *e = resolve(rest, false, &list);

		if (e)
			return err_wrap(e, "connection error: desc = \"transport: Error while "
					   "dialing: dial tcp");
		for (struct addrinfo *ai = list; ai && fd < 0; ai = ai->ai_next)
			TRY(connect_to(ctx, ai->ai_family, ai->ai_addr, ai->ai_addrlen, &fd, &why));
		if (fd < 0)
			return dial_failed("tcp", rest, why);
	} else {
		return err_new(ERR_INVALID_ARGUMENT, "addr %.*s not supported", STR_ARG(address));
	}
	*ret_fd = fd;
	return NULL;
}
