#include "remotecache/parse.h"

#include "base/limits.h"
#include "remotecache/source.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define SHA_A "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
#define SHA_B "sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"
#define SHA_C "sha256:2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6"

static struct digest dgst(const char *text)
{
	struct digest d;

	assert_null(digest_parse(str_from(text), &d));
	return d;
}

/* Blobs SHA_A and SHA_B can be had, SHA_C can't. */
static void fill_blobs(struct arena *a, struct map *blobs)
{
	static const char *const names[] = { SHA_A, SHA_B };

	for (size_t i = 0; i < 2; i++) {
		struct import_blob *b = ARENA_NEW(a, struct import_blob);

		b->desc.digest = b->diff_id = dgst(names[i]);
		map_put(blobs, str_from(names[i]), b);
	}
}

static struct err *parse(struct arena *a, const char *text, struct import_config *ret)
{
	struct map blobs = MAP_INIT;
	struct err *e;

	fill_blobs(a, &blobs);
	e = import_parse(a, str_from(text), &blobs, ret);
	map_fini(&blobs, NULL);
	return e;
}

static void expect_error(const char *text, const char *want)
{
	SCOPED_ARENA(a);
	struct import_config c;
	SCOPED_ERR(e);

	e = parse(&a, text, &c);
	assert_non_null(e);
	assert_true(err_is(e, ERR_INVALID_ARGUMENT));
	assert_non_null(strstr(err_text(e), want));
}

static void test_layers(void **state)
{
	SCOPED_ARENA(a);
	const struct import_blob **layers;
	struct import_config c;
	size_t n;

	(void)state;
	/* A missing parent is layer 0; what stands on a missing blob can't be had. */
	assert_null(parse(&a,
			  "{\"layers\":[{\"blob\":\"" SHA_A "\",\"parent\":-1},"
			  "{\"blob\":\"" SHA_B "\"},"
			  "{\"blob\":\"" SHA_C "\",\"parent\":1},"
			  "{\"blob\":\"" SHA_A "\",\"parent\":2}],"
			  "\"records\":[{\"digest\":\"" SHA_A "\",\"layers\":[{\"layer\":1,"
			  "\"createdAt\":\"2023-11-14T22:13:20Z\"}]},"
			  "{\"digest\":\"" SHA_B "\",\"layers\":[{\"layer\":2},{\"layer\":3}]},"
			  "{\"digest\":\"" SHA_C "\",\"chains\":[{\"layers\":[3,1]},"
			  "{\"layers\":[2]}]}]}",
			  &c));
	assert_int_equal(c.n_records, 3);
	assert_int_equal(c.records[0].n_results, 1);
	assert_int_equal(c.records[0].results[0].created_ns, INT64_C(1700000000000000000));
	assert_null(import_result_layers(&c, &c.records[0].results[0], &a, &layers, &n));
	assert_int_equal(n, 2);
	assert_true(digest_eq(&layers[0]->diff_id, &(struct digest) { 0 }) == false);
	assert_string_equal(digest_text(&layers[0]->diff_id, &a), SHA_A);
	assert_string_equal(digest_text(&layers[1]->diff_id, &a), SHA_B);
	assert_int_equal(c.records[1].n_results, 0);
	/* A chain lists its layers itself: 3 is there, though not what it stands on. */
	assert_int_equal(c.records[2].n_results, 1);
	assert_null(import_result_layers(&c, &c.records[2].results[0], &a, &layers, &n));
	assert_int_equal(n, 2);
	assert_string_equal(digest_text(&layers[0]->diff_id, &a), SHA_A);
	assert_string_equal(digest_text(&layers[1]->diff_id, &a), SHA_B);
}

static void test_annotated(void **state)
{
	SCOPED_ARENA(a);
	struct import_config c;

	(void)state;
	assert_null(import_parse(&a,
				 STR("{\"layers\":[{\"blob\":\"" SHA_A "\",\"parent\":-1,"
				     "\"annotations\":{\"mediaType\":\"" OCI_LAYER_GZIP "\","
				     "\"diffID\":\"" SHA_B "\",\"size\":12,"
				     "\"createdAt\":\"2023-11-14T22:13:20Z\"}}],"
				     "\"records\":[{\"digest\":\"" SHA_C
				     "\",\"layers\":[{\"layer\":0}]}]}"),
				 NULL, &c));
	assert_int_equal(c.records[0].n_results, 1);
	assert_int_equal(c.layers[0].blob->desc.size, 12);
	assert_true(str_eq_cstr(c.layers[0].blob->desc.media_type, OCI_LAYER_GZIP));
	assert_string_equal(digest_text(&c.layers[0].blob->diff_id, &a), SHA_B);
	assert_true(str_eq_cstr(
		oci_annotation(&c.layers[0].blob->desc, "containerd.io/uncompressed"), SHA_B));
}

static void test_junk(void **state)
{
	(void)state;
	expect_error("[]", "no object");
	expect_error("{\"layers\":7}", "layers is no list");
	expect_error("{\"layers\":[{\"blob\":\"" SHA_A "\",\"parent\":1}]}",
		     "invalid layer index: 1");
	expect_error("{\"layers\":[{\"blob\":\"" SHA_A "\",\"parent\":-2}]}",
		     "invalid layer index: -2");
	expect_error("{\"layers\":[{\"blob\":\"" SHA_A "\",\"parent\":1},{\"blob\":\"" SHA_A
		     "\",\"parent\":0}]}",
		     "invalid looping layer");
	expect_error("{\"records\":[{\"digest\":\"" SHA_A "\",\"layers\":[{\"layer\":0}]}]}",
		     "invalid layer index: 0");
	expect_error("{\"records\":[{\"digest\":\"x\"}]}", "failed to add record 0");
	expect_error("{\"records\":[{\"digest\":\"" SHA_A "\",\"inputs\":[[]]}]}",
		     "invalid empty input for record 0");
	expect_error("{\"records\":[{\"digest\":\"" SHA_A "\",\"inputs\":[[{\"link\":1}]]}]}",
		     "invalid record ID: 1");
	expect_error("{\"records\":[{\"digest\":\"" SHA_A "\",\"inputs\":[[{\"link\":0}]]}]}",
		     "invalid looping record");
	expect_error("{\"records\":[{\"digest\":\"" SHA_A "\",\"inputs\":[[{\"link\":1}]]},"
		     "{\"digest\":\"" SHA_A "\",\"inputs\":[[{\"link\":0}]]}]}",
		     "invalid looping record");
}

/* ---- as a source ---- */

static int n_refs;

static void count_up(void *arg)
{
	(void)arg;
	n_refs++;
}

static void count_down(void *arg)
{
	(void)arg;
	n_refs--;
}

struct found {
	struct cache_key_id ids[4];
	size_t n;
};

static void add_id(void *arg, const struct cache_key_id *id)
{
	struct found *f = arg;

	assert_true(f->n < 4);
	f->ids[f->n++] = *id;
}

struct hits {
	int64_t created[4];
	size_t n;
};

static void add_hit(void *arg, const struct cache_hit *h)
{
	struct hits *x = arg;

	assert_true(x->n < 4);
	assert_true(h->result_id.len > 0);
	x->created[x->n++] = h->created_ns;
}

static const char *root_text(struct arena *a, const char *digest, uint32_t output)
{
	struct digest d = dgst(digest), r;
	struct cache_key_id id = cache_key_root(&d, output);

	assert_true(cache_key_root_digest(&id, &r));
	return digest_text(&r, a);
}

/* Root A@0, and two records of op B@1 on it: with selector C, and without. */
static struct cache_source *make_source(struct arena *a)
{
	struct remotecache_origin o = { .fetch = { NULL, count_up, count_down, NULL } };
	const char *text = arena_printf(
		a,
		"{\"layers\":[{\"blob\":\"" SHA_A "\",\"parent\":-1}],\"records\":["
		"{\"digest\":\"%s\",\"inputs\":[[{\"selector\":\"" SHA_C "\",\"link\":2}]],"
		"\"layers\":[{\"layer\":0,\"createdAt\":\"2023-11-14T22:13:20Z\"}]},"
		"{\"digest\":\"%s\",\"inputs\":[[{\"link\":3}]]},"
		"{\"digest\":\"%s\"},{\"digest\":\"%s\"}]}",
		root_text(a, SHA_B, 1), root_text(a, SHA_B, 1), root_text(a, SHA_A, 0),
		root_text(a, SHA_A, 0));
	struct arena own = ARENA_INIT;
	struct import_config c;

	assert_null(parse(&own, text, &c));
	return import_source_new(&o, &own, &c);
}

static size_t ask(struct cache_source *s, struct cache_link l, struct cache_key_id *ret)
{
	struct digest da = dgst(SHA_A);
	struct cache_key_id root = cache_key_root(&da, 0);
	struct found f = { .n = 0 };

	s->ops->query(s, &root, &l, add_id, &f);
	*ret = f.ids[0];
	return f.n;
}

static void test_source(void **state)
{
	SCOPED_ARENA(a);
	struct cache_source *s = make_source(&a);
	struct cache_link l = { .input = 0, .output = 1, .digest = dgst(SHA_B) };
	struct cache_key_id with, without;
	struct hits h = { .n = 0 };

	(void)state;
	assert_int_equal(n_refs, 1);
	/* Both copies of the root record are one. */
	assert_int_equal(ask(s, l, &without), 1);
	l.selector = dgst(SHA_C);
	assert_int_equal(ask(s, l, &with), 1);
	assert_memory_not_equal(&with, &without, 1 + sizeof(uint32_t));
	l.output = 0;
	assert_int_equal(ask(s, l, &with), 0);
	l.output = 1;
	l.input = 1;
	assert_int_equal(ask(s, l, &with), 0);
	l.input = 0;
	assert_int_equal(ask(s, l, &with), 1);
	s->ops->results(s, &with, add_hit, &h);
	assert_int_equal(h.n, 1);
	assert_int_equal(h.created[0], INT64_C(1700000000000000000));
	h.n = 0;
	s->ops->results(s, &without, add_hit, &h);
	assert_int_equal(h.n, 0);
	cache_source_unref(s);
	assert_int_equal(n_refs, 0);
}

static void test_unknown_result(void **state)
{
	SCOPED_ARENA(a);
	struct cache_source *s = make_source(&a);
	struct cache_key_id id = { .len = 4 };
	struct result *r;
	static const char *const ids[] = { "", "7", "zz", "400000000", "ffffffffffffffffffffffff" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		SCOPED_ERR(e);

		e = s->ops->load(s, NULL, NULL, &id, str_from(ids[i]), &r);
		assert_true(err_is(e, ERR_NOT_FOUND));
	}
	cache_source_unref(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layers),         cmocka_unit_test(test_annotated),
		cmocka_unit_test(test_junk),           cmocka_unit_test(test_source),
		cmocka_unit_test(test_unknown_result),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
