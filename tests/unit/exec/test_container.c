#include "place.h"

/* A process and what it said, whatever runs it. */
struct said {
	struct lock lock;
	struct cond more;
	struct buf out[2];
	int starts;
};

static void said_init(struct said *s)
{
	*s = (struct said) { .out = { BUF_INIT(MIB), BUF_INIT(MIB) } };
	lock_init(&s->lock, LOCK_LEAF);
	cond_init(&s->more);
}

static void said_fini(struct said *s)
{
	buf_fini(&s->out[0]);
	buf_fini(&s->out[1]);
	cond_fini(&s->more);
	lock_fini(&s->lock);
}

static void note_output(void *arg, int stream, struct str data)
{
	struct said *s = arg;

	LOCKED(&s->lock);
	buf_add_str(&s->out[stream - 1], data);
	cond_broadcast(&s->more);
}

static void note_start(void *arg)
{
	struct said *s = arg;

	LOCKED(&s->lock);
	s->starts++;
	cond_broadcast(&s->more);
}

/* Until the first stream has this in it. */
static void wait_for(struct said *s, const char *text)
{
	CLEANUP(ctx_unrefp) struct ctx *ctx = ctx_new_timeout(here.ctx, 20 * NSEC_PER_SEC);

	lock_take(&s->lock);
	while (!strstr(buf_cstr(&s->out[0]), text)) {
		struct err *e = cond_wait(&s->more, &s->lock, ctx);

		if (e)
			fail_msg("no \"%s\" in \"%s\": %s", text, buf_cstr(&s->out[0]),
				 err_text(e));
	}
	lock_drop(&s->lock);
}

#define SAID(name)                                                                                 \
	CLEANUP(said_fini) struct said name;                                                       \
	said_init(&name)

static struct exec_io io_of(struct said *s)
{
	return (struct exec_io) {
		.stdin_fd = -1, .output = note_output, .started = note_start, .arg = s
	};
}

struct shell {
	struct str args[3];
	struct exec_process p;
};

static struct exec_process *shell(struct shell *s, const char *script)
{
	*s = (struct shell) { .args = { STR("/bin/sh"), STR("-c"), str_from(script) } };
	s->p = (struct exec_process) { .args = s->args, .n_args = 3 };
	return &s->p;
}

static void several_processes(void **state)
{
	NEED_RUNC();
	STEP(first, "echo up; cat; sleep 1000");
	SAID(s1);
	SAID(s2);
	SAID(s3);
	struct exec_io io1 = io_of(&s1), io2 = io_of(&s2), io3 = io_of(&s3);
	struct container *c = NULL;
	struct shell sh;
	int code = -1;

	first.env[1] = STR("A=first");
	first.spec.process.n_env = 2;
	first.spec.process.cwd = STR("/tmp");
	assert_ok(container_start(here.e, here.ctx, &first.spec, &io1, &c));
	assert_int_equal(s1.starts, 1);
	assert_ok(container_exec(c, here.ctx,
				 shell(&sh, "echo $A; pwd; id -u; ps | grep -c 'sleep'; "
					    "echo err >&2"),
				 &io2, &code));
	assert_int_equal(code, 0);
	assert_int_equal(s2.starts, 1);
	assert_true(str_has_prefix(buf_str(&s2.out[0]), STR("first\n/tmp\n0\n")));
	assert_string_equal(buf_cstr(&s2.out[1]), "err\n");
	shell(&sh, "id -u; pwd; exit 5");
	sh.p.user = STR("ann");
	sh.p.cwd = STR("/");
	assert_err(container_exec(c, here.ctx, &sh.p, &io3, &code), "exit code: 5");
	assert_int_equal(code, 5);
	assert_string_equal(buf_cstr(&s3.out[0]), "1001\n/\n");
	sh.p.user = STR("bob");
	assert_err(container_exec(c, here.ctx, &sh.p, &io3, &code),
		   "unable to find user bob: no matching entries in passwd file");
	container_free(c);
	wait_for(&s1, "up\n");
}

static void end_of_the_first(void **state)
{
	NEED_RUNC();
	STEP(first, "exit 9");
	SAID(s);
	struct exec_io io = io_of(&s);
	struct container *c = NULL;
	struct shell sh;
	int code = -1;

	assert_ok(container_start(here.e, here.ctx, &first.spec, &io, &c));
	assert_err(container_wait(c, here.ctx, &code), "exit code: 9");
	assert_int_equal(code, 9);
	SCOPED_ERR(e);
	e = container_exec(c, here.ctx, shell(&sh, "true"), &io, &code);
	assert_non_null(strstr(err_text(e), "has stopped"));
	container_free(c);
}

struct exec_job {
	struct container *c;
	struct exec_process *p;
	struct exec_io *io;
	int code;
};

static struct err *exec_task(struct ctx *ctx, void *arg)
{
	struct exec_job *j = arg;

	return container_exec(j->c, ctx, j->p, j->io, &j->code);
}

static void signals(void **state)
{
	NEED_RUNC();
	STEP(first, "trap 'echo usr1' USR1; trap 'echo term; exit 3' TERM; echo up; "
		    "while :; do sleep 0.01; done");
	SAID(s1);
	SAID(s2);
	struct exec_io io1 = io_of(&s1), io2 = io_of(&s2);
	struct container *c = NULL;
	struct shell sh;
	struct exec_job j;
	struct task *t;
	int code = -1;

	io1.control = exec_control_new();
	io2.control = exec_control_new();
	assert_err(exec_control_signal(io1.control, STR("NOPE")), "Unknown signal NOPE");
	assert_ok(container_start(here.e, here.ctx, &first.spec, &io1, &c));
	wait_for(&s1, "up\n");
	j = (struct exec_job) { c, shell(&sh, "trap '' TERM; echo up; while :; do sleep 1; done"),
				&io2, -1 };
	t = task_start(here.ctx, "exec", exec_task, &j);
	wait_for(&s2, "up\n");
	assert_ok(exec_control_signal(io2.control, STR("KILL")));
	assert_err(task_wait(t), "exit code: 137");
	assert_ok(exec_control_signal(io1.control, STR("USR1")));
	wait_for(&s1, "usr1\n");
	assert_ok(exec_control_signal(io1.control, STR("SIGTERM")));
	assert_err(container_wait(c, here.ctx, &code), "exit code: 3");
	container_free(c);
	exec_control_free(io1.control);
	exec_control_free(io2.control);
}

static void kill_of_the_first(void **state)
{
	NEED_RUNC();
	STEP(first, "echo up; sleep 1000");
	SAID(s);
	struct exec_io io = io_of(&s);
	struct container *c = NULL;
	int code;

	io.control = exec_control_new();
	assert_ok(container_start(here.e, here.ctx, &first.spec, &io, &c));
	wait_for(&s, "up\n");
	assert_ok(exec_control_signal(io.control, STR("KILL")));
	assert_err(container_wait(c, here.ctx, &code), "exit code: 137");
	container_free(c);
	exec_control_free(io.control);
}

static void terminal(void **state)
{
	NEED_RUNC();
	STEP(first,
	     "get() { until read $1; do :; done; }; trap 'stty size' WINCH; stty size; get x; "
	     "echo \"got $x\"; get y; echo \"and $y\"");
	SAID(s);
	struct exec_io io = io_of(&s);
	struct container *c = NULL;
	int in[2], code = -1;

	run_tool(arena_printf(&first.a, "ln -sf busybox %s/root/bin/stty", here.dir));
	assert_ok(fd_pipe(in));
	io.stdin_fd = in[0];
	io.control = exec_control_new();
	exec_control_resize(io.control, 30, 100);
	first.spec.process.tty = true;
	assert_ok(container_start(here.e, here.ctx, &first.spec, &io, &c));
	wait_for(&s, "30 100\r");
	assert_ok(fd_write_all(in[1], "hello\n", 6));
	wait_for(&s, "got hello\r\n");
	exec_control_resize(io.control, 40, 120);
	wait_for(&s, "40 120\r\n");
	assert_ok(fd_write_all(in[1], "bye\n", 4));
	assert_ok(container_wait(c, here.ctx, &code));
	assert_non_null(strstr(buf_cstr(&s.out[0]), "and bye\r\n"));
	container_free(c);
	exec_control_free(io.control);
	(void)close(in[0]);
	(void)close(in[1]);
}

static void terminal_of_another(void **state)
{
	NEED_RUNC();
	STEP(first, "sleep 1000");
	SAID(s);
	struct exec_io io1 = io_of(&s), io2 = io_of(&s);
	struct container *c = NULL;
	struct shell sh;
	int in[2], code = -1;

	assert_ok(fd_pipe(in));
	assert_ok(container_start(here.e, here.ctx, &first.spec, &io1, &c));
	io2.stdin_fd = in[0];
	shell(&sh, "test -t 0 && test -t 1 && echo both; read x; echo got $x; exit 4");
	sh.p.tty = true;
	assert_ok(fd_write_all(in[1], "input\n", 6));
	assert_err(container_exec(c, here.ctx, &sh.p, &io2, &code), "exit code: 4");
	/* runc takes the inner translation off a moment after the process has begun: what comes
	 * before has two carriage returns. */
	assert_non_null(strstr(buf_cstr(&s.out[0]), "both\r"));
	assert_non_null(strstr(buf_cstr(&s.out[0]), "got input\r\n"));
	container_free(c);
	(void)close(in[0]);
	(void)close(in[1]);
}

static void cancelled_start(void **state)
{
	NEED_RUNC();
	for (int i = 0; i < 8; i++) {
		STEP(first, "sleep 31339");
		SAID(s);
		struct exec_io io = io_of(&s);
		struct container *c = NULL;
		CLEANUP(ctx_unrefp)
		struct ctx *ctx = ctx_new_timeout(here.ctx, i * 4 * NSEC_PER_MSEC);
		struct err *e = container_start(here.e, ctx, &first.spec, &io, &c);

		assert_true(e || c);
		err_free(e);
		container_free(e ? NULL : c);
	}
}

static void cancelled_exec(void **state)
{
	NEED_RUNC();
	STEP(first, "sleep 1000");
	SAID(s);
	struct exec_io io = io_of(&s);
	struct container *c = NULL;
	struct shell sh;
	int code;

	assert_ok(container_start(here.e, here.ctx, &first.spec, &io, &c));
	for (int i = 1; i < 8; i++) {
		CLEANUP(ctx_unrefp)
		struct ctx *ctx = ctx_new_timeout(here.ctx, i * 5 * NSEC_PER_MSEC);

		assert_err(container_exec(c, ctx, shell(&sh, "sleep 1001"), &io, &code),
			   "context deadline exceeded");
	}
	/* Nothing of them is left, and the container still runs. */
	SAID(s2);
	struct exec_io io2 = io_of(&s2);
	assert_ok(container_exec(c, here.ctx, shell(&sh, "ps | grep -c '[s]leep 1001'; true"), &io2,
				 &code));
	assert_string_equal(buf_cstr(&s2.out[0]), "0\n");
	container_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(several_processes), cmocka_unit_test(end_of_the_first),
		cmocka_unit_test(signals),           cmocka_unit_test(kill_of_the_first),
		cmocka_unit_test(terminal),          cmocka_unit_test(terminal_of_another),
		cmocka_unit_test(cancelled_start),   cmocka_unit_test(cancelled_exec),
	};

	return cmocka_run_group_tests_name("exec/container", tests, place_setup, place_teardown);
}
