#include "base/limits.h"
#include "base/mem.h"
#include "sys/fd.h"
#include "sys/proc.h"

#include <errno.h>
#include <unistd.h>

/* One output being gathered. */
struct gather {
	int fd; /* our end, non-blocking; -1 at its end */
	struct buf *to;
};

/* Takes what is there; more is left for the next poll. */
static struct err *take(struct gather *g)
{
	char chunk[8192];

	for (;;) {
		ssize_t n = read(g->fd, chunk, sizeof(chunk));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return NULL;
		if (n < 0)
			return err_errno(errno, "read output");
		if (!n) {
			(void)close(g->fd);
			g->fd = -1;
			return NULL;
		}
		buf_add(g->to, chunk, MIN((size_t)n, g->to->max - g->to->len));
	}
}

static struct err *make_gather(struct buf *to, struct gather *g, int *ret_child_end)
{
	int p[2];

	TRY(fd_pipe(p));
	*ret_child_end = p[1];
	g->fd = p[0];
	g->to = to;
	return fd_set_nonblock(p[0], true);
}

static struct err *pump(struct proc *p, struct ctx *ctx, struct gather g[2])
{
	for (;;) {
		struct pollfd fds[3] = {
			{ .fd = p->pidfd, .events = POLLIN },
			{ .fd = g[0].fd, .events = POLLIN },
			{ .fd = g[1].fd, .events = POLLIN },
		};
		int ready;

		TRY(ctx_poll(ctx, fds, 3, -1, &ready));
		for (int i = 0; i < 2; i++)
			if (g[i].fd >= 0 && (fds[i + 1].revents || fds[0].revents))
				TRY(take(&g[i]));
		/* A grandchild may keep the pipe: what it says after the end is not ours. */
		if (fds[0].revents)
			return NULL;
	}
}

static struct err *run(struct proc_spec *s, struct ctx *ctx, struct gather g[2],
		       struct proc_status *ret)
{
	CLEANUP(proc_fini) struct proc p = PROC_INIT;

	TRY(ctx_err(ctx));
	TRY(proc_start(s, &p));
	/* Our copies of the child's ends would keep the pipes open. */
	for (int i = 0; i < 2; i++) {
		int *end = i ? &s->stderr_fd : &s->stdout_fd;

		if (g[i].fd >= 0) {
			if (i == 0 && s->stderr_fd == s->stdout_fd)
				s->stderr_fd = -1;
			(void)close(*end);
			*end = -1;
		}
	}
	TRY(pump(&p, ctx, g));
	return proc_wait(&p, ctx, ret);
}

struct err *proc_run(const struct proc_spec *spec, struct ctx *ctx, struct str input,
		     struct buf *out, struct buf *errout, struct proc_status *ret)
{
	struct proc_spec s = *spec;
	struct gather g[2] = { { .fd = -1 }, { .fd = -1 } };
	CLEANUP_FD int in = -1;
	struct err *e = NULL;

	s.new_group = true;
	if (input.len) {
		TRY(fd_memfd("input", input, false, &in));
		s.stdin_fd = in;
	}
	if (out)
		e = make_gather(out, &g[0], &s.stdout_fd);
	if (!e && errout && errout == out)
		s.stderr_fd = s.stdout_fd;
	else if (!e && errout)
		e = make_gather(errout, &g[1], &s.stderr_fd);
	if (!e)
		e = run(&s, ctx, g, ret);
	for (int i = 0; i < 2; i++)
		if (g[i].fd >= 0)
			(void)close(g[i].fd);
	if (out && s.stdout_fd >= 0)
		(void)close(s.stdout_fd);
	if (errout && errout != out && s.stderr_fd >= 0)
		(void)close(s.stderr_fd);
	return e;
}

#define HELPER_FLAG "--helper="

bool proc_helper_main(const struct proc_helper *table, size_t n, int argc, char **argv)
{
	const size_t len = sizeof(HELPER_FLAG) - 1;

	if (argc < 2 || strncmp(argv[1], HELPER_FLAG, len) != 0)
		return false;
	argv[1] += len;
	for (size_t i = 0; i < n; i++)
		if (!strcmp(argv[1], table[i].name))
			exit(table[i].main(argc - 1, argv + 1));
	(void)fprintf(stderr, "unknown helper %s\n", argv[1]);
	exit(127);
}

const char *const *proc_helper_argv(struct arena *a, const char *name, const char *const *args)
{
	size_t n = 0;
	const char **v;

	while (args && args[n])
		n++;
	v = arena_calloc(a, n + 3, sizeof(*v));
	v[0] = "buildkitd";
	v[1] = arena_printf(a, HELPER_FLAG "%s", name);
	for (size_t i = 0; i < n; i++)
		v[i + 2] = args[i];
	return v;
}
