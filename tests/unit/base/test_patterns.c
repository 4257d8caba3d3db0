/* The verdicts are those of moby/patternmatcher. */
#include "check.h"

#include "base/glob.h"
#include "base/vec.h"

/* A list is one string, a pattern a line. */
static struct err *make(struct arena *a, const char *list, struct patterns **ret)
{
	VEC(struct str) items = VEC_INIT;
	struct str rest = str_from(list), line;
	struct err *e;

	while (str_next(&rest, '\n', &line))
		vec_push(&items, line);
	e = patterns_new(a, items.items, items.len, ret);
	vec_fini(&items);
	return e;
}

static void verdicts(void **state)
{
	static const struct {
		const char *list, *path;
		bool want;
	} all[] = {
		{ "**", "file", true },
		{ "**", "dir/file", true },
		{ "**/", "dir/file", true },
		{ "**/**", "dir/file", true },
		{ "dir/**", "dir/file", true },
		{ "dir/**", "dir/dir2/file", true },
		{ "dir/**", "dir", false },
		{ "**/dir2/*", "dir/dir2/file", true },
		{ "**/dir2/**", "dir/dir2/dir2/file", true },
		{ "**file", "dir/file", true },
		{ "**/file", "file", true },
		{ "**/file", "dir/dir/file", true },
		{ "**/file*", "dir/dir/file.txt", true },
		{ "**/*.txt", "a/b.txt", true },
		{ "**/**/*.txt", "a/b.txt", true },
		{ "a**/*.txt", "a/file.txt", true },
		{ "a/*.txt", "a/b/c.txt", false },
		{ "a.d", "abd", false },
		{ "a.d/", "a.d/x", true },
		{ "abc.def", "abcdef", false },
		{ "abc?def", "abcZdef", true },
		{ "a\\\\", "a\\", true },
		{ "a\\b", "a\\b", false },
		{ "**/foo/bar", "foo/bar", true },
		{ "**/foo/bar", "dir/foo/bar/baz", true },
		{ ".*", ".foo", true },
		{ ".*", "foo", false },
		{ "abc[a-c]z", "abcbz", true },
		{ "*\n!foo", "foo", false },
		{ "*\n!foo", "bar", true },
		{ "*\n!foo/bar", "foo/bar", false },
		{ "*\n!foo/bar", "foo/baz", true },
		{ "a\n!a/b\na/b/c", "a/b/c", true },
		{ "a\n!a/b\na/b/c", "a/b/d", false },
		{ "!foo", "foo", false },
		{ " foo \n\n", "foo", true },
		{ "\xc2\xa0"
		  "foo",
		  "foo", true },
		{ "./foo", "foo", true },
		{ "foo/../bar", "bar", true },
		/* What the translation leaves to the regular expression. */
		{ "*a{2}", "xaa", true },
		{ "*a{2}", "xa", false },
		{ "*.{js,ts}", "x.js", false },
		{ "*.{js,ts}", "x.{js,ts}", true },
		{ "[[:digit:]]x", "7x", true },
		{ "\\d*", "7up", true },
		{ "*|zzz", "anything/at/all", true },
		{ "a^*", "a^b", false },
		{ "[a?]b", "?]b", false },
		{ "*\\x41", "bA", true },
		{ "**a", "x\ny/a", true },
		{ "**/a?", "x\ny/ab", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		SCOPED_ARENA(a);
		struct patterns *p;
		bool got;

		OK(make(&a, all[i].list, &p));
		OK(patterns_match(p, str_from(all[i].path), &got));
		if (got != all[i].want)
			fail_msg("%s on %s", all[i].list, all[i].path);
	}
}

static void bad_lists(void **state)
{
	SCOPED_ARENA(a);
	SCOPED_BUF(longest, 100000);
	struct patterns *p;
	bool got;

	FAILS(make(&a, "!", &p), ERR_INVALID_ARGUMENT, "illegal exclusion pattern: \"!\"");
	FAILS(make(&a, "[", &p), ERR_INVALID_ARGUMENT, "syntax error in pattern");
	FAILS(make(&a, "a\\", &p), ERR_INVALID_ARGUMENT, "syntax error in pattern");
	/* Good for filepath.Match, which is asked first, and bad as an expression. */
	OK(make(&a, "[z-a]", &p));
	FAILS(patterns_match(p, STR("x"), &got), ERR_INVALID_ARGUMENT, "syntax error in pattern");
	OK(make(&a, "\\q", &p));
	FAILS(patterns_match(p, STR("q"), &got), ERR_INVALID_ARGUMENT, "syntax error in pattern");
	OK(make(&a, "*{2}", &p));
	FAILS(patterns_match(p, STR("q"), &got), ERR_INVALID_ARGUMENT, "syntax error in pattern");
	for (int i = 0; i < 20000; i++)
		buf_add_char(&longest, '*');
	FAILS_CODE(make(&a, buf_cstr(&longest), &p), ERR_INVALID_ARGUMENT);
	assert_true(make(&a, "a", &p) == NULL && !patterns_has_exclusions(p));
	assert_true(make(&a, "a\n!b", &p) == NULL && patterns_has_exclusions(p));
}

static bool walk(struct patterns *p, struct arena *a, const char *path)
{
	struct match_state *st = NULL;
	struct str s = str_from(path);
	bool got = false;

	for (size_t i = 0; i <= s.len; i++)
		if (i == s.len || s.ptr[i] == '/')
			OK(patterns_match_walk(p, a, str_sub(s, 0, i), st, &got, &st));
	return got;
}

static void walking(void **state)
{
	SCOPED_ARENA(a);
	struct patterns *p;

	OK(make(&a, "a\n!a/b/*\na/b/c/**", &p));
	assert_true(walk(p, &a, "a"));
	assert_true(walk(p, &a, "a/x"));
	assert_true(walk(p, &a, "a/b"));
	assert_false(walk(p, &a, "a/b/c"));
	assert_true(walk(p, &a, "a/b/c/d"));
	assert_false(walk(p, &a, "a/b/d/e"));
	assert_false(walk(p, &a, "b"));
}

static void below(void **state)
{
	SCOPED_ARENA(a);
	struct patterns *p;

	OK(make(&a, "src/*/x.c\ndocs\n!lib", &p));
	assert_true(patterns_may_match_below(p, STR("")));
	assert_true(patterns_may_match_below(p, STR("src")));
	assert_true(patterns_may_match_below(p, STR("src/a")));
	assert_true(patterns_may_match_below(p, STR("docs/deep/er")));
	assert_false(patterns_may_match_below(p, STR("docs2")));
	assert_false(patterns_may_match_below(p, STR("doc")));
	assert_false(patterns_may_match_below(p, STR("lib")));
	assert_false(patterns_may_match_below(p, STR("sr")));
	OK(make(&a, "**/x", &p));
	assert_true(patterns_may_match_below(p, STR("any/thing")));
}

/* Expressions of this kind take others exponential time. */
static void hostile(void **state)
{
	SCOPED_ARENA(a);
	SCOPED_BUF(pattern, 10000);
	SCOPED_BUF(path, 10000);
	struct patterns *p;
	bool got;

	for (int i = 0; i < 100; i++)
		buf_add_cstr(&pattern, "**/a*[a-z]{0,9}");
	buf_add_char(&pattern, 'Z');
	for (int i = 0; i < 100; i++)
		buf_add_cstr(&path, "a/");
	buf_add_char(&path, 'z');
	OK(make(&a, buf_cstr(&pattern), &p));
	OK(patterns_match(p, buf_str(&path), &got));
	assert_false(got);
	OK(make(&a, "*a{1000}b{1000}c{1001}", &p));
	FAILS_CODE(patterns_match(p, STR("x"), &got), ERR_INVALID_ARGUMENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(verdicts), cmocka_unit_test(bad_lists), cmocka_unit_test(walking),
		cmocka_unit_test(below),    cmocka_unit_test(hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
