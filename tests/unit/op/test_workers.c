/* Which worker a vertex runs on. */
#include "op/workers.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct oci_kv labels_a[] = { { STR("org.example/kind.of"), STR("plain") },
					  { STR("zone"), STR("a") } };
static const struct oci_kv labels_b[] = { { STR("zone"), STR("b") } };
static const struct platform amd = { .os = STR("linux"), .arch = STR("amd64") };
static const struct platform arm[] = {
	{ .os = STR("linux"), .arch = STR("arm64") },
	{ .os = STR("linux"), .arch = STR("arm"), .variant = STR("v7") },
};

static struct worker a = { .id = "aaa",
			   .labels = labels_a,
			   .n_labels = ARRAY_SIZE(labels_a),
			   .platforms = &amd,
			   .n_platforms = 1 };
static struct worker b = { .id = "bbb",
			   .labels = labels_b,
			   .n_labels = ARRAY_SIZE(labels_b),
			   .platforms = arm,
			   .n_platforms = ARRAY_SIZE(arm) };

static int make_set(void **state)
{
	static struct worker *const list[] = { &a, &b };
	static const struct worker_set set = { list, ARRAY_SIZE(list) };

	a.set = b.set = &set;
	return 0;
}

static void expect(const char *filter, const struct worker *want)
{
	struct str list[] = { str_from(filter) };
	struct worker *got;
	struct err *e = worker_select(&a, list, 1, &got);

	if (e)
		fail_msg("%s: %s", filter, err_text(e));
	if (got != want)
		fail_msg("%s: %s", filter, got->id);
}

static void without_filters(void **state)
{
	struct worker *got;

	assert_null(worker_select(&a, NULL, 0, &got));
	assert_ptr_equal(got, &a);
	assert_null(worker_select(&b, NULL, 0, &got));
	assert_ptr_equal(got, &b);
}

static void by_field(void **state)
{
	expect("id==bbb", &b);
	expect("id~=^a", &a);
	expect("labels.zone==b", &b);
	expect("labels.zone!=a", &b);
	expect("labels.zone", &a);
	expect("labels.\"org.example/kind.of\"==plain", &a);
	expect("platform~=arm64", &b);
	expect("platform~=\"linux/arm/v7\"", &b);
	expect("labels.zone==b,platform~=arm64", &b);
}

static void any_of_several(void **state)
{
	struct str list[] = { STR("labels.zone==nowhere"), STR("labels.zone==b") };
	struct worker *got;

	assert_null(worker_select(&a, list, 2, &got));
	assert_ptr_equal(got, &b);
}

static void no_match_names_all(void **state)
{
	struct str list[] = { STR("labels.zone==x"), STR("id==\"y\"") };
	struct worker *got;
	struct err *e = worker_select(&a, list, 2, &got);

	assert_true(err_is(e, ERR_NOT_FOUND));
	assert_string_equal(err_text(e), "no worker matches filter \"labels.zone==x\" or "
					 "\"id==\\\"y\\\"\"; workers: aaa "
					 "(org.example/kind.of=plain zone=a), bbb (zone=b)");
	err_free(e);
}

static void alone(void **state)
{
	struct worker one = a, *got;
	struct str yes = STR("labels.zone==a"), no = STR("labels.zone==b");
	struct err *e;

	one.set = NULL;
	assert_null(worker_select(&one, &yes, 1, &got));
	assert_ptr_equal(got, &one);
	e = worker_select(&one, &no, 1, &got);
	assert_true(err_is(e, ERR_NOT_FOUND));
	err_free(e);
}

static void bad_filter(void **state)
{
	struct str list[] = { STR("labels.zone==") };
	struct worker *got;
	struct err *e = worker_select(&a, list, 1, &got);

	assert_true(err_is(e, ERR_INVALID_ARGUMENT));
	err_free(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_filters), cmocka_unit_test(by_field),
		cmocka_unit_test(any_of_several),  cmocka_unit_test(no_match_names_all),
		cmocka_unit_test(alone),           cmocka_unit_test(bad_filter),
	};

	return cmocka_run_group_tests(tests, make_set, NULL);
}
