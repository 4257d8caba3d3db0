#include "exporter/annotations.h"
#include "exporter/attrs.h"
#include "exporter/imageconfig.h"

#include "base/limits.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define T1 INT64_C(1700000000000000000)

static const struct platform amd64 = { .os = { "linux", 5 }, .arch = { "amd64", 5 } };

static struct imageconfig_layer layer(const char *data, const char *description)
{
	return (struct imageconfig_layer) { digest_sha256(str_from(data)), str_from(description),
					    T1 };
}

#define SHA_A "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"

static void test_default_config(void **state)
{
	struct imageconfig_layer l = layer("a", "COPY x /x");
	SCOPED_BUF(out, MIB);

	(void)state;
	assert_null(imageconfig_patch(STR_NONE, STR_NONE, amd64, &l, 1, -1, STR_NONE, &out));
	assert_string_equal(
		buf_cstr(&out),
		"{\"architecture\":\"amd64\",\"config\":{\"Env\":[\"PATH=/usr/local/sbin:/usr/"
		"local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"],\"WorkingDir\":\"/"
		"\"},\"created\":\"2023-11-14T22:13:20Z\",\"history\":[{\"created\":\"2023-11-"
		"14T22:13:20Z\",\"created_by\":\"COPY x "
		"/x\",\"comment\":\"buildkit.exporter.image.v0\"}],\"os\":\"linux\",\"rootfs\":{"
		"\"type\":\"layers\",\"diff_ids\":[\"" SHA_A "\"]}}");
}

static void test_members_survive(void **state)
{
	SCOPED_BUF(out, MIB);

	(void)state;
	assert_null(imageconfig_patch(STR("{\"os\":\"linux\", \"zz\": {\"b\":1,\"a\":[1, 2]} "
					  ",\"architecture\":\"amd64\",\"x,}\":\"},{\"}"),
				      STR_NONE, amd64, NULL, 0, -1, STR_NONE, &out));
	/* Keys of the top level are sorted; what is inside a member stays in its order. */
	assert_string_equal(
		buf_cstr(&out),
		"{\"architecture\":\"amd64\",\"history\":[],\"os\":\"linux\",\"rootfs\":{\"type\":"
		"\"layers\",\"diff_ids\":[]},\"x,}\":\"},{\",\"zz\":{\"b\":1,\"a\":[1,2]}}");
}

static void test_history_times(void **state)
{
	struct imageconfig_layer l[2] = { layer("a", "base"), layer("b", "RUN") };
	SCOPED_BUF(out, MIB);

	(void)state;
	assert_null(imageconfig_patch(
		STR("{\"os\":\"linux\",\"architecture\":\"amd64\",\"history\":["
		    "{\"created\":\"2020-01-01T00:00:00Z\",\"created_by\":\"base\"},"
		    "{\"created_by\":\"ENV\",\"empty_layer\":true},{\"created_by\":\"RUN\"}]}"),
		STR_NONE, amd64, l, 2, -1, STR_NONE, &out));
	/* ENV has no time of its own: that of the first layer made after the base. */
	assert_true(
		str_find_str(buf_str(&out), STR("{\"created\":\"2023-11-14T22:13:20Z\",\"created_"
						"by\":\"ENV\",\"empty_layer\":true}")) > 0);
	assert_true(str_find_str(buf_str(&out),
				 STR("\"created\":\"2023-11-14T22:13:20Z\",\"history\"")) > 0);
}

static void test_epoch_spares_the_base(void **state)
{
	struct imageconfig_layer l[2] = { layer("a", "base"), layer("b", "RUN") };
	SCOPED_BUF(out, MIB);

	(void)state;
	assert_null(
		imageconfig_patch(STR("{\"os\":\"linux\",\"architecture\":\"amd64\",\"history\":["
				      "{\"created\":\"2020-01-01T00:00:00Z\",\"created_by\":"
				      "\"base\"},{\"created_by\":\"RUN\"}]}"),
				  STR("{\"history\":[{\"created_by\":\"base\"}]}"), amd64, l, 2,
				  86400, STR_NONE, &out));
	assert_true(str_find_str(
			    buf_str(&out),
			    STR("{\"created\":\"2020-01-01T00:00:00Z\",\"created_by\":\"base\"}")) >
		    0);
	assert_true(
		str_find_str(buf_str(&out),
			     STR("{\"created\":\"1970-01-02T00:00:00Z\",\"created_by\":\"RUN\"}")) >
		0);
	assert_true(str_find_str(buf_str(&out),
				 STR("\"created\":\"1970-01-02T00:00:00Z\",\"history\"")) > 0);
}

static void test_too_much_history(void **state)
{
	struct imageconfig_layer l = layer("a", "x");
	SCOPED_BUF(out, MIB);

	(void)state;
	assert_null(
		imageconfig_patch(STR("{\"os\":\"linux\",\"architecture\":\"amd64\",\"history\":[{"
				      "\"created_by\":\"1\"},{\"created_by\":\"2\"}]}"),
				  STR_NONE, amd64, &l, 1, -1, STR_NONE, &out));
	assert_true(str_find_str(buf_str(&out), STR("\"created_by\":\"2\",\"empty_layer\":true")) >
		    0);
}

static void expect_error(const char *config, const char *text)
{
	SCOPED_BUF(out, MIB);
	struct err *e =
		imageconfig_patch(str_from(config), STR_NONE, amd64, NULL, 0, -1, STR_NONE, &out);

	assert_non_null(e);
	if (str_find_str(str_from(err_text(e)), str_from(text)) < 0)
		fail_msg("\"%s\" does not say \"%s\"", err_text(e), text);
	err_free(e);
}

static void test_bad_configs(void **state)
{
	(void)state;
	expect_error("null", "invalid null image config for export");
	expect_error("{}", "invalid image config for export: missing os");
	expect_error("{\"os\":\"linux\"}", "invalid image config for export: missing architecture");
	expect_error("{\"os\":", "failed to parse image config for export");
}

static void test_annotations(void **state)
{
	SCOPED_ARENA(a);
	struct annotation an;
	struct exporter_kv kv[] = {
		{ STR("annotation.z"), STR("1") },
		{ STR("annotation[linux/arm64].a"), STR("2") },
		{ STR("annotation-index.a.b"), STR("3") },
		{ STR("annotation.z"), STR("4") },
		{ STR("annotations"), STR("5") },
	};
	struct annotations all;
	struct oci_kv *got;
	struct err *e;
	size_t n;
	bool is;

	(void)state;
	assert_null(annotations_collect(&a, kv, ARRAY_SIZE(kv), NULL, 0, &all));
	assert_int_equal(all.n, 4);
	annotations_select(&a, &all, ANNOTATION_MANIFEST, STR("linux/arm64"), &got, &n);
	assert_int_equal(n, 2);
	assert_true(str_eq_cstr(got[0].key, "a"));
	assert_true(str_eq_cstr(got[1].value, "4"));
	annotations_select(&a, &all, ANNOTATION_MANIFEST, STR("linux/amd64"), &got, &n);
	assert_int_equal(n, 1);
	annotations_select(&a, &all, ANNOTATION_INDEX, STR_NONE, &got, &n);
	assert_true(n == 1 && str_eq_cstr(got[0].key, "a.b"));
	e = annotation_parse(&a, STR("annotation-what.x"), STR("y"), &an, &is);
	assert_string_equal(err_text(e), "unrecognized annotation type what");
	err_free(e);
}

static void test_attrs(void **state)
{
	struct exporter_kv kv[] = { { STR("push"), STR("") },
				    { STR("bad"), STR("x") },
				    { STR("compression"), STR("zstd") },
				    { STR("compression-level"), STR("22") },
				    { STR("source-date-epoch"), STR("") } };
	struct attrs at = { kv, ARRAY_SIZE(kv) };
	struct cache_compress c;
	bool v = false, set = false;
	int64_t epoch;
	struct err *e;

	(void)state;
	assert_null(attrs_bool(&at, "push", true, &v, &set));
	assert_true(v && set);
	e = attrs_bool(&at, "bad", true, &v, NULL);
	assert_string_equal(err_text(e), "non-bool value specified for bad");
	err_free(e);
	e = attrs_bool(&at, "push", false, &v, NULL);
	assert_non_null(e);
	err_free(e);
	assert_null(attrs_compression(&at, &c));
	assert_int_equal(c.type, COMPRESSION_ZSTD);
	assert_int_equal(c.level, 22);
	assert_null(attrs_epoch(&at, &epoch, &set));
	assert_true(set && epoch == -1);
	kv[2].value = STR("gzip");
	e = attrs_compression(&at, &c);
	assert_string_equal(err_text(e), "invalid compression level 22");
	err_free(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_default_config),
		cmocka_unit_test(test_members_survive),
		cmocka_unit_test(test_history_times),
		cmocka_unit_test(test_epoch_spares_the_base),
		cmocka_unit_test(test_too_much_history),
		cmocka_unit_test(test_bad_configs),
		cmocka_unit_test(test_annotations),
		cmocka_unit_test(test_attrs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
