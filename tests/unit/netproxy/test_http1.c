#include "../base/check.h"

#include "netproxy/capture.h"
#include "netproxy/http1.h"

static void good(void **state)
{
	static const char text[] = "POST http://h:81/p?q HTTP/1.1\r\nHost: other\r\nX:  y z \r\n"
				   "Content-Length: 12\r\nConnection: close\r\n\r\nbody";
	SCOPED_ARENA(a);
	struct http1_request r;
	struct str url;
	size_t n = http1_head_len(str_from(text));

	assert_int_equal(n, strlen(text) - 4);
	assert_int_equal(http1_head_len(str_make(text, n - 1)), 0);
	OK(http1_parse(str_make(text, n), &a, &r));
	STR_IS(r.method, "POST");
	assert_int_equal(r.minor, 1);
	assert_int_equal(r.length, 12);
	assert_true(r.close);
	STR_IS(http1_header(&r, "x"), "y z");
	OK(http1_url(&r, STR("http"), STR_NONE, &a, &url));
	STR_IS(url, "http://h:81/p?q");
	OK(http1_parse(STR("GET /p HTTP/1.0\r\nHost: h\r\n\r\n"), &a, &r));
	assert_true(r.close);
	OK(http1_url(&r, STR("http"), STR_NONE, &a, &url));
	STR_IS(url, "http://h/p");
	OK(http1_url(&r, STR("https"), STR("in.tunnel:443"), &a, &url));
	STR_IS(url, "https://in.tunnel:443/p");
	OK(http1_parse(STR("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"), &a, &r));
	assert_true(r.chunked);
	assert_int_equal(r.length, -1);
}

/* What two programs may read in two ways: CVE-2019-16276, CVE-2023-25725 and their likes. */
static void refused(void **state)
{
	static const char *const bad[] = {
		"\r\n\r\n",
		"GET /\r\n\r\n",
		"GET  / HTTP/1.1\r\n\r\n",
		"G(T / HTTP/1.1\r\n\r\n",
		"GET / HTTP/2.0\r\n\r\n",
		"GET / HTTP/1.1 \r\n\r\n",
		"GET /\x01 HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\nA : b\r\n\r\n",
		"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
		"GET / HTTP/1.1\r\n: b\r\n\r\n",
		"GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n",
		"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
		"GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
		"GET / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\n",
		"GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
		"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
		"GET / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
		"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
		"chunked\r\n\r\n",
		"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
	};
	static const char *const bad_targets[] = {
		"GET x HTTP/1.1\r\nHost: h\r\n\r\n",     "GET / HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: h/x\r\n\r\n",   "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",   "GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
	};
	SCOPED_ARENA(a);
	struct http1_request r;
	struct str url;
	uint64_t n;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		FAILS_CODE(http1_parse(str_from(bad[i]), &a, &r), ERR_INVALID_ARGUMENT);
	for (size_t i = 0; i < ARRAY_SIZE(bad_targets); i++) {
		OK(http1_parse(str_from(bad_targets[i]), &a, &r));
		FAILS_CODE(http1_url(&r, STR("http"), STR_NONE, &a, &url), ERR_INVALID_ARGUMENT);
	}
	OK(http1_chunk_size(STR("1aF;x=y"), &n));
	assert_int_equal(n, 0x1af);
	FAILS_CODE(http1_chunk_size(STR(""), &n), ERR_INVALID_ARGUMENT);
	FAILS_CODE(http1_chunk_size(STR("-1"), &n), ERR_INVALID_ARGUMENT);
	FAILS_CODE(http1_chunk_size(STR("0x1"), &n), ERR_INVALID_ARGUMENT);
	FAILS_CODE(http1_chunk_size(STR("1111111111111111"), &n), ERR_INVALID_ARGUMENT);
}

static void urls(void **state)
{
	SCOPED_ARENA(a);

	STR_IS(http1_shown_url(STR("http://u:p@h:80/x"), &a), "http://xxxxx:xxxxx@h/x");
	STR_IS(http1_shown_url(STR("https://u@h:443"), &a), "https://xxxxx@h");
	STR_IS(http1_shown_url(STR("https://h:80/?a=b@c"), &a), "https://h:80/?a=b@c");
	STR_IS(http1_shown_url(STR("https://[::1]:443/"), &a), "https://[::1]/");
	STR_IS(http1_redacted_url(STR("https://u:p@h:443/"), &a), "https://xxxxx:xxxxx@h:443/");
	STR_IS(http1_host(STR("[::1]:443")), "::1");
	STR_IS(http1_host(STR("h:443")), "h");
	STR_IS(http1_host(STR("h")), "h");
}

static void captured(void **state)
{
	SCOPED_ARENA(a);
	struct capture *c = capture_new();
	struct capture_material m = { STR("http://c"), digest_sha256(STR("x")) };
	const struct capture_material *all;
	const struct capture_incomplete *missing;
	size_t n;

	capture_add_request(
		c, &(struct capture_request) { STR("GET"), STR("http://a"), STR("http://b"), 302 });
	capture_add_request(
		c, &(struct capture_request) { STR("GET"), STR("http://b"), STR("http://c"), 302 });
	capture_add_request(
		c, &(struct capture_request) { STR("GET"), STR("http://c"), STR_NONE, 200 });
	capture_add_request(
		c, &(struct capture_request) { STR("GET"), STR("http://l"), STR("http://l"), 302 });
	capture_add_material(c, &m);
	all = capture_materials(c, &a, &n);
	assert_int_equal(n, 3);
	for (size_t i = 0; i < n; i++)
		assert_true(digest_eq(&all[i].digest, &m.digest));
	/* A step can't make us keep any number of them. */
	for (int i = 0; i < 5000; i++)
		capture_add_material(c, &m);
	missing = capture_incompletes(c, &n);
	assert_int_equal(n, 1);
	assert_string_equal(missing[0].reason, "too_many_requests");
	capture_unref(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(good), cmocka_unit_test(refused),
					    cmocka_unit_test(urls), cmocka_unit_test(captured) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
