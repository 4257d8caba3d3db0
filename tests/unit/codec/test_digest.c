#include "../base/check.h"

#include "codec/digest.h"

#define EMPTY256 "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static void text(void **state)
{
	SCOPED_ARENA(a);
	struct digest d = digest_sha256(STR("")), e;
	char out[DIGEST_TEXT_MAX];

	assert_string_equal(digest_format(&d, out), EMPTY256);
	assert_string_equal(digest_text(&d, &a), EMPTY256);
	assert_string_equal(digest_hex(&d, &a), EMPTY256 + 7);
	OK(digest_parse(STR(EMPTY256), &e));
	assert_true(digest_eq(&d, &e));
	assert_int_equal(digest_cmp(&d, &e), 0);
	e = (struct digest) { 0 };
	assert_false(digest_is_set(&e));
	assert_string_equal(digest_format(&e, out), "");
	assert_true(digest_cmp(&e, &d) < 0);
}

static void refused(void **state)
{
	static const struct {
		const char *text, *error;
	} all[] = {
		{ "", "invalid checksum digest format" },
		{ ":", "invalid checksum digest format" },
		{ "sha256", "invalid checksum digest format" },
		{ "sha256:", "invalid checksum digest format" },
		{ ":abc", "invalid checksum digest format" },
		{ "sha256:abc", "invalid checksum digest length" },
		{ "sha256:E3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		  "invalid checksum digest format" },
		{ "sha512:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		  "invalid checksum digest length" },
		{ "md5:d41d8cd98f00b204e9800998ecf8427e", "unsupported digest algorithm" },
		{ "a+b.c:x=_-", "unsupported digest algorithm" },
		{ "a+:x", "invalid checksum digest format" },
		{ "SHA256:x", "invalid checksum digest format" },
		{ "a:b:c", "invalid checksum digest format" },
		/* Never from outside. */
		{ "random:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		  "unsupported digest algorithm" },
	};
	struct digest d = { .algo = 7 };

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		FAILS(digest_parse(str_from(all[i].text), &d), ERR_INVALID_ARGUMENT, all[i].error);
	assert_int_equal(d.algo, 7);
}

static void hashing(void **state)
{
	static const char *const want[] = {
		[DIGEST_SHA256] =
			"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f2"
			"0015ad",
		[DIGEST_SHA384] =
			"sha384:"
			"cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086"
			"072ba1e7cc2358baeca134c825a7",
		[DIGEST_SHA512] =
			"sha512:"
			"ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192"
			"992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
	};
	char out[DIGEST_TEXT_MAX];

	for (int algo = DIGEST_SHA256; algo <= DIGEST_SHA512; algo++) {
		CLEANUP(hasher_freep) struct hasher *h = hasher_new((enum digest_algo)algo);
		struct digest d, e;

		for (int again = 0; again < 2; again++) {
			hasher_add(h, "a", 1);
			hasher_add_str(h, STR("bc"));
			hasher_add(h, NULL, 0);
			d = hasher_sum(h);
			assert_string_equal(digest_format(&d, out), want[algo]);
		}
		hasher_add(h, "zzz", 3);
		hasher_reset(h);
		hasher_add(h, "abc", 3);
		d = hasher_sum(h);
		OK(digest_parse(str_from(want[algo]), &e));
		assert_true(digest_eq(&d, &e));
		assert_int_equal(digest_size((enum digest_algo)algo) * 2 + 7, strlen(out));
	}
	hasher_free(NULL);
}

static void random_ones(void **state)
{
	struct digest a = digest_random(), b = digest_random();
	char out[DIGEST_TEXT_MAX];

	assert_false(digest_eq(&a, &b));
	assert_true(digest_is_set(&a));
	assert_memory_equal(digest_format(&a, out), "random:", 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text),
		cmocka_unit_test(refused),
		cmocka_unit_test(hashing),
		cmocka_unit_test(random_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
