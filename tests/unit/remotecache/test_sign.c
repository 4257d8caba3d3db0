#include "remotecache/sign.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static const struct sigv4 key = {
	.key_id = { "AKIAIOSFODNN7EXAMPLE", 20 },
	.secret = { "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", 40 },
	.region = { "us-east-1", 9 },
	.time = { "20130524T000000Z", 16 },
};

/* The examples of "Signature Calculations for the Authorization Header". */
static void test_get(void **state)
{
	const struct sign_header h[] = {
		{ "host", STR("examplebucket.s3.amazonaws.com") },
		{ "range", STR("bytes=0-9") },
		{ "x-amz-content-sha256", STR(EMPTY) },
		{ "x-amz-date", STR("20130524T000000Z") },
	};
	SCOPED_ARENA(a);
	struct str s =
		sigv4_authorization(&a, &key, "GET", STR("/test.txt"), STR_NONE, h, 4, STR(EMPTY));

	(void)state;
	assert_true(str_eq_cstr(
		s, "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/"
		   "aws4_request, SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
		   "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"));
}

static void test_query(void **state)
{
	const struct sign_header h[] = {
		{ "host", STR("examplebucket.s3.amazonaws.com") },
		{ "x-amz-content-sha256", STR(EMPTY) },
		{ "x-amz-date", STR("20130524T000000Z") },
	};
	SCOPED_ARENA(a);
	struct str s = sigv4_authorization(&a, &key, "GET", STR("/"), STR("max-keys=2&prefix=J"), h,
					   3, STR(EMPTY));

	(void)state;
	assert_true(str_has_suffix(
		s, STR("34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7")));
}

/* RFC 4231, cases 1, 2 and 6. */
static void test_hmac(void **state)
{
	SCOPED_ARENA(a);
	char k[131];
	struct digest d;

	(void)state;
	memset(k, 0x0b, 20);
	d = digest_hmac_sha256(str_make(k, 20), STR("Hi There"));
	assert_string_equal(digest_hex(&d, &a),
			    "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
	d = digest_hmac_sha256(STR("Jefe"), STR("what do ya want for nothing?"));
	assert_string_equal(digest_hex(&d, &a),
			    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	memset(k, 0xaa, sizeof(k));
	d = digest_hmac_sha256(str_make(k, sizeof(k)),
			       STR("Test Using Larger Than Block-Size Key - Hash Key First"));
	assert_string_equal(digest_hex(&d, &a),
			    "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void test_times(void **state)
{
	SCOPED_ARENA(a);

	(void)state;
	assert_true(str_eq_cstr(sigv4_time(&a, INT64_C(1369353600000000000)), "20130524T000000Z"));
	assert_true(str_eq_cstr(azure_time(&a, INT64_C(1369353600000000000)),
				"Fri, 24 May 2013 00:00:00 GMT"));
}

static void expect_url(const char *url, const char *scheme, const char *host, const char *path)
{
	SCOPED_ARENA(a);
	struct str s, h, p;
	SCOPED_ERR(e);

	e = sign_split_url(&a, str_from(url), &s, &h, &p);
	if (!scheme) {
		assert_true(err_is(e, ERR_INVALID_ARGUMENT));
		return;
	}
	assert_null(e);
	assert_true(str_eq_cstr(s, scheme));
	assert_true(str_eq_cstr(h, host));
	assert_true(str_eq_cstr(p, path));
}

static void test_urls(void **state)
{
	SCOPED_ARENA(a);

	(void)state;
	expect_url("https://x.blob.core.windows.net/", "https", "x.blob.core.windows.net", "");
	expect_url("http://127.0.0.1:10000/acct", "http", "127.0.0.1:10000", "/acct");
	expect_url("https://h:443/a/b//", "https", "h", "/a/b");
	expect_url("http://h:80", "http", "h", "");
	expect_url("ftp://h", NULL, NULL, NULL);
	expect_url("https://", NULL, NULL, NULL);
	expect_url("https://h/?q", NULL, NULL, NULL);
	expect_url("https://u@h/", NULL, NULL, NULL);
	assert_true(str_eq_cstr(sign_path(&a, STR("/b/sha256:0a~ /\xc3\xa9")),
				"/b/sha256%3A0a~%20/%C3%A9"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_get),  cmocka_unit_test(test_query),
		cmocka_unit_test(test_hmac), cmocka_unit_test(test_times),
		cmocka_unit_test(test_urls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
