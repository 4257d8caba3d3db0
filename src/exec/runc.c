#include "exec/runc.h"

#include "base/limits.h"
#include "base/mem.h"
#include "exec/control.h"
#include "sys/cgroup.h"
#include "sys/fd.h"
#include "sys/file.h"
#include "sys/rmtree.h"

#include <errno.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <unistd.h>

/* How long a runtime that was told to end by the end of its container may take. */
#define KILL_PATIENCE (10 * NSEC_PER_SEC)
#define KILL_AGAIN_MS 50

struct run {
	const struct runc_job *j;
	struct proc p;
	struct io_pump io;
	int started_fd; /* inotify, until the process runs */
};

/* ---- killing ---- */

/* The parent by /proc/<pid>/stat, 0 if there is none. */
static pid_t parent_of(pid_t pid)
{
	SCOPED_ARENA(a);
	struct str s, state;
	uint64_t n = 0;
	ptrdiff_t paren;
	struct err *e =
		file_read_str(AT_FDCWD, arena_printf(&a, "/proc/%d/stat", (int)pid), &a, 4096, &s);

	if (e) {
		err_free(e);
		return 0;
	}
	/* "pid (name) S ppid ...": the name may have anything in it. */
	paren = str_rfind(s, ')');
	s = str_trim(str_sub(s, (size_t)(paren + 1), s.len));
	if (paren < 0 || !str_cut(s, ' ', &state, &s) || !str_cut(s, ' ', &state, &s))
		return 0;
	return str_to_u64(state, &n) ? (pid_t)n : 0;
}

/* The process of the pid file, as long as it is the runtime's child: a pid that was given to
 * another process is not. */
static void kill_process(const struct run *r)
{
	SCOPED_ARENA(a);
	CLEANUP_FD int fd = -1;
	struct str text;
	uint64_t pid;
	struct err *e = file_read_str(
		AT_FDCWD, arena_printf(&a, "%s/%s", r->j->dir, r->j->pid_name), &a, 64, &text);

	if (e || !str_to_u64(str_trim(text), &pid) || pid <= 1 || pid > INT32_MAX) {
		err_free(e);
		return;
	}
	fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
	if (fd >= 0 && parent_of((pid_t)pid) == r->p.pid)
		(void)syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
}

/* Until the runtime has ended by itself, which cleans up most; a runtime that hangs is killed. */
static void kill_run(struct run *r)
{
	static const int no_wake[2] = { -1, -1 };
	CLEANUP(ctx_unrefp) struct ctx *root = ctx_new_root(NULL);
	CLEANUP(ctx_unrefp) struct ctx *ctx = ctx_new_timeout(root, KILL_PATIENCE);
	enum io_event ev = IO_TIMEOUT;
	struct err *e = NULL;

	/* Again and again: the first try may come before the process is there. */
	while (ev != IO_ENDED && !e) {
		if (r->j->cgroup[0])
			err_free(cgroup_kill(r->j->cgroup, ctx));
		kill_process(r);
		e = io_run(&r->io, &r->p, ctx, KILL_AGAIN_MS, no_wake, &ev);
	}
	err_free(e);
	if (ev != IO_ENDED)
		proc_signal_group(&r->p, SIGKILL);
}

/* ---- the start ---- */

static struct err *watch_start(struct run *r)
{
	if (!r->j->started)
		return NULL;
	r->started_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (r->started_fd < 0 ||
	    inotify_add_watch(r->started_fd, r->j->dir, IN_MOVED_TO | IN_CLOSE_WRITE) < 0)
		return err_errno(errno, "inotify %s", r->j->dir);
	return NULL;
}

/* Something happened in the directory: was it the pid file? */
static void look_for_start(struct run *r)
{
	SCOPED_ARENA(a);
	char events[4096];
	struct stat st;

	while (read(r->started_fd, events, sizeof(events)) > 0)
		;
	if (stat(arena_printf(&a, "%s/%s", r->j->dir, r->j->pid_name), &st) < 0 || !st.st_size)
		return;
	(void)close(r->started_fd);
	r->started_fd = -1;
	r->j->started(r->j->started_arg);
}

struct err *runc_probe(struct runc *r, struct ctx *ctx)
{
	const char *const argv[] = { "runc", "run", "--help", NULL };
	struct proc_spec s = PROC_SPEC_INIT;
	SCOPED_BUF(out, 64 * KIB);
	struct proc_status st;

	s.file = r->program;
	s.argv = argv;
	s.envp = r->env;
	TRY(proc_run(&s, ctx, STR_NONE, &out, &out, &st));
	r->has_keep = str_find_str(buf_str(&out), STR("--keep")) >= 0;
	return NULL;
}

const char *const *runc_env(struct arena *a)
{
	size_t n = 0;
	const char **env;

	while (environ[n])
		n++;
	env = ARENA_NEW_N(a, const char *, n + 3);
	for (size_t i = 0; i < n; i++)
		env[i] = arena_strdup(a, environ[i]);
	if (getenv("GOGC") || getenv("GOMEMLIMIT"))
		return env;
	env[n] = "GOGC=off";
	env[n + 1] = "GOMEMLIMIT=32MiB";
	return env;
}

static struct err *start(struct run *r, const struct runc *rt)
{
	const struct runc_job *j = r->j;
	SCOPED_ARENA(a);
	const char *pid_file = arena_printf(&a, "%s/%s", j->dir, j->pid_name);
	/* Options before the id: runc takes none after it. A process in a running container has
	 * neither bundle nor state of its own. */
	const char *const run[] = { "runc",
				    "--root",
				    rt->state,
				    "--log",
				    "/dev/null",
				    "run",
				    "--pid-file",
				    pid_file,
				    "--bundle",
				    j->dir,
				    rt->has_keep ? "--keep" : "--",
				    j->id,
				    NULL };
	const char *const exec[] = { "runc",       "--root", rt->state,   "--log",
				     "/dev/null",  "exec",   "--process", j->process,
				     "--pid-file", pid_file, j->id,       NULL };
	struct proc_spec s = PROC_SPEC_INIT;

	s.file = rt->program;
	s.argv = j->process ? exec : run;
	s.envp = rt->env;
	s.stdin_fd = r->io.child[0];
	s.stdout_fd = r->io.child[1];
	s.stderr_fd = r->io.child[2];
	/* Signals for our terminal's group are not the steps'. Not a session: a new one is a group
	 * of its own to the scheduler, which makes short runs slower. */
	s.new_group = true;
	/* This thread waits for it. */
	s.death_signal = SIGKILL;
	return proc_start(&s, &r->p);
}

static struct err *wait_for_end(struct run *r, struct ctx *ctx)
{
	enum io_event ev;

	for (;;) {
		const int wake[2] = { r->started_fd, control_kill_fd(r->j->io->control) };

		TRY(io_run(&r->io, &r->p, ctx, -1, wake, &ev));
		switch (ev) {
		case IO_WAKE0:
			look_for_start(r);
			break;
		case IO_WAKE1:
			kill_run(r);
			return NULL;
		default:
			return NULL;
		}
	}
}

static void run_close(struct run *r)
{
	control_detach(r->j->io->control);
	proc_fini(&r->p);
	io_close(&r->io);
	if (r->started_fd >= 0)
		(void)close(r->started_fd);
}

struct err *runc_run(const struct runc *rt, struct ctx *ctx, const struct runc_job *j,
		     struct proc_status *ret)
{
	CLEANUP(run_close)
	struct run r = { .j = j, .p = PROC_INIT, .io = IO_PUMP_INIT, .started_fd = -1 };
	struct err *e;

	TRY(ctx_err(ctx));
	TRY(io_open(&r.io, j->io, j->tty));
	TRY(watch_start(&r));
	TRY(start(&r, rt));
	io_started(&r.io);
	control_attach(j->io->control, &r.p, j->tty ? r.io.ours[0] : -1);
	e = wait_for_end(&r, ctx);
	if (e) {
		kill_run(&r);
		return e;
	}
	/* It may have come and gone before we looked. */
	if (r.started_fd >= 0)
		look_for_start(&r);
	/* Whoever signals looks at the process, which changes in the waiting. */
	control_detach(j->io->control);
	return proc_wait(&r.p, ctx, ret);
}

static void end_cgroup(const char *cgroup, bool ended)
{
	CLEANUP(ctx_unrefp) struct ctx *root = NULL;
	CLEANUP(ctx_unrefp) struct ctx *ctx = NULL;
	struct err *e;

	if (ended) {
		e = cgroup_remove(cgroup);
		if (!e)
			return;
		err_free(e);
	}
	root = ctx_new_root(NULL);
	ctx = ctx_new_timeout(root, KILL_PATIENCE);
	err_free(cgroup_kill(cgroup, ctx));
	err_free(cgroup_remove(cgroup));
}

void runc_forget(const struct runc *rt, const char *id, const char *cgroup, bool ended)
{
	CLEANUP_FD int fd = -1;
	struct err *e = NULL;

	if (cgroup[0])
		end_cgroup(cgroup, ended);
	e = fd_open_dir(AT_FDCWD, rt->state, &fd);
	if (!e)
		e = rmtree(fd, id);
	err_free(e);
}
