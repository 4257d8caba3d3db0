/* Lines, words and instructions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/buf.h"
#include "frontend/dockerfile/directive.h"
#include "frontend/dockerfile/ignore.h"
#include "frontend/dockerfile/parse.h"

static const struct lint no_lint = { 0 };

static struct instr_lines lex(struct arena *a, const char *text)
{
	struct instr_lines lines = { 0 };
	struct loc loc;
	struct err *e = lex_file(a, str_from(text), &lines, &loc);

	if (e)
		fail_msg("%s", err_text(e));
	return lines;
}

static void test_lines(void **state)
{
	SCOPED_ARENA(a);
	struct instr_lines l = lex(&a, "\xEF\xBB\xBF# syntax=foo\n# escape=`\n\nfrom x\n"
				       "# about\n#\n# about b\n\nRUN a `\n # no\n`\n\n  b\n"
				       "run <<A <<-B\none\nA\n\t\ttwo\n\tB\nCMD x");

	(void)state;
	assert_int_equal(l.escape, '`');
	assert_int_equal(l.len, 4);
	assert_int_equal(l.items[0].loc.start, 4);
	assert_true(str_eq(l.items[1].original, STR("RUN a   b")));
	assert_int_equal(l.items[1].loc.start, 9);
	assert_int_equal(l.items[1].loc.end, 13);
	assert_int_equal(l.items[1].comments.len, 1);
	assert_true(str_eq(l.items[1].comments.items[0], STR("about b")));
	assert_int_equal(l.n_empty_continuations, 1);
	assert_int_equal(l.items[2].n_heredocs, 2);
	assert_true(str_eq(l.items[2].heredocs[0].content, STR("one\n")));
	assert_true(str_eq(l.items[2].heredocs[1].content, STR("\t\ttwo\n")));
	assert_int_equal(l.items[2].loc.end, 18);
	assert_int_equal(l.items[3].loc.start, 19);
}

static void check_args(const char *line, const char *flags, const char *args, bool json)
{
	SCOPED_ARENA(a);
	struct instr_lines l = lex(&a, line);
	struct str got = strs_join(&a, &l.items[0].args, STR("|")),
		   f = strs_join(&a, &l.items[0].flags, STR("|"));

	if (!str_eq_cstr(got, args) || !str_eq_cstr(f, flags) || l.items[0].json != json)
		fail_msg("%s: flags %.*s, args %.*s", line, STR_ARG(f), STR_ARG(got));
}

static void test_args(void **state)
{
	(void)state;
	check_args("COPY --from=x  --chown=\"a b\" a\tb   c", "--from=x|--chown=a b", "a|b|c",
		   false);
	check_args("COPY -- --a b", "", "--a|b", false);
	check_args("COPY [\"a b\", \"c\"]", "", "a b|c", true);
	check_args("COPY [a, b]", "", "[a,|b]", false);
	check_args("RUN  a  'b  c' ", "", "a  'b  c'", false);
	check_args("RUN [\"a\", \"\\u0041\"]", "", "a|A", true);
	check_args("ENV a=b c=\"d e\" f=", "", "a|b|=|c|\"d e\"|=|f||=", false);
	check_args("ENV a b  c=d", "", "a|b  c=d|", false);
	check_args("ARG a b='c d'", "", "a|b='c d'", false);
	check_args("HEALTHCHECK --retries=3 CMD [\"x\"]", "--retries=3", "CMD|x", true);
	check_args("ONBUILD RUN --mount=x y", "", "RUN", false);
	check_args("WORKDIR a b", "", "a b", false);
}

static struct err *parse_one(struct arena *a, const char *text, struct instr *ret)
{
	struct instr_lines lines;
	struct loc loc;

	TRY(lex_file(a, str_from(text), &lines, &loc));
	return parse_instr(a, &lines.items[0], &no_lint, ret);
}

static void test_instructions(void **state)
{
	SCOPED_ARENA(a);
	struct instr in;

	(void)state;
	assert_null(parse_one(&a, "copy --link --exclude=x --exclude=y a <<E d/\nz\nE\n", &in));
	assert_int_equal(in.kind, INSTR_COPY);
	assert_true(in.copy->link);
	assert_int_equal(in.copy->excludes.len, 2);
	assert_int_equal(in.copy->sources.len, 1);
	assert_int_equal(in.copy->n_contents, 1);
	assert_true(str_eq(in.copy->contents[0].content, STR("z\n")));
	assert_null(parse_one(&a, "ADD --unpack=false --keep-git-dir a b", &in));
	assert_int_equal(in.copy->unpack, NO);
	assert_int_equal(in.copy->keep_git_dir, YES);
	assert_null(parse_one(&a, "HEALTHCHECK --interval=1m CMD x y", &in));
	assert_int_equal(in.health->interval, INT64_C(60000000000));
	assert_true(str_eq(in.health->test.items[0], STR("CMD-SHELL")));
	assert_true(str_eq(in.health->test.items[1], STR("x y")));
	assert_null(parse_one(&a, "ONBUILD  RUN <<E\nx\nE\n", &in));
	assert_true(str_eq(in.args.items[0], STR("RUN <<E\nx\nE")));
	assert_null(parse_one(&a, "RUN --mount=from=a,type=cache --network=none x", &in));
	assert_true(str_eq(in.run->mounts[0].from, STR("a")));
	assert_null(parse_one(&a, "FROM --platform=$X a AS B.c", &in));
	assert_true(str_eq(in.stage_name, STR("b.c")));
}

static void test_file(void **state)
{
	SCOPED_ARENA(a);
	struct instr_lines l = lex(&a, "ARG a\n# s the stage\nFROM x AS s\nRUN 1\nFROM s\n");
	struct dockerfile f;
	struct loc loc;

	(void)state;
	assert_null(parse_dockerfile(&a, &l, &no_lint, &f, &loc));
	assert_int_equal(f.n_args, 1);
	assert_int_equal(f.n_stages, 2);
	assert_int_equal(f.stages[0].n, 1);
	assert_true(str_eq(f.stages[0].from.doc, STR("the stage")));
}

/* Deep nesting and long lines end in errors, not in a full stack. */
static void test_hostile(void **state)
{
	SCOPED_ARENA(a);
	SCOPED_BUF(text, 1 << 24);
	struct instr_lines lines;
	struct loc loc;
	struct err *e;

	(void)state;
	for (int i = 0; i < 100000; i++)
		buf_add_cstr(&text, "ONBUILD \\\n");
	buf_add_cstr(&text, "RUN x\n");
	e = lex_file(&a, buf_str(&text), &lines, &loc);
	assert_null(e);
	buf_clear(&text);
	buf_add_cstr(&text, "FROM x\nRUN ");
	for (int i = 0; i < 70000; i++)
		buf_add_char(&text, 'x');
	e = lex_file(&a, buf_str(&text), &lines, &loc);
	assert_non_null(e);
	assert_string_equal(err_text(e), "dockerfile line greater than max allowed size of 65535");
	err_free(e);
}

static void check_syntax(const char *text, const char *ref, const char *value, int line)
{
	SCOPED_ARENA(a);
	struct str r, v;
	int l = 0;
	bool is = directive_syntax(&a, str_from(text), &r, &v, &l);

	assert_int_equal(is, ref != NULL);
	if (ref && (!str_eq_cstr(r, ref) || !str_eq_cstr(v, value) || l != line))
		fail_msg("%s: %.*s, %.*s, %d", text, STR_ARG(r), STR_ARG(v), l);
}

static void test_directives(void **state)
{
	(void)state;
	check_syntax("# syntax = a/b:c arg\nFROM x", "a/b:c", "a/b:c arg", 1);
	check_syntax("#!/bin/x\n#syntax=a\n", "a", "a", 2);
	check_syntax("// syntax=foo\nx", "foo", "foo", 1);
	check_syntax("{\"syntax\": \"j\", \"x\": 1}", "j", "j", 0);
	check_syntax("# check=skip=all\n# syntax=z\n", "z", "z", 2);
	check_syntax("# comment\n# syntax=a\n", NULL, NULL, 0);
	check_syntax("FROM x\n# syntax=a\n", NULL, NULL, 0);
	check_syntax("", NULL, NULL, 0);
}

static void test_ignore(void **state)
{
	SCOPED_ARENA(a);
	struct strs l;

	(void)state;
	assert_null(ignore_parse(
		&a, STR("\xEF\xBB\xBF# x\n\n /a/b/ \n!./c/../d\n  # not a comment\n/\n!\n"), &l));
	assert_true(str_eq(strs_join(&a, &l, STR("|")), STR("a/b|!d|# not a comment|/|!")));
}

static struct err *expand_nothing(void *arg, struct str value, struct str *ret)
{
	(void)arg;
	*ret = value;
	return NULL;
}

static void test_mount(void **state)
{
	static const struct {
		const char *text, *error;
	} bad[] = {
		{ "type=cache,target", "invalid field 'target' must be a key=value pair" },
		{ "required=true,type=ssh", "unexpected key 'required' for mount type 'bind'" },
		{ "type=tmpfs,size=x", "invalid value for size: x" },
		{ "ro=maybe", "invalid value for ro: maybe" },
		{ "type=cache,mode=9", "invalid value 9 for mode" },
		{ "type=bind,uid=1", "uid not allowed for \"bind\" type mounts" },
		{ "type=ssh,sharing=shared", "invalid cache sharing set for ssh mount" },
		{ "type=secret,from=x,id=y", "secret mount should not have a from" },
	};
	struct run_mount m;
	struct instr in;
	SCOPED_ARENA(a);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		const struct mount_expander x = { expand_nothing, NULL };
		struct err *e;

		assert_null(run_mount_from(&a, str_from(bad[i].text), &m)); /* not looked at yet */
		e = run_mount_parse(&a, str_from(bad[i].text), &x, &m);
		assert_string_equal(err_text(e), bad[i].error);
		err_free(e);
	}
	assert_null(parse_one(&a, "RUN --mount=type=cache,target=/x y", &in));
}

static void test_size(void **state)
{
	int64_t size;

	(void)state;
	assert_true(size_parse(STR("64m"), &size) && size == 64 << 20);
	assert_true(size_parse(STR("1.5 KiB"), &size) && size == 1536);
	assert_true(size_parse(STR("7"), &size) && size == 7);
	assert_true(size_parse(STR("7b"), &size) && size == 7);
	assert_false(size_parse(STR(""), &size));
	assert_false(size_parse(STR("m"), &size));
	assert_false(size_parse(STR("1x"), &size));
	assert_false(size_parse(STR("-1"), &size));
	assert_false(size_parse(STR("1e99"), &size));
	assert_false(size_parse(STR("inf"), &size));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),        cmocka_unit_test(test_args),
		cmocka_unit_test(test_instructions), cmocka_unit_test(test_file),
		cmocka_unit_test(test_hostile),      cmocka_unit_test(test_directives),
		cmocka_unit_test(test_ignore),       cmocka_unit_test(test_mount),
		cmocka_unit_test(test_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
