#include "exec/io.h"

#include "base/limits.h"
#include "base/mem.h"
#include "sys/fd.h"

#include <errno.h>
#include <unistd.h>

#define CHUNK (64 * KIB)

struct err *io_open(struct io_pump *p, const struct exec_io *io)
{
	struct err *e = NULL;

	*p = (struct io_pump) { .io = io, .ours = { -1, -1 }, .child = { -1, -1 } };
	for (int i = 0; i < 2 && !e; i++) {
		int fds[2];

		e = fd_pipe(fds);
		if (e)
			break;
		p->ours[i] = fds[0];
		p->child[i] = fds[1];
		e = fd_set_nonblock(fds[0], true);
	}
	if (e) {
		io_close(p);
		return e;
	}
	p->chunk = mem_alloc(CHUNK);
	return NULL;
}

static void close_one(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

void io_started(struct io_pump *p)
{
	for (int i = 0; i < 2; i++)
		close_one(&p->child[i]);
}

void io_close(struct io_pump *p)
{
	for (int i = 0; i < 2; i++) {
		close_one(&p->ours[i]);
		close_one(&p->child[i]);
	}
	free(p->chunk);
	p->chunk = NULL;
}

/* Hands on what is there, at most max bytes. */
static struct err *take(struct io_pump *p, int i, size_t max)
{
	while (max && p->ours[i] >= 0) {
		ssize_t n = read(p->ours[i], p->chunk, MIN(CHUNK, max));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return NULL;
		/* EIO: the other side of a terminal is gone. */
		if (n < 0 && errno != EIO)
			return err_errno(errno, "read output of process");
		if (n <= 0) {
			close_one(&p->ours[i]);
			return NULL;
		}
		if (p->io->output)
			p->io->output(p->io->arg, i + 1, str_make(p->chunk, (size_t)n));
		max -= (size_t)n;
	}
	return NULL;
}

struct err *io_run(struct io_pump *p, const struct proc *proc, struct ctx *ctx, int timeout_ms,
		   bool *ret_ended)
{
	int64_t until = timeout_ms < 0 ? 0 : clock_now() + timeout_ms * NSEC_PER_MSEC;

	for (;;) {
		struct pollfd fds[3] = {
			{ .fd = proc->pidfd, .events = POLLIN },
			{ .fd = p->ours[0], .events = POLLIN },
			{ .fd = p->ours[1], .events = POLLIN },
		};
		int ready, ms = -1;

		if (until)
			ms = (int)(MAX(until - clock_now(), 0) / NSEC_PER_MSEC);
		TRY(ctx_poll(ctx, fds, 3, ms, &ready));
		if (!ready && until && clock_now() >= until) {
			*ret_ended = false;
			return NULL;
		}
		/* At the end everything that was written is in the pipes: no more than they hold,
		 * as a process that got away may go on writing. */
		for (int i = 0; i < 2; i++)
			if (fds[i + 1].revents || fds[0].revents)
				TRY(take(p, i, fds[0].revents ? MIB : CHUNK));
		if (fds[0].revents) {
			*ret_ended = true;
			return NULL;
		}
	}
}
