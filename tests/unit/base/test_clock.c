#include "check.h"

#include "base/clock.h"

static void rfc3339(void **state)
{
	static const struct {
		const char *in, *out;
	} all[] = {
		{ "1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z" },
		{ "2024-02-29T12:34:56.789Z", "2024-02-29T12:34:56.789Z" },
		{ "2024-02-29T12:34:56.7890000001Z", "2024-02-29T12:34:56.789Z" },
		{ "2024-01-01T00:30:00+01:00", "2023-12-31T23:30:00Z" },
		{ "1960-01-01T00:00:00.5-05:30", "1960-01-01T05:30:00.5Z" },
		/* Beyond 64 bits of nanoseconds. */
		{ "0001-01-01T00:00:00Z", "1677-09-21T00:12:43.145224192Z" },
		{ "9999-12-31T23:59:59Z", "2262-04-11T23:47:16.854775807Z" },
	};
	static const char *const bad[] = {
		"",
		"2024-01-01",
		"2024-13-01T00:00:00Z",
		"2023-02-29T00:00:00Z",
		"2024-01-01T24:00:00Z",
		"2024-01-01T00:00:00",
		"2024-01-01T00:00:00.Z",
		"2024-01-01T00:00:00+1:00",
		"2024-01-01T00:00:00Zx",
	};
	SCOPED_ARENA(a);
	int64_t ns;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		assert_true(clock_parse_rfc3339(str_from(all[i].in), &ns));
		assert_string_equal(clock_rfc3339(&a, ns), all[i].out);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(clock_parse_rfc3339(str_from(bad[i]), &ns));
}

static void durations(void **state)
{
	static const struct {
		const char *in;
		int64_t ns;
		const char *out;
	} all[] = {
		{ "0", 0, "0s" },
		{ "1h2m3.5s", 3723500000000, "1h2m3.5s" },
		{ "-1.5h", -5400000000000, "-1h30m0s" },
		{ "300ms", 300000000, "300ms" },
		{ "1.000000001s", 1000000001, "1.000000001s" },
		{ "1us", 1000, "1\xc2\xb5s" },
		{ "1.5\xc2\xb5s", 1500, "1.5\xc2\xb5s" },
		{ ".5s", 500000000, "500ms" },
		{ "90m", 5400000000000, "1h30m0s" },
		{ "9223372036854775807ns", INT64_MAX, "2562047h47m16.854775807s" },
		{ "-9223372036854775808ns", INT64_MIN, "-2562047h47m16.854775808s" },
		{ "0.3333333333333333333h", 1200000000000, "20m0s" },
	};
	static const char *const bad[] = { "",        "1",  "s",    ".s",
					   "-",       "1x", "1 s",  "1s1",
					   "1e3s",    "+",  "--1s", "9223372036854775808ns",
					   "3000000h" };
	SCOPED_ARENA(a);
	int64_t ns;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		assert_true(clock_parse_duration(str_from(all[i].in), &ns));
		assert_true(ns == all[i].ns);
		assert_string_equal(clock_format_duration(&a, ns), all[i].out);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(clock_parse_duration(str_from(bad[i]), &ns));
}

static void timespecs(void **state)
{
	struct timespec ts = clock_to_timespec(-1);

	assert_int_equal(ts.tv_sec, -1);
	assert_int_equal(ts.tv_nsec, 999999999);
	assert_true(clock_from_timespec(ts) == -1);
	assert_true(clock_now() <= clock_now());
	assert_true(clock_wall() > 1600000000 * NSEC_PER_SEC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc3339),
		cmocka_unit_test(durations),
		cmocka_unit_test(timespecs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
