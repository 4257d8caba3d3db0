/* What is left of an executor whose process was killed. This program plays that process too. */
#include "place.h"

#include "exec/reaper.h"

#include <sched.h>
#include <signal.h>
#include <sys/file.h>

#define PLUGINS "/usr/lib/cni"

/* ---- the one to be killed ---- */

static void tell(void *arg, int stream, struct str data)
{
	err_free(fd_write_all(STDOUT_FILENO, data.ptr, data.len));
}

/* argv: dir mode reaper. Says "up" when a step runs in it. */
static int be_killed(char **argv)
{
	struct exec_io io = { .stdin_fd = -1, .output = tell };
	struct executor_config c = { .runtime = test_runtime(),
				     .net_mode = argv[1],
				     .cni_bin_dir = PLUGINS,
				     .bridge_name = "bktest2",
				     .bridge_subnet = "10.124.0.0/24",
				     .reaper = !strcmp(argv[2], "yes") };
	struct task_pool *pool = task_pool_new();
	struct exec_mount m = { .dest = STR("/mnt") };
	struct mounts bind = { .kind = MOUNT_BIND };
	struct step s;
	struct executor *e;
	int code;

	here.ctx = ctx_new_root(pool);
	(void)snprintf(here.dir, sizeof(here.dir), "%s", argv[0]);
	step_init(&s, "trap '' TERM; sleep 31341 & echo up; sleep 31341");
	c.root = at(&s.a, "killed");
	bind.source = str_from(at(&s.a, "root/tmp"));
	m.mounts = &bind;
	s.spec.mounts = &m;
	s.spec.n_mounts = 1;
	assert_ok(ns_enter_private_mounts());
	assert_ok(executor_open(&c, here.ctx, &e));
	err_free(executor_run(e, here.ctx, &s.spec, &io, &code));
	return 1;
}

/* ---- the tests ---- */

static size_t count_sleepers(void)
{
	const char *const argv[] = {
		"sh", "-c",
		"for i in /proc/[0-9]*; do tr '\\0' ' ' <$i/cmdline; echo; done "
		"2>/dev/null | grep '^sleep 31341'",
		NULL
	};
	struct proc_spec s = PROC_SPEC_INIT;
	SCOPED_BUF(out, 64 * KIB);
	struct proc_status st;

	s.file = "sh";
	s.argv = argv;
	assert_ok(proc_run(&s, here.ctx, STR_NONE, &out, NULL, &st));
	return out.len;
}

/* Starts one, kills it when its step runs. */
static void kill_one(const char *mode, const char *reaper)
{
	const char *const argv[] = { "test", "--be-killed", here.dir, mode, reaper, NULL };
	struct proc_spec s = PROC_SPEC_INIT;
	CLEANUP(proc_fini) struct proc p = PROC_INIT;
	struct proc_status st;
	char line[3];
	size_t n;
	int fds[2];

	assert_ok(fd_pipe(fds));
	s.file = proc_self_exe();
	s.argv = argv;
	s.stdout_fd = fds[1];
	s.stderr_fd = STDERR_FILENO;
	assert_ok(proc_start(&s, &p));
	(void)close(fds[1]);
	assert_ok(fd_read_full(fds[0], line, sizeof(line), &n));
	assert_int_equal(n, 3);
	assert_memory_equal(line, "up\n", 3);
	assert_true(count_sleepers() > 0);
	proc_signal(&p, SIGKILL);
	assert_ok(proc_wait(&p, here.ctx, &st));
	(void)close(fds[0]);
}

static void nothing_left(void)
{
	SCOPED_ARENA(a);

	assert_int_equal(count_sleepers(), 0);
	run_tool(arena_printf(
		&a,
		"cd %s/killed; test -z \"$(ls bundles)$(ls state)\";"
		"! grep %s/killed /proc/self/mountinfo;"
		"ls %s/root/tmp; for c in /sys/fs/cgroup/*/buildkit /sys/fs/cgroup/buildkit; do "
		"test -z \"$(ls -d $c/$(cat %s/id) 2>/dev/null)\"; done",
		here.dir, here.dir, here.dir, here.dir));
}

/* The id of the only container. */
static void note_id(void)
{
	SCOPED_ARENA(a);

	run_tool(arena_printf(&a, "ls %s/killed/bundles >%s/id; test -s %s/id", here.dir, here.dir,
			      here.dir));
}

static struct executor *open_again(const char *mode)
{
	SCOPED_ARENA(a);
	struct executor_config c = { .root = at(&a, "killed"),
				     .runtime = test_runtime(),
				     .net_mode = mode,
				     .cni_bin_dir = PLUGINS,
				     .bridge_name = "bktest2",
				     .bridge_subnet = "10.124.0.0/24" };
	struct executor *e = NULL;

	assert_ok(executor_open(&c, here.ctx, &e));
	return e;
}

static void removed_at_the_next_start(void **state)
{
	NEED_RUNC();
	kill_one("host", "no");
	note_id();
	executor_close(open_again("host"));
	nothing_left();
}

static void killed_at_once(void **state)
{
	NEED_RUNC();
	SCOPED_ARENA(a);
	const char *lock = at(&a, "killed/lock");
	int fd = -1;

	kill_one("host", "yes");
	/* Free when the reaper has done its work: then nothing is left already. */
	assert_ok(fd_open(AT_FDCWD, lock, O_RDWR, 0, &fd));
	assert_int_equal(flock(fd, LOCK_EX), 0);
	nothing_left();
	(void)close(fd);
	executor_close(open_again("host"));
}

static void a_reaper_of_an_executor_in_good_order(void **state)
{
	NEED_RUNC();
	SCOPED_ARENA(a);
	STEP(s, "echo fine");
	struct executor_config c = { .root = at(&a, "killed"),
				     .net_mode = "host",
				     .reaper = true,
				     .runtime = test_runtime() };
	struct executor *old = here.e;

	assert_ok(executor_open(&c, here.ctx, &here.e));
	assert_ok(run_step(&s));
	executor_close(here.e);
	here.e = old;
	nothing_left();
}

static void networks(void **state)
{
	struct executor *e;

	NEED_RUNC();
	if (access(PLUGINS "/bridge", X_OK) < 0)
		skip();
	run_tool("mkdir -p /var/lib/cni && mount -t tmpfs cni /var/lib/cni");
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	kill_one("bridge", "no");
	note_id();
	run_tool("ls /var/lib/cni/networks/buildkit | grep -c '^10.124' | grep 1");
	e = open_again("bridge");
	/* Only the new one's first. */
	run_tool("ls /var/lib/cni/networks/buildkit | grep -c '^10.124' | grep 1");
	executor_close(e);
	run_tool("! ls /var/lib/cni/networks/buildkit | grep '^10.124'");
	nothing_left();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(removed_at_the_next_start),
		cmocka_unit_test(killed_at_once),
		cmocka_unit_test(a_reaper_of_an_executor_in_good_order),
		cmocka_unit_test(networks),
	};

	if (argc == 5 && !strcmp(argv[1], "--be-killed"))
		return be_killed(argv + 2);
	return cmocka_run_group_tests_name("exec/leftovers", tests, place_setup, place_teardown);
}
