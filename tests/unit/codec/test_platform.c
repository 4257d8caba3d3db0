/* The verdicts are those of containerd/platforms. */
#include "../base/check.h"

#include "codec/platform.h"

static struct platform parse(struct arena *a, const char *text)
{
	struct platform p;

	OK(platform_parse(a, str_from(text), &p));
	return p;
}

static void parsing(void **state)
{
	static const struct {
		const char *text, *formatted;
	} all[] = {
		{ "linux/amd64", "linux/amd64" },
		{ "Linux/x86_64", "linux/amd64" },
		{ "linux/arm64/v8", "linux/arm64/v8" },
		{ "linux/aarch64", "linux/arm64" },
		{ "linux/arm", "linux/arm" },
		{ "linux/arm/v7", "linux/arm/v7" },
		{ "linux/armhf", "linux/arm" },
		{ "linux/armel", "linux/arm/v6" },
		{ "arm64", "linux/arm64" },
		{ "macos/arm64", "darwin/arm64" },
		{ "linux/Foo/Bar", "linux/foo/bar" },
		{ "windows(10.0.17763)/amd64", "windows(10.0.17763)/amd64" },
		{ "windows(10.0.17763+win32k+a%2Bb)/amd64",
		  "windows(10.0.17763+a%2Bb+win32k)/amd64" },
		{ "linux(+sse)/386", "linux(+sse)/386" },
	};
	SCOPED_ARENA(a);
	struct platform host = platform_default(), p = parse(&a, "linux");

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		assert_string_equal(platform_format_all(&a, parse(&a, all[i].text)),
				    all[i].formatted);
	assert_true(str_eq(p.arch, host.arch));
	STR_IS(host.os, "linux");
	assert_string_equal(platform_format(&a, (struct platform) { 0 }), "unknown");
}

static void refused(void **state)
{
	SCOPED_ARENA(a);
	struct platform p;

	FAILS(platform_parse(&a, STR("linux/*"), &p), ERR_INVALID_ARGUMENT,
	      "\"linux/*\": wildcards not yet supported: invalid argument");
	FAILS(platform_parse(&a, STR("foo"), &p), ERR_INVALID_ARGUMENT,
	      "\"foo\": unknown operating system or architecture: invalid argument");
	FAILS(platform_parse(&a, STR("linux/a/b/c"), &p), ERR_INVALID_ARGUMENT,
	      "\"linux/a/b/c\": cannot parse platform specifier: invalid argument");
	FAILS(platform_parse(&a, STR("linux/&"), &p), ERR_INVALID_ARGUMENT,
	      "\"&\" is an invalid component of \"linux/&\": platform specifier component must "
	      "match "
	      "\"^[A-Za-z0-9_.-]+$\": invalid argument");
	FAILS_CODE(platform_parse(&a, STR(""), &p), ERR_INVALID_ARGUMENT);
	FAILS_CODE(platform_parse(&a, STR("linux(x"), &p), ERR_INVALID_ARGUMENT);
	FAILS_CODE(platform_parse(&a, STR("linux(%zz)/amd64"), &p), ERR_INVALID_ARGUMENT);
	FAILS_CODE(platform_parse(&a, STR("linux(a++b)/amd64"), &p), ERR_INVALID_ARGUMENT);
}

static void normalizing(void **state)
{
	static const char *const all[][6] = {
		/* os, arch, variant, and the same normalized */
		{ "", "aarch64", "8", "linux", "arm64", "" },
		{ "Linux", "AMD64", "v1", "linux", "amd64", "" },
		{ "linux", "arm", "", "linux", "arm", "v7" },
		{ "linux", "arm", "6", "linux", "arm", "v6" },
		{ "linux", "arm64", "9.0", "linux", "arm64", "v9" },
		{ "linux", "i386", "x", "linux", "386", "" },
		{ "linux", "x86-64", "V3", "linux", "amd64", "v3" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct platform p = platform_normalize((struct platform) {
			.os = str_from(all[i][0]),
			.arch = str_from(all[i][1]),
			.variant = str_from(all[i][2]),
		});

		assert_true(str_eq_cstr(p.os, all[i][3]));
		assert_true(str_eq_cstr(p.arch, all[i][4]));
		assert_true(str_eq_cstr(p.variant, all[i][5]));
	}
}

static void ranks(void **state)
{
	/* From the best to those that still run; then those that do not. */
	static const char *const all[][8] = {
		{ "linux/amd64", "linux/amd64", "linux/386", NULL, "linux/amd64/v2",
		  "linux/arm64" },
		{ "linux/amd64/v3", "linux/amd64/v3", "linux/amd64/v2", "linux/amd64", "linux/386",
		  NULL, "linux/amd64/v4" },
		{ "linux/arm64", "linux/arm64/v8", "linux/arm/v8", "linux/arm/v7", "linux/arm/v5",
		  NULL, "linux/arm64/v9" },
		{ "linux/arm/v7", "linux/arm", "linux/arm/v6", "linux/arm/v5", NULL, "linux/arm/v8",
		  "linux/arm64" },
		{ "linux/arm64/v9.1", "linux/arm64/v9.1", "linux/arm64/v9", "linux/arm64/v8.6",
		  "linux/arm64", "linux/arm/v7", NULL, "linux/arm64/v8.7" },
		{ "linux/riscv64", "linux/riscv64", NULL, "linux/riscv32", "freebsd/riscv64" },
	};
	SCOPED_ARENA(a);

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct platform want = parse(&a, all[i][0]);
		int last = -1;
		size_t k = 1;

		for (; all[i][k]; k++) {
			int rank = platform_match_rank(want, parse(&a, all[i][k]));

			assert_true(rank > last);
			last = rank;
		}
		for (k++; k < 8 && all[i][k]; k++)
			assert_int_equal(platform_match_rank(want, parse(&a, all[i][k])), -1);
	}
	/* A host from 2022 on takes images from then on up to its own build. */
	assert_true(platform_match_rank(parse(&a, "windows(10.0.26100)/amd64"),
					parse(&a, "windows(10.0.20348)/amd64")) >= 0);
	assert_int_equal(platform_match_rank(parse(&a, "windows(10.0.26100)/amd64"),
					     parse(&a, "windows(10.0.17763)/amd64")),
			 -1);
	assert_true(platform_match_rank(parse(&a, "windows/amd64"),
					parse(&a, "windows(10.0.17763)/amd64")) >= 0);
	/* Features must be there; of several fits the one that uses most wins. */
	assert_int_equal(platform_match_rank(parse(&a, "linux/386"), parse(&a, "linux(+x)/386")),
			 -1);
	assert_true(platform_match_rank(parse(&a, "linux(+x+y)/386"), parse(&a, "linux(+x)/386")) <
		    platform_match_rank(parse(&a, "linux(+x+y)/386"), parse(&a, "linux/386")));
}

static void equality(void **state)
{
	SCOPED_ARENA(a);

	assert_true(platform_eq(parse(&a, "linux/arm64"), parse(&a, "linux/aarch64/v8")));
	assert_true(platform_eq(parse(&a, "linux(1+b+a)/x"), parse(&a, "linux(1+a+b)/x")));
	assert_false(platform_eq(parse(&a, "linux(1+b)/x"), parse(&a, "linux(1+a+b)/x")));
	assert_false(platform_eq(parse(&a, "linux(1)/x"), parse(&a, "linux(2)/x")));
	assert_false(platform_eq(parse(&a, "linux/arm/v6"), parse(&a, "linux/arm")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parsing),     cmocka_unit_test(refused),
		cmocka_unit_test(normalizing), cmocka_unit_test(ranks),
		cmocka_unit_test(equality),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
