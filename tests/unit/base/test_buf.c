#include "check.h"

static void adds(void **state)
{
	SCOPED_BUF(b, 100);

	assert_string_equal(buf_cstr(&b), "");
	buf_add_cstr(&b, "one");
	buf_add_char(&b, ' ');
	buf_addf(&b, "%d", 2);
	buf_add_str(&b, STR(" three"));
	BUF_IS(&b, "one 2 three");
	assert_string_equal(buf_cstr(&b), "one 2 three");
	buf_consume(&b, 4);
	BUF_IS(&b, "2 three");
	buf_consume(&b, 100);
	BUF_IS(&b, "");
	OK(buf_check(&b, "it"));
}

static void overflow_sticks(void **state)
{
	SCOPED_BUF(b, 4);

	buf_add_cstr(&b, "12345");
	BUF_IS(&b, "");
	buf_add_cstr(&b, "1234");
	BUF_IS(&b, "1234");
	buf_add_char(&b, 'x');
	BUF_IS(&b, "1234");
	FAILS(buf_check(&b, "thing"), ERR_RESOURCE_EXHAUSTED, "thing is larger than 4 bytes");
	buf_clear(&b);
	OK(buf_check(&b, "thing"));
	buf_addf(&b, "%s", "abcde");
	assert_true(b.overflow);
	BUF_IS(&b, "");
	assert_null(buf_reserve(&b, SIZE_MAX));
}

static void reserve_and_take(void **state)
{
	SCOPED_BUF(b, 1 << 20);
	char *p = buf_reserve(&b, 3), *taken;

	memcpy(p, "abc", 3);
	b.len += 3;
	taken = buf_take(&b);
	assert_string_equal(taken, "abc");
	free(taken);
	BUF_IS(&b, "");
	taken = buf_take(&b);
	assert_string_equal(taken, "");
	free(taken);
	for (int i = 0; i < 1000; i++)
		buf_addf(&b, "%03d", i);
	assert_int_equal(b.len, 3000);
	assert_memory_equal(b.data + 2997, "999", 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(adds),
		cmocka_unit_test(overflow_sticks),
		cmocka_unit_test(reserve_and_take),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
