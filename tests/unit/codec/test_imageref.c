/* The verdicts are those of distribution/reference. */
#include "../base/check.h"

#include "codec/imageref.h"

#define HEX64 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static void accepted(void **state)
{
	static const struct {
		const char *text, *full, *familiar;
	} all[] = {
		{ "alpine", "docker.io/library/alpine", "alpine" },
		{ "alpine:3.20", "docker.io/library/alpine:3.20", "alpine:3.20" },
		{ "user/img", "docker.io/user/img", "user/img" },
		{ "docker.io/alpine", "docker.io/library/alpine", "alpine" },
		{ "index.docker.io/a/b:c", "docker.io/a/b:c", "a/b:c" },
		{ "localhost/x", "localhost/x", "localhost/x" },
		{ "localhost:5000/x/y__z:T_1.-", "localhost:5000/x/y__z:T_1.-",
		  "localhost:5000/x/y__z:T_1.-" },
		{ "[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x" },
		{ "Foo/bar", "Foo/bar", "Foo/bar" },
		{ "a--b/c.d", "docker.io/a--b/c.d", "a--b/c.d" },
		{ "library/a/b", "docker.io/library/a/b", "library/a/b" },
		{ "x@sha256:" HEX64, "docker.io/library/x@sha256:" HEX64, "x@sha256:" HEX64 },
		{ "x:t@sha256:" HEX64, "docker.io/library/x:t@sha256:" HEX64, "x:t@sha256:" HEX64 },
		/* No domain to the grammar. */
		{ "a__b.c/d", "a__b.c/d", "a__b.c/d" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		SCOPED_ARENA(a);
		struct imageref r;

		OK(imageref_parse(&a, str_from(all[i].text), &r));
		assert_string_equal(imageref_format(&a, &r), all[i].full);
		assert_string_equal(imageref_familiar(&a, &r), all[i].familiar);
	}
}

static void refused(void **state)
{
	static const struct {
		const char *text, *error;
	} all[] = {
		{ "", "invalid reference format" },
		{ "a b", "invalid reference format" },
		{ "a:", "invalid reference format" },
		{ ":a", "invalid reference format" },
		{ "a/", "invalid reference format" },
		{ "a//b", "invalid reference format" },
		{ "a_-b", "invalid reference format" },
		{ "a___b", "invalid reference format" },
		{ "-a", "invalid reference format" },
		{ "host.x:y/a", "invalid reference format" },
		{ "a:b:c", "invalid reference format" },
		{ "a@b", "invalid reference format" },
		{ "a@sha256:abc", "invalid reference format" },
		{ "Alpine", "invalid reference format: repository name (library/Alpine) must be "
			    "lowercase" },
		{ "docker.io/X/y:T", "invalid reference format: repository name (X/y) must be "
				     "lowercase" },
		{ HEX64, "invalid repository name (" HEX64 "), cannot specify 64-byte hexadecimal "
			 "strings" },
		{ "a@md5:d41d8cd98f00b204e9800998ecf8427e", "unsupported digest algorithm" },
		{ "a@sha256:d41d8cd98f00b204e9800998ecf8427e", "invalid checksum digest length" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		SCOPED_ARENA(a);
		struct imageref r;

		FAILS(imageref_parse(&a, str_from(all[i].text), &r), ERR_INVALID_ARGUMENT,
		      all[i].error);
	}
}

static void lengths(void **state)
{
	SCOPED_ARENA(a);
	SCOPED_BUF(b, 20000);
	struct imageref r;

	buf_add_cstr(&b, "h.x/");
	for (int i = 0; i < 255; i++)
		buf_add_char(&b, 'a');
	OK(imageref_parse(&a, buf_str(&b), &r));
	buf_add_char(&b, 'a');
	FAILS(imageref_parse(&a, buf_str(&b), &r), ERR_INVALID_ARGUMENT,
	      "repository name must not be more than 255 characters");
	buf_clear(&b);
	buf_add_cstr(&b, "a:");
	for (int i = 0; i < 128; i++)
		buf_add_char(&b, 'a');
	OK(imageref_parse(&a, buf_str(&b), &r));
	buf_add_char(&b, 'a');
	FAILS_CODE(imageref_parse(&a, buf_str(&b), &r), ERR_INVALID_ARGUMENT);
	for (int i = 0; i < 10000; i++)
		buf_add_char(&b, 'a');
	FAILS_CODE(imageref_parse(&a, buf_str(&b), &r), ERR_INVALID_ARGUMENT);
}

static void default_tag(void **state)
{
	SCOPED_ARENA(a);
	struct imageref r;

	OK(imageref_parse(&a, STR("x"), &r));
	r = imageref_with_default_tag(r);
	assert_string_equal(imageref_format(&a, &r), "docker.io/library/x:latest");
	assert_string_equal(imageref_name(&a, &r), "docker.io/library/x");
	OK(imageref_parse(&a, STR("x@sha256:" HEX64), &r));
	r = imageref_with_default_tag(r);
	STR_IS(r.tag, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepted),
		cmocka_unit_test(refused),
		cmocka_unit_test(lengths),
		cmocka_unit_test(default_tag),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
