#include "check.h"

#include "base/toml.h"

static struct toml *parse(struct arena *a, const char *text)
{
	struct toml *t;

	OK(toml_parse(a, str_from(text), &t));
	return t;
}

static void config(void **state)
{
	SCOPED_ARENA(a);
	struct toml *t = parse(&a, "# a comment\n"
				   "root = '/var/lib' # trailing\n"
				   "debug = true\n"
				   "[worker.oci]\r\n"
				   "  enabled = \"auto\"\n"
				   "  platforms = [ \"linux/amd64\", # with a comment\n"
				   "    'linux/arm64', ]\n"
				   "  gckeepstorage = 9_000\n"
				   "  [[worker.oci.gcpolicy]]\n"
				   "    all = true\n"
				   "    filters = [\"type==source.local\"]\n"
				   "  [[worker.oci.gcpolicy]]\n"
				   "    keepDuration = \"48h\"\n"
				   "[registry.\"docker.io\"]\n"
				   "  mirrors = [\"a\", \"b:5000/x\"]\n");
	struct toml *list;

	STR_IS(toml_get(t, "root")->string, "/var/lib");
	assert_true(toml_get(t, "DEBUG")->boolean);
	STR_IS(toml_path(t, "worker.oci.enabled")->string, "auto");
	assert_int_equal(toml_path(t, "worker.oci.gckeepstorage")->integer, 9000);
	assert_int_equal(toml_path(t, "worker.oci.enabled")->line, 5);
	list = toml_path(t, "worker.oci.platforms")->child;
	STR_IS(list->next->string, "linux/arm64");
	assert_null(list->next->next);
	list = toml_path(t, "worker.oci.gcpolicy")->child;
	assert_true(toml_get(list, "all")->boolean);
	STR_IS(toml_get(list->next, "keepduration")->string, "48h");
	list = toml_get(toml_get(toml_get(t, "registry"), "docker.io"), "mirrors");
	STR_IS(list->child->next->string, "b:5000/x");
	assert_null(toml_path(t, "worker.none.x"));
	assert_null(toml_path(t, "root.x"));
}

static void values(void **state)
{
	SCOPED_ARENA(a);
	struct toml *t =
		parse(&a, "s = \"\\b\\t\\n\\f\\r\\\"\\\\\\u00e9\\U0001F600\"\n"
			  "m = \"\"\"\nx \\\n   y\"\"\"\"\"\n"
			  "l = '''\n\\n''x'''\n"
			  "h = 0xDEAD_beef\no = 0o755\nb = 0b1_0\nn = -9223372036854775808\n"
			  "f = 6.626e-34\ng = -1_0.5\ninf = -inf\nnan = nan\n"
			  "d = 1979-05-27T00:32:00.5-07:00\nd2 = 1979-05-27 07:32:00\n"
			  "d3 = 1979-05-27\nd4 = 07:32:00\n"
			  "i = { a.b = 1, c = [ {}, [] ] }\n"
			  "\"\" = 1\n3.4 = 'x'\n");

	STR_IS(toml_get(t, "s")->string, "\b\t\n\f\r\"\\\xc3\xa9\xf0\x9f\x98\x80");
	STR_IS(toml_get(t, "m")->string, "x y\"\"");
	STR_IS(toml_get(t, "l")->string, "\\n''x");
	assert_int_equal(toml_get(t, "h")->integer, 0xdeadbeef);
	assert_int_equal(toml_get(t, "o")->integer, 0755);
	assert_int_equal(toml_get(t, "b")->integer, 2);
	assert_true(toml_get(t, "n")->integer == INT64_MIN);
	assert_true(toml_get(t, "f")->real == 6.626e-34);
	assert_true(toml_get(t, "g")->real == -10.5);
	assert_true(toml_get(t, "inf")->real < -1e308);
	assert_true(toml_get(t, "nan")->real != toml_get(t, "nan")->real);
	assert_int_equal(toml_get(t, "d2")->type, TOML_DATETIME);
	STR_IS(toml_get(t, "d2")->string, "1979-05-27 07:32:00");
	STR_IS(toml_get(t, "d4")->string, "07:32:00");
	assert_int_equal(toml_path(t, "i.a.b")->integer, 1);
	assert_int_equal(toml_path(t, "i.c")->child->type, TOML_TABLE);
	assert_int_equal(toml_get(t, "")->integer, 1);
	STR_IS(toml_path(t, "3.4")->string, "x");
	assert_null(parse(&a, "")->child);
	assert_null(parse(&a, "\xef\xbb\xbf# only a comment")->child);
}

static void refused(void **state)
{
	static const char *const all[] = {
		"a",
		"a =",
		"a = 1 b = 2",
		"= 1",
		"a = 1\na = 2",
		"[a]\n[a]",
		"[a]\nb.c = 1\n[a.b]\n",
		"a = 1\n[a]",
		"a = [1]\n[[a]]",
		"[[a]]\n[a]",
		"a = { b = 1 }\na.c = 2",
		"a = { b = 1 }\n[a.c]",
		"[a.b]\n[a]\nb.c = 1",
		"a = { b = 1, }",
		"a = { b = 1\n}",
		"a = \"x",
		"a = \"x\ny\"",
		"a = '''x",
		"a = \"\\x\"",
		"a = \"\\ud800\"",
		"a = \"\x01\"",
		"a = 01",
		"a = 1__0",
		"a = _1",
		"a = 1.",
		"a = .5",
		"a = 0x",
		"a = +0x1",
		"a = 9223372036854775808",
		"a = 2021-02-29",
		"a = 25:00:00",
		"a = True",
		"a = [1",
		"a = [1 2]",
		"[a",
		"[[a]",
		"[]",
		"# \x01",
		"a.\"b\nc\" = 1",
		"a = \xff",
		"a = 1\rb = 2",
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		SCOPED_ARENA(a);
		struct toml *t;
		struct err *e = toml_parse(&a, str_from(all[i]), &t);

		if (!e)
			fail_msg("accepted: %s", all[i]);
		assert_int_equal(err_code(e), ERR_INVALID_ARGUMENT);
		err_free(e);
	}
}

static void messages(void **state)
{
	SCOPED_ARENA(a);
	SCOPED_BUF(deep, 10000);
	struct toml *t;

	FAILS(toml_parse(&a, STR("a = 1\n\n[b]\na = 2\na = 3\n"), &t), ERR_INVALID_ARGUMENT,
	      "line 5: key a is already defined");
	FAILS(toml_parse(&a, STR("a = ?"), &t), ERR_INVALID_ARGUMENT, "line 1: invalid value");
	buf_add_cstr(&deep, "a = ");
	for (int i = 0; i < 1000; i++)
		buf_add_char(&deep, '[');
	FAILS(toml_parse(&a, buf_str(&deep), &t), ERR_INVALID_ARGUMENT,
	      "line 1: nested too deeply");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config),
		cmocka_unit_test(values),
		cmocka_unit_test(refused),
		cmocka_unit_test(messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
