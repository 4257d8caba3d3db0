#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "frontend/bridge.h"

static int freed;

static void ref_free(struct bridge_ref *r)
{
	freed++;
	free(r);
}

static struct bridge_ref *new_ref(void)
{
	static const struct bridge_ref_ops ops = { .free = ref_free };
	struct bridge_ref *r = NEW(struct bridge_ref);

	bridge_ref_init(r, &ops);
	return r;
}

static void test_single(void **state)
{
	SCOPED_FRONTEND_RESULT(res);
	struct bridge_ref *got;

	(void)state;
	freed = 0;
	assert_null(frontend_result_single(&res, &got));
	assert_null(got);
	frontend_result_set_ref(&res, new_ref());
	frontend_result_set_ref(&res, new_ref());
	assert_int_equal(freed, 1);
	assert_null(frontend_result_single(&res, &got));
	got = bridge_ref_get(got);
	frontend_result_fini(&res);
	assert_int_equal(freed, 1);
	bridge_ref_put(got);
	assert_int_equal(freed, 2);
	bridge_ref_put(NULL);
}

static void test_map(void **state)
{
	SCOPED_FRONTEND_RESULT(res);
	struct bridge_ref *got;
	struct err *e;
	struct str v;

	(void)state;
	freed = 0;
	frontend_result_add_ref(&res, STR("b"), new_ref());
	assert_null(frontend_result_single(&res, &got));
	for (int i = 0; i < 9; i++) {
		char key[] = { (char)('a' + i), 0 };

		frontend_result_add_ref(&res, str_from(key), i ? new_ref() : NULL);
		frontend_result_set_meta(&res, str_from(key), str_from(key));
	}
	assert_int_equal(res.n_refs, 9);
	e = frontend_result_single(&res, &got);
	assert_non_null(e);
	err_free(e);
	frontend_result_set_meta(&res, STR("c"), STR("other"));
	assert_true(frontend_result_meta(&res, STR("c"), &v) && str_eq(v, STR("other")));
	assert_false(frontend_result_meta(&res, STR("x"), &v));
	for (size_t i = 1; i < res.n_metadata; i++)
		assert_true(str_cmp(res.metadata[i - 1].key, res.metadata[i].key) < 0);
	frontend_result_fini(&res);
	assert_int_equal(freed, 9);
}

static void test_attestation(void **state)
{
	SCOPED_FRONTEND_RESULT(res);
	struct str digests[] = { STR("sha256:x") };
	struct frontend_kv md[] = { { STR("k"), STR("v") } };
	struct frontend_subject subject = { 1, STR("s"), digests, 1 };
	struct frontend_attestation at = {
		.kind = 1,
		.metadata = md,
		.n_metadata = 1,
		.path = STR("p"),
		.predicate_type = STR("t"),
		.subjects = &subject,
		.n_subjects = 1,
	};

	(void)state;
	freed = 0;
	at.ref = new_ref();
	frontend_result_add_attestation(&res, STR("b"), &at);
	at.ref = NULL;
	frontend_result_add_attestation(&res, STR("a"), &at);
	frontend_result_add_attestation(&res, STR("b"), &at);
	assert_int_equal(res.n_attestations, 2);
	assert_int_equal(res.attestations[1].n, 2);
	assert_true(str_eq(res.attestations[1].list[0].subjects[0].digests[0], STR("sha256:x")));
	frontend_result_fini(&res);
	assert_int_equal(freed, 1);
}

static void test_opts(void **state)
{
	const struct frontend_kv opts[] = { { STR("a"), STR("1") },
					    { STR("b"), STR("") },
					    { STR("c"), STR("3") } };
	const struct bridge_info info = { .opts = opts, .n_opts = 3 };
	const struct bridge b = { NULL, &info };

	(void)state;
	assert_true(str_eq(bridge_opt(&b, STR("c")), STR("3")));
	assert_non_null(bridge_opt(&b, STR("b")).ptr);
	assert_null(bridge_opt(&b, STR("bb")).ptr);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_single),
		cmocka_unit_test(test_map),
		cmocka_unit_test(test_attestation),
		cmocka_unit_test(test_opts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
