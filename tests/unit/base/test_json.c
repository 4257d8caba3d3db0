/* The expected texts are those of encoding/json. */
#include "check.h"

#include "base/json.h"
#include "base/limits.h"

static void strings(void **state)
{
	static const struct {
		struct str in;
		const char *out, *plain;
	} all[] = {
		{ STR("abc"), "\"abc\"", NULL },
		{ STR("a\"b\\c/"), "\"a\\\"b\\\\c/\"", NULL },
		{ STR("\b\f\n\r\t\v\x01\x7f"), "\"\\b\\f\\n\\r\\t\\u000b\\u0001\x7f\"", NULL },
		{ STR("<&>"), "\"\\u003c\\u0026\\u003e\"", "\"<&>\"" },
		{ STR("\xe2\x80\xa8\xe2\x80\xa9"), "\"\\u2028\\u2029\"", NULL },
		{ STR("\xc3\xa9\xf0\x9f\x98\x80"), "\"\xc3\xa9\xf0\x9f\x98\x80\"", NULL },
		{ STR("\xff\xc3\xed\xa0\x80"), "\"\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\"", NULL },
		{ STR("\xef\xbf\xbd"), "\"\xef\xbf\xbd\"", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		SCOPED_BUF(b, 1000);
		struct json_out j;

		json_out_init(&j, &b, NULL);
		json_str(&j, all[i].in);
		assert_string_equal(buf_cstr(&b), all[i].out);
		buf_clear(&b);
		json_out_init(&j, &b, NULL);
		j.no_html_escape = true;
		json_str(&j, all[i].in);
		assert_string_equal(buf_cstr(&b), all[i].plain ? all[i].plain : all[i].out);
	}
}

static void write_sample(struct buf *b, const char *indent)
{
	struct json_out j;

	json_out_init(&j, b, indent);
	json_obj_begin(&j);
	json_kstr(&j, "s", STR("v"));
	json_kint(&j, "i", -5);
	json_kbool(&j, "b", true);
	json_key(&j, STR("u"));
	json_uint(&j, UINT64_MAX);
	json_key(&j, STR("n"));
	json_nil(&j);
	json_key(&j, STR("data"));
	json_base64(&j, STR("\0\xff!"));
	json_key(&j, STR("empty"));
	json_arr_begin(&j);
	json_arr_end(&j);
	json_key(&j, STR("o"));
	json_obj_begin(&j);
	json_obj_end(&j);
	json_key(&j, STR("list"));
	json_arr_begin(&j);
	json_int(&j, 1);
	json_obj_begin(&j);
	json_kstr(&j, "x", STR(""));
	json_obj_end(&j);
	json_arr_end(&j);
	json_key(&j, STR("raw"));
	json_raw(&j, STR(" { \"a\" : [ ] , \"b\":[1, \"<\\u00e9\"] }"));
	json_obj_end(&j);
}

static void layout(void **state)
{
	SCOPED_BUF(b, 4000);

	write_sample(&b, NULL);
	BUF_IS(&b, "{\"s\":\"v\",\"i\":-5,\"b\":true,\"u\":18446744073709551615,\"n\":null,"
		   "\"data\":\"AP8h\",\"empty\":[],\"o\":{},\"list\":[1,{\"x\":\"\"}],"
		   "\"raw\":{\"a\":[],\"b\":[1,\"\\u003c\\u00e9\"]}}");
	buf_clear(&b);
	write_sample(&b, "  ");
	BUF_IS(&b, "{\n  \"s\": \"v\",\n  \"i\": -5,\n  \"b\": true,\n"
		   "  \"u\": 18446744073709551615,\n  \"n\": null,\n  \"data\": \"AP8h\",\n"
		   "  \"empty\": [],\n  \"o\": {},\n  \"list\": [\n    1,\n    {\n"
		   "      \"x\": \"\"\n    }\n  ],\n  \"raw\": {\n    \"a\": [],\n"
		   "    \"b\": [\n      1,\n      \"\\u003c\\u00e9\"\n    ]\n  }\n}");
}

static void values(void **state)
{
	static const struct {
		const char *in, *out;
	} all[] = {
		{ "{\"b\":1,\"a\":{\"z\":[true,false,null],\"y\":\"<\"}}",
		  "{\"a\":{\"y\":\"\\u003c\",\"z\":[true,false,null]},\"b\":1}" },
		{ "[9223372036854775807,-9223372036854775808]",
		  "[9223372036854775807,-9223372036854775808]" },
		{ "[1.0,0.1,1e-6,1e-7,1e20,1e21,-0.0,1.5e300]",
		  "[1,0.1,0.000001,1e-7,100000000000000000000,1e+21,-0,1.5e+300]" },
		{ "0.000001234", "0.000001234" },
		{ "123456789.125", "123456789.125" },
		/* Past 64 bits numbers become floats, as in an interface{} of Go. */
		{ "[11429638234739770123,5]", "[11429638234739770000,5]" },
		{ " \"x\" ", "\"x\"" },
		{ "{\"a\":1,\"a\":2}", "{\"a\":2}" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		SCOPED_BUF(b, 1000);
		SCOPED_JSON(v);
		struct json_out j;

		OK(json_read(str_from(all[i].in), "it", &v));
		json_out_init(&j, &b, NULL);
		json_value(&j, v);
		assert_string_equal(buf_cstr(&b), all[i].out);
	}
}

static void reading(void **state)
{
	SCOPED_BUF(deep, 10000);
	SCOPED_JSON(v);
	json_t *none;

	OK(json_read(STR("{\"s\":\"x\",\"i\":7,\"b\":true,\"r\":5.0,\"o\":null}"), "it", &v));
	STR_IS(json_get_str(v, "s"), "x");
	STR_IS(json_get_str(v, "i"), "");
	STR_IS(json_get_str(v, "none"), "");
	assert_int_equal(json_get_int(v, "i", -1), 7);
	assert_int_equal(json_get_int(v, "r", -1), 5);
	assert_int_equal(json_get_int(v, "s", -1), -1);
	assert_true(json_get_bool(v, "b", false));
	assert_true(json_get_bool(v, "i", true));
	FAILS_CODE(json_read(STR(""), "it", &none), ERR_INVALID_ARGUMENT);
	FAILS_CODE(json_read(STR("{} x"), "it", &none), ERR_INVALID_ARGUMENT);
	FAILS_CODE(json_read(STR("{\"a\":}"), "it", &none), ERR_INVALID_ARGUMENT);
	FAILS_CODE(json_read(STR("\"\xff\""), "it", &none), ERR_INVALID_ARGUMENT);
	FAILS_CODE(json_read(STR_NONE, "it", &none), ERR_INVALID_ARGUMENT);
	for (int i = 0; i < LIMIT_JSON_DEPTH + 1; i++)
		buf_add_char(&deep, '[');
	for (int i = 0; i < LIMIT_JSON_DEPTH + 1; i++)
		buf_add_char(&deep, ']');
	FAILS(json_read(buf_str(&deep), "it", &none), ERR_INVALID_ARGUMENT,
	      "failed to parse it: nested too deeply");
	/* Brackets in a string are no nesting. */
	buf_clear(&deep);
	buf_add_cstr(&deep, "\"\\\"");
	for (int i = 0; i < 1000; i++)
		buf_add_char(&deep, '[');
	buf_add_char(&deep, '"');
	OK(json_read(buf_str(&deep), "it", &none));
	json_decref(none);
}

static void base64(void **state)
{
	static const char *const bad[] = { "A",     "AA",   "AAA",  "A===", "AA=A",
					   "AA==A", "A-==", "====", "AA=" };
	SCOPED_ARENA(a);
	SCOPED_BUF(b, 100);
	struct str s;

	for (size_t n = 0; n <= 5; n++) {
		buf_clear(&b);
		base64_encode(&b, str_sub(STR("\xff\0\x10zz"), 0, n));
		OK(base64_decode(&a, buf_str(&b), &s));
		assert_true(str_eq(s, str_sub(STR("\xff\0\x10zz"), 0, n)));
	}
	BUF_IS(&b, "/wAQeno=");
	OK(base64_decode(&a, STR("/w\r\nA=\n"), &s));
	STR_IS(s, "\xff\0");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		FAILS_CODE(base64_decode(&a, str_from(bad[i]), &s), ERR_INVALID_ARGUMENT);
}

static void quoting(void **state)
{
	SCOPED_BUF(b, 200);

	go_quote(&b,
		 STR("a\"\\\a\b\f\n\r\t\v\x01\x7f\xff\xc3\xa9\xc2\xa0\xe2\x80\x8b\xf3\xa0\x80\x81"
		     "\xf0\x9f\x98\x80"));
	BUF_IS(&b,
	       "\"a\\\"\\\\\\a\\b\\f\\n\\r\\t\\v\\x01\\x7f\\xff\xc3\xa9\\u00a0\\u200b\\U000e0001"
	       "\xf0\x9f\x98\x80\"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strings), cmocka_unit_test(layout), cmocka_unit_test(values),
		cmocka_unit_test(reading), cmocka_unit_test(base64), cmocka_unit_test(quoting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
