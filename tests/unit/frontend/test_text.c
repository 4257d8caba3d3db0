/* Texts, URLs, git references, paths, patterns of image configs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "frontend/dockerfile/gitref.h"
#include "frontend/dockerfile/image.h"
#include "frontend/dockerfile/paths.h"
#include "frontend/dockerfile/table.h"
#include "frontend/dockerfile/text.h"
#include "frontend/dockerfile/url.h"

static void test_suggest(void **state)
{
	SCOPED_ARENA(a);
	struct strs o = { 0 };

	(void)state;
	strs_add(&a, &o, STR("ENTRYPOINT"));
	strs_add(&a, &o, STR("build"));
	strs_add(&a, &o, STR("ab"));
	assert_true(str_eq(text_suggest(&a, STR("FNTRYPOINT"), &o, false), STR("ENTRYPOINT")));
	assert_true(str_eq(text_suggest(&a, STR("entripoint"), &o, false), STR("entrypoint")));
	assert_true(str_eq(text_suggest(&a, STR("bulid"), &o, true), STR("build")));
	assert_int_equal(text_suggest(&a, STR("build"), &o, true).len, 0); /* it is one */
	assert_int_equal(text_suggest(&a, STR("buixxx"), &o, true).len, 0);
	assert_true(str_eq(text_suggest(&a, STR("abc"), &o, true), STR("ab")));
	assert_true(str_eq(text_suggest(&a, STR(""), &o, true), STR("ab")));
}

static void test_csv(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{ "a,b=c,", "a|b=c|" },
		{ "\"a,b\",c", "a,b|c" },
		{ "\"a\"\"b\"", "a\"b" },
		{ "a\n", "a" },
		{ "a\"b", "!parse error on line 1, column 2: bare \" in non-quoted field" },
		{ "\"a", "!parse error on line 1, column 2: extraneous or missing \" in "
			 "quoted-field" },
		{ "\"a\"b", "!parse error on line 1, column 3: extraneous or missing \" in "
			    "quoted-field" },
		{ "", "!EOF" },
	};
	SCOPED_ARENA(a);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct strs got;
		struct err *e = text_csv(&a, str_from(rows[i].in), &got);

		if (rows[i].out[0] == '!') {
			assert_string_equal(err_text(e), rows[i].out + 1);
			err_free(e);
		} else {
			assert_null(e);
			assert_string_equal(text_c(&a, strs_join(&a, &got, STR("|"))), rows[i].out);
		}
	}
}

static void test_git(void **state)
{
	static const struct {
		const char *in, *remote, *ref, *dir, *path;
	} rows[] = {
		{ "https://h/a/b.git#main:sub/dir", "https://h/a/b.git", "main", "sub/dir",
		  "/a/b.git" },
		{ "https://u:p@h:80/b.git?tag=v1", "https://u:p@h:80/b.git", "refs/tags/v1", "",
		  "/b.git" },
		{ "git://h/x#:d/../e", "git://h/x", "", "e", "/x" },
		{ "ssh://git@h/x", "ssh://git@h/x", "", "", "/x" },
		{ "git@h.com:a/b#r", "git@h.com:a/b", "r", "", "a/b" },
		{ "github.com/a/b", "https://github.com/a/b", "", "", "/a/b" },
		{ "https://h/b.git?branch=x%2Fy&subdir=s", "https://h/b.git", "refs/heads/x/y", "s",
		  "/b.git" },
	};
	static const char *const none[] = { "",
					    "foo",
					    "./x.git",
					    "https://h/a",
					    "http://h/x.tar",
					    "ftp://h/x.git",
					    "a@b",
					    "https://h:x/a.git" };
	static const struct {
		const char *in, *error;
	} bad[] = {
		{ "https://h/a.git?foo=1", "unexpected query \"foo\"" },
		{ "https://h/a.git?ref=", "query \"ref\" has no value" },
		{ "https://h/a.git?ref=a&ref=b", "query \"ref\" has multiple values" },
		{ "https://h/a.git?ref=a#b", "ref conflicts: \"b\" vs \"a\"" },
		{ "https://h/a.git?tag=a&branch=b", "branch conflicts with tag" },
		{ "https://h/a.git?submodules=x", "invalid submodules value: \"x\"" },
	};
	SCOPED_ARENA(a);
	struct git_ref g;
	struct err *e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_true(git_ref_parse(&a, str_from(rows[i].in), &g, &e));
		assert_null(e);
		if (!str_eq_cstr(g.remote, rows[i].remote) || !str_eq_cstr(g.ref, rows[i].ref) ||
		    !str_eq_cstr(g.subdir, rows[i].dir) || !str_eq_cstr(g.path, rows[i].path))
			fail_msg("%s: %.*s %.*s %.*s %.*s", rows[i].in, STR_ARG(g.remote),
				 STR_ARG(g.ref), STR_ARG(g.subdir), STR_ARG(g.path));
	}
	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		if (git_ref_parse(&a, str_from(none[i]), &g, &e))
			fail_msg("%s", none[i]);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_true(git_ref_parse(&a, str_from(bad[i].in), &g, &e));
		assert_string_equal(err_text(e), bad[i].error);
		err_free(e);
	}
	assert_true(http_is_source(&a, STR("https://h/x.git/y")));
	assert_false(http_is_source(&a, STR("https://h/x.git")));
	assert_true(str_eq(http_file_name(&a, STR("http://h/a%20b?x/y#z")), STR("a b")));
	assert_true(str_eq(http_file_name(&a, STR("http://h/")), STR("__unnamed__")));
}

static void test_paths(void **state)
{
	static const struct platform linux_os = { .os = STR("linux") },
				     windows = { .os = STR("windows") };
	SCOPED_ARENA(a);

	(void)state;
#define ABS(dir, p, os, keep) text_c(&a, paths_absolute(&a, STR(dir), STR(p), &(os), keep))
	assert_string_equal(ABS("/w", "a/../b/", linux_os, true), "/w/b/");
	assert_string_equal(ABS("/w", "/a/../b", linux_os, false), "/a/../b");
	assert_string_equal(ABS("/w", "x/.", linux_os, true), "/w/x/.");
	assert_string_equal(ABS("/", ".", linux_os, true), "/");
	assert_string_equal(ABS("/w", "", linux_os, false), "/w");
	assert_string_equal(ABS("/w", "C:\\a\\b", windows, false), "/a/b");
	assert_string_equal(text_c(&a, paths_clean(&a, STR("/"), STR("a//b/./"), true)), "/a/b/");
	assert_string_equal(text_c(&a, paths_clean(&a, STR("/"), STR("/."), true)), "/.");
	assert_true(paths_is_abs(&a, STR("C:\\x"), &windows));
	assert_false(paths_is_abs(&a, STR("C:\\x"), &linux_os));
}

static void test_image(void **state)
{
	static const char in[] =
		"{\"created\":\"2020-01-02T03:04:05.120000+00:00\",\"author\":\"m\\u003ce\","
		"\"architecture\":\"arm64\",\"os\":\"linux\",\"variant\":\"v8\","
		"\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:1\"]},"
		"\"history\":[{\"created\":\"2020-01-02T03:04:05+02:00\",\"created_by\":\"x\","
		"\"empty_layer\":true}],\"config\":{\"User\":\"u\",\"ExposedPorts\":{\"80/"
		"tcp\":{}},"
		"\"Env\":[\"A=1\"],\"Entrypoint\":[\"e\"],\"Cmd\":[\"c\"],\"Volumes\":{\"/v\":{}},"
		"\"WorkingDir\":\"/w\",\"Labels\":{\"a\":\"b\"},\"StopSignal\":\"TERM\","
		"\"ArgsEscaped\":true,\"Healthcheck\":{\"Test\":[\"NONE\"],\"Interval\":1,"
		"\"Retries\":2},\"OnBuild\":[\"RUN x\"],\"Shell\":[\"s\"]}}";
	SCOPED_ARENA(a);
	SCOPED_BUF(out, 1 << 16);
	struct image img, copy;
	struct err *e;

	(void)state;
	assert_null(image_parse(&a, str_from(in), &img));
	copy = image_clone(&a, &img);
	image_set_env(&a, &copy, STR("A"), STR("2"));
	image_set_label(&a, &copy, STR("0"), STR("x"));
	image_print(&img, &out);
	{ /* everything but the first time comes back as it was */
		const char *want = strstr(in, ",\"author\""),
			   *got = strstr(out.data, ",\"author\"");

		assert_string_equal(got, want);
		assert_non_null(strstr(out.data, "\"created\":\"2020-01-02T03:04:05.12Z\""));
	}
	buf_clear(&out);
	img = image_empty(&a, &(struct platform) { .os = STR("linux"), .arch = STR("amd64") });
	image_print(&img, &out);
	assert_string_equal(out.data,
			    "{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"type\":"
			    "\"layers\",\"diff_ids\":null},\"config\":{\"Env\":[\"PATH=/usr/local/"
			    "sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"],\"WorkingDir\":"
			    "\"/\"}}");
	e = image_parse(&a, STR("[]"), &img);
	assert_non_null(e);
	err_free(e);
}

static void test_table(void **state)
{
	SCOPED_ARENA(a);
	SCOPED_BUF(out, 1 << 12);
	struct strs c = { 0 };

	(void)state;
	strs_add(&a, &c, STR("A"));
	strs_add(&a, &c, STR("B"));
	strs_add(&a, &c, STR("\xc3\xa4\xc3\xb6\xc3\xbc"));
	strs_add(&a, &c, STR(""));
	table_print(&out, &c, 2, 1);
	assert_string_equal(out.data, "A   B\n\xc3\xa4\xc3\xb6\xc3\xbc \n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_suggest), cmocka_unit_test(test_csv),
		cmocka_unit_test(test_git),     cmocka_unit_test(test_paths),
		cmocka_unit_test(test_image),   cmocka_unit_test(test_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
