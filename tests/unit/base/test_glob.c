/* The verdicts are those of filepath.Match. */
#include "check.h"

#include "base/glob.h"

static void matches(void **state)
{
	static const struct {
		const char *pattern, *name;
		bool want;
	} all[] = {
		{ "abc", "abc", true },
		{ "*", "abc", true },
		{ "*c", "abc", true },
		{ "a*", "a", true },
		{ "a*", "ab/c", false },
		{ "a*/b", "abc/b", true },
		{ "a*/b", "a/c/b", false },
		{ "a*b*c*d*e*/f", "axbxcxdxe/f", true },
		{ "a*b*c*d*e*/f", "axbxcxdxexxx/fff", false },
		{ "ab[c]", "abc", true },
		{ "ab[b-d]", "abc", true },
		{ "ab[^c]", "abc", false },
		{ "ab[^b-d]", "abz", true },
		{ "a\\*b", "a*b", true },
		{ "a\\*b", "ab", false },
		{ "a?b",
		  "a\xe2\x98\xba"
		  "b",
		  true },
		{ "a[^a]b",
		  "a\xe2\x98\xba"
		  "b",
		  true },
		{ "a???b",
		  "a\xe2\x98\xba"
		  "b",
		  false },
		{ "[a-\xce\xb6]*", "\xce\xb1", true },
		{ "*[a-\xce\xb6]", "A", false },
		{ "a?b", "a/b", false },
		{ "a*b", "a/b", false },
		{ "[\\]a]", "]", true },
		{ "[\\-x]", "-", true },
		{ "[x\\-]", "z", false },
		{ "*x", "xxx", true },
		{ "", "", true },
		{ "", "a", false },
		{ "a[b/c]d", "a/d", true },
		{ "a*[x/]*y", "ab/cy", true },
		{ "*[x/]*y", "ax/by", false },
	};
	static const struct {
		const char *pattern, *name;
	} bad[] = {
		{ "[]a]", "]" },   { "[-]", "-" },     { "[x-]", "x" }, { "[-x]", "x" },
		{ "\\", "a" },     { "[a-b-c]", "a" }, { "[", "a" },    { "[^", "a" },
		{ "[^bc", "a" },   { "a[", "a" },      { "a[", "ab" },  { "*x[", "xxx" },
		{ "[\xff]", "a" },
	};
	bool got;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		OK(glob_match(str_from(all[i].pattern), str_from(all[i].name), &got));
		if (got != all[i].want)
			fail_msg("%s on %s", all[i].pattern, all[i].name);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		FAILS(glob_match(str_from(bad[i].pattern), str_from(bad[i].name), &got),
		      ERR_INVALID_ARGUMENT, "syntax error in pattern");
	/* What lies beyond a star that is never passed is not judged. */
	OK(glob_match(STR("a*["), STR("b"), &got));
	assert_false(got);
}

static void meta(void **state)
{
	assert_true(glob_has_meta(STR("a*")));
	assert_true(glob_has_meta(STR("a\\")));
	assert_true(glob_has_meta(STR("[")));
	assert_false(glob_has_meta(STR("a/b]")));
	assert_false(glob_has_meta(STR("a\0b")));
}

/* Many stars must not take exponential time. */
static void many_stars(void **state)
{
	SCOPED_BUF(pattern, 1000);
	SCOPED_BUF(name, 1000);
	bool got;

	for (int i = 0; i < 100; i++)
		buf_add_cstr(&pattern, "a*");
	buf_add_char(&pattern, 'b');
	for (int i = 0; i < 900; i++)
		buf_add_char(&name, 'a');
	OK(glob_match(buf_str(&pattern), buf_str(&name), &got));
	assert_false(got);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(matches),
		cmocka_unit_test(meta),
		cmocka_unit_test(many_stars),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
