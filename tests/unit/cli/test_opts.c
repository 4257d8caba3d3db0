#include "cli/cmd.h"

#include "base/limits.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void check_csv(const char *line, size_t want_n, const char *first, const char *last)
{
	SCOPED_ARENA(a);
	struct str *f;
	size_t n;

	assert_null(cli_csv(&a, line, &f, &n));
	assert_int_equal(n, want_n);
	assert_true(str_eq_cstr(f[0], first));
	assert_true(str_eq_cstr(f[n - 1], last));
}

static void test_csv(void **state)
{
	SCOPED_ARENA(a);
	struct str *f;
	size_t n;
	struct err *e;

	(void)state;
	check_csv("type=local,dest=x", 2, "type=local", "dest=x");
	check_csv("\"a,b\",c", 2, "a,b", "c");
	check_csv("\"a\"\"b\"", 1, "a\"b", "a\"b");
	check_csv("a,", 2, "a", "");
	e = cli_csv(&a, "a\"b", &f, &n);
	assert_non_null(e);
	err_free(e);
	e = cli_csv(&a, "\"a", &f, &n);
	assert_non_null(e);
	err_free(e);
}

static void test_columns(void **state)
{
	SCOPED_BUF(rows, KIB);
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	buf_add_cstr(&rows, "ID\tPLATFORMS\n1234567890123456789012345\tlinux/amd64\n");
	cli_columns(&rows, out);
	fclose(out);
	assert_string_equal(text, "ID\t\t\t\tPLATFORMS\n1234567890123456789012345\tlinux/amd64\n");
	free(text);
}

static void test_sizes(void **state)
{
	SCOPED_ARENA(a);

	(void)state;
	assert_string_equal(cli_size(&a, 0), "0B");
	assert_string_equal(cli_size(&a, 999), "999B");
	assert_string_equal(cli_size(&a, 4096), "4.10kB");
	assert_string_equal(cli_size(&a, INT64_C(123456789012)), "123.46GB");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_csv),
		cmocka_unit_test(test_columns),
		cmocka_unit_test(test_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
