#include "world.h"

#include "base/clock.h"
#include "grpc/internal.h"

static void test_timeout(void **state)
{
	SCOPED_ARENA(a);
	static const struct {
		int64_t ns;
		const char *text;
		int64_t back;
	} cases[] = {
		{ 0, "0n", 0 },
		{ -5, "0n", 0 },
		{ 99999999, "99999999n", 99999999 },
		{ 100000000, "100000u", 100000000 },
		{ 100000000001, "100000001u", 0 },
		{ 3600 * NSEC_PER_SEC * 24 * 365, "31536000S", 3600 * NSEC_PER_SEC * 24 * 365 },
	};
	int64_t got;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct str t = timeout_encode(&a, cases[i].ns);

		assert_true(t.len <= 9);
		assert_true(timeout_decode(t, &got));
		assert_true(got >= cases[i].ns);
		if (cases[i].back || !cases[i].ns)
			assert_true(str_eq_cstr(t, cases[i].text));
	}
	assert_true(timeout_decode(STR("99999999H"), &got));
	assert_true(got > 0);
	assert_false(timeout_decode(STR(""), &got));
	assert_false(timeout_decode(STR("5"), &got));
	assert_false(timeout_decode(STR("S"), &got));
	assert_false(timeout_decode(STR("123456789S"), &got));
	assert_false(timeout_decode(STR("-1S"), &got));
	assert_false(timeout_decode(STR("1s"), &got));
}

static void round_trip(struct err *e)
{
	struct h2_header h[STATUS_HEADERS];
	SCOPED_ARENA(a);
	SCOPED_ERR(back);
	size_t n = status_encode(&a, e, h);

	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < h[i].value.len; k++)
			assert_in_range(h[i].value.ptr[k], ' ', '~');
	assert_true(status_decode(h, n, &back));
	assert_int_equal(err_code(back), err_code(e));
	assert_string_equal(err_text(back), err_text(e));
	assert_int_equal(err_detail_count(back), err_detail_count(e));
	err_free(e);
}

static void test_status(void **state)
{
	struct err *e;

	round_trip(NULL);
	round_trip(err_new(ERR_NOT_FOUND, "plain"));
	round_trip(err_new(ERR_UNKNOWN, "100%% %%41 \r\n\t \xc3\xa4"));
	round_trip(err_new(ERR_UNKNOWN, "%s", ""));
	e = err_new(ERR_INTERNAL, "details");
	for (int i = 0; i < 5; i++)
		err_add_detail(e, "type.googleapis.com/a.B", str_make("abcdefgh", (size_t)i));
	round_trip(e);
}

static void test_status_junk(void **state)
{
	struct err *e = NULL;
	struct h2_header h[3] = { { STR("grpc-message"), STR("x") } };

	assert_false(status_decode(h, 1, &e));
	h[1] = (struct h2_header) { STR("grpc-status"), STR("5x") };
	assert_true(status_decode(h, 2, &e));
	assert_int_equal(err_code(e), ERR_INTERNAL);
	err_free(e);
	h[1].value = STR("99");
	h[0].value = STR("%4g%41%");
	assert_true(status_decode(h, 2, &e));
	assert_int_equal(err_code(e), ERR_UNKNOWN);
	assert_string_equal(err_text(e), "%4gA%");
	err_free(e);
	/* Details that are no Status, or another's: the plain headers count. */
	h[1].value = STR("7");
	h[2] = (struct h2_header) { STR("grpc-status-details-bin"), STR("!!!") };
	assert_true(status_decode(h, 3, &e));
	assert_int_equal(err_code(e), ERR_PERMISSION_DENIED);
	err_free(e);
	h[2].value = STR("CAU"); /* code 5, unpadded */
	assert_true(status_decode(h, 3, &e));
	assert_int_equal(err_code(e), ERR_PERMISSION_DENIED);
	err_free(e);
	h[1].value = STR("5");
	assert_true(status_decode(h, 3, &e));
	assert_int_equal(err_code(e), ERR_NOT_FOUND);
	assert_string_equal(err_text(e), "");
	err_free(e);
}

static void test_metadata(void **state)
{
	SCOPED_ARENA(a);
	const struct h2_header h[] = {
		{ STR(":path"), STR("/x") },        { STR("te"), STR("trailers") },
		{ STR("x-bin"), STR("AAEC") },      { STR("y-bin"), STR("AA") },
		{ STR("z-bin"), STR("*") },         { STR("user-agent"), STR("me") },
		{ STR("grpc-timeout"), STR("1S") },
	};
	struct grpc_md *md;
	size_t n;

	md = md_decode(&a, h, ARRAY_SIZE(h), &n);
	assert_int_equal(n, 3);
	assert_true(str_eq(md[0].value, STR("\0\1\2")));
	assert_true(str_eq(md[1].value, STR("\0")));
	assert_true(str_eq(md[2].key, STR("user-agent")));
	for (size_t len = 0; len < 9; len++) {
		struct grpc_md in = { STR("k-bin"), str_make("\0\1\2\3\4\5\6\7\377", len) };
		struct h2_header enc = md_encode(&a, &in);

		md = md_decode(&a, &enc, 1, &n);
		assert_true(n == 1 && str_eq(md->value, in.value));
	}
}

static void test_http_status(void **state)
{
	assert_true(is_grpc_content(STR("application/grpc")));
	assert_true(is_grpc_content(STR("application/grpc+proto")));
	assert_true(is_grpc_content(STR("application/grpc;x")));
	assert_false(is_grpc_content(STR("application/grpcx")));
	assert_false(is_grpc_content(STR("")));
	fails(status_from_http(STR("404"), STR("")), ERR_UNIMPLEMENTED,
	      "unexpected HTTP status code received from server: 404");
	fails(status_from_http(STR("503"), STR("")), ERR_UNAVAILABLE,
	      "unexpected HTTP status code received from server: 503");
	fails(status_from_reset(H2_CANCEL), ERR_CANCELED,
	      "stream terminated by RST_STREAM with error code: CANCEL");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_timeout),     cmocka_unit_test(test_status),
		cmocka_unit_test(test_status_junk), cmocka_unit_test(test_metadata),
		cmocka_unit_test(test_http_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
