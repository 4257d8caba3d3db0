#include "exec/proxynet.h"

#include "base/mem.h"
#include "sys/ns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 128

static struct sockaddr_in address(uint16_t port)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };

	(void)inet_pton(AF_INET, PROXYNET_ADDRESS, &in.sin_addr);
	return in;
}

static struct err *set(int fd, unsigned long request, struct in_addr addr)
{
	struct ifreq r = { .ifr_name = "lo:proxy" };
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr = addr };

	memcpy(&r.ifr_addr, &in, sizeof(in));
	return ioctl(fd, request, &r) < 0 ? err_errno(errno, "address of the proxy") : NULL;
}

static struct err *add_address(void *arg)
{
	CLEANUP_FD int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	const struct in_addr mask = { .s_addr = INADDR_BROADCAST };

	(void)arg;
	if (fd < 0)
		return err_errno(errno, "socket");
	TRY(set(fd, SIOCSIFADDR, address(0).sin_addr));
	/* One address; else all of 10.0.0.0/8 would be this machine. */
	return set(fd, SIOCSIFNETMASK, mask);
}

struct err *proxynet_setup(const char *netns)
{
	return ns_net_run(netns, add_address, NULL);
}

struct making {
	int family, type, protocol;
	int fd, errnum;
	uint16_t port;
};

static struct err *make_listener(void *arg)
{
	struct making *m = arg;
	struct sockaddr_in in = address(0);
	socklen_t len = sizeof(in);
	CLEANUP_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&in, sizeof(in)) < 0 || listen(fd, BACKLOG) < 0 ||
	    getsockname(fd, (struct sockaddr *)&in, &len) < 0)
		return err_errno(errno, "listen on the proxy's address");
	m->port = ntohs(in.sin_port);
	m->fd = fd;
	fd = -1;
	return NULL;
}

struct err *proxynet_listen(const char *netns, int *ret_fd, uint16_t *ret_port)
{
	struct making m = { .fd = -1 };

	TRY(ns_net_run(netns, make_listener, &m));
	*ret_fd = m.fd;
	*ret_port = m.port;
	return NULL;
}

static struct err *make_socket(void *arg)
{
	struct making *m = arg;

	m->fd = socket(m->family, m->type, m->protocol);
	m->errnum = m->fd < 0 ? errno : 0;
	return NULL;
}

int proxynet_socket(const char *netns, int family, int type, int protocol)
{
	struct making m = { .family = family, .type = type, .protocol = protocol, .fd = -1 };
	struct err *e;

	if (!netns)
		return socket(family, type, protocol);
	e = ns_net_run(netns, make_socket, &m);
	if (e)
		m.errnum = err_get_errno(e) ? err_get_errno(e) : EIO;
	err_free(e);
	if (m.fd < 0)
		errno = m.errnum;
	return m.fd;
}

size_t proxynet_env(const char *url, struct arena *a, struct str *ret)
{
	static const char *const names[] = { "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY",
					     "http_proxy", "https_proxy", "all_proxy" };
	size_t n = 0;

	for (; n < ARRAY_SIZE(names); n++)
		ret[n] = str_from(arena_printf(a, "%s=%s", names[n], url));
	ret[n++] = STR("NO_PROXY=127.0.0.1,localhost,::1");
	ret[n++] = STR("no_proxy=127.0.0.1,localhost,::1");
	return n;
}
