#include "exec/runc.h"

#include "base/limits.h"
#include "base/mem.h"
#include "sys/cgroup.h"
#include "sys/fd.h"
#include "sys/file.h"
#include "sys/rmtree.h"

#include <signal.h>
#include <unistd.h>

/* How long a runtime that was told to end by the end of its container may take. */
#define KILL_PATIENCE (10 * NSEC_PER_SEC)
#define KILL_AGAIN_MS 50

/* Of the container's first process, with which its pid namespace ends. */
static void kill_init(const char *pid_file)
{
	SCOPED_ARENA(a);
	struct str text;
	struct err *e = file_read_str(AT_FDCWD, pid_file, &a, 64, &text);
	uint64_t pid;

	if (!e && str_to_u64(str_trim(text), &pid) && pid > 1 && pid < INT32_MAX)
		(void)kill((pid_t)pid, SIGKILL);
	err_free(e);
}

/* The runtime is its parent and has not ended, so it has not been reaped: the pid is still its
 * own. */
static void kill_container(const struct runc_job *j, struct ctx *ctx)
{
	if (j->cgroup[0])
		err_free(cgroup_kill(j->cgroup, ctx));
	kill_init(j->pid_file);
}

/* Until the runtime has ended by itself, which cleans up most; a runtime that hangs is killed. */
static void kill_run(const struct runc_job *j, struct proc *p, struct io_pump *io,
		     struct task_pool *pool)
{
	CLEANUP(ctx_unrefp) struct ctx *root = ctx_new_root(pool);
	CLEANUP(ctx_unrefp) struct ctx *ctx = ctx_new_timeout(root, KILL_PATIENCE);
	bool ended = false;
	struct err *e = NULL;

	/* Again and again: the first try may come before the container is there. */
	while (!ended && !e) {
		kill_container(j, ctx);
		e = io_run(io, p, ctx, KILL_AGAIN_MS, &ended);
	}
	err_free(e);
	if (!ended)
		proc_signal_group(p, SIGKILL);
}

struct err *runc_run(const struct runc *r, struct ctx *ctx, const struct runc_job *j,
		     struct proc_status *ret)
{
	const char *const argv[] = { "runc",      "--root",   r->state,  "--log",  "/dev/null",
				     "run",       "--bundle", j->bundle, "--keep", "--pid-file",
				     j->pid_file, j->id,      NULL };
	struct proc_spec s = PROC_SPEC_INIT;
	CLEANUP(proc_fini) struct proc p = PROC_INIT;
	CLEANUP(io_close) struct io_pump io = { .ours = { -1, -1 }, .child = { -1, -1 } };
	bool ended = false;
	struct err *e;

	TRY(ctx_err(ctx));
	TRY(io_open(&io, j->io));
	s.file = r->program;
	s.argv = argv;
	s.stdin_fd = j->io->stdin_fd;
	s.stdout_fd = io.child[0];
	s.stderr_fd = io.child[1];
	/* Signals for our terminal's group are not the steps'. */
	s.new_session = true;
	/* This thread waits for it. */
	s.death_signal = SIGKILL;
	TRY(proc_start(&s, &p));
	io_started(&io);
	e = io_run(&io, &p, ctx, -1, &ended);
	if (e) {
		kill_run(j, &p, &io, ctx_pool(ctx));
		return e;
	}
	return proc_wait(&p, ctx, ret);
}

void runc_forget(const struct runc *r, struct task_pool *pool, const char *id, const char *cgroup)
{
	CLEANUP(ctx_unrefp) struct ctx *root = ctx_new_root(pool);
	CLEANUP(ctx_unrefp) struct ctx *ctx = ctx_new_timeout(root, KILL_PATIENCE);
	CLEANUP_FD int fd = -1;
	struct err *e = NULL;

	if (cgroup[0]) {
		e = cgroup_kill(cgroup, ctx);
		err_free(e);
		err_free(cgroup_remove(cgroup));
	}
	e = fd_open_dir(AT_FDCWD, r->state, &fd);
	if (!e)
		e = rmtree(fd, id);
	err_free(e);
}
