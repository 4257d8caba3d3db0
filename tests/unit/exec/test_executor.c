#include "place.h"

static void exit_codes(void **state)
{
	NEED_RUNC();
	STEP(ok, "exit 0");
	STEP(bad, "exit 7");
	SCOPED_ERR(e);
	struct str detail;

	assert_ok(run_step(&ok));
	assert_int_equal(ok.code, 0);
	e = run_step(&bad);
	assert_string_equal(err_text(e), "exit code: 7");
	assert_int_equal(err_code(e), ERR_UNKNOWN);
	assert_int_equal(bad.code, 7);
	assert_string_equal(err_detail(e, 0, &detail),
			    "github.com/moby/buildkit/gatewayapi.ExitMessage+json");
	assert_true(str_eq(detail, STR("{\"Code\":7}")));
}

static void both_streams(void **state)
{
	NEED_RUNC();
	STEP(s, "echo out; echo err >&2; printf tail");

	assert_ok(run_step(&s));
	assert_string_equal(OUT(s), "out\ntail");
	assert_string_equal(ERRS(s), "err\n");
}

static void missing_program(void **state)
{
	NEED_RUNC();
	STEP(s, "");

	s.args[0] = STR("/nope");
	assert_err(run_step(&s), "exit code: 1");
	assert_non_null(strstr(ERRS(s), "unable to start container process: exec: "
					"\"/nope\": stat /nope: no such file or directory\n"));
}

static void no_arguments(void **state)
{
	NEED_RUNC();
	STEP(s, "");
	SCOPED_ERR(e);

	s.spec.process.n_args = 0;
	e = run_step(&s);
	assert_int_equal(err_code(e), ERR_INVALID_ARGUMENT);
	err_free(e);
	s.spec.process.n_args = 1;
	s.args[0] = STR("");
	e = run_step(&s);
	assert_int_equal(err_code(e), ERR_INVALID_ARGUMENT);
}

static void listed_exit_codes(void **state)
{
	static const int32_t codes[] = { 3, 4 };

	NEED_RUNC();
	for (int code = 0; code < 5; code++) {
		char script[16];

		(void)snprintf(script, sizeof(script), "exit %d", code);
		STEP(s, script);
		s.spec.valid_exit_codes = codes;
		s.spec.n_valid_exit_codes = ARRAY_SIZE(codes);
		SCOPED_ERR(e);
		e = run_step(&s);
		assert_int_equal(e == NULL, code >= 3);
		assert_int_equal(s.code, code);
	}
}

static void killed_by_a_signal(void **state)
{
	NEED_RUNC();
	STEP(s, "sh -c 'kill -9 $$'; exit $?");

	assert_err(run_step(&s), "exit code: 137");
}

static void big_output(void **state)
{
	NEED_RUNC();
	STEP(s, "dd if=/dev/zero bs=1M count=20 2>/dev/null & yes | head -c 5000000 >&2; wait");

	assert_ok(run_step(&s));
	assert_int_equal(s.out[0].len, 20 * MIB);
	assert_int_equal(s.out[1].len, 5000000);
}

/* A process that outlives the first one ends with it, and its output doesn't keep us. */
static void background_process(void **state)
{
	NEED_RUNC();
	STEP(s, "sleep 1000 & echo done");
	int64_t t = clock_now();

	assert_ok(run_step(&s));
	assert_string_equal(OUT(s), "done\n");
	assert_true(clock_now() - t < 20 * NSEC_PER_SEC);
}

static void input(void **state)
{
	NEED_RUNC();
	STEP(none, "cat");
	STEP(some, "cat");
	struct exec_io io = { .output = step_output, .arg = &some };

	assert_ok(run_step(&none));
	assert_string_equal(OUT(none), "");
	assert_ok(fd_memfd("in", STR("hello\n"), true, &io.stdin_fd));
	assert_ok(executor_run(here.e, here.ctx, &some.spec, &io, &some.code));
	assert_string_equal(OUT(some), "hello\n");
	(void)close(io.stdin_fd);
}

static void environment(void **state)
{
	NEED_RUNC();
	STEP(s, "echo $PATH; echo \"$A\"; pwd; hostname; cat /etc/hosts");
	struct exec_kv hosts[] = { { STR("far"), STR("10.1.2.3") }, { STR("six"), STR("fd::1") } };

	s.env[1] = STR("A=b c=\"d\" <&>");
	s.spec.process.n_env = 2;
	s.spec.process.cwd = STR("/new/dir");
	s.spec.hostname = STR("thing");
	s.spec.hosts = hosts;
	s.spec.n_hosts = 2;
	assert_ok(run_step(&s));
	assert_string_equal(OUT(s), "/bin\nb c=\"d\" <&>\n/new/dir\nthing\n"
				    "127.0.0.1\tlocalhost thing\n"
				    "::1\tlocalhost ip6-localhost ip6-loopback\n"
				    "10.1.2.3\tfar\nfd::1\tsix\n");
}

static void users(void **state)
{
	static const struct {
		const char *user, *id;
	} cases[] = {
		{ "", "0 0 0 10" },
		{ "root", "0 0 0 10" },
		{ "ann", "1001 1002 1002 7 10" },
		{ "1001", "1001 1002 1002 7 10" },
		{ "1001:0", "1001 0 0" },
		{ "ann:wheel", "1001 10 10" },
		{ "77", "77 0 0" },
		{ "5:6", "5 6 6" },
	};

	NEED_RUNC();
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		STEP(s, "echo $(id -u) $(id -g) $(id -G)");
		s.spec.process.user = str_from(cases[i].user);
		assert_ok(run_step(&s));
		assert_string_equal(str_cstr(&s.a, str_trim(buf_str(&s.out[0]))), cases[i].id);
	}
	STEP(bad, "");
	bad.spec.process.user = STR("bob");
	assert_err(run_step(&bad), "unable to find user bob: no matching entries in passwd file");
	bad.spec.process.user = STR("ann:bobs");
	assert_err(run_step(&bad), "unable to find group bobs: no matching entries in group file");
}

static void working_directory_of_the_user(void **state)
{
	NEED_RUNC();
	STEP(s, "pwd; stat -c '%u %g %a' . ..");

	s.spec.process.user = STR("ann");
	s.spec.process.cwd = STR("/made/for/ann");
	assert_ok(run_step(&s));
	assert_string_equal(OUT(s), "/made/for/ann\n1001 1002 755\n1001 1002 755\n");
}

static void read_only_root(void **state)
{
	NEED_RUNC();
	STEP(s, "touch /x; echo $?; touch /scratch/y; echo $?");
	struct mounts tmp = { .kind = MOUNT_TMPFS };
	struct exec_mount m = { .dest = STR("/scratch"), .mounts = &tmp };
	SCOPED_ARENA(a);

	s.spec.root_readonly = true;
	s.spec.mounts = &m;
	s.spec.n_mounts = 1;
	assert_ok(run_step(&s));
	assert_string_equal(OUT(s), "1\n0\n");
	assert_string_equal(ERRS(s), "touch: /x: Read-only file system\n");
	assert_false(file_exists(AT_FDCWD, at(&a, "root/scratch")));
}

static void capabilities(void **state)
{
	NEED_RUNC();
	STEP(plain, "grep -E 'CapEff|CapBnd|CapInh|Seccomp:' /proc/self/status");
	STEP(insecure,
	     "grep -E 'Seccomp:' /proc/self/status; touch /sys/fs/cgroup/x 2>&1 | grep -c "
	     "Read-only; mkdir /tmp/m && mount -t tmpfs t /tmp/m && echo mounted; ls /dev/kmsg");

	assert_ok(run_step(&plain));
	assert_string_equal(OUT(plain), "CapInh:\t0000000000000000\nCapEff:\t00000000a80425fb\n"
					"CapBnd:\t00000000a80425fb\nSeccomp:\t2\n");
	insecure.spec.insecure = true;
	assert_ok(run_step(&insecure));
	assert_string_equal(OUT(insecure), "Seccomp:\t0\n0\nmounted\n/dev/kmsg\n");
}

static void limits(void **state)
{
	NEED_RUNC();
	STEP(s, "ulimit -Sn; ulimit -Hn; ulimit -c");
	struct exec_ulimit u[] = { { STR("nofile"), 100, 200 }, { STR("core"), 0, 0 } };

	s.spec.ulimits = u;
	s.spec.n_ulimits = 2;
	assert_ok(run_step(&s));
	assert_string_equal(OUT(s), "100\n200\n0\n");
}

static void memory_limit(void **state)
{
	NEED_RUNC();
	STEP(s, "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max "
		"2>/dev/null; tail /dev/zero");
	SCOPED_ERR(e);

	s.spec.memory = 32 * MIB;
	s.spec.memory_swap = 32 * MIB;
	e = run_step(&s);
	if (s.code == 1)
		skip(); /* no memory controller here */
	assert_string_equal(OUT(s), "33554432\n");
	assert_string_equal(err_text(e), "cannot allocate memory");
}

static void networks(void **state)
{
	NEED_RUNC();
	STEP(host, "ls -l /proc/self/ns/net | grep -o 'net:.*'");
	STEP(none, "ls -l /proc/self/ns/net | grep -o 'net:.*'; cat /sys/class/net/lo/flags; "
		   "ls /sys/class/net");
	char ours[64];
	ssize_t n = readlink("/proc/self/ns/net", ours, sizeof(ours) - 1);

	assert_true(n > 0);
	ours[n] = '\0';
	host.spec.net = EXEC_NET_HOST;
	assert_ok(run_step(&host));
	assert_string_equal(str_cstr(&host.a, str_trim(buf_str(&host.out[0]))), ours);
	none.spec.net = EXEC_NET_NONE;
	assert_ok(run_step(&none));
	assert_null(strstr(OUT(none), ours));
	assert_non_null(strstr(OUT(none), "\n0x9\nlo\n"));
}

/* ---- cancelling ---- */

struct later {
	struct ctx *ctx;
	const char *sign; /* a file that says it is time; or NULL: at once */
};

static struct err *cancel_later(struct ctx *ctx, void *arg)
{
	struct later *l = arg;

	while (l->sign && !file_exists(AT_FDCWD, l->sign))
		TRY(ctx_sleep(ctx, 2 * NSEC_PER_MSEC));
	ctx_cancel(l->ctx, NULL);
	return NULL;
}

/* Processes whose command line is "sleep <number>". */
static size_t count_sleepers(const char *number)
{
	SCOPED_ARENA(a);
	SCOPED_BUF(out, 64 * KIB);
	const char *const argv[] = {
		"sh", "-c",
		arena_printf(&a,
			     "for i in /proc/[0-9]*; do tr '\\0' ' ' <$i/cmdline; echo; done "
			     "2>/dev/null | grep '^sleep %s'",
			     number),
		NULL
	};
	struct proc_spec s = PROC_SPEC_INIT;
	struct proc_status st;

	s.file = "sh";
	s.argv = argv;
	assert_ok(proc_run(&s, here.ctx, STR_NONE, &out, NULL, &st));
	return out.len;
}

static void cancel_kills_all(void **state)
{
	NEED_RUNC();
	STEP(s, "rm -f /tmp/up; sh -c 'trap \"\" TERM INT; touch /tmp/up; sleep 31337' & "
		"trap '' TERM; sleep 31337");
	CLEANUP(ctx_unrefp) struct ctx *ctx = ctx_new(here.ctx);
	struct later l = { ctx, at(&s.a, "root/tmp/up") };
	struct task *t = task_start(here.ctx, "cancel", cancel_later, &l);
	int64_t before = clock_now();

	assert_err(run_step_in(&s, ctx), "context canceled");
	assert_ok(task_wait(t));
	assert_true(clock_now() - before < 20 * NSEC_PER_SEC);
	assert_int_equal(count_sleepers("31337"), 0);
}

static void cancel_at_any_moment(void **state)
{
	NEED_RUNC();
	for (int i = 0; i < 12; i++) {
		STEP(s, "sleep 31338");
		CLEANUP(ctx_unrefp)
		struct ctx *ctx = ctx_new_timeout(here.ctx, i * 3 * NSEC_PER_MSEC);

		assert_err(run_step_in(&s, ctx), "context deadline exceeded");
	}
	assert_int_equal(count_sleepers("31338"), 0);
}

/* ---- several ---- */

static struct err *run_numbered(struct ctx *ctx, void *arg)
{
	int i = *(int *)arg;
	struct step s;
	struct err *e;
	char want[16];

	step_init(&s, "echo $PPID-$A; sleep 0.2; exit ${A#x}");
	s.env[1] = str_from(arena_printf(&s.a, "A=x%d", i));
	s.spec.process.n_env = 2;
	(void)snprintf(want, sizeof(want), "0-x%d\n", i);
	e = run_step_in(&s, ctx);
	if (s.code == i && !strcmp(OUT(s), want)) {
		err_free(e);
		e = NULL;
	} else if (!e) {
		e = err_new(ERR_UNKNOWN, "step %d: exit %d, \"%s\"", i, s.code, OUT(s));
	}
	step_fini(&s);
	return e;
}

static void at_the_same_time(void **state)
{
	struct task_group g;
	int numbers[12];

	NEED_RUNC();
	task_group_init(&g, here.ctx, 0);
	for (int i = 0; i < 12; i++) {
		numbers[i] = i;
		task_group_go(&g, "step", run_numbered, &numbers[i]);
	}
	assert_ok(task_group_wait(&g));
}

static int count_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 1000; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void nothing_is_left(void **state)
{
	SCOPED_ARENA(a);
	int fds;

	NEED_RUNC();
	executor_close(here.e);
	fds = count_fds();
	here.e = open_executor_at(at(&a, "exec3"));
	for (int i = 0; i < 3; i++) {
		STEP(s, "exit 1");
		STEP(bad, "");
		err_free(run_step(&s));
		bad.spec.process.user = STR("nobody-here");
		err_free(run_step(&bad));
	}
	executor_close(here.e);
	assert_int_equal(count_fds(), fds);
	here.e = open_executor_at(at(&a, "exec"));
	run_tool(arena_printf(&a,
			      "cd %s/exec3; test -z \"$(ls bundles)$(ls state)$(ls net)\"; "
			      "! grep exec3 /proc/self/mountinfo",
			      here.dir));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exit_codes),
		cmocka_unit_test(both_streams),
		cmocka_unit_test(missing_program),
		cmocka_unit_test(no_arguments),
		cmocka_unit_test(listed_exit_codes),
		cmocka_unit_test(killed_by_a_signal),
		cmocka_unit_test(big_output),
		cmocka_unit_test(background_process),
		cmocka_unit_test(input),
		cmocka_unit_test(environment),
		cmocka_unit_test(users),
		cmocka_unit_test(working_directory_of_the_user),
		cmocka_unit_test(read_only_root),
		cmocka_unit_test(capabilities),
		cmocka_unit_test(limits),
		cmocka_unit_test(memory_limit),
		cmocka_unit_test(networks),
		cmocka_unit_test(cancel_kills_all),
		cmocka_unit_test(cancel_at_any_moment),
		cmocka_unit_test(at_the_same_time),
		cmocka_unit_test(nothing_is_left),
	};

	return cmocka_run_group_tests_name("exec/executor", tests, place_setup, place_teardown);
}
