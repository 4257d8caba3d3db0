/* Bundles as containerd's tasks: what runs them is a shim of containerd's, which outlives a restart
 * of it. Output comes through FIFOs in the bundle; this thread moves it, another waits for the end.
 */
#include "containerd/internal.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/task.h"
#include "exec/control.h"
#include "sys/fd.h"
#include "sys/file.h"

#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define T(method) CTD_SERVICE("tasks.v1.Tasks", method)
#define SPEC_TYPE "types.containerd.io/opencontainers/runtime-spec/1/"
#define LIMIT_SPEC (64 * MIB)
#define CHUNK (64 * KIB)
/* For killing and taking away what is left. */
#define END_PATIENCE (20 * NSEC_PER_SEC)

enum { IN, OUT, ERR, N_FIFOS };

struct run {
	struct ctd *ctd;
	const struct runc_job *j;
	struct arena arena;
	char *exec_id;        /* "" for the first process */
	char *paths[N_FIFOS]; /* "" for none */
	int fds[N_FIFOS];
	char *chunk;
	/* Input that the FIFO had no room for. */
	char in[4096];
	size_t in_at, in_len;
	/* the task that waits */
	struct ctx *wait_ctx;
	struct task *waiter;
	int end_fd; /* readable at the end */
	uint32_t exit;
	bool created, started;
};

/* ---- FIFOs ---- */

static struct err *make_fifo(struct run *r, int i, const char *name, int flags)
{
	char *path = arena_printf(&r->arena, "%s/%s-%s", r->j->dir, r->j->pid_name, name);

	if (mkfifo(path, 0600) < 0)
		return err_errno(errno, "mkfifo %s", path);
	r->paths[i] = path;
	return fd_open(AT_FDCWD, path, flags | O_NONBLOCK, 0, &r->fds[i]);
}

/* Input is opened for both, so that it opens before the shim does its side. */
static struct err *make_fifos(struct run *r)
{
	for (int i = 0; i < N_FIFOS; i++)
		r->paths[i] = (char *)"";
	if (r->j->io->stdin_fd >= 0)
		TRY(make_fifo(r, IN, "stdin", O_RDWR));
	TRY(make_fifo(r, OUT, "stdout", O_RDONLY));
	if (!r->j->tty)
		TRY(make_fifo(r, ERR, "stderr", O_RDONLY));
	r->chunk = mem_alloc(CHUNK);
	return NULL;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

/* What is there, at most max bytes. */
static struct err *take(struct run *r, int i, size_t max)
{
	while (max && r->fds[i] >= 0) {
		ssize_t n = read(r->fds[i], r->chunk, MIN((size_t)CHUNK, max));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			return err_errno(errno, "read output of process");
		/* 0: nobody writes yet, or any more; the end is told by the task. */
		if (n <= 0)
			return NULL;
		if (r->j->io->output)
			r->j->io->output(r->j->io->arg, i, str_make(r->chunk, (size_t)n));
		max -= (size_t)n;
	}
	return NULL;
}

static void close_input(struct run *r)
{
	Ctd__CloseIORequest q = CTD__CLOSE_IOREQUEST__INIT;

	close_fd(&r->fds[IN]);
	q.container_id = (char *)r->j->id;
	q.exec_id = r->exec_id;
	q.stdin = true;
	err_free(ctd_do(r->ctd, r->wait_ctx, T("CloseIO"), &q));
}

static struct err *feed(struct run *r)
{
	if (r->in_at == r->in_len) {
		ssize_t n = read(r->j->io->stdin_fd, r->in, sizeof(r->in));

		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			return NULL;
		if (n < 0)
			return err_errno(errno, "read input of process");
		if (n == 0) {
			close_input(r);
			return NULL;
		}
		r->in_at = 0;
		r->in_len = (size_t)n;
	}
	while (r->in_at < r->in_len) {
		ssize_t n = write(r->fds[IN], r->in + r->in_at, r->in_len - r->in_at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return NULL;
		if (n < 0) {
			r->in_at = r->in_len;
			close_fd(&r->fds[IN]);
			return NULL;
		}
		r->in_at += (size_t)n;
	}
	return NULL;
}

/* ---- making the process ---- */

static struct err *read_spec(struct run *r, const char *path, const char *type,
			     Google__Protobuf__Any *ret)
{
	struct str text;

	TRY(file_read_str(AT_FDCWD, path, &r->arena, LIMIT_SPEC, &text));
	ret->type_url = arena_printf(&r->arena, SPEC_TYPE "%s", type);
	ret->value = proto_from_str(text);
	return NULL;
}

static struct err *create_container(struct run *r, struct ctx *ctx)
{
	Google__Protobuf__Any spec = GOOGLE__PROTOBUF__ANY__INIT;
	Ctd__Container c = CTD__CONTAINER__INIT;
	Ctd__Runtime rt = CTD__RUNTIME__INIT;
	Ctd__CreateContainerRequest q = CTD__CREATE_CONTAINER_REQUEST__INIT;
	Ctd__CreateContainerResponse *reply;
	struct err *e;
	bool again;

	TRY(read_spec(r, arena_printf(&r->arena, "%s/config.json", r->j->dir), "Spec", &spec));
	rt.name = (char *)r->ctd->runtime;
	c.id = (char *)r->j->id;
	c.runtime = &rt;
	c.spec = &spec;
	q.container = &c;
	e = ctd_call(r->ctd, ctx, CTD_SERVICE("containers.v1.Containers", "Create"), &q, &r->arena,
		     &ctd__create_container_response__descriptor, &reply, &again);
	if (again && err_is(e, ERR_ALREADY_EXISTS)) {
		err_free(e);
		return NULL;
	}
	return e;
}

static struct err *create_task(struct run *r, struct ctx *ctx)
{
	Ctd__CreateTaskRequest q = CTD__CREATE_TASK_REQUEST__INIT;
	Ctd__CreateTaskResponse *reply;
	struct err *e;
	bool again;

	q.container_id = (char *)r->j->id;
	q.stdin = r->paths[IN];
	q.stdout = r->paths[OUT];
	q.stderr = r->paths[ERR];
	q.terminal = r->j->tty;
	if (r->ctd->runtime_path)
		q.runtime_path = (char *)r->ctd->runtime_path;
	e = ctd_call(r->ctd, ctx, T("Create"), &q, &r->arena,
		     &ctd__create_task_response__descriptor, &reply, &again);
	if (again && err_is(e, ERR_ALREADY_EXISTS)) {
		err_free(e);
		return NULL;
	}
	return e;
}

static struct err *create_exec(struct run *r, struct ctx *ctx)
{
	Google__Protobuf__Any spec = GOOGLE__PROTOBUF__ANY__INIT;
	Ctd__ExecProcessRequest q = CTD__EXEC_PROCESS_REQUEST__INIT;

	TRY(read_spec(r, r->j->process, "Process", &spec));
	q.container_id = (char *)r->j->id;
	q.exec_id = r->exec_id;
	q.stdin = r->paths[IN];
	q.stdout = r->paths[OUT];
	q.stderr = r->paths[ERR];
	q.terminal = r->j->tty;
	q.spec = &spec;
	return ctd_do(r->ctd, ctx, T("Exec"), &q);
}

static struct err *create(struct run *r, struct ctx *ctx)
{
	if (r->j->process)
		return create_exec(r, ctx);
	TRY(create_container(r, ctx));
	return create_task(r, ctx);
}

/* ---- the end ---- */

static struct err *delete_process(struct run *r, struct ctx *ctx)
{
	Ctd__ProcessRequest q = CTD__PROCESS_REQUEST__INIT;
	Ctd__DeleteTaskRequest t = CTD__DELETE_TASK_REQUEST__INIT;
	Ctd__DeleteResponse *reply;
	struct err *e;
	SCOPED_ARENA(a);

	q.container_id = t.container_id = (char *)r->j->id;
	q.exec_id = r->exec_id;
	/* Waits until all output is in the FIFOs. */
	if (r->j->process)
		e = ctd_call(r->ctd, ctx, T("DeleteProcess"), &q, &a,
			     &ctd__delete_response__descriptor, &reply, NULL);
	else
		e = ctd_call(r->ctd, ctx, T("Delete"), &t, &a, &ctd__delete_response__descriptor,
			     &reply, NULL);
	if (err_is(e, ERR_NOT_FOUND)) {
		err_free(e);
		return NULL;
	}
	return e;
}

static struct err *wait_for_end(struct ctx *ctx, void *arg)
{
	struct run *r = arg;
	Ctd__ProcessRequest q = CTD__PROCESS_REQUEST__INIT;
	Ctd__WaitResponse *reply;
	struct err *e;
	SCOPED_ARENA(a);

	q.container_id = (char *)r->j->id;
	q.exec_id = r->exec_id;
	/* Asked again by a containerd that comes back: the shim has the status still. */
	e = ctd_call(r->ctd, ctx, T("Wait"), &q, &a, &ctd__wait_response__descriptor, &reply, NULL);
	if (!e) {
		r->exit = reply->exit_status;
		e = delete_process(r, ctx);
	}
	(void)eventfd_write(r->end_fd, 1);
	return e;
}

static void kill_process(struct run *r, struct ctx *ctx, int sig, bool all)
{
	Ctd__KillRequest q = CTD__KILL_REQUEST__INIT;

	q.container_id = (char *)r->j->id;
	q.exec_id = r->exec_id;
	q.signal = (uint32_t)sig;
	q.all = all;
	err_free(ctd_undo(r->ctd, ctx, T("Kill"), &q));
}

static void do_control(struct run *r)
{
	unsigned rows, cols;
	uint64_t signals = control_take(r->j->io->control, &rows, &cols);

	if (rows && r->j->tty) {
		Ctd__ResizePtyRequest q = CTD__RESIZE_PTY_REQUEST__INIT;

		q.container_id = (char *)r->j->id;
		q.exec_id = r->exec_id;
		q.width = cols;
		q.height = rows;
		err_free(ctd_do(r->ctd, r->wait_ctx, T("ResizePty"), &q));
	}
	for (int sig = 1; sig < SIGRTMIN; sig++)
		if (signals & (UINT64_C(1) << sig))
			kill_process(r, r->wait_ctx, sig, false);
}

/* ---- moving bytes until the end ---- */

enum { P_END, P_OUT, P_ERR, P_STDIN, P_FIFO, P_CONTROL, P_KILL, P_N };

static struct err *pump(struct run *r, struct ctx *ctx, int control_fd)
{
	int kill_fd = control_kill_fd(r->j->io->control);
	bool hung_up[2] = { false, false };

	for (;;) {
		bool full = r->in_at < r->in_len;
		struct pollfd p[P_N];
		int ready;

		for (int i = 0; i < P_N; i++)
			p[i] = (struct pollfd) { .fd = -1, .events = POLLIN };
		p[P_END].fd = r->end_fd;
		/* A FIFO that nobody has open any more would be ready for ever. */
		p[P_OUT].fd = hung_up[0] ? -1 : r->fds[OUT];
		p[P_ERR].fd = hung_up[1] ? -1 : r->fds[ERR];
		p[P_STDIN].fd = r->fds[IN] >= 0 && !full ? r->j->io->stdin_fd : -1;
		p[P_FIFO].fd = full ? r->fds[IN] : -1;
		p[P_FIFO].events = POLLOUT;
		p[P_CONTROL].fd = control_fd;
		p[P_KILL].fd = kill_fd;
		TRY(ctx_poll(ctx, p, P_N, -1, &ready));
		for (int i = 0; i < 2; i++) {
			if (p[P_OUT + i].revents & POLLIN)
				TRY(take(r, OUT + i, CHUNK));
			else if (p[P_OUT + i].revents)
				hung_up[i] = true;
		}
		if (p[P_STDIN].revents || p[P_FIFO].revents)
			TRY(feed(r));
		if (p[P_CONTROL].revents)
			do_control(r);
		if (p[P_KILL].revents) {
			kill_process(r, r->wait_ctx, SIGKILL, !r->j->process);
			kill_fd = -1;
		}
		if (p[P_END].revents)
			break;
	}
	TRY(take(r, OUT, MIB));
	return take(r, ERR, MIB);
}

/* The container goes whatever happens to ctx. */
static void kill_run(struct run *r)
{
	CLEANUP(ctx_unrefp) struct ctx *root = ctx_new_root(ctx_pool(r->ctd->ctx));
	CLEANUP(ctx_unrefp) struct ctx *ctx = ctx_new_timeout(root, END_PATIENCE);
	struct pollfd p = { .fd = r->end_fd, .events = POLLIN };
	int ready;

	if (!r->started)
		return;
	kill_process(r, ctx, SIGKILL, !r->j->process);
	err_free(ctx_poll(ctx, &p, 1, -1, &ready));
}

static bool has_started(struct run *r, struct ctx *ctx, const Ctd__ProcessRequest *q)
{
	Ctd__GetProcessResponse *p;
	struct err *e = ctd_call(r->ctd, ctx, T("Get"), q, &r->arena,
				 &ctd__get_process_response__descriptor, &p, NULL);
	bool yes = !e && p->process && p->process->status > CTD__TASK_STATUS__TASK_CREATED;

	err_free(e);
	return yes;
}

static struct err *start(struct run *r, struct ctx *ctx)
{
	Ctd__ProcessRequest q = CTD__PROCESS_REQUEST__INIT;
	Ctd__StartResponse *reply;
	struct err *e;
	bool again;

	q.container_id = (char *)r->j->id;
	q.exec_id = r->exec_id;
	r->created = true;
	e = ctd_call(r->ctd, ctx, T("Start"), &q, &r->arena, &ctd__start_response__descriptor,
		     &reply, &again);
	/* The containerd that went away had done it. */
	if (e && again && has_started(r, ctx, &q)) {
		err_free(e);
		e = NULL;
	}
	TRY(e);
	r->started = true;
	/* An end before this is told all the same. */
	r->waiter = task_start(r->wait_ctx, "containerd task", wait_for_end, r);
	return NULL;
}

static void run_fini(struct run *r)
{
	control_detach(r->j->io->control);
	ctx_cancel(r->wait_ctx, NULL);
	if (r->waiter)
		err_free(task_wait(r->waiter));
	if (r->created && !r->started && r->j->process)
		err_free(delete_process(r, r->ctd->ctx));
	ctx_unref(r->wait_ctx);
	for (int i = 0; i < N_FIFOS; i++) {
		close_fd(&r->fds[i]);
		if (r->paths[i] && *r->paths[i])
			(void)unlink(r->paths[i]);
	}
	close_fd(&r->end_fd);
	free(r->chunk);
	arena_fini(&r->arena);
}

static struct err *run_it(struct run *r, struct ctx *ctx)
{
	int control_fd;
	struct err *e;

	TRY(make_fifos(r));
	TRY(create(r, ctx));
	TRY(start(r, ctx));
	if (r->j->started)
		r->j->started(r->j->started_arg);
	control_fd = control_attach_remote(r->j->io->control);
	e = pump(r, ctx, control_fd);
	if (e) {
		kill_run(r);
		return e;
	}
	return task_wait(TAKE_PTR(r->waiter));
}

static struct err *driver_run(void *arg, struct ctx *ctx, const struct runc_job *j,
			      struct proc_status *ret)
{
	CLEANUP(run_fini)
	struct run r = { .ctd = arg, .j = j, .fds = { -1, -1, -1 }, .end_fd = -1 };

	r.exec_id = (char *)(j->process ? j->pid_name : "");
	r.wait_ctx = ctx_new(r.ctd->ctx);
	r.end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r.end_fd < 0)
		return err_errno(errno, "eventfd");
	TRY(run_it(&r, ctx));
	*ret = (struct proc_status) { .exited = true, .code = (int)r.exit };
	return NULL;
}

static void driver_forget(void *arg, const char *id, const char *cgroup, bool ended)
{
	struct ctd *c = arg;
	CLEANUP(ctx_unrefp) struct ctx *root = ctx_new_root(ctx_pool(c->ctx));
	CLEANUP(ctx_unrefp) struct ctx *ctx = ctx_new_timeout(root, END_PATIENCE);
	Ctd__KillRequest k = CTD__KILL_REQUEST__INIT;
	Ctd__ProcessRequest w = CTD__PROCESS_REQUEST__INIT;
	Ctd__DeleteTaskRequest t = CTD__DELETE_TASK_REQUEST__INIT;
	Ctd__DeleteContainerRequest d = CTD__DELETE_CONTAINER_REQUEST__INIT;
	Ctd__DeleteResponse *deleted;
	Ctd__WaitResponse *waited;
	struct err *e;
	SCOPED_ARENA(a);

	(void)cgroup; /* the runtime's */
	k.container_id = w.container_id = t.container_id = d.id = (char *)id;
	k.signal = SIGKILL;
	k.all = true;
	e = ended ? NULL : ctd_do(c, ctx, T("Kill"), &k);
	if (!ended && !e)
		e = ctd_call(c, ctx, T("Wait"), &w, &a, &ctd__wait_response__descriptor, &waited,
			     NULL);
	err_free(e);
	if (!ended)
		err_free(ctd_call(c, ctx, T("Delete"), &t, &a, &ctd__delete_response__descriptor,
				  &deleted, NULL));
	err_free(ctd_undo(c, ctx, CTD_SERVICE("containers.v1.Containers", "Delete"), &d));
}

void ctd_driver_init(struct ctd *c)
{
	c->driver = (struct exec_driver) { driver_run, driver_forget, c };
}

const struct exec_driver *ctd_driver(struct ctd *c)
{
	return &c->driver;
}
