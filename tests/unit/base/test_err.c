#include "check.h"

#include <errno.h>

static void texts_and_codes(void **state)
{
	SCOPED_ERR(e);

	e = err_new(ERR_NOT_FOUND, "no %s", "thing");
	e = err_wrap(e, "open %d", 5);
	assert_string_equal(err_text(e), "open 5: no thing");
	assert_true(err_is(e, ERR_NOT_FOUND));
	err_set_code(e, ERR_INTERNAL);
	assert_int_equal(err_code(e), ERR_INTERNAL);
	assert_int_equal(err_code(NULL), ERR_OK);
	assert_string_equal(err_text(NULL), "");
	assert_null(err_wrap(NULL, "x"));
	assert_string_equal(err_code_name(ERR_DATA_LOSS), "DataLoss");
	assert_string_equal(err_code_name((enum err_code)99), "Unknown");
}

static void errnos(void **state)
{
	static const struct {
		int errnum;
		enum err_code code;
		const char *text;
	} all[] = {
		{ ENOENT, ERR_NOT_FOUND, "x: no such file or directory" },
		{ EEXIST, ERR_ALREADY_EXISTS, "x: file exists" },
		{ ENOSPC, ERR_RESOURCE_EXHAUSTED, "x: no space left on device" },
		{ EIO, ERR_INTERNAL, "x: input/output error" },
		{ EPERM, ERR_UNKNOWN, "x: operation not permitted" },
		/* An acronym keeps its capitals. */
		{ ENOTUNIQ, ERR_UNKNOWN, "x: name not unique on network" },
		{ EREMCHG, ERR_UNKNOWN, "x: remote address changed" },
		{ EADV, ERR_UNKNOWN, "x: advertise error" },
		{ EDOTDOT, ERR_UNKNOWN, "x: RFS specific error" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		SCOPED_ERR(e);

		e = err_errno(all[i].errnum, "x");
		assert_int_equal(err_get_errno(e), all[i].errnum);
		assert_int_equal(err_code(e), all[i].code);
		assert_string_equal(err_text(e), all[i].text);
	}
}

static void details(void **state)
{
	SCOPED_ERR(e);
	SCOPED_ERR(copy);
	struct str v;

	e = err_new(ERR_UNKNOWN, "x");
	err_add_detail(e, "type/a", STR("one\0two"));
	err_add_detail(e, "type/b", STR(""));
	e = err_wrap(e, "y");
	copy = err_dup(e);
	assert_int_equal(err_detail_count(copy), 2);
	assert_string_equal(err_detail(copy, 0, &v), "type/a");
	STR_IS(v, "one\0two");
	assert_true(err_has_detail(copy, "type/b"));
	assert_false(err_has_detail(copy, "type/c"));
	assert_false(err_has_detail(NULL, "type/c"));
	assert_int_equal(err_detail_count(NULL), 0);
	assert_null(err_dup(NULL));
}

static void first_wins(void **state)
{
	FAILS(err_first(err_new(ERR_UNKNOWN, "a"), err_new(ERR_UNKNOWN, "b")), ERR_UNKNOWN, "a");
	FAILS(err_first(NULL, err_new(ERR_UNKNOWN, "b")), ERR_UNKNOWN, "b");
	FAILS(err_first(err_new(ERR_UNKNOWN, "a"), NULL), ERR_UNKNOWN, "a");
	OK(err_first(NULL, NULL));
}

static struct err *try_it(bool fail, int *after)
{
	TRYW(fail ? err_new(ERR_ABORTED, "inner") : NULL, "outer %d", 1);
	*after = 1;
	return NULL;
}

static void try_macros(void **state)
{
	int after = 0;

	FAILS(try_it(true, &after), ERR_ABORTED, "outer 1: inner");
	assert_int_equal(after, 0);
	OK(try_it(false, &after));
	assert_int_equal(after, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_and_codes), cmocka_unit_test(errnos),
		cmocka_unit_test(details),         cmocka_unit_test(first_wins),
		cmocka_unit_test(try_macros),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
