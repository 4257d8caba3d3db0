#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "frontend/dockerfile/shell.h"

struct row {
	const char *word, *want; /* want "!..." is an error that contains the rest */
};

static struct env make_env(struct arena *a)
{
	struct env e = { 0 };

	env_set(a, &e, STR("A"), STR("a"));
	env_set(a, &e, STR("EMPTY"), STR(""));
	env_set(a, &e, STR("P"), STR("/usr/local/lib/x.tar.gz"));
	env_set(a, &e, STR("SP"), STR("one  two"));
	env_set(a, &e, STR("NL"), STR("ab\ncd"));
	env_set(a, &e, STR("Q"), STR("x*y"));
	return e;
}

static void check_all(const struct shell *sh, const struct row *rows, size_t n)
{
	SCOPED_ARENA(a);
	struct env env = make_env(&a);

	for (size_t i = 0; i < n; i++) {
		struct str got = STR("");
		struct err *e = shell_word(&a, sh, str_from(rows[i].word), &env, NULL, &got);

		if (rows[i].want[0] == '!') {
			if (!e || !strstr(err_text(e), rows[i].want + 1))
				fail_msg("%s: error %s", rows[i].word, err_text(e));
			err_free(e);
			continue;
		}
		if (e)
			fail_msg("%s: %s", rows[i].word, err_text(e));
		if (!str_eq_cstr(got, rows[i].want))
			fail_msg("%s: got %.*s, want %s", rows[i].word, STR_ARG(got), rows[i].want);
	}
}

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static void test_words(void **state)
{
	static const struct row rows[] = {
		{ "plain", "plain" },
		{ "$A${A}x", "aax" },
		{ "\\$A '$A' \"$A\"", "$A $A a" },
		{ "\"a\\b\\\"c\"", "a\\b\"c" },
		{ "$N.$", ".$" },
		{ "${N:-w}${EMPTY:-w}${EMPTY-w}${A:-w}", "wwa" },
		{ "${N:+w}${EMPTY:+w}${EMPTY+w}${A:+w}", "ww" },
		{ "${A:?m}", "a" },
		{ "${N?m}", "!N: m" },
		{ "${N:?}", "!N: is not allowed to be unset" },
		{ "${EMPTY:?}", "!EMPTY: is not allowed to be empty" },
		{ "${P#*/}|${P##*/}|${P%.*}|${P%%.*}",
		  "usr/local/lib/x.tar.gz|x.tar.gz|/usr/local/lib/x.tar|/usr/local/lib/x" },
		{ "${P/l/L}|${P//l/L}|${P//l?b/-}", "/usr/Local/lib/x.tar.gz|"
						    "/usr/LocaL/Lib/x.tar.gz|"
						    "/usr/local/-/x.tar.gz" },
		{ "${P//\\//_}", "_usr_local_lib_x.tar.gz" },
		{ "${Q#x\\*}|${Q%\\*y}|${Q/\\*/-}", "y|x|x-y" },
		{ "${NL#*c}|${NL%b*}", "ab\ncd|ab\ncd" },
		{ "${A//}", "!missing '/' in ${}" },
		{ "${N:-${M:-deep}}", "deep" },
		{ "${A", "!unsupported modifier" },
		{ "${", "!missing '}'" },
		{ "${A:-x", "!missing '}'" },
		{ "${}", "!bad substitution" },
		{ "${A~x}", "!unsupported modifier (~) in substitution" },
		{ "${A:#x}", "!unsupported modifier (:#) in substitution" },
		{ "${A#\\x}", "!invalid escape '\\x'" },
		{ "'open", "!matching single-quote" },
		{ "\"open", "!matching double-quote" },
		{ "a\\", "a" },
		{ "<<EOF <x", "<<EOF <x" },
	};
	const struct shell sh = { .escape = '\\' };

	(void)state;
	check_all(&sh, rows, COUNT(rows));
}

static void test_raw(void **state)
{
	static const struct row rows[] = {
		{ "echo \"$A\" '$A' \\$A $N ${N:-x}", "echo \"a\" '$A' \\$A $N ${N:-x}" },
		{ "\"a\\\"b\"", "\"a\\\"b\"" },
	};
	static const struct row backtick[] = { { "a\\b`$A", "a\\b$A" } };
	static const struct row no_quotes[] = { { "it's $A \"x\" \\$A", "it's a \"x\" $A" } };
	struct shell sh = {
		.escape = '\\', .raw_quotes = true, .raw_escapes = true, .skip_unset = true
	};

	(void)state;
	check_all(&sh, rows, COUNT(rows));
	sh = (struct shell) { .escape = '`' };
	check_all(&sh, backtick, COUNT(backtick));
	sh = (struct shell) { .escape = '\\', .skip_quotes = true };
	check_all(&sh, no_quotes, COUNT(no_quotes));
}

static void test_split(void **state)
{
	static const struct row rows[] = {
		{ "a b  c", "a|b|c" },     { "\"a b\" c", "a b|c" }, { "$SP x", "one|two|x" },
		{ "\"$SP\"", "one  two" }, { "'' x", "x" },          { "a\\ b", "a b" },
		{ "80${N:-81}", "8081" },  { "<< EOF", "<< EOF" },   { "", "" },
	};
	const struct shell sh = { .escape = '\\' };
	SCOPED_ARENA(a);
	struct env env = make_env(&a);

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct strs got;
		struct str text;

		assert_null(shell_words(&a, &sh, str_from(rows[i].word), &env, &got));
		text = strs_join(&a, &got, STR("|"));
		if (!str_eq_cstr(text, rows[i].want))
			fail_msg("%s: got %.*s", rows[i].word, STR_ARG(text));
	}
}

static void test_names(void **state)
{
	const struct shell sh = { .escape = '\\' };
	SCOPED_ARENA(a);
	struct env env = make_env(&a);
	struct shell_names names;
	struct str got;

	(void)state;
	assert_null(shell_word(&a, &sh, STR("$A$N${A}${M:-$N}"), &env, &names, &got));
	assert_int_equal(names.matched.len, 1);
	assert_int_equal(names.unmatched.len, 2);
	assert_true(str_eq(names.unmatched.items[0], STR("N")));
}

static void test_depth(void **state)
{
	const struct shell sh = { .escape = '\\' };
	SCOPED_ARENA(a);
	SCOPED_BUF(word, 1 << 20);
	struct env env = make_env(&a);
	struct str got;
	struct err *e;

	(void)state;
	for (int i = 0; i < 10000; i++)
		buf_add_cstr(&word, "${N:-");
	e = shell_word(&a, &sh, buf_str(&word), &env, NULL, &got);
	assert_non_null(e);
	err_free(e);
}

static void test_env(void **state)
{
	SCOPED_ARENA(a);
	struct env e = make_env(&a), c;
	struct str v;

	(void)state;
	env_set(&a, &e, STR("A"), STR("b"));
	assert_true(str_eq(e.vars[e.len - 1].key, STR("A"))); /* moved to the end */
	c = env_clone(&a, &e);
	env_del(&e, STR("A"));
	assert_false(env_get(&e, STR("A"), &v));
	assert_true(env_get(&c, STR("A"), &v) && str_eq(v, STR("b")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words), cmocka_unit_test(test_raw),
		cmocka_unit_test(test_split), cmocka_unit_test(test_names),
		cmocka_unit_test(test_depth), cmocka_unit_test(test_env),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
