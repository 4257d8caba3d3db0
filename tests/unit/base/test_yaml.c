#include "check.h"

#include "base/yaml.h"

static void reads(void **state)
{
	SCOPED_JSON(j);
	SCOPED_BUF(out, 4096);
	struct json_out w;

	OK(yaml_read(STR("# comment\na: 1\nb: [x, \"1\", true, ~, -3, 007]\nc:\n- d: e f\n  g: {}\n"
			 "h: |\n  two\n  lines\n"),
		     "file", &j));
	json_out_init(&w, &out, NULL);
	json_value(&w, j);
	BUF_IS(&out, "{\"a\":1,\"b\":[\"x\",\"1\",true,null,-3,\"007\"],"
		     "\"c\":[{\"d\":\"e f\",\"g\":{}}],\"h\":\"two\\nlines\\n\"}");
}

static void empty_and_json(void **state)
{
	SCOPED_JSON(nothing);
	SCOPED_JSON(j);

	OK(yaml_read(STR("# nothing\n"), "file", &nothing));
	assert_true(json_is_null(nothing));
	OK(yaml_read(STR("{\"a\": [1, \"b\"]}"), "file", &j));
	assert_int_equal(json_array_size(json_object_get(j, "a")), 2);
}

static void refuses(void **state)
{
	json_t *j = NULL;
	SCOPED_BUF(deep, 4096);

	FAILS(yaml_read(STR("a: &x 1\nb: *x\n"), "f", &j), ERR_INVALID_ARGUMENT,
	      "f: yaml: line 2: aliases are not supported");
	FAILS(yaml_read(STR("a: 1\na: 2\n"), "f", &j), ERR_INVALID_ARGUMENT,
	      "f: yaml: line 2: a key is there twice");
	FAILS(yaml_read(STR("a: 1\n---\nb: 1\n"), "f", &j), ERR_INVALID_ARGUMENT,
	      "f: yaml: line 2: more than one document");
	FAILS_CODE(yaml_read(STR("[a]: 1\n"), "f", &j), ERR_INVALID_ARGUMENT);
	FAILS_CODE(yaml_read(STR("a: [1\n"), "f", &j), ERR_INVALID_ARGUMENT);
	FAILS_CODE(yaml_read(STR("a: \"\\0\"\n"), "f", &j), ERR_INVALID_ARGUMENT);
	FAILS_CODE(yaml_read(STR("a: \xff\n"), "f", &j), ERR_INVALID_ARGUMENT);
	for (int i = 0; i < 1000; i++)
		buf_add_char(&deep, '[');
	FAILS_CODE(yaml_read(buf_str(&deep), "f", &j), ERR_INVALID_ARGUMENT);
	assert_null(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads),
		cmocka_unit_test(empty_and_json),
		cmocka_unit_test(refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
