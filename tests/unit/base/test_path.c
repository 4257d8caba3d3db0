#include "check.h"

#include "base/path.h"

static void cleaning(void **state)
{
	static const char *const all[][2] = {
		{ "", "." },           { ".", "." },        { "/", "/" },
		{ "//a//b/", "/a/b" }, { "a/./b/..", "a" }, { "../../a", "../../a" },
		{ "/../a", "/a" },     { "a/../..", ".." }, { "a/../../b", "../b" },
		{ "./a", "a" },        { "/..", "/" },      { "...", "..." },
		{ "a/..", "." },       { "../a/..", ".." }, { "/a/../../b/./", "/b" },
	};
	SCOPED_ARENA(a);

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct str got = path_clean(&a, str_from(all[i][0]));

		assert_string_equal(got.ptr, all[i][1]);
	}
}

static void parts(void **state)
{
	SCOPED_ARENA(a);

	STR_IS(path_join(&a, STR("a"), STR("../b")), "b");
	STR_IS(path_join(&a, STR(""), STR("b/")), "b");
	STR_IS(path_join(&a, STR("a"), STR("")), "a");
	STR_IS(path_join(&a, STR(""), STR("")), "");
	STR_IS(path_join(&a, STR("/"), STR("/x")), "/x");
	STR_IS(path_base(STR("")), ".");
	STR_IS(path_base(STR("///")), "/");
	STR_IS(path_base(STR("/a/b//")), "b");
	STR_IS(path_base(STR("b")), "b");
	STR_IS(path_dir(&a, STR("")), ".");
	STR_IS(path_dir(&a, STR("a")), ".");
	STR_IS(path_dir(&a, STR("/a")), "/");
	STR_IS(path_dir(&a, STR("a/b/")), "a/b");
	assert_true(path_is_abs(STR("/")));
	assert_false(path_is_abs(STR("")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cleaning),
		cmocka_unit_test(parts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
