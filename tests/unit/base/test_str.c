#include "check.h"

#include "base/arena.h"

static void comparing(void **state)
{
	assert_true(str_eq(STR("a"), str_from("a")));
	assert_true(str_eq(STR_NONE, STR("")));
	assert_false(str_eq(STR("a"), STR("ab")));
	assert_true(str_eq_cstr(STR("x"), "x"));
	assert_true(str_eq_nocase(STR("AbC"), STR("aBc")));
	assert_true(str_cmp(STR("a"), STR("ab")) < 0);
	assert_true(str_cmp(STR("b"), STR("ab")) > 0);
	assert_true(str_cmp(STR("\xff"), STR("a")) > 0);
	assert_int_equal(str_cmp(STR_NONE, STR("")), 0);
	assert_true(str_hash(STR("a")) != str_hash(STR("b")));
}

static void cutting(void **state)
{
	struct str a, b;

	STR_IS(str_trim(STR(" \t x y \r\n")), "x y");
	STR_IS(str_trim(STR("  ")), "");
	STR_IS(str_trim_prefix(STR("abc"), STR("ab")), "c");
	STR_IS(str_trim_prefix(STR("abc"), STR("b")), "abc");
	STR_IS(str_trim_suffix(STR("abc"), STR("bc")), "a");
	STR_IS(str_sub(STR("abc"), 1, 99), "bc");
	STR_IS(str_sub(STR("abc"), 5, 2), "");
	assert_true(str_cut(STR("k=v=w"), '=', &a, &b));
	STR_IS(a, "k");
	STR_IS(b, "v=w");
	assert_false(str_cut(STR("kv"), '=', &a, &b));
	STR_IS(a, "kv");
	STR_IS(b, "");
	assert_int_equal(str_find(STR("abca"), 'a'), 0);
	assert_int_equal(str_rfind(STR("abca"), 'a'), 3);
	assert_int_equal(str_find(STR_NONE, 'a'), -1);
	assert_int_equal(str_find_str(STR("abcd"), STR("cd")), 2);
	assert_int_equal(str_find_str(STR("abcd"), STR("")), 0);
	assert_int_equal(str_find_str(STR(""), STR("x")), -1);
}

static void fields(void **state)
{
	struct str rest = STR("a,,b"), f;

	assert_true(str_next(&rest, ',', &f));
	STR_IS(f, "a");
	assert_true(str_next(&rest, ',', &f));
	STR_IS(f, "");
	assert_true(str_next(&rest, ',', &f));
	STR_IS(f, "b");
	assert_false(str_next(&rest, ',', &f));
	assert_false(str_next(&rest, ',', &f));
	rest = STR("");
	assert_true(str_next(&rest, ',', &f));
	STR_IS(f, "");
	assert_false(str_next(&rest, ',', &f));
}

static void numbers(void **state)
{
	uint64_t u;
	int64_t i;
	bool b;

	assert_true(str_to_u64(STR("18446744073709551615"), &u));
	assert_true(u == UINT64_MAX);
	assert_false(str_to_u64(STR("18446744073709551616"), &u));
	assert_false(str_to_u64(STR(""), &u));
	assert_false(str_to_u64(STR("+1"), &u));
	assert_false(str_to_u64(STR("1 "), &u));
	assert_true(str_to_i64(STR("-9223372036854775808"), &i));
	assert_true(i == INT64_MIN);
	assert_true(str_to_i64(STR("9223372036854775807"), &i));
	assert_false(str_to_i64(STR("9223372036854775808"), &i));
	assert_false(str_to_i64(STR("-"), &i));
	assert_false(str_to_i64(STR("--1"), &i));
	assert_true(str_to_bool(STR("True"), &b) && b);
	assert_true(str_to_bool(STR("0"), &b) && !b);
	assert_false(str_to_bool(STR("yes"), &b));
}

static void utf8(void **state)
{
	static const struct str bad[] = { STR("\x80"),
					  STR("\xc0\x80"),
					  STR("\xc3"),
					  STR("\xed\xa0\x80"),
					  STR("\xe0\x80\x80"),
					  STR("\xf5\x80\x80\x80"),
					  STR("\xf4\x90\x80\x80"),
					  STR("a\xff") };
	uint32_t r;
	char out[4];

	assert_true(str_is_utf8(STR("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80")));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(str_is_utf8(bad[i]));
	/* The replacement character itself is fine. */
	assert_true(str_is_utf8(STR("\xef\xbf\xbd")));
	assert_int_equal(str_rune(STR("\xe2\x82\xacx"), &r), 3);
	assert_int_equal(r, 0x20ac);
	assert_int_equal(str_rune(STR("\xe2\x82"), &r), 1);
	assert_int_equal(r, 0xfffd);
	assert_int_equal(str_rune(STR(""), &r), 0);
	for (uint32_t c = 1; c < 0x110000; c += 97) {
		size_t n = str_put_rune(c, out);

		if (c >= 0xd800 && c <= 0xdfff)
			continue;
		assert_int_equal(str_rune(str_make(out, n), &r), n);
		assert_int_equal(r, c);
	}
	assert_int_equal(str_put_rune(0xd800, out), 3);
	assert_memory_equal(out, "\xef\xbf\xbd", 3);
}

static void copying(void **state)
{
	SCOPED_ARENA(a);
	CLEANUP_FREE char *heap = str_heap(STR("heap"));
	struct str d = str_dup(&a, STR("a\0b"));

	assert_string_equal(heap, "heap");
	assert_int_equal(d.len, 3);
	assert_memory_equal(d.ptr, "a\0b", 4);
	assert_string_equal(str_cstr(&a, STR_NONE), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comparing), cmocka_unit_test(cutting), cmocka_unit_test(fields),
		cmocka_unit_test(numbers),   cmocka_unit_test(utf8),    cmocka_unit_test(copying),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
