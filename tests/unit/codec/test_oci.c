/* The printed texts are those of image-spec's types through json.MarshalIndent. */
#include "../base/check.h"

#include "base/limits.h"
#include "codec/oci.h"

#define D "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static const char manifest_text[] = "{\n"
				    "  \"schemaVersion\": 2,\n"
				    "  \"mediaType\": \"" OCI_MANIFEST "\",\n"
				    "  \"artifactType\": \"a/b\",\n"
				    "  \"config\": {\n"
				    "    \"mediaType\": \"" OCI_EMPTY "\",\n"
				    "    \"digest\": \"" D "\",\n"
				    "    \"size\": 2,\n"
				    "    \"data\": \"e30=\"\n"
				    "  },\n"
				    "  \"layers\": [\n"
				    "    {\n"
				    "      \"mediaType\": \"" OCI_LAYER_GZIP "\",\n"
				    "      \"digest\": \"" D "\",\n"
				    "      \"size\": 9223372036854775807,\n"
				    "      \"urls\": [\n"
				    "        \"http://x/?a=1\\u0026b=2\"\n"
				    "      ],\n"
				    "      \"annotations\": {\n"
				    "        \"a\": \"1\",\n"
				    "        \"b\": \"\"\n"
				    "      }\n"
				    "    }\n"
				    "  ],\n"
				    "  \"subject\": {\n"
				    "    \"mediaType\": \"x\",\n"
				    "    \"digest\": \"" D "\",\n"
				    "    \"size\": 0\n"
				    "  },\n"
				    "  \"annotations\": {\n"
				    "    \"k\": \"\\u003cv\\u003e\"\n"
				    "  }\n"
				    "}";

static const char index_text[] = "{\n"
				 "  \"schemaVersion\": 2,\n"
				 "  \"mediaType\": \"" OCI_INDEX "\",\n"
				 "  \"manifests\": [\n"
				 "    {\n"
				 "      \"mediaType\": \"" OCI_MANIFEST "\",\n"
				 "      \"digest\": \"" D "\",\n"
				 "      \"size\": 5,\n"
				 "      \"platform\": {\n"
				 "        \"architecture\": \"amd64\",\n"
				 "        \"os\": \"windows\",\n"
				 "        \"os.version\": \"10\",\n"
				 "        \"os.features\": [\n"
				 "          \"win32k\"\n"
				 "        ],\n"
				 "        \"variant\": \"v2\"\n"
				 "      },\n"
				 "      \"artifactType\": \"t\"\n"
				 "    }\n"
				 "  ]\n"
				 "}";

static void manifests(void **state)
{
	SCOPED_ARENA(a);
	SCOPED_BUF(b, 10000);
	struct oci_manifest m;

	OK(oci_parse_manifest(&a, str_from(manifest_text), &m));
	STR_IS(m.config.data, "{}");
	STR_IS(oci_annotation(&m.layers[0], "a"), "1");
	STR_IS(oci_annotation(&m.layers[0], "c"), "");
	assert_true(m.layers[0].size == INT64_MAX);
	oci_print_manifest(&m, &b);
	assert_string_equal(buf_cstr(&b), manifest_text);
	/* nil and empty lists */
	buf_clear(&b);
	OK(oci_parse_manifest(&a, STR("{\"layers\":[]}"), &m));
	oci_print_manifest(&m, &b);
	BUF_IS(&b, "{\n  \"schemaVersion\": 2,\n  \"config\": {\n    \"mediaType\": \"\",\n"
		   "    \"digest\": \"\",\n    \"size\": 0\n  },\n  \"layers\": []\n}");
	buf_clear(&b);
	OK(oci_parse_manifest(&a, STR("{\"layers\":null}"), &m));
	oci_print_manifest(&m, &b);
	assert_true(str_has_suffix(buf_str(&b), STR("\"layers\": null\n}")));
}

static void indexes(void **state)
{
	SCOPED_ARENA(a);
	SCOPED_BUF(b, 10000);
	struct oci_index ix;

	OK(oci_parse_index(&a, str_from(index_text), &ix));
	assert_int_equal(ix.n_manifests, 1);
	STR_IS(ix.manifests[0].platform.os_features[0], "win32k");
	oci_print_index(&ix, &b);
	assert_string_equal(buf_cstr(&b), index_text);
}

static void refused(void **state)
{
	SCOPED_ARENA(a);
	SCOPED_BUF(big, LIMIT_MANIFEST + 10);
	struct oci_manifest m;
	struct oci_index ix;

	FAILS(oci_parse_manifest(&a, STR("{\"manifests\":[]}"), &m), ERR_INVALID_ARGUMENT,
	      "media-type: expected manifest but found index (" OCI_MANIFEST ")");
	FAILS(oci_parse_index(&a, STR("{\"layers\":[]}"), &ix), ERR_INVALID_ARGUMENT,
	      "media-type: expected index but found manifest (" OCI_INDEX ")");
	FAILS(oci_parse_manifest(&a, STR("{\"fsLayers\":[]}"), &m), ERR_INVALID_ARGUMENT,
	      "media-type: schema 1 not supported");
	FAILS(oci_parse_manifest(&a, STR("{\"layers\":[{\"digest\":\"sha256:x\"}]}"), &m),
	      ERR_INVALID_ARGUMENT,
	      "layers[0]: invalid digest sha256:x: invalid checksum digest length");
	FAILS_CODE(oci_parse_manifest(&a, STR("[]"), &m), ERR_INVALID_ARGUMENT);
	FAILS_CODE(oci_parse_manifest(&a, STR("{\"layers\":[1]}"), &m), ERR_INVALID_ARGUMENT);
	FAILS_CODE(oci_parse_manifest(&a, STR("{\"layers\":{}}"), &m), ERR_INVALID_ARGUMENT);
	FAILS_CODE(oci_parse_manifest(&a, STR("{\"config\":{\"size\":-1}}"), &m),
		   ERR_INVALID_ARGUMENT);
	FAILS_CODE(oci_parse_manifest(&a, STR("{\"mediaType\":5}"), &m), ERR_INVALID_ARGUMENT);
	buf_add_cstr(&big, "{\"layers\":[");
	for (int i = 0; i <= LIMIT_DESCRIPTORS; i++)
		buf_add_cstr(&big, i ? ",{}" : "{}");
	buf_add_cstr(&big, "]}");
	FAILS_CODE(oci_parse_manifest(&a, buf_str(&big), &m), ERR_INVALID_ARGUMENT);
	while (big.len <= LIMIT_MANIFEST)
		buf_add_char(&big, ' ');
	FAILS_CODE(oci_parse_manifest(&a, buf_str(&big), &m), ERR_INVALID_ARGUMENT);
}

static void descriptors(void **state)
{
	static const char text[] =
		"{\"mediaType\":\"m\",\"digest\":\"" D "\",\"size\":1,"
		"\"urls\":[\"u\"],\"annotations\":{\"a\":\"b\"},\"data\":\"eA==\","
		"\"platform\":{\"architecture\":\"a\",\"os\":\"o\","
		"\"os.features\":[\"f\"]},\"artifactType\":\"t\"}";
	SCOPED_BUF(b, 1000);
	SCOPED_ARENA(kept);
	struct oci_descriptor copy;

	{
		SCOPED_ARENA(a);
		struct oci_descriptor d;

		OK(oci_parse_descriptor(&a, str_from(text), &d));
		oci_descriptor_dup(&kept, &d, &copy);
	}
	oci_print_descriptor(&copy, &b);
	assert_string_equal(buf_cstr(&b), text);
}

static void media_types(void **state)
{
	assert_true(oci_is_index(STR(OCI_INDEX)) && oci_is_index(STR(DOCKER_LIST)));
	assert_true(oci_is_manifest(STR(OCI_MANIFEST)) && oci_is_manifest(STR(DOCKER_MANIFEST)));
	assert_false(oci_is_manifest(STR(OCI_INDEX)));
	assert_true(oci_is_layer(STR(OCI_LAYER_ZSTD)) && oci_is_layer(STR(DOCKER_LAYER_GZIP)));
	assert_true(oci_is_layer(STR(DOCKER_LAYER_FOREIGN_GZIP)));
	assert_false(oci_is_layer(STR(OCI_CONFIG)));
	assert_true(oci_is_nondistributable(STR(DOCKER_LAYER_FOREIGN_GZIP)));
	assert_true(oci_is_nondistributable(
		STR("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip")));
	assert_false(oci_is_nondistributable(STR(OCI_LAYER)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(manifests),   cmocka_unit_test(indexes),
		cmocka_unit_test(refused),     cmocka_unit_test(descriptors),
		cmocka_unit_test(media_types),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
