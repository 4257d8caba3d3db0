#include "exec/native_init.h"

#include "exec/native.h"
#include "sys/fd.h"
#include "sys/userns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

void native_tell(char kind, const void *data, size_t len, int fd)
{
	char text[64] = { kind };
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec v = { .iov_base = text, .iov_len = 1 + len };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	if (len)
		memcpy(text + 1, data, len);
	if (fd >= 0) {
		struct cmsghdr *h;

		m.msg_control = control.space;
		m.msg_controllen = sizeof(control.space);
		h = CMSG_FIRSTHDR(&m);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(h), &fd, sizeof(fd));
	}
	while (sendmsg(NATIVE_STATUS_FD, &m, MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			_exit(1);
}

void native_die(const char *fmt, ...)
{
	va_list ap;

	(void)fputs("unable to start container process: ", stderr);
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
	(void)fflush(stderr);
	native_tell(NATIVE_FAILED, NULL, 0, -1);
	_exit(1);
}

void native_die_err(struct err *take_e)
{
	native_die("%s", err_text(take_e));
}

/* By the number 0 for ourselves: we don't know ours in the daemon's pid namespace. */
static void join_cgroup(struct native_child *c)
{
	struct str path = plan_get_str(&c->in);
	int fd = open(path.ptr, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "0", 1) != 1)
		native_die("join cgroup %s: %s", path.ptr, strerror(errno));
	(void)close(fd);
}

static void loopback_up(void)
{
	struct ifreq r = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &r) < 0)
		native_die("loopback: %s", strerror(errno));
	(void)close(fd);
}

static void set_hostname(struct native_child *c)
{
	struct str name = plan_get_str(&c->in);

	if (sethostname(name.ptr, name.len) < 0)
		native_die("sethostname %s: %s", name.ptr, strerror(errno));
}

/* Into the namespaces of a container's first process. Its pid namespace counts for children only,
 * so a child goes on; it is the daemon's, as we are, and we end. */
static void enter(struct native_child *c)
{
	struct clone_args a = { .flags = CLONE_PARENT | CLONE_PIDFD };
	int pidfd = -1;
	long pid;

	a.pidfd = (uintptr_t)&pidfd;
	if (setns(NATIVE_TARGET_FD, CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS |
					    CLONE_NEWNET | CLONE_NEWCGROUP) < 0)
		native_die("enter namespaces: %s", strerror(errno));
	pid = syscall(SYS_clone3, &a, sizeof(a));
	if (pid < 0)
		native_die("clone: %s", strerror(errno));
	if (pid) {
		int32_t n = (int32_t)pid;

		native_tell(NATIVE_CHILD, &n, sizeof(n), pidfd);
		_exit(0);
	}
	c->rootfd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (c->rootfd < 0)
		native_die("open root: %s", strerror(errno));
}

static void map_plan(struct native_child *c)
{
	struct stat st;
	void *p;

	if (fstat(NATIVE_PLAN_FD, &st) < 0 || st.st_size <= 0)
		native_die("no plan");
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, NATIVE_PLAN_FD, 0);
	if (p == MAP_FAILED)
		native_die("map plan: %s", strerror(errno));
	(void)close(NATIVE_PLAN_FD);
	c->in = (struct plan_reader) { .p = p, .end = (const char *)p + st.st_size };
}

static void do_op(struct native_child *c, enum plan_op op)
{
	switch (op) {
	case PLAN_END:
		native_die("malformed plan");
	case PLAN_JOIN:
		join_cgroup(c);
		break;
	case PLAN_ENTER:
		enter(c);
		break;
	case PLAN_CGROUP_NS:
		if (unshare(CLONE_NEWCGROUP) < 0)
			native_die("cgroup namespace: %s", strerror(errno));
		break;
	case PLAN_LOOPBACK:
		loopback_up();
		break;
	case PLAN_ROOT:
		native_root(c);
		break;
	case PLAN_MOUNT:
		native_mount(c);
		break;
	case PLAN_BIND:
		native_bind(c);
		break;
	case PLAN_CGROUP_BINDS:
		native_cgroup_binds(c);
		break;
	case PLAN_NODE:
		native_node(c);
		break;
	case PLAN_LINK:
		native_link(c);
		break;
	case PLAN_TERMINAL:
		native_terminal(c);
		break;
	case PLAN_PIVOT:
		native_pivot(c);
		break;
	case PLAN_MASK:
		native_mask(c);
		break;
	case PLAN_READONLY:
		native_readonly(c);
		break;
	case PLAN_READONLY_ROOT:
		native_readonly_root(c);
		break;
	case PLAN_HOSTNAME:
		set_hostname(c);
		break;
	case PLAN_RLIMIT:
		native_rlimit(c);
		break;
	case PLAN_APPARMOR:
		native_apparmor(c);
		break;
	case PLAN_NO_NEW_PRIVS:
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
			native_die("no_new_privs: %s", strerror(errno));
		break;
	case PLAN_SECCOMP:
		native_seccomp(c);
		break;
	case PLAN_IDS:
		native_ids(c);
		break;
	case PLAN_CAPS:
		native_caps(c);
		break;
	case PLAN_CWD:
		native_cwd(c);
		break;
	case PLAN_EXEC:
		native_exec(c);
	}
}

static _Noreturn void work(void)
{
	struct native_child c = { .rootfd = -1 };

	/* Nothing of us is to be looked at from inside the container until the program runs. */
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	for (int fd = NATIVE_PLAN_FD; fd <= NATIVE_TARGET_FD; fd++)
		(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	(void)umask(022);
	c.userns = userns_inside();
	map_plan(&c);
	for (;;)
		do_op(&c, plan_get_op(&c.in));
}

static int init_main(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	work();
}

const struct proc_helper exec_native_helper = { "exec-native", init_main };
