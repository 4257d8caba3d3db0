#include "exec/native.h"

#include "base/limits.h"
#include "base/mem.h"
#include "exec/control.h"
#include "exec/native_cgroup.h"
#include "exec/native_compile.h"
#include "exec/native_init.h"
#include "sys/cgroup.h"
#include "sys/fd.h"
#include "sys/file.h"
#include "sys/mount.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LIMIT_PLAN (128 * MIB)
#define LIMIT_PROGRAM (512 * MIB)
/* What is killed ends at once, but for what the kernel is in the middle of. */
#define KILL_PATIENCE (10 * NSEC_PER_SEC)
#define KILL_AGAIN_MS 50

struct run {
	const struct native *n;
	const struct native_job *nj;
	const struct runc_job *j;
	struct native_config config;
	struct proc p;
	struct io_pump io;
	int status_fd, plan_fd, netns_fd;
	bool failed;
	bool entering; /* p is not the process yet, but what makes it in a running container */
};

/* ---- opening ---- */

static bool same_file(int fd, const char *path)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

/* By its path, as what /proc has is on a mount of the namespace that we started in. */
static struct err *mount_program(int *ret)
{
	char path[PATH_MAX];
	CLEANUP_FD int fd = -1;
	ssize_t n = readlink(proc_self_exe(), path, sizeof(path) - 1);

	if (n < 0)
		return err_errno(errno, "readlink %s", proc_self_exe());
	path[n] = '\0';
	TRY(mount_clone(AT_FDCWD, path, false, &fd));
	if (!same_file(fd, proc_self_exe()))
		return err_new(ERR_NOT_FOUND, "%s is another program by now", path);
	TRY(mount_set_attrs(fd, MOUNT_RDONLY, 0, false));
	*ret = TAKE_FD(fd);
	return NULL;
}

/* Replaced on disk, or out of reach. */
static struct err *copy_program(int *ret)
{
	SCOPED_BUF(b, LIMIT_PROGRAM);

	TRY(file_read(AT_FDCWD, proc_self_exe(), &b));
	return fd_memfd("buildkitd", buf_str(&b), true, ret);
}

struct err *native_open(struct native *n, const char *state, const struct seccomp *s,
			struct arena *a)
{
	CLEANUP_FD int fd = -1;
	SCOPED_BUF(filter, MIB);
	struct err *e;

	if (s->supported) {
		TRY(seccomp_compile(s, &filter));
		n->filter = str_dup(a, buf_str(&filter));
	}
	e = mount_program(&fd);
	if (e) {
		err_free(e);
		TRY(copy_program(&fd));
	}
	/* Out of the way of the child's own numbers. */
	n->program_fd = fcntl(fd, F_DUPFD_CLOEXEC, NATIVE_TARGET_FD + 1);
	if (n->program_fd < 0)
		return err_errno(errno, "dup");
	n->state = state;
	n->program = arena_printf(a, "/proc/self/fd/%d", n->program_fd);
	return NULL;
}

void native_close(struct native *n)
{
	if (n->program_fd >= 0)
		(void)close(n->program_fd);
	n->program_fd = -1;
}

/* ---- the plan ---- */

static struct err *put_joins(const char *cgroup, struct buf *plan)
{
	SCOPED_ARENA(a);
	const char **files;
	size_t n;

	TRY(cgroup_procs_files(cgroup, &a, &files, &n));
	for (size_t i = 0; i < n; i++) {
		plan_put_op(plan, PLAN_JOIN);
		plan_put_str(plan, str_from(files[i]));
	}
	return NULL;
}

static struct err *make_plan(struct run *r, struct arena *a)
{
	struct str filter = r->nj->filtered ? r->n->filter : STR_NONE;
	SCOPED_BUF(plan, LIMIT_PLAN);
	SCOPED_JSON(config);

	TRY(json_read(r->nj->config, "configuration of the process", &config));
	if (r->j->cgroup[0]) {
		if (r->nj->target_fd < 0)
			TRY(native_cgroup_make(
				r->j->cgroup,
				json_object_get(json_object_get(config, "linux"), "resources")));
		TRY(put_joins(r->j->cgroup, &plan));
	}
	if (r->nj->target_fd >= 0) {
		plan_put_op(&plan, PLAN_ENTER);
		if (r->j->tty) {
			plan_put_op(&plan, PLAN_TERMINAL);
			plan_put_num(&plan, 0);
		}
		TRY(native_compile_process(config, filter, a, &plan));
	} else {
		TRY(native_compile(config, filter, a, &r->config, &plan));
	}
	return fd_memfd("plan", buf_str(&plan), false, &r->plan_fd);
}

/* ---- the start ---- */

static struct err *spawn(struct run *r, struct arena *a, int status_fd)
{
	static const char *const no_args[] = { NULL };
	struct proc_fd fds[3] = { { r->plan_fd, NATIVE_PLAN_FD },
				  { status_fd, NATIVE_STATUS_FD },
				  { r->nj->target_fd, NATIVE_TARGET_FD } };
	struct proc_spec s = PROC_SPEC_INIT;

	s.file = r->n->program;
	s.argv = proc_helper_argv(a, exec_native_helper.name, no_args);
	s.stdin_fd = r->io.child[0];
	s.stdout_fd = r->io.child[1];
	s.stderr_fd = r->io.child[2];
	s.fds = fds;
	s.n_fds = r->nj->target_fd >= 0 ? 3 : 2;
	s.new_session = true;
	s.death_signal = SIGKILL;
	if (r->nj->target_fd < 0) {
		s.namespaces = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS |
			       (r->config.new_pid ? CLONE_NEWPID : 0u) |
			       (r->config.new_net ? CLONE_NEWNET : 0u);
		s.netns_fd = MAX(r->netns_fd, 0);
	}
	return proc_start(&s, &r->p);
}

static struct err *start(struct run *r)
{
	SCOPED_ARENA(a);
	int pair[2];
	struct err *e;

	TRY(make_plan(r, &a));
	if (r->config.netns)
		TRY(fd_open(AT_FDCWD, r->config.netns, O_RDONLY, 0, &r->netns_fd));
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_errno(errno, "socketpair");
	r->status_fd = pair[0];
	e = spawn(r, &a, pair[1]);
	(void)close(pair[1]);
	return e;
}

/* A process in a running container is a child that the first one left to us. */
static struct err *adopt(struct run *r, struct str data, int take_fd)
{
	int32_t pid;

	if (take_fd < 0 || data.len != sizeof(pid) || !r->entering)
		return err_new(ERR_INTERNAL, "malformed status of a process");
	memcpy(&pid, data.ptr, sizeof(pid));
	/* It has nothing left to do; but the new one is of its group. */
	r->p.group = false;
	proc_fini(&r->p);
	r->p = (struct proc) { .pid = pid, .pidfd = take_fd };
	r->entering = false;
	return NULL;
}

static struct err *take_message(struct run *r, struct str m, int take_fd)
{
	switch (m.ptr[0]) {
	case NATIVE_MASTER:
		if (take_fd >= 0 && r->io.ours[0] < 0)
			return io_take_terminal(&r->io, take_fd);
		break;
	case NATIVE_CHILD:
		return adopt(r, str_sub(m, 1, m.len), take_fd);
	case NATIVE_FAILED:
		r->failed = true;
		break;
	default:
		break;
	}
	if (take_fd >= 0)
		(void)close(take_fd);
	return NULL;
}

/* One message, if there is one; end: the program was executed, or the process is gone. */
static struct err *read_status(struct run *r, bool *ret_more, bool *ret_end)
{
	char text[64];
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec v = { .iov_base = text, .iov_len = sizeof(text) };
	struct msghdr m = { .msg_iov = &v,
			    .msg_iovlen = 1,
			    .msg_control = control.space,
			    .msg_controllen = sizeof(control.space) };
	ssize_t n = recvmsg(r->status_fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	struct cmsghdr *h;
	int fd = -1;

	*ret_more = n > 0 || errno == EINTR;
	*ret_end = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
	if (n <= 0)
		return NULL;
	h = CMSG_FIRSTHDR(&m);
	if (h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(h), sizeof(fd));
	return take_message(r, str_make(text, (size_t)n), fd);
}

/* A note for those who look for leftovers of a killed daemon, as crun leaves one. */
static struct err *note_process(const struct run *r)
{
	SCOPED_ARENA(a);
	SCOPED_BUF(b, 256);
	struct str stat, field = STR_NONE;
	const char *dir = arena_printf(&a, "%s/%s", r->n->state, r->j->id);

	TRY(file_read_str(AT_FDCWD, arena_printf(&a, "/proc/%d/stat", (int)r->p.pid), &a, 4096,
			  &stat));
	stat = str_sub(stat, (size_t)(str_rfind(stat, ')') + 2), stat.len);
	for (int i = 3; i <= 22; i++)
		if (!str_next(&stat, ' ', &field))
			return NULL;
	buf_addf(&b, "{\"pid\":%d,\"process-start-time\":%.*s}", (int)r->p.pid, STR_ARG(field));
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return err_errno(errno, "mkdir %s", dir);
	return file_write(AT_FDCWD, arena_printf(&a, "%s/status", dir), buf_str(&b), 0600);
}

static struct err *started(struct run *r)
{
	(void)close(r->status_fd);
	r->status_fd = -1;
	if (r->failed)
		return NULL;
	if (r->nj->ret_fd)
		TRY(fd_dup(r->p.pidfd, r->nj->ret_fd));
	control_attach(r->j->io->control, &r->p, r->j->tty ? r->io.ours[0] : -1);
	if (r->j->started)
		r->j->started(r->j->started_arg);
	return NULL;
}

/* All that is to be read. */
static struct err *read_all_status(struct run *r)
{
	bool more = true, end = false;

	while (more && !end && r->status_fd >= 0)
		TRY(read_status(r, &more, &end));
	return end ? started(r) : NULL;
}

/* ---- the run ---- */

/* With the first process of a pid namespace all others end, before its own end is seen. */
static void kill_run(struct run *r)
{
	static const int no_wake[2] = { -1, -1 };
	CLEANUP(ctx_unrefp) struct ctx *root = ctx_new_root(NULL);
	CLEANUP(ctx_unrefp) struct ctx *ctx = ctx_new_timeout(root, KILL_PATIENCE);
	enum io_event ev;
	struct err *e = NULL;

	for (;;) {
		pid_t pid = r->p.pid;

		/* What makes a process in a running container ends soon by itself; killed, it could
		 * leave one that we don't know. */
		if (!r->entering)
			proc_signal(&r->p, SIGKILL);
		if (r->j->cgroup[0] && r->nj->target_fd < 0)
			err_free(cgroup_kill(r->j->cgroup, ctx));
		e = io_run(&r->io, &r->p, ctx, KILL_AGAIN_MS, no_wake, &ev);
		if (!e && r->entering)
			e = read_all_status(r);
		if (e || (ev == IO_ENDED && pid == r->p.pid))
			break;
	}
	err_free(e);
}

static struct err *wait_for_end(struct run *r, struct ctx *ctx)
{
	enum io_event ev;

	for (;;) {
		const int wake[2] = { r->status_fd, control_kill_fd(r->j->io->control) };
		pid_t pid = r->p.pid;

		TRY(io_run(&r->io, &r->p, ctx, -1, wake, &ev));
		if (ev == IO_WAKE1) {
			kill_run(r);
			return NULL;
		}
		TRY(read_all_status(r));
		if (ev == IO_ENDED && pid == r->p.pid)
			return NULL;
	}
}

static void run_close(struct run *r)
{
	control_detach(r->j->io->control);
	proc_fini(&r->p);
	io_close(&r->io);
	for (int *fd = (int[]) { r->status_fd, r->plan_fd, r->netns_fd, -2 }; *fd != -2; fd++)
		if (*fd >= 0)
			(void)close(*fd);
}

struct err *native_run(const struct native *n, struct ctx *ctx, const struct native_job *j,
		       struct proc_status *ret)
{
	CLEANUP(run_close)
	struct run r = { .n = n,
			 .nj = j,
			 .j = j->job,
			 .p = PROC_INIT,
			 .io = IO_PUMP_INIT,
			 .status_fd = -1,
			 .plan_fd = -1,
			 .netns_fd = -1 };
	struct err *e;

	TRY(ctx_err(ctx));
	TRY(j->job->tty ? io_open_no_terminal(&r.io, j->job->io)
			: io_open(&r.io, j->job->io, false));
	TRY(start(&r));
	io_started(&r.io);
	r.entering = j->target_fd >= 0;
	e = r.entering ? NULL : note_process(&r);
	if (!e)
		e = wait_for_end(&r, ctx);
	if (e) {
		kill_run(&r);
		return e;
	}
	control_detach(j->job->io->control);
	return proc_wait(&r.p, ctx, ret);
}
