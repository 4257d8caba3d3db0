#include "scratch.h"

#include "base/clock.h"
#include "sys/proc.h"

#include <signal.h>

static struct ctx *ctx;

static struct proc_spec shell(const char *const *argv)
{
	struct proc_spec s = PROC_SPEC_INIT;

	s.file = "sh";
	s.argv = argv;
	return s;
}
#define SH(script) shell((const char *const[]) { "sh", "-c", (script), NULL })

static void outputs_and_status(void **state)
{
	struct proc_spec s = SH("read x; echo \"out $x\"; echo err >&2; exit 3");
	SCOPED_BUF(out, 100);
	SCOPED_BUF(errout, 100);
	struct proc_status st;
	char text[64];

	assert_ok(proc_run(&s, ctx, STR("line\n"), &out, &errout, &st));
	assert_string_equal(buf_cstr(&out), "out line\n");
	assert_string_equal(buf_cstr(&errout), "err\n");
	assert_true(st.exited);
	assert_int_equal(st.code, 3);
	assert_string_equal(proc_status_text(&st, text, sizeof(text)), "exit status 3");
}

static void one_buffer_for_both(void **state)
{
	struct proc_spec s = SH("echo a; echo b >&2; echo c");
	SCOPED_BUF(out, 100);
	struct proc_status st;

	assert_ok(proc_run(&s, ctx, STR(""), &out, &out, &st));
	assert_string_equal(buf_cstr(&out), "a\nb\nc\n");
}

static void output_is_cut(void **state)
{
	struct proc_spec s = SH("head -c 1000000 /dev/zero | tr '\\0' x");
	SCOPED_BUF(out, 1000);
	struct proc_status st;

	assert_ok(proc_run(&s, ctx, STR(""), &out, NULL, &st));
	assert_int_equal(out.len, 1000);
	assert_int_equal(st.code, 0);
}

static void missing_programs(void **state)
{
	const char *const argv[] = { "x", NULL };
	struct proc_spec s = PROC_SPEC_INIT;
	struct proc p = PROC_INIT;

	s.file = "no-such-program-here";
	s.argv = argv;
	assert_err(proc_start(&s, &p),
		   "exec: \"no-such-program-here\": executable file not found in $PATH");
	s.file = "/no/such";
	assert_err(proc_start(&s, &p), "fork/exec /no/such: no such file or directory");
	s.file = "sh";
	s.cwd = "/no/dir";
	assert_err(proc_start(&s, &p), "chdir /no/dir: no such file");
}

static void descriptors_and_cwd(void **state)
{
	struct scratch *sc = *state;
	struct proc_spec s = SH("cat <&5; pwd; ls /proc/self/fd | tr '\\n' ' '");
	SCOPED_BUF(out, 1000);
	CLEANUP_FD int fd = -1;
	struct proc_fd fds[] = { { -1, 5 } };
	struct proc_status st;
	char want[200];

	assert_ok(fd_memfd("x", STR("data\n"), false, &fd));
	fds[0].fd = fd;
	s.fds = fds;
	s.n_fds = 1;
	s.cwd = sc->path;
	/* One without the flag must not get through. */
	assert_true(dup2(fd, 17) == 17);
	assert_ok(proc_run(&s, ctx, STR(""), &out, NULL, &st));
	(void)close(17);
	/* 3 is the directory that ls reads. */
	(void)snprintf(want, sizeof(want), "data\n%s\n0 1 2 3 5 ", sc->path);
	assert_string_equal(buf_cstr(&out), want);
}

static void environment(void **state)
{
	const char *const env[] = { "A=1", NULL };
	struct proc_spec s = SH("echo $A$HOME");
	SCOPED_BUF(out, 100);
	struct proc_status st;

	s.envp = env;
	assert_ok(proc_run(&s, ctx, STR(""), &out, NULL, &st));
	assert_string_equal(buf_cstr(&out), "1\n");
}

static void cancelled(void **state)
{
	struct proc_spec s = SH("sleep 100 & sleep 100");
	struct ctx *c = ctx_new_timeout(ctx, 50 * NSEC_PER_MSEC);
	SCOPED_BUF(out, 100);
	struct proc_status st;
	int64_t start = clock_now();

	assert_err(proc_run(&s, c, STR(""), &out, NULL, &st), "deadline exceeded");
	assert_true(clock_now() - start < 10 * NSEC_PER_SEC);
	ctx_unref(c);
}

static void signals(void **state)
{
	struct proc_spec s = SH("trap '' TERM; echo; exec sleep 100");
	CLEANUP(proc_fini) struct proc p = PROC_INIT;
	struct proc_status st;
	char text[64];

	s.new_session = true;
	assert_ok(proc_start(&s, &p));
	proc_signal_group(&p, SIGKILL);
	assert_ok(proc_wait(&p, ctx, &st));
	assert_int_equal(st.signal, SIGKILL);
	assert_int_equal(st.code, 137);
	assert_string_equal(proc_status_text(&st, text, sizeof(text)), "signal: killed");
	proc_signal(&p, SIGKILL);
}

/* Bits of signals 32 and 33, which the C library keeps to itself: whoever started us may have left
 * them ignored, and no program can tell. */
#define INTERNAL_SIGNALS 0x180000000ULL

static unsigned long long signal_mask(const char *status, const char *name)
{
	const char *p = strstr(status, name);

	assert_non_null(p);
	return strtoull(p + strlen(name), NULL, 16) & ~INTERNAL_SIGNALS;
}

static void signal_state_of_the_child(void **state)
{
	struct proc_spec s = SH("cat /proc/self/status");
	SCOPED_BUF(out, 8192);
	struct proc_status st;

	(void)signal(SIGPIPE, SIG_IGN);
	assert_ok(proc_run(&s, ctx, STR(""), &out, NULL, &st));
	(void)signal(SIGPIPE, SIG_DFL);
	assert_int_equal(signal_mask(buf_cstr(&out), "SigBlk:"), 0);
	assert_int_equal(signal_mask(buf_cstr(&out), "SigIgn:"), 0);
}

static int helper(int argc, char **argv)
{
	(void)printf("%s %s\n", argv[0], argc > 1 ? argv[1] : "");
	return 7;
}

static void helpers(void **state)
{
	SCOPED_ARENA(a);
	const char *const args[] = { "arg", NULL };
	struct proc_spec s = PROC_SPEC_INIT;
	SCOPED_BUF(out, 100);
	struct proc_status st;

	s.file = proc_self_exe();
	s.argv = proc_helper_argv(&a, "hello", args);
	assert_ok(proc_run(&s, ctx, STR(""), &out, NULL, &st));
	assert_string_equal(buf_cstr(&out), "hello arg\n");
	assert_int_equal(st.code, 7);
}

int main(int argc, char **argv)
{
	const struct proc_helper table[] = { { "hello", helper } };
	const struct CMUnitTest tests[] = {
		SCRATCH_TEST(outputs_and_status),
		SCRATCH_TEST(one_buffer_for_both),
		SCRATCH_TEST(output_is_cut),
		SCRATCH_TEST(missing_programs),
		SCRATCH_TEST(descriptors_and_cwd),
		SCRATCH_TEST(environment),
		SCRATCH_TEST(cancelled),
		SCRATCH_TEST(signals),
		SCRATCH_TEST(signal_state_of_the_child),
		SCRATCH_TEST(helpers),
	};
	int r;

	if (proc_helper_main(table, ARRAY_SIZE(table), argc, argv))
		return 0;
	proc_raise_nofile();
	ctx = ctx_new_root(NULL);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	ctx_unref(ctx);
	return r;
}
