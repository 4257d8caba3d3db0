/* Mounts, namespaces, cgroups, terminals, sockets: what needs the kernel's help more than ours. */
#include "scratch.h"

#include "sys/cap.h"
#include "sys/cgroup.h"
#include "sys/mount.h"
#include "sys/notify.h"
#include "sys/ns.h"
#include "sys/overlay_probe.h"
#include "sys/proc.h"
#include "sys/pty.h"
#include "sys/unixsock.h"
#include "sys/userns.h"

#include <net/if.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static void overlay(void **state)
{
	struct scratch *s = *state;
	struct overlay_features f;

	need_root();
	assert_ok(overlay_probe(s->path, &f));
	assert_true(f.works);
	assert_true(f.is_volatile);
	/* Nothing left. */
	assert_int_equal(rmdir(s->path), 0);
	assert_int_equal(mkdir(s->path, 0700), 0);
	assert_err(overlay_probe("/no/such", &f), "no such file");
}

static void bind_mounts(void **state)
{
	struct scratch *s = *state;
	char src[128], dst[128];

	need_root();
	(void)snprintf(src, sizeof(src), "%s/src", s->path);
	(void)snprintf(dst, sizeof(dst), "%s/d st", s->path);
	assert_int_equal(mkdir(src, 0755), 0);
	assert_int_equal(mkdir(dst, 0755), 0);
	put_file(s->fd, "src/f", "x");
	assert_ok(mount_bind(src, dst, MOUNT_RDONLY | MOUNT_NOSUID | MOUNT_NOATIME, false));
	assert_file(s->fd, "d st/f", "x");
	assert_int_equal(openat(s->fd, "d st/f", O_WRONLY), -1);
	assert_int_equal(errno, EROFS);
	/* The name has a blank, escaped in mountinfo. */
	assert_ok(mount_umount_below(s->path));
	assert_false(file_exists(s->fd, "d st/f"));
	assert_err(mount_bind("/no/such", dst, 0, false), "no such file");
}

static void mount_errors_have_the_kernels_words(void **state)
{
	CLEANUP_FD int fs = -1;

	need_root();
	assert_ok(mount_fs_open("overlay", &fs));
	assert_err(mount_fs_set(fs, "no_such_option", "1"), "nvalid argument");
	assert_err(mount_fs_open("no-such-fs", &fs), "no such device");
}

static struct err *loopback_flags(void *arg)
{
	CLEANUP_FD int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r = { .ifr_name = "lo" };

	if (ioctl(fd, SIOCGIFFLAGS, &r) < 0)
		return err_errno(errno, "ioctl");
	*(int *)arg = r.ifr_flags;
	(void)snprintf(r.ifr_name, sizeof(r.ifr_name), "eth0");
	if (ioctl(fd, SIOCGIFFLAGS, &r) == 0)
		return err_new(ERR_INTERNAL, "eth0 is here too");
	return NULL;
}

static void net_namespaces(void **state)
{
	struct scratch *s = *state;
	char path[128];
	int flags = 0;

	need_root();
	(void)snprintf(path, sizeof(path), "%s/net", s->path);
	assert_ok(ns_net_create(path));
	assert_err(ns_net_create(path), "file exists");
	assert_ok(ns_net_run(path, loopback_flags, &flags));
	assert_true(flags & IFF_UP);
	assert_ok(ns_net_remove(path));
	assert_false(file_exists(s->fd, "net"));
	assert_ok(ns_net_remove(path));
}

static void cgroups(void **state)
{
	const char *const argv[] = { "sleep", "1000", NULL };
	struct proc_spec spec = PROC_SPEC_INIT;
	CLEANUP(proc_fini) struct proc p = PROC_INIT;
	struct ctx *ctx = ctx_new_root(NULL);
	struct proc_status st;
	SCOPED_ARENA(a);
	struct str *kids;
	size_t n;
	struct err *e;
	char path[64];

	need_root();
	(void)snprintf(path, sizeof(path), "/bk-test-%d/sub", (int)getpid());
	if (cgroup_mode() == CGROUP_NONE)
		skip();
	e = cgroup_create(path);
	if (e) {
		err_free(e);
		skip();
	}
	spec.file = "sleep";
	spec.argv = argv;
	assert_ok(proc_start(&spec, &p));
	assert_ok(cgroup_add(path, p.pid));
	assert_true(cgroup_exists(path));
	assert_int_equal(cgroup_oom_kills(path), 0);
	path[strlen(path) - 4] = '\0';
	assert_ok(cgroup_children(path, &a, &kids, &n));
	assert_int_equal(n, 1);
	assert_true(str_eq(kids[0], STR("sub")));
	assert_ok(cgroup_kill(path, ctx));
	assert_ok(proc_wait(&p, ctx, &st));
	assert_int_equal(st.signal, SIGKILL);
	assert_ok(cgroup_remove(path));
	assert_false(cgroup_exists(path));
	assert_ok(cgroup_remove(path));
	ctx_unref(ctx);
}

static void terminals(void **state)
{
	int m = -1, s = -1;
	unsigned rows = 0, cols = 0;

	assert_ok(pty_open(&m, &s));
	assert_true(pty_is_terminal(s));
	assert_ok(pty_set_size(m, 33, 99));
	assert_true(pty_get_size(s, &rows, &cols));
	assert_int_equal(rows, 33);
	assert_int_equal(cols, 99);
	(void)close(m);
	(void)close(s);
}

static void sockets(void **state)
{
	struct scratch *s = *state;
	int l = -1, c = -1, a = -1, pair[2], got = -1;
	char path[400], sub[200];
	struct stat st;

	/* Longer than a socket address. */
	memset(sub, 'd', sizeof(sub));
	sub[150] = '\0';
	(void)snprintf(path, sizeof(path), "%s/%s/sock", s->path, sub);
	assert_ok(unixsock_listen(path, 0660, (uid_t)-1, (gid_t)-1, &l));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	assert_ok(unixsock_connect(path, &c));
	assert_ok(unixsock_accept(l, &a));
	assert_ok(fd_write_all(c, "x", 1));
	(void)close(a);
	(void)close(c);
	(void)close(l);
	/* A stale one is replaced. */
	assert_ok(unixsock_listen(path, 0600, (uid_t)-1, (gid_t)-1, &l));
	(void)close(l);
	assert_err(unixsock_connect(path, &c), "connect: connection refused");
	assert_ok(unixsock_pair(pair));
	assert_ok(unixsock_send_fd(pair[0], s->fd));
	assert_ok(unixsock_recv_fd(pair[1], &got));
	assert_true(fcntl(got, F_GETFD) & FD_CLOEXEC);
	(void)close(got);
	assert_ok(fd_write_all(pair[0], "x", 1));
	assert_err(unixsock_recv_fd(pair[1], &got), "without a file descriptor");
	(void)close(pair[0]);
	(void)close(pair[1]);
}

static void facts(void **state)
{
	SCOPED_ARENA(a);
	struct userns_range *r;
	size_t n;

	assert_string_equal(cap_name(0), "CAP_CHOWN");
	assert_string_equal(cap_name(21), "CAP_SYS_ADMIN");
	assert_string_equal(cap_name(40), "CAP_CHECKPOINT_RESTORE");
	assert_null(cap_name(41));
	if (geteuid() == 0)
		assert_true(cap_has(0));
	assert_int_equal(cap_effective() & ~cap_bounding(), 0);
	assert_ok(userns_map("/proc/self/uid_map", &a, &r, &n));
	assert_true(n >= 1);
	assert_ok(notify_send("READY=1"));
	assert_int_equal(notify_listen_fds(), 0);
}

static void service_manager(void **state)
{
	struct scratch *s = *state;
	char path[100], got[32];
	struct sockaddr_storage sa;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)snprintf(path, sizeof(path), "%s/notify", s->path);
	sa.ss_family = AF_UNIX;
	memcpy((char *)&sa + 2, path, strlen(path) + 1);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, (socklen_t)(2 + strlen(path) + 1)), 0);
	assert_int_equal(setenv("NOTIFY_SOCKET", path, 1), 0);
	assert_ok(notify_send("READY=1"));
	assert_int_equal(recv(fd, got, sizeof(got), 0), 7);
	assert_memory_equal(got, "READY=1", 7);
	assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
	(void)close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCRATCH_TEST(overlay),
		SCRATCH_TEST(bind_mounts),
		SCRATCH_TEST(mount_errors_have_the_kernels_words),
		SCRATCH_TEST(net_namespaces),
		SCRATCH_TEST(cgroups),
		SCRATCH_TEST(terminals),
		SCRATCH_TEST(sockets),
		SCRATCH_TEST(facts),
		SCRATCH_TEST(service_manager),
	};

	if (geteuid() == 0) {
		struct err *e = ns_enter_private_mounts();

		if (e) {
			(void)fprintf(stderr, "%s\n", err_text(e));
			err_free(e);
			return 77;
		}
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
