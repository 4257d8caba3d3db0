#include "cache/cache_impl.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void expect_error(const char *filter, const char *text)
{
	SCOPED_ARENA(a);
	struct str list[] = { str_from(filter) };
	struct filter *f;
	struct err *e = filter_parse(&a, list, 1, &f);

	if (!e)
		fail_msg("%s: no error", filter);
	assert_true(err_is(e, ERR_INVALID_ARGUMENT));
	assert_string_equal(err_text(e), text);
	err_free(e);
}

/* As buildkitd v0.34 words them. */
static void errors(void **state)
{
#define P "filters: parse error: "
	static const char *const cases[][2] = {
		{ "inuse==", P "[inuse==]: expected value or quoted: invalid argument" },
		{ "a b",
		  P "[a  >|b|< ]: expected an operator (\"==\"|\"!=\"|\"~=\"): invalid argument" },
		{ "id=x", P "[id >|=|< x]: unsupported operator \"=\": invalid argument" },
		{ ",", P "[ >|,|< ]: expected field or quoted: invalid argument" },
		{ "id==a,", P "[id==a,]: expected field or quoted: invalid argument" },
		{ "id!", P "[id >|!|< ]: unsupported operator \"!\": invalid argument" },
		{ "id==\"a", P "[id== >|\"|< a]: quoted literal not terminated: invalid argument" },
		{ "parents~=.",
		  P "[parents~= >|.|< ]: expected value or quoted: invalid argument" },
		{ "!id", P "[ >|!|< id]: expected field or quoted: invalid argument" },
		{ "id~=[a,", P "[id~=[a,]: expected field or quoted: invalid argument" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		expect_error(cases[i][0], cases[i][1]);
}

static bool match(const struct cache_usage *u, const char *one, const char *two)
{
	SCOPED_ARENA(a);
	struct str list[] = { str_from(one), str_from(two) };
	struct filter *f;
	struct err *e = filter_parse(&a, list, one ? (two ? 2 : 1) : 0, &f);
	bool ret;

	if (e)
		fail_msg("%s", err_text(e));
	ret = filter_match(f, u);
	filter_free(f);
	return ret;
}

static void matches(void **state)
{
	struct str parents[] = { STR("p1"), STR("p2") };
	struct cache_usage u = { .id = STR("abc"),
				 .description = STR("pulled \"x\" from y"),
				 .type = STR("regular"),
				 .is_mutable = false,
				 .in_use = true,
				 .parents = parents,
				 .n_parents = 2 };

	(void)state;
	assert_true(match(&u, NULL, NULL));
	assert_true(match(&u, "", NULL));
	assert_true(match(&u, "id", NULL));
	assert_true(match(&u, "id==abc", NULL));
	assert_false(match(&u, "id==ab", NULL));
	assert_true(match(&u, "id!=ab", NULL));
	assert_true(match(&u, "id~=b", NULL));
	assert_true(match(&u, "id~=^a.c$", NULL));
	assert_false(match(&u, "id~=[", NULL));
	assert_true(match(&u, "id~=/a.c/", NULL));
	assert_true(match(&u, "id~=|a.c|", NULL));
	assert_true(match(&u, "inuse", NULL));
	assert_false(match(&u, "inuse==true", NULL));
	assert_false(match(&u, "mutable", NULL));
	assert_true(match(&u, "immutable", NULL));
	assert_false(match(&u, "shared", NULL));
	assert_true(match(&u, "private", NULL));
	assert_true(match(&u, "type==regular,inuse", NULL));
	assert_false(match(&u, "type==regular,mutable", NULL));
	assert_true(match(&u, "type==regular,mutable", "id==abc"));
	assert_true(match(&u, "description==\"pulled \\\"x\\\" from y\"", NULL));
	assert_true(match(&u, "description~=\"^pulled .* from\"", NULL));
	assert_true(match(&u, "parents==\"p1;p2\"", NULL));
	assert_true(match(&u, "parents~=p2", NULL));
	assert_false(match(&u, "unknown", NULL));
	assert_false(match(&u, "unknown==x", NULL));
	assert_true(match(&u, "unknown!=x", NULL));
	assert_false(match(&u, "id.x==abc", NULL));
	assert_true(match(&u, "\"id\"==abc", NULL));
	assert_true(match(&u, "id == abc , type == regular", NULL));
	assert_true(match(&u, "id==\"\\x61bc\"", NULL));
	assert_true(match(&u, "id==\"\\u0061b\\143\"", NULL));
	/* A pattern that would run for ever gives up. */
	u.description = STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab");
	assert_false(match(&u, "description~=\"^(a+)+$\"", NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(errors), cmocka_unit_test(matches) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
