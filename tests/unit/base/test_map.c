#include "check.h"

#include "base/map.h"

static void *num(size_t n)
{
	return (void *)(uintptr_t)n;
}

static void basics(void **state)
{
	struct map m = MAP_INIT;

	assert_null(map_get(&m, STR("a")));
	assert_null(map_put(&m, STR("a"), num(1)));
	assert_ptr_equal(map_put(&m, STR("a"), num(2)), num(1));
	assert_ptr_equal(map_get(&m, STR("a")), num(2));
	assert_true(map_has(&m, STR("a")));
	/* Any bytes, the empty key as well. */
	assert_null(map_put(&m, STR(""), num(3)));
	assert_null(map_put(&m, STR("a\0b"), num(4)));
	assert_int_equal(map_len(&m), 3);
	assert_ptr_equal(map_del(&m, STR("a")), num(2));
	assert_null(map_del(&m, STR("a")));
	assert_int_equal(map_len(&m), 2);
	map_fini(&m, NULL);
}

/* Against a plain array, with removals. */
static void many(void **state)
{
	enum { N = 2000 };
	struct map m = MAP_INIT;
	bool in[N] = { false };
	size_t live = 0;
	uint32_t x = 1;

	for (int step = 0; step < 40000; step++) {
		size_t k;
		char key[16];

		x = x * 1664525 + 1013904223;
		k = (x >> 8) % N;
		(void)snprintf(key, sizeof(key), "k%zu", k);
		if (x >> 31) {
			assert_ptr_equal(map_put(&m, str_from(key), num(k + 1)),
					 in[k] ? num(k + 1) : NULL);
			live += !in[k];
			in[k] = true;
		} else {
			assert_ptr_equal(map_del(&m, str_from(key)), in[k] ? num(k + 1) : NULL);
			live -= in[k];
			in[k] = false;
		}
		assert_int_equal(map_len(&m), live);
	}
	for (size_t k = 0; k < N; k++) {
		char key[16];

		(void)snprintf(key, sizeof(key), "k%zu", k);
		assert_int_equal(map_has(&m, str_from(key)), in[k]);
	}
	map_fini(&m, NULL);
}

/* Putting and removing at a steady size must not rebuild the table each time. */
static void steady_size(void **state)
{
	struct map m = MAP_INIT;
	size_t rebuilds = 0;
	void *was;
	char key[32];

	for (int i = 0; i < 15; i++) {
		(void)snprintf(key, sizeof(key), "base%d", i);
		(void)map_put(&m, str_from(key), num(1));
	}
	was = m.index;
	for (int i = 0; i < 10000; i++) {
		(void)snprintf(key, sizeof(key), "%d", i);
		(void)map_put(&m, str_from(key), num(1));
		rebuilds += m.index != was;
		was = m.index;
		(void)map_del(&m, str_from(key));
	}
	assert_true(rebuilds < 4000);
	map_fini(&m, NULL);
}

static void iteration(void **state)
{
	static const char *const keys[] = { "z", "b", "m", "a" };
	SCOPED_ARENA(a);
	struct map m = MAP_INIT;
	struct map_entry **sorted;
	size_t i = 0;

	assert_null(map_next(&m, NULL));
	for (; i < 4; i++)
		(void)map_put(&m, str_from(keys[i]), num(i + 1));
	i = 0;
	for (struct map_entry *e = map_next(&m, NULL); e; e = map_next(&m, e))
		assert_string_equal(e->key, keys[i++]);
	assert_int_equal(i, 4);
	sorted = map_sorted(&m, &a);
	assert_string_equal(sorted[0]->key, "a");
	assert_string_equal(sorted[3]->key, "z");
	for (struct map_entry *e = map_next(&m, NULL); e; e = map_next(&m, e))
		(void)map_del(&m, map_key(e));
	assert_int_equal(map_len(&m), 0);
	map_fini(&m, NULL);
}

static void frees_values(void **state)
{
	struct map m = MAP_INIT;

	(void)map_put(&m, STR("a"), mem_strdup("value"));
	(void)map_put(&m, STR("b"), mem_strdup("value"));
	free(map_del(&m, STR("b")));
	map_fini(&m, free);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(basics),       cmocka_unit_test(many),
		cmocka_unit_test(steady_size),  cmocka_unit_test(iteration),
		cmocka_unit_test(frees_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
