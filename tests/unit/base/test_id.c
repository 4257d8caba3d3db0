#include "check.h"

#include "base/id.h"
#include "base/map.h"

static void ids(void **state)
{
	SCOPED_ARENA(a);
	struct map seen = MAP_INIT;

	for (int i = 0; i < 1000; i++) {
		char *id = id_new(&a);

		assert_int_equal(strlen(id), ID_LEN);
		assert_int_equal(strspn(id, "0123456789abcdefghijklmnopqrstuvwxyz"), ID_LEN);
		assert_null(map_put(&seen, str_from(id), id));
	}
	map_fini(&seen, NULL);
}

static void random_bytes(void **state)
{
	unsigned char a[1000] = { 0 }, b[1000] = { 0 };

	id_random(a, sizeof(a));
	id_random(b, sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids),
		cmocka_unit_test(random_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
