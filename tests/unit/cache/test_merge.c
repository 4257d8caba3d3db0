/* MergeOp and DiffOp. */
#include "env.h"

static struct cache_ref *merge(struct env *e, struct cache_ref *a, struct cache_ref *b)
{
	struct cache_ref *in[] = { a, NULL, b }, *r;

	OK(cache_merge(e->c, e->ctx, in, 3, NULL, &r));
	return r;
}

static void merges(void **state)
{
	struct env *e = *state;
	struct cache_ref *a = env_layer(e, NULL, "f", "1"), *b = env_layer(e, NULL, "f", "2");
	struct cache_ref *c = env_layer(e, b, "g", "3"), *m, *none, *top;
	struct cache_compress o = { .type = COMPRESSION_GZIP, .level = -1, .epoch_s = -1 };
	struct cache_layer *l;
	char *id;
	size_t n;

	m = merge(e, a, c);
	env_expect(e, m, "f", "2");
	env_expect(e, m, "g", "3");
	OK(cache_ref_layers(m, e->ctx, &e->a, &o, &l, &n));
	assert_int_equal(n, 3);
	assert_ptr_equal(l[0].ref, a);
	assert_ptr_equal(l[1].ref, b);
	assert_ptr_equal(l[2].ref, c);
	top = env_layer(e, m, "h", "4");
	env_expect(e, top, "g", "3");
	OK(cache_ref_layers(top, e->ctx, &e->a, &o, &l, &n));
	assert_int_equal(n, 4);
	assert_null(cache_ref_parent(m));
	assert_ptr_equal(cache_ref_parent(top), m);
	id = arena_strdup(&e->a, cache_ref_id(top));
	cache_ref_release(m);
	m = merge(e, a, NULL);
	assert_ptr_equal(m, a);
	cache_ref_release(m);
	OK(cache_merge(e->c, e->ctx, NULL, 0, NULL, &none));
	assert_null(none);
	/* One that was never looked at. */
	m = merge(e, b, a);
	cache_ref_release(a);
	cache_ref_release(b);
	cache_ref_release(c);
	cache_ref_release(top);
	none = NULL;
	{
		char *lazy_id = arena_strdup(&e->a, cache_ref_id(m));

		cache_ref_release(m);
		env_reopen(e);
		m = env_get(e, lazy_id);
	}
	env_expect(e, m, "f", "1");
	cache_ref_release(m);
	top = env_get(e, id);
	env_expect(e, top, "h", "4");
	cache_ref_release(top);
}

static void diffs(void **state)
{
	struct env *e = *state;
	struct cache_ref *a = env_layer(e, NULL, "f", "1"), *b = env_layer(e, a, "g", "2");
	struct cache_ref *c = env_layer(e, b, "h", "3"), *other = env_layer(e, NULL, "o", "4");
	struct cache_compress o = { .type = COMPRESSION_GZIP, .level = -1, .epoch_s = -1 };
	struct cache_ref *d, *m, *top;
	struct cache_layer *l, *l2;
	size_t n;

	OK(cache_diff(e->c, e->ctx, NULL, b, NULL, &d));
	assert_ptr_equal(d, b);
	cache_ref_release(d);
	OK(cache_diff(e->c, e->ctx, b, b, NULL, &d));
	assert_null(d);

	/* lower is below upper: its own layers */
	OK(cache_diff(e->c, e->ctx, a, c, NULL, &d));
	OK(cache_ref_layers(d, e->ctx, &e->a, &o, &l, &n));
	assert_int_equal(n, 2);
	assert_ptr_equal(l[0].ref, b);
	assert_ptr_equal(l[1].ref, c);
	env_expect(e, d, "h", "3");
	env_expect(e, d, "f", NULL);
	m = merge(e, other, d);
	env_expect(e, m, "o", "4");
	env_expect(e, m, "g", "2");
	env_expect(e, m, "f", NULL);
	OK(cache_ref_layers(m, e->ctx, &e->a, &o, &l, &n));
	assert_int_equal(n, 3);
	cache_ref_release(m);
	cache_ref_release(d);

	/* unrelated: one layer, with deletions */
	OK(cache_diff(e->c, e->ctx, b, other, NULL, &d));
	OK(cache_ref_layers(d, e->ctx, &e->a, &o, &l, &n));
	assert_int_equal(n, 1);
	assert_ptr_equal(l[0].ref, d);
	m = merge(e, c, d);
	env_expect(e, m, "o", "4");
	env_expect(e, m, "h", "3");
	env_expect(e, m, "g", NULL);
	env_expect(e, m, "f", NULL);
	cache_ref_release(m);
	cache_ref_release(d);

	/* lower is a merge, and below upper; what stands on a merge beside that merge itself */
	m = merge(e, other, c);
	top = env_layer(e, m, "t", "5");
	OK(cache_diff(e->c, e->ctx, m, top, NULL, &d));
	OK(cache_ref_layers(d, e->ctx, &e->a, &o, &l, &n));
	assert_int_equal(n, 1);
	assert_ptr_equal(l[0].ref, top);
	cache_ref_release(d);
	d = merge(e, top, m);
	OK(cache_ref_layers(d, e->ctx, &e->a, &o, &l, &n));
	assert_int_equal(n, 5 + 4);
	assert_ptr_equal(l[4].ref, top);
	assert_ptr_equal(l[8].ref, c);
	cache_ref_release(d);
	cache_ref_release(top);
	cache_ref_release(m);

	/* nothing is left of lower */
	OK(cache_diff(e->c, e->ctx, a, NULL, NULL, &d));
	OK(cache_ref_layers(d, e->ctx, &e->a, &o, &l2, &n));
	assert_int_equal(n, 1);
	assert_false(digest_eq(&l2[0].diff_id, &l[0].diff_id));
	m = merge(e, c, d);
	env_expect(e, m, "f", NULL);
	env_expect(e, m, "g", "2");
	cache_ref_release(m);
	cache_ref_release(d);
	cache_ref_release(a);
	cache_ref_release(b);
	cache_ref_release(c);
	cache_ref_release(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = { T(merges), T(diffs) };

	if (!env_init())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
