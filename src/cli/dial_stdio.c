#include "cli/cmd.h"

#include "base/mem.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct err *dial_unix(const char *path, int *ret_fd)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	CLEANUP_FD int fd = -1;

	if (strlen(path) >= sizeof(sa.sun_path))
		return err_new(ERR_INVALID_ARGUMENT, "dial unix %s: path too long", path);
	memcpy(sa.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_errno(errno, "socket");
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return err_errno(errno,
				 "failed to dial \"unix://%s\" . make sure buildkitd is running: "
				 "dial unix %s: connect",
				 path, path);
	*ret_fd = TAKE_FD(fd);
	return NULL;
}

static struct err *write_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t w = write(fd, p, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return err_errno(errno, "write");
		p += w;
		n -= (size_t)w;
	}
	return NULL;
}

/* One turn of a direction. *ret_eof when the source is at its end. */
static struct err *pump(int from, int to, bool *ret_eof)
{
	char chunk[64 * 1024];
	ssize_t n = read(from, chunk, sizeof(chunk));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return NULL;
	if (n < 0)
		return err_errno(errno, "read");
	*ret_eof = n == 0;
	return write_all(to, chunk, (size_t)n);
}

static struct err *run(struct cli *c, int argc, char **argv)
{
	CLEANUP_FD int fd = -1;
	struct str addr = str_from(c->addr);
	bool in_open = true, help;
	int at;

	TRY(cmd_flags(c, &cmd_dial_stdio, NULL, 0, argc, argv, &at, &help));
	if (help)
		return NULL;
	if (!str_has_prefix(addr, STR("unix://"))) {
		ptrdiff_t i = str_find_str(addr, STR("://"));

		return err_new(ERR_INVALID_ARGUMENT,
			       "invalid address %s (expected unix://, got %.*s://)", c->addr,
			       i < 0 ? 0 : (int)i, c->addr);
	}
	TRY(dial_unix(c->addr + strlen("unix://"), &fd));
	for (;;) {
		struct pollfd p[2] = { { .fd = fd, .events = POLLIN },
				       { .fd = STDIN_FILENO, .events = POLLIN } };
		bool eof = false;
		int ready;

		TRY(ctx_poll(c->ctx, p, in_open ? 2 : 1, -1, &ready));
		if (in_open && p[1].revents) {
			TRY(pump(STDIN_FILENO, fd, &eof));
			if (eof) {
				(void)shutdown(fd, SHUT_WR);
				in_open = false;
			}
		}
		eof = false;
		if (p[0].revents)
			TRY(pump(fd, STDOUT_FILENO, &eof));
		if (eof)
			return NULL;
	}
}

const struct cmd cmd_dial_stdio = { .name = "dial-stdio",
				    .hidden = true,
				    .usage = "proxy the stdio stream to the daemon connection",
				    .run = run };
