#include "sys/proc.h"

#include "base/limits.h"
#include "base/mem.h"
#include "sys/fd.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD_STACK (64 * KIB)
#define MAX_FDS 64

static struct rlimit old_nofile;

void proc_raise_nofile(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) < 0 || r.rlim_cur == r.rlim_max)
		return;
	old_nofile = r;
	r.rlim_cur = r.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &r);
}

const char *proc_self_exe(void)
{
	return "/proc/self/exe";
}

static bool is_program(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

bool proc_find(const char *name, struct arena *a, const char **ret)
{
	const char *path = getenv("PATH");
	struct str rest = str_from(path ? path : "/usr/local/bin:/usr/bin:/bin"), dir;

	if (strchr(name, '/')) {
		*ret = arena_strdup(a, name);
		return is_program(name);
	}
	while (str_next(&rest, ':', &dir)) {
		char *full = arena_printf(a, "%.*s/%s", STR_ARG(dir.len ? dir : STR(".")), name);

		if (is_program(full)) {
			*ret = full;
			return true;
		}
	}
	return false;
}

#ifdef __SANITIZE_THREAD__
/* ThreadSanitizer takes clone() for a fork of its own state, whatever the flags; the library's
 * other name for it goes unnoticed. */
extern int __clone(int (*fn)(void *), void *stack, int flags, void *arg, ...);
#define clone __clone
#endif

/* The sanitizers know nothing of such a child: it never returns from its frames, and its
 * descriptors are others than ours. So no bookkeeping, and bare system calls for those. */
#define ON_CHILD_STACK __attribute__((no_sanitize("address"), no_sanitize("thread")))

/* What parent and child share until the child executes. */
struct child {
	const struct proc_spec *s;
	const char *file;
	pid_t parent;
	int errnum; /* set by the child when it fails */
	const char *what;
};

ON_CHILD_STACK static _Noreturn void give_up(struct child *c, const char *what)
{
	c->errnum = errno;
	c->what = what;
	_exit(127);
}

/* Descriptors to their places: first all out of the way, then down to their numbers. */
ON_CHILD_STACK static void place_fds(struct child *c)
{
	const struct proc_spec *s = c->s;
	int from[MAX_FDS + 3], to[MAX_FDS + 3], n = 3, null = -1, top = 2;
	const int stdio[3] = { s->stdin_fd, s->stdout_fd, s->stderr_fd };

	for (int i = 0; i < 3; i++) {
		from[i] = stdio[i];
		to[i] = i;
		if (stdio[i] >= 0)
			continue;
		if (null < 0 && (null = (int)syscall(SYS_openat, AT_FDCWD, "/dev/null",
						     O_RDWR | O_CLOEXEC)) < 0)
			give_up(c, "open /dev/null");
		from[i] = null;
	}
	for (size_t i = 0; i < s->n_fds; i++) {
		from[n] = s->fds[i].fd;
		to[n] = s->fds[i].child;
		top = MAX(top, to[n]);
		n++;
	}
	for (int i = 0; i < n; i++)
		if ((from[i] = (int)syscall(SYS_fcntl, from[i], F_DUPFD_CLOEXEC, top + 1)) < 0)
			give_up(c, "dup");
	for (int i = 0; i < n; i++)
		if (syscall(SYS_dup3, from[i], to[i], 0) < 0)
			give_up(c, "dup3");
	/* Libraries may have descriptors without the flag. */
	(void)syscall(SYS_close_range, (unsigned)top + 1, ~0u, 4u /* CLOSE_RANGE_CLOEXEC */);
}

ON_CHILD_STACK static void set_up(struct child *c)
{
	const struct proc_spec *s = c->s;

	if (s->death_signal) {
		if (prctl(PR_SET_PDEATHSIG, s->death_signal) < 0)
			give_up(c, "prctl");
		/* From a new pid namespace no parent is seen. */
		if (!(s->namespaces & CLONE_NEWPID) && getppid() != c->parent)
			_exit(127);
	}
	if ((s->new_session || s->controlling_tty) && setsid() < 0)
		give_up(c, "setsid");
	if (s->new_group && !s->new_session && !s->controlling_tty && setpgid(0, 0) < 0)
		give_up(c, "setpgid");
	if (s->netns_fd > 0 && setns(s->netns_fd, CLONE_NEWNET) < 0)
		give_up(c, "setns");
	place_fds(c);
	if (s->controlling_tty && ioctl(0, TIOCSCTTY, 0) < 0)
		give_up(c, "set controlling terminal");
	if (s->cwd && chdir(s->cwd) < 0)
		give_up(c, "chdir");
	if (old_nofile.rlim_max)
		(void)setrlimit(RLIMIT_NOFILE, &old_nofile);
}

/* Runs on its own stack in our memory while the calling thread stands still: only system calls, and
 * nothing that takes a lock. Every signal is blocked until here. */
ON_CHILD_STACK static int child_main(void *arg)
{
	struct child *c = arg;
	sigset_t none;

	/* No handler of ours may run in here; ignored ones (SIGPIPE) are not inherited. */
	for (int sig = 1; sig < SIGRTMIN; sig++)
		if (sig != SIGKILL && sig != SIGSTOP)
			(void)signal(sig, SIG_DFL);
	set_up(c);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)execve(c->file, (char *const *)c->s->argv,
		     (char *const *)(c->s->envp ? c->s->envp : (const char *const *)environ));
	give_up(c, NULL);
}

static struct err *start_error(const struct child *c)
{
	if (c->what && !strcmp(c->what, "chdir"))
		return err_errno(c->errnum, "chdir %s", c->s->cwd);
	if (c->what)
		return err_errno(c->errnum, "fork/exec %s: %s", c->file, c->what);
	return err_errno(c->errnum, "fork/exec %s", c->file);
}

struct err *proc_start(const struct proc_spec *s, struct proc *ret)
{
	SCOPED_ARENA(a);
	struct child c = { .s = s, .file = s->file, .parent = getpid() };
	sigset_t all, old;
	char *stack;
	int pidfd = -1, pid, errnum;

	if (s->n_fds > MAX_FDS)
		return err_new(ERR_INVALID_ARGUMENT, "too many file descriptors for a child");
	if (!strchr(s->file, '/') && !proc_find(s->file, &a, &c.file))
		return err_new(ERR_NOT_FOUND, "exec: \"%s\": executable file not found in $PATH",
			       s->file);
	stack = mmap(NULL, CHILD_STACK, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (stack == MAP_FAILED)
		return err_errno(errno, "mmap");
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	pid = clone(child_main, stack + CHILD_STACK,
		    (int)(CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD | s->namespaces), &c,
		    &pidfd);
	errnum = errno;
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	(void)munmap(stack, CHILD_STACK);
	if (pid < 0)
		return err_errno(errnum, "fork/exec %s", c.file);
	*ret = (struct proc) { .pid = pid,
			       .pidfd = pidfd,
			       .group = s->new_group || s->new_session || s->controlling_tty };
	if (c.errnum) {
		proc_fini(ret);
		return start_error(&c);
	}
	return NULL;
}

static void fill_status(int st, const struct rusage *u, struct proc_status *ret)
{
	*ret = (struct proc_status) {
		.exited = WIFEXITED(st),
		.code = WIFEXITED(st) ? WEXITSTATUS(st) : 128 + WTERMSIG(st),
		.signal = WIFEXITED(st) ? 0 : WTERMSIG(st),
		.user_ns = u->ru_utime.tv_sec * NSEC_PER_SEC + u->ru_utime.tv_usec * 1000,
		.system_ns = u->ru_stime.tv_sec * NSEC_PER_SEC + u->ru_stime.tv_usec * 1000,
		.max_rss = u->ru_maxrss * 1024,
	};
}

static struct err *reap(struct proc *p, struct proc_status *ret)
{
	struct rusage u = { 0 };
	int st = 0;

	while (wait4(p->pid, &st, 0, &u) < 0)
		if (errno != EINTR)
			return err_errno(errno, "wait");
	p->pid = 0;
	fill_status(st, &u, ret);
	return NULL;
}

struct err *proc_wait(struct proc *p, struct ctx *ctx, struct proc_status *ret)
{
	struct pollfd fd = { .fd = p->pidfd, .events = POLLIN };
	int ready;

	TRY(ctx_poll(ctx, &fd, 1, -1, &ready));
	return reap(p, ret);
}

void proc_signal(const struct proc *p, int sig)
{
	if (p->pid)
		(void)syscall(SYS_pidfd_send_signal, p->pidfd, sig, NULL, 0);
}

void proc_signal_group(const struct proc *p, int sig)
{
	/* Not reaped yet, so the group id can't be another's. */
	if (p->pid && p->group)
		(void)kill(-p->pid, sig);
	else
		proc_signal(p, sig);
}

void proc_fini(struct proc *p)
{
	struct proc_status st;

	if (!p)
		return;
	if (p->pid) {
		proc_signal_group(p, SIGKILL);
		proc_signal(p, SIGKILL);
		err_free(reap(p, &st));
		p->pid = 0;
	}
	if (p->pidfd >= 0)
		(void)close(p->pidfd);
	p->pidfd = -1;
}

static const char *signal_text(int sig)
{
	switch (sig) {
	case SIGHUP:
		return "hangup";
	case SIGINT:
		return "interrupt";
	case SIGQUIT:
		return "quit";
	case SIGABRT:
		return "aborted";
	case SIGKILL:
		return "killed";
	case SIGSEGV:
		return "segmentation fault";
	case SIGPIPE:
		return "broken pipe";
	case SIGTERM:
		return "terminated";
	default:
		return NULL;
	}
}

const char *proc_status_text(const struct proc_status *st, char *out, size_t size)
{
	const char *name = st->exited ? NULL : signal_text(st->signal);

	if (st->exited)
		(void)snprintf(out, size, "exit status %d", st->code);
	else if (name)
		(void)snprintf(out, size, "signal: %s", name);
	else
		(void)snprintf(out, size, "signal: signal %d", st->signal);
	return out;
}
