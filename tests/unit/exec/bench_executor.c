/* Not a test: 50 steps of `true` against 50 bare runs of the runtime with the same
 * configuration. */
#include "place.h"

#include <sys/resource.h>

#define N 50

/* Of this process and all that it waited for. */
static int64_t cpu(void)
{
	struct rusage u[2];
	int64_t us = 0;

	(void)getrusage(RUSAGE_SELF, &u[0]);
	(void)getrusage(RUSAGE_CHILDREN, &u[1]);
	for (int i = 0; i < 2; i++)
		us += (u[i].ru_utime.tv_sec + u[i].ru_stime.tv_sec) * 1000000 +
		      u[i].ru_utime.tv_usec + u[i].ru_stime.tv_usec;
	return us * 1000;
}

static int64_t ours(void)
{
	int64_t t = clock_now();

	for (int i = 0; i < N; i++) {
		STEP(s, "");

		s.args[0] = STR("/bin/true");
		s.spec.process.n_args = 1;
		assert_ok(run_step(&s));
	}
	return clock_now() - t;
}

static int64_t bare(const char *bundle)
{
	const char *const argv[] = { "runc", "run", "--bundle", bundle, "bench-exec", NULL };
	struct proc_spec s = PROC_SPEC_INIT;
	int64_t t = clock_now();

	s.file = "runc";
	s.argv = argv;
	for (int i = 0; i < N; i++) {
		struct proc_status st;

		assert_ok(proc_run(&s, here.ctx, STR_NONE, NULL, NULL, &st));
		assert_int_equal(st.code, 0);
	}
	return clock_now() - t;
}

static void compare(void **state)
{
	SCOPED_ARENA(a);
	const char *bundle = at(&a, "bare");
	STEP(s, "");

	NEED_RUNC();
	/* The configuration of a step, caught by a runtime that only copies it. */
	run_tool(arena_printf(&a,
			      "mkdir %s; printf '#!/bin/sh\\ncp \"$9/config.json\" %s\\n' >%s;"
			      "chmod +x %s",
			      bundle, bundle, at(&a, "spy"), at(&a, "spy")));
	struct executor_config c = { .root = at(&a, "exec2"),
				     .net_mode = "host",
				     .runtime = at(&a, "spy") };
	struct executor *e, *old = here.e;

	assert_ok(executor_open(&c, here.ctx, &e));
	here.e = e;
	s.args[0] = STR("/bin/true");
	s.spec.process.n_args = 1;
	err_free(run_step(&s));
	here.e = old;
	executor_close(e);
	run_tool(arena_printf(&a,
			      "echo 127.0.0.1 localhost >%s/hosts; sed -i "
			      "'s,%s/exec2/bundles/[a-z0-9]*/hosts,%s/hosts,' %s/config.json",
			      bundle, here.dir, bundle, bundle));
	for (int round = 0; round < 3; round++) {
		int64_t c0 = cpu(), o = ours(), c1 = cpu(), b = bare(bundle), c2 = cpu();

		print_message("ours %.2f ms, bare %.2f ms a run: ratio %.2f\n", (double)o / N / 1e6,
			      (double)b / N / 1e6, (double)o / (double)b);
		print_message("  cpu: ours %.2f ms, bare %.2f ms\n", (double)(c1 - c0) / N / 1e6,
			      (double)(c2 - c1) / N / 1e6);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(compare) };

	return cmocka_run_group_tests_name("exec/bench", tests, place_setup, place_teardown);
}
