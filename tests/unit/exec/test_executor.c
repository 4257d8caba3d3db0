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
	assert_string_equal(ERRS(s), "runc run failed: unable to start container process: exec: "
				     "\"/nope\": stat /nope: no such file or directory\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exit_codes),
		cmocka_unit_test(both_streams),
		cmocka_unit_test(missing_program),
	};

	return cmocka_run_group_tests_name("exec/executor", tests, place_setup, place_teardown);
}
