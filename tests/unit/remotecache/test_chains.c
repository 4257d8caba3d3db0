#include "remotecache/chains.h"

#include "base/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define T1 INT64_C(1700000000000000000)
#define SHA_A "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
#define SHA_B "sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"
#define SHA_C "sha256:2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6"

static struct digest dgst(const char *data)
{
	return digest_sha256(str_from(data));
}

struct fixture {
	struct arena a;
	struct export_record records[8];
	struct chain_result results[8];
	size_t n;
};

static uint32_t root(struct fixture *f, struct digest d)
{
	f->records[f->n] = (struct export_record) { .digest = d };
	return (uint32_t)f->n++;
}

/* One input with up to two alternatives. */
static uint32_t inner(struct fixture *f, struct digest d, size_t n, struct export_link x,
		      struct export_link y)
{
	struct export_record *r = &f->records[f->n];

	*r = (struct export_record) { .digest = d, .n_inputs = 1 };
	r->inputs = ARENA_NEW_N(&f->a, struct export_link *, 1);
	r->n_links = ARENA_NEW_N(&f->a, size_t, 1);
	r->inputs[0] = ARENA_NEW_N(&f->a, struct export_link, 2);
	r->inputs[0][0] = x;
	r->inputs[0][1] = y;
	r->n_links[0] = n;
	return (uint32_t)f->n++;
}

static const struct export_link none;

static void expect(struct fixture *f, const char *text)
{
	SCOPED_BUF(out, MIB);
	struct json_out j;

	json_out_init(&j, &out, NULL);
	if (text) {
		assert_true(chains_print(f->records, f->n, f->results, &j));
		assert_string_equal(buf_cstr(&out), text);
	} else {
		assert_false(chains_print(f->records, f->n, f->results, &j));
		assert_int_equal(out.len, 0);
	}
	arena_fini(&f->a);
}

static const uint32_t numbers[] = { 0, 2, 3 };

static void test_form(void **state)
{
	struct fixture f = { 0 };
	uint32_t a = root(&f, dgst("a")), c = root(&f, dgst("c"));
	uint32_t b = inner(&f, dgst("b"), 2, (struct export_link) { a, dgst("c") },
			   (struct export_link) { c, { 0 } });

	(void)state;
	f.results[b] = (struct chain_result) { &numbers[1], 1, false, T1 };
	expect(&f, "[{\"digest\":\"" SHA_C "\"},"
		   "{\"layers\":[{\"layer\":2,\"createdAt\":\"2023-11-14T22:13:20Z\"}],"
		   "\"digest\":\"" SHA_B "\",\"inputs\":[[{\"link\":0},"
		   "{\"selector\":\"" SHA_C "\",\"link\":2}]]},"
		   "{\"digest\":\"" SHA_A "\"}]");
}

static void test_explicit(void **state)
{
	struct fixture f = { 0 };
	uint32_t a = root(&f, dgst("a"));

	(void)state;
	f.results[a] = (struct chain_result) { numbers, 3, true, T1 };
	expect(&f, "[{\"chains\":[{\"layers\":[0,2,3],\"createdAt\":\"2023-11-14T22:13:20Z\"}],"
		   "\"digest\":\"" SHA_A "\"}]");
}

/* A random key, and what has no other way in. */
static void test_random(void **state)
{
	struct fixture f = { 0 };
	uint32_t r = root(&f, digest_random()), a = root(&f, dgst("a"));
	uint32_t lost = inner(&f, dgst("b"), 1, (struct export_link) { r, { 0 } }, none);
	uint32_t kept = inner(&f, dgst("c"), 2, (struct export_link) { r, { 0 } },
			      (struct export_link) { a, { 0 } });
	uint32_t below = inner(&f, dgst("d"), 1, (struct export_link) { lost, { 0 } }, none);

	(void)state;
	f.results[lost] = f.results[kept] = f.results[below] =
		(struct chain_result) { &numbers[0], 1, false, T1 };
	expect(&f, "[{\"layers\":[{\"layer\":0,\"createdAt\":\"2023-11-14T22:13:20Z\"}],"
		   "\"digest\":\"" SHA_C "\",\"inputs\":[[{\"link\":1}]]},"
		   "{\"digest\":\"" SHA_A "\"}]");
}

static void test_no_results(void **state)
{
	struct fixture f = { 0 };
	uint32_t a = root(&f, dgst("a"));

	(void)state;
	(void)inner(&f, dgst("b"), 1, (struct export_link) { a, { 0 } }, none);
	expect(&f, NULL);
}

/* The same keys twice (two platforms), in another order: printed once. */
static void test_copies(void **state)
{
	struct fixture f = { 0 };
	uint32_t a = root(&f, dgst("a")), c = root(&f, dgst("c"));
	uint32_t b1 = inner(&f, dgst("b"), 2, (struct export_link) { a, { 0 } },
			    (struct export_link) { c, { 0 } });
	uint32_t a2 = root(&f, dgst("a"));
	uint32_t b2 = inner(&f, dgst("b"), 2, (struct export_link) { c, { 0 } },
			    (struct export_link) { a2, { 0 } });

	(void)state;
	(void)b1;
	f.results[b2] = (struct chain_result) { &numbers[0], 1, false, 0 };
	expect(&f, "[{\"digest\":\"" SHA_C "\"},"
		   "{\"layers\":[{\"layer\":0}],\"digest\":\"" SHA_B
		   "\",\"inputs\":[[{\"link\":0},{\"link\":2}]]},"
		   "{\"digest\":\"" SHA_A "\"}]");
}

/* Links that point forward are none. */
static void test_forward(void **state)
{
	struct fixture f = { 0 };
	uint32_t b = inner(&f, dgst("b"), 1, (struct export_link) { 0, { 0 } }, none);

	(void)state;
	f.results[b] = (struct chain_result) { &numbers[0], 1, false, 0 };
	expect(&f, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_form),   cmocka_unit_test(test_explicit),
		cmocka_unit_test(test_random), cmocka_unit_test(test_no_results),
		cmocka_unit_test(test_copies), cmocka_unit_test(test_forward),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
