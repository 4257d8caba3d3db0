#include "registry/challenge.h"

#include "servers.h"

static size_t parse(struct arena *a, const char *text, struct challenge *out)
{
	size_t n = 0;

	challenge_parse(a, str_from(text), out, &n);
	return n;
}

static void test_forms(void **state)
{
	SCOPED_ARENA(a);
	struct challenge c[CHALLENGES_MAX];

	assert_int_equal(parse(&a,
			       "Bearer realm=\"https://auth.docker.io/token\","
			       "service=\"registry.docker.io\","
			       "scope=\"repository:library/alpine:pull,push\","
			       "error=\"insufficient_scope\"",
			       c),
			 1);
	assert_true(str_eq_cstr(c[0].scheme, "Bearer"));
	assert_true(str_eq_cstr(c[0].realm, "https://auth.docker.io/token"));
	assert_true(str_eq_cstr(c[0].service, "registry.docker.io"));
	assert_true(str_eq_cstr(c[0].scope, "repository:library/alpine:pull,push"));
	assert_true(str_eq_cstr(c[0].error, "insufficient_scope"));
	/* Several in one header, unquoted values, odd spaces, escapes. */
	assert_int_equal(parse(&a, "Basic realm=x , BEARER Realm = \"a\\\"b\" ,\tservice=s", c), 2);
	assert_true(str_eq_cstr(c[0].realm, "x"));
	assert_true(str_eq_cstr(c[1].realm, "a\"b"));
	assert_true(str_eq_cstr(c[1].service, "s"));
	assert_ptr_equal(challenge_find(c, 2, "bearer"), &c[1]);
	assert_ptr_equal(challenge_find(c, 2, "basic"), &c[0]);
	assert_null(challenge_find(c, 2, "digest"));
	/* Schemes alone. */
	assert_int_equal(parse(&a, "Negotiate, Basic realm=\"r\"", c), 2);
	assert_true(str_eq_cstr(c[1].realm, "r"));
}

static void test_junk(void **state)
{
	SCOPED_ARENA(a);
	struct challenge c[CHALLENGES_MAX];
	struct str many = str_from("a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s");
	size_t n = 0;

	assert_int_equal(parse(&a, "", c), 0);
	assert_int_equal(parse(&a, " ,;\"(", c), 0);
	assert_int_equal(parse(&a, "Bearer realm=\"open", c), 1);
	assert_true(str_eq_cstr(c[0].realm, "open"));
	assert_int_equal(parse(&a, "Bearer realm=\"x\\", c), 1);
	assert_int_equal(parse(&a, "Bearer =,=", c), 1);
	challenge_parse(&a, many, c, &n);
	assert_int_equal(n, CHALLENGES_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_junk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
