#include "exec/io.h"

#include "base/limits.h"
#include "base/mem.h"
#include "sys/fd.h"
#include "sys/pty.h"

#include <errno.h>
#include <unistd.h>

#define CHUNK (64 * KIB)

static void close_one(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

static struct err *open_pipes(struct io_pump *p)
{
	for (int i = 0; i < 2; i++) {
		int fds[2];

		if (i == 0 && p->io->stdout_fd) {
			TRY(fd_dup(*p->io->stdout_fd, &p->child[1]));
			continue;
		}
		TRY(fd_pipe(fds));
		p->ours[i] = fds[0];
		p->child[i + 1] = fds[1];
		TRY(fd_set_nonblock(fds[0], true));
	}
	return NULL;
}

/* The runtime copies between this terminal and one of its own in the container. */
static struct err *open_tty(struct io_pump *p)
{
	int master, slave;

	TRY(pty_open(&master, &slave));
	p->ours[0] = master;
	p->child[0] = slave;
	p->in_ended = p->io->stdin_fd < 0;
	for (int i = 1; i < 3; i++)
		TRY(fd_dup(slave, &p->child[i]));
	return fd_set_nonblock(master, true);
}

struct err *io_open(struct io_pump *p, const struct exec_io *io, bool tty)
{
	struct err *e;

	*p = IO_PUMP_INIT;
	p->io = io;
	p->tty = tty;
	if (!tty && io->stdin_fd >= 0)
		TRY(fd_dup(io->stdin_fd, &p->child[0]));
	e = tty ? open_tty(p) : open_pipes(p);
	if (e) {
		io_close(p);
		return e;
	}
	p->chunk = mem_alloc(CHUNK);
	return NULL;
}

struct err *io_open_no_terminal(struct io_pump *p, const struct exec_io *io)
{
	*p = IO_PUMP_INIT;
	p->io = io;
	p->tty = true;
	p->in_ended = io->stdin_fd < 0;
	p->chunk = mem_alloc(CHUNK);
	return NULL;
}

struct err *io_take_terminal(struct io_pump *p, int take_master)
{
	p->ours[0] = take_master;
	return fd_set_nonblock(take_master, true);
}

void io_started(struct io_pump *p)
{
	for (int i = 0; i < 3; i++)
		close_one(&p->child[i]);
}

void io_close(struct io_pump *p)
{
	io_started(p);
	for (int i = 0; i < 2; i++)
		close_one(&p->ours[i]);
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
			/* Whoever resizes has the terminal's number until the process ends. */
			if (!p->tty)
				close_one(&p->ours[i]);
			return NULL;
		}
		if (p->io->output)
			p->io->output(p->io->arg, i + 1, str_make(p->chunk, (size_t)n));
		max -= (size_t)n;
	}
	return NULL;
}

/* Input for a terminal: one chunk at a time. */
static struct err *feed(struct io_pump *p)
{
	if (p->in_at == p->in_len && !p->in_ended) {
		ssize_t n = read(p->io->stdin_fd, p->in, sizeof(p->in));

		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			return NULL;
		if (n < 0)
			return err_errno(errno, "read input of process");
		p->in_at = 0;
		p->in_len = (size_t)n;
		p->in_ended = n == 0;
	}
	while (p->in_at < p->in_len) {
		ssize_t n = write(p->ours[0], p->in + p->in_at, p->in_len - p->in_at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return NULL;
		/* The terminal is gone: nobody reads. */
		if (n < 0) {
			p->in_at = p->in_len;
			p->in_ended = true;
			return NULL;
		}
		p->in_at += (size_t)n;
	}
	return NULL;
}

enum { PIDFD, OUT0, OUT1, IN, WAKE0, WAKE1, N_FDS };

static void poll_set(const struct io_pump *p, const struct proc *proc, const int wake[2],
		     bool hung_up, struct pollfd fds[N_FDS])
{
	bool full = p->in_at < p->in_len;

	for (int i = 0; i < N_FDS; i++)
		fds[i] = (struct pollfd) { .fd = -1, .events = POLLIN };
	fds[PIDFD].fd = proc->pidfd;
	/* A terminal that nobody has open would be ready for ever. */
	fds[OUT0].fd = hung_up ? -1 : p->ours[0];
	fds[OUT1].fd = p->ours[1];
	fds[WAKE0].fd = wake[0];
	fds[WAKE1].fd = wake[1];
	/* A terminal may come later: what is to be read for it waits. */
	if (!p->tty || hung_up || p->ours[0] < 0)
		return;
	if (full)
		fds[OUT0].events |= POLLOUT;
	else if (!p->in_ended)
		fds[IN].fd = p->io->stdin_fd;
}

struct err *io_run(struct io_pump *p, const struct proc *proc, struct ctx *ctx, int timeout_ms,
		   const int wake[2], enum io_event *ret)
{
	int64_t until = timeout_ms < 0 ? 0 : clock_now() + timeout_ms * NSEC_PER_MSEC;
	bool hung_up = false;

	for (;;) {
		struct pollfd fds[N_FDS];
		int ready, ms = -1;

		poll_set(p, proc, wake, hung_up, fds);
		if (until)
			ms = (int)(MAX(until - clock_now(), 0) / NSEC_PER_MSEC);
		TRY(ctx_poll(ctx, fds, N_FDS, ms, &ready));
		if (!ready && until && clock_now() >= until - NSEC_PER_MSEC) {
			*ret = IO_TIMEOUT;
			return NULL;
		}
		/* At the end everything that was written is in the pipes: no more than they hold,
		 * as a process that got away may go on writing. */
		for (int i = 0; i < 2; i++)
			if (fds[OUT0 + i].revents || fds[PIDFD].revents)
				TRY(take(p, i, fds[PIDFD].revents ? MIB : CHUNK));
		if (fds[PIDFD].revents) {
			*ret = IO_ENDED;
			return NULL;
		}
		hung_up = p->tty && (fds[OUT0].revents & POLLHUP);
		if ((fds[OUT0].revents & POLLOUT) || fds[IN].revents)
			TRY(feed(p));
		if (fds[WAKE0].revents || fds[WAKE1].revents) {
			*ret = fds[WAKE0].revents ? IO_WAKE0 : IO_WAKE1;
			return NULL;
		}
	}
}
