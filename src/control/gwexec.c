/* ExecProcess: one stream for many processes. The handler receives; a task a process runs it, sends
 * its output and its end. Client to process: a pipe that the handler writes to, so that a process
 * that does not read holds up the stream, as with the original. */
#include "base/limits.h"
#include "base/mem.h"
#include "base/sem.h"
#include "base/task.h"
#include "control/gateway.h"
#include "exec/runtime.h"
#include "grpc/message.h"
#include "sys/fd.h"

#include <errno.h>
#include <unistd.h>

#define LIMIT_PROCESSES 100000 /* of one stream, in all */
/* Of the protocol: the real exit code is not known. */
#define EXIT_UNKNOWN 255

typedef Moby__Buildkit__V1__Frontend__ExecMessage exec_message;
typedef Moby__Buildkit__V1__Frontend__InitMessage init_message;

struct exec_stream {
	struct gateway *gateway;
	struct grpc_stream *stream;
	struct ctx *ctx;
	struct sem sending; /* one at a time */
	struct map procs;   /* id -> struct proc *; the handler's */
};

struct proc {
	struct exec_stream *on;
	struct arena arena;
	const char *id;
	const init_message *init;
	struct gwcontainer *container;
	struct exec_control *control;
	struct ctx *ctx;
	struct task *task;
	bool first; /* of its container */
	bool has_fd[3];
	bool started; /* the task's */
	int in_read;  /* the task's */
	int in_write; /* the handler's; -1: closed */
	struct lock lock;
	struct cond changed;
	bool in_closed; /* by the client */
};

/* ---- sending ---- */

static struct err *send_msg(struct exec_stream *x, struct ctx *ctx, const exec_message *m)
{
	struct err *e;

	TRY(sem_take(&x->sending, ctx, 1));
	e = grpc_send_msg(x->stream, ctx, m);
	sem_give(&x->sending, 1);
	return e;
}

static exec_message message(const struct proc *p, int kind)
{
	exec_message m = MOBY__BUILDKIT__V1__FRONTEND__EXEC_MESSAGE__INIT;

	m.processid = (char *)p->id;
	m.input_case = kind;
	return m;
}

static void send_started(struct proc *p)
{
	Moby__Buildkit__V1__Frontend__StartedMessage started =
		MOBY__BUILDKIT__V1__FRONTEND__STARTED_MESSAGE__INIT;
	exec_message m = message(p, MOBY__BUILDKIT__V1__FRONTEND__EXEC_MESSAGE__INPUT_STARTED);

	if (p->started)
		return;
	p->started = true;
	m.started = &started;
	/* A stream that is gone ends the process by its ctx. */
	err_free(send_msg(p->on, p->ctx, &m));
}

static void send_file(struct proc *p, struct ctx *ctx, uint32_t fd, struct str data, bool eof)
{
	Moby__Buildkit__V1__Frontend__FdMessage file =
		MOBY__BUILDKIT__V1__FRONTEND__FD_MESSAGE__INIT;
	exec_message m = message(p, MOBY__BUILDKIT__V1__FRONTEND__EXEC_MESSAGE__INPUT_FILE);

	file.fd = fd;
	file.eof = eof;
	file.data = proto_from_str(data);
	m.file = &file;
	err_free(send_msg(p->on, ctx, &m));
}

static void send_exit(struct proc *p, int code, const struct err *e)
{
	SCOPED_ARENA(a);
	Moby__Buildkit__V1__Frontend__ExitMessage out =
		MOBY__BUILDKIT__V1__FRONTEND__EXIT_MESSAGE__INIT;
	exec_message m = message(p, MOBY__BUILDKIT__V1__FRONTEND__EXEC_MESSAGE__INPUT_EXIT);

	if (e) {
		out.code = code ? (uint32_t)code : EXIT_UNKNOWN;
		out.error = proto_status_from_err(&a, e);
	}
	m.exit = &out;
	err_free(send_msg(p->on, p->on->ctx, &m));
}

static void send_done(struct proc *p)
{
	Moby__Buildkit__V1__Frontend__DoneMessage done =
		MOBY__BUILDKIT__V1__FRONTEND__DONE_MESSAGE__INIT;
	exec_message m = message(p, MOBY__BUILDKIT__V1__FRONTEND__EXEC_MESSAGE__INPUT_DONE);

	m.done = &done;
	err_free(send_msg(p->on, p->on->ctx, &m));
}

/* ---- one process ---- */

static void close_in_read(struct proc *p)
{
	if (p->in_read >= 0)
		(void)close(p->in_read);
	p->in_read = -1;
}

static void on_started(void *arg)
{
	struct proc *p = arg;

	/* The process has it. A terminal is fed from it to the end. */
	if (!p->init->tty)
		close_in_read(p);
	send_started(p);
}

static void on_output(void *arg, int stream, struct str data)
{
	struct proc *p = arg;

	/* It may have been seen before the start was. */
	send_started(p);
	if (p->has_fd[stream])
		send_file(p, p->ctx, (uint32_t)stream, data, false);
}

static struct err *wait_in_closed(struct proc *p)
{
	LOCKED(&p->lock);
	while (p->has_fd[0] && !p->in_closed)
		TRY(cond_wait(&p->changed, &p->lock, p->on->ctx));
	return NULL;
}

static struct err *run_process(struct ctx *ctx, void *arg)
{
	struct proc *p = arg;
	struct exec_io io = {
		.stdin_fd = p->in_read,
		.output = on_output,
		.started = on_started,
		.arg = p,
		.control = p->control,
	};
	struct err *e;
	int code = 0;

	/* Accepted is started, but for the first one. A client that feeds one process with what
	 * another writes depends on it: it takes nothing more of the other until this one reads. */
	if (!p->first)
		send_started(p);
	e = gwcontainer_run(p->container, ctx, p->first, p->init, &io, &code);
	gwcontainer_leave(p->container);
	/* Who writes to it is woken. */
	close_in_read(p);
	send_started(p);
	for (uint32_t fd = 1; fd < 3; fd++)
		if (p->has_fd[fd])
			send_file(p, p->on->ctx, fd, STR_NONE, true);
	send_exit(p, code, e);
	err_free(e);
	e = wait_in_closed(p);
	if (!e)
		send_done(p);
	return e;
}

static void close_in(struct proc *p)
{
	if (p->in_write >= 0)
		(void)close(p->in_write);
	p->in_write = -1;
	LOCKED(&p->lock);
	p->in_closed = true;
	cond_broadcast(&p->changed);
}

static void proc_free(void *arg)
{
	struct proc *p = arg;

	ctx_cancel(p->ctx, NULL);
	if (p->task)
		err_free(task_wait(p->task));
	close_in(p);
	close_in_read(p);
	exec_control_free(p->control);
	ctx_unref(p->ctx);
	cond_fini(&p->changed);
	lock_fini(&p->lock);
	arena_fini(&p->arena);
	free(p);
}

static struct err *open_stdin(struct proc *p)
{
	int fds[2];

	if (!p->has_fd[0])
		return NULL;
	TRY(fd_pipe(fds));
	p->in_read = fds[0];
	p->in_write = fds[1];
	return fd_set_nonblock(fds[1], true);
}

static struct err *start_process(struct exec_stream *x, const char *id, const init_message *init)
{
	struct proc *p;
	struct err *e;

	if (!init->meta)
		return err_new(ERR_INVALID_ARGUMENT, "process meta is required");
	if (map_has(&x->procs, str_from(id)))
		return err_new(ERR_ALREADY_EXISTS, "Process %s already exists", id);
	if (map_len(&x->procs) >= LIMIT_PROCESSES)
		return err_new(ERR_RESOURCE_EXHAUSTED, "too many processes on one stream");
	p = NEW(struct proc);
	p->on = x;
	p->id = arena_strdup(&p->arena, id);
	p->init = proto_dup(&p->arena, init);
	p->in_read = p->in_write = -1;
	p->ctx = ctx_new(x->ctx);
	lock_init(&p->lock, LOCK_FRONTEND);
	cond_init(&p->changed);
	for (size_t i = 0; i < init->n_fds; i++)
		if (init->fds[i] < 3)
			p->has_fd[init->fds[i]] = true;
	e = open_stdin(p);
	if (!e) {
		p->container = gateway_container(x->gateway, init->containerid);
		if (!p->container)
			e = err_new(ERR_NOT_FOUND,
				    "container \"%s\" previously released or not created",
				    init->containerid);
	}
	if (e) {
		proc_free(p);
		return e;
	}
	p->first = gwcontainer_claim(p->container);
	p->control = exec_control_new();
	(void)map_put(&x->procs, str_from(id), p);
	p->task = task_start(p->ctx, "gateway process", run_process, p);
	return NULL;
}

/* ---- what the client sends ---- */

static struct err *write_stdin(struct exec_stream *x, struct proc *p, struct str data)
{
	while (data.len) {
		struct pollfd pfd = { .fd = p->in_write, .events = POLLOUT };
		ssize_t n = write(p->in_write, data.ptr, data.len);
		int ready;

		if (n >= 0) {
			data = str_sub(data, (size_t)n, data.len);
			continue;
		}
		/* The process has ended, or closed its input: nobody misses the rest. */
		if (errno == EPIPE)
			return NULL;
		if (errno == EAGAIN)
			TRY(ctx_poll(x->ctx, &pfd, 1, -1, &ready));
		else if (errno != EINTR)
			return err_errno(errno, "write to process %s", p->id);
	}
	return NULL;
}

static struct err *take_file(struct exec_stream *x, struct proc *p,
			     const Moby__Buildkit__V1__Frontend__FdMessage *f)
{
	if (f->fd != 0 || p->in_write < 0)
		return err_new(ERR_OUT_OF_RANGE, "fd %u unavailable to write", f->fd);
	TRY(write_stdin(x, p, proto_bytes(f->data)));
	if (f->eof)
		close_in(p);
	return NULL;
}

static struct err *take_message(struct exec_stream *x, const exec_message *m)
{
	struct proc *p;

	if (!*m->processid)
		return err_new(ERR_INVALID_ARGUMENT, "ProcessID required");
	if (m->input_case == MOBY__BUILDKIT__V1__FRONTEND__EXEC_MESSAGE__INPUT_INIT)
		return start_process(x, m->processid, m->init);
	p = map_get(&x->procs, str_from(m->processid));
	switch (m->input_case) {
	case MOBY__BUILDKIT__V1__FRONTEND__EXEC_MESSAGE__INPUT_FILE:
	case MOBY__BUILDKIT__V1__FRONTEND__EXEC_MESSAGE__INPUT_RESIZE:
	case MOBY__BUILDKIT__V1__FRONTEND__EXEC_MESSAGE__INPUT_SIGNAL:
		if (p)
			break;
		return err_new(ERR_NOT_FOUND, "IO for process \"%s\" not found", m->processid);
	default:
		return NULL;
	}
	if (m->input_case == MOBY__BUILDKIT__V1__FRONTEND__EXEC_MESSAGE__INPUT_FILE)
		return take_file(x, p, m->file);
	if (m->input_case == MOBY__BUILDKIT__V1__FRONTEND__EXEC_MESSAGE__INPUT_SIGNAL)
		return exec_control_signal(p->control, str_from(m->signal->name));
	exec_control_resize(p->control, m->resize->rows, m->resize->cols);
	return NULL;
}

static struct err *receive(struct exec_stream *x)
{
	for (;;) {
		SCOPED_ARENA(a);
		exec_message *m;
		bool eof;

		TRY(grpc_recv_msg(x->stream, x->ctx, &a,
				  &moby__buildkit__v1__frontend__exec_message__descriptor, &m,
				  &eof));
		if (eof)
			return NULL;
		TRY(take_message(x, m));
	}
}

/* The client sends nothing more: what runs goes on to its end. */
static void finish_all(struct exec_stream *x)
{
	for (struct map_entry *e = map_next(&x->procs, NULL); e; e = map_next(&x->procs, e))
		close_in(e->value);
	for (struct map_entry *e = map_next(&x->procs, NULL); e; e = map_next(&x->procs, e)) {
		struct proc *p = e->value;

		err_free(task_wait(p->task));
		p->task = NULL;
	}
}

struct err *gateway_exec_process(struct gateway *g, struct ctx *ctx, struct grpc_stream *s)
{
	struct exec_stream x = { .gateway = g, .stream = s, .ctx = ctx_new(ctx) };
	struct err *e;

	sem_init(&x.sending, 1);
	e = receive(&x);
	if (!e)
		finish_all(&x);
	ctx_cancel(x.ctx, NULL);
	map_fini(&x.procs, proc_free);
	sem_fini(&x.sending);
	ctx_unref(x.ctx);
	return e;
}
