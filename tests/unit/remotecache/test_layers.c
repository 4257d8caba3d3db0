#include "remotecache/layers.h"

#include "base/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define SHA_A "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
#define SHA_B "sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"
#define SHA_C "sha256:2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6"

static uint32_t add(struct layer_table *t, const char *data, int64_t parent)
{
	struct oci_descriptor d = { .digest = digest_sha256(str_from(data)) };

	return layer_table_add(t, &d, parent);
}

/* b on a, c on b, c on a: one a, two different c. */
static void test_table(void **state)
{
	struct layer_table t = { 0 };
	SCOPED_ARENA(arena);
	SCOPED_BUF(out, MIB);
	struct json_out j;
	uint32_t a = add(&t, "a", -1), b = add(&t, "b", a), cb = add(&t, "c", b);
	uint32_t ca = add(&t, "c", a), *now;

	(void)state;
	assert_int_equal(add(&t, "a", -1), a);
	assert_int_equal(add(&t, "c", b), cb);
	layer_table_sort(&t, &arena, &now);
	assert_int_equal(now[cb], 0);
	assert_int_equal(now[ca], 1);
	assert_int_equal(now[b], 2);
	assert_int_equal(now[a], 3);
	json_out_init(&j, &out, NULL);
	layer_table_print(&t, false, &j);
	assert_string_equal(buf_cstr(&out), "[{\"blob\":\"" SHA_C "\",\"parent\":2},"
					    "{\"blob\":\"" SHA_C "\",\"parent\":3},"
					    "{\"blob\":\"" SHA_B "\",\"parent\":3},"
					    "{\"blob\":\"" SHA_A "\",\"parent\":-1}]");
	layer_table_fini(&t);
}

/* The parent that is number 0 is not printed. */
static void test_parent_zero(void **state)
{
	struct layer_table t = { 0 };
	SCOPED_ARENA(arena);
	SCOPED_BUF(out, MIB);
	struct json_out j;
	uint32_t *now;

	(void)state;
	add(&t, "b", add(&t, "c", -1));
	layer_table_sort(&t, &arena, &now);
	json_out_init(&j, &out, NULL);
	layer_table_print(&t, false, &j);
	assert_string_equal(buf_cstr(&out), "[{\"blob\":\"" SHA_C "\",\"parent\":-1},"
					    "{\"blob\":\"" SHA_B "\"}]");
	layer_table_fini(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_parent_zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
