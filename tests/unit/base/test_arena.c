#include "check.h"

#include "base/arena.h"

static void zeroed_and_aligned(void **state)
{
	SCOPED_ARENA(a);

	for (size_t size = 0; size < 5000; size += 7) {
		unsigned char *p = arena_alloc(&a, size);

		assert_int_equal((uintptr_t)p % 16, 0);
		for (size_t i = 0; i < size; i++)
			assert_int_equal(p[i], 0);
		memset(p, 0xff, size);
	}
}

/* Small pieces go on in the current chunk after a big one. */
static void big_pieces(void **state)
{
	SCOPED_ARENA(a);
	char *small = arena_alloc(&a, 16);
	char *big = arena_alloc(&a, 1 << 20);
	char *next = arena_alloc(&a, 16);

	memset(big, 1, 1 << 20);
	assert_ptr_equal(next, small + 16);
	assert_true(a.used >= (1 << 20) + 32);
}

static void copies(void **state)
{
	SCOPED_ARENA(a);

	assert_string_equal(arena_strdup(&a, "abc"), "abc");
	assert_string_equal(arena_dup0(&a, "abcdef", 3), "abc");
	assert_string_equal(arena_printf(&a, "%d-%s", 7, "x"), "7-x");
	assert_memory_equal(arena_dup(&a, "a\0b", 3), "a\0b", 3);
	assert_non_null(arena_dup(&a, NULL, 0));
	assert_string_equal(arena_dup0(&a, NULL, 0), "");
}

static void reused_after_fini(void **state)
{
	struct arena a = ARENA_INIT;

	(void)arena_alloc(&a, 100);
	arena_fini(&a);
	assert_int_equal(a.used, 0);
	(void)arena_alloc(&a, 100);
	arena_fini(&a);
	arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(zeroed_and_aligned),
		cmocka_unit_test(big_pieces),
		cmocka_unit_test(copies),
		cmocka_unit_test(reused_after_fini),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
