/* Disk usage and prune rules. */
#include "env.h"

static struct cache_usage *usage(struct env *e, const char *filter, size_t *ret_n)
{
	struct str f = str_from(filter);
	struct cache_usage *u;

	OK(cache_disk_usage(e->c, e->ctx, &e->a, &f, filter ? 1 : 0, 0, &u, ret_n));
	return u;
}

static const struct cache_usage *find(const struct cache_usage *u, size_t n, const char *id)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq_cstr(u[i].id, id))
			return &u[i];
	fail_msg("no record %s", id);
	return NULL;
}

struct gone {
	struct env *e;
	char ids[64][32];
	size_t n;
	int64_t bytes;
};

static struct err *note(void *arg, const struct cache_usage *u)
{
	struct gone *g = arg;

	if (g->n < 64)
		(void)snprintf(g->ids[g->n], sizeof(g->ids[0]), "%.*s", STR_ARG(u->id));
	g->n++;
	g->bytes += u->size;
	return NULL;
}

static struct gone prune(struct env *e, struct cache_prune rule)
{
	struct gone g = { .e = e };

	OK(cache_prune(e->c, e->ctx, &rule, 1, note, &g));
	return g;
}

static void disk_usage(void **state)
{
	struct env *e = *state;
	struct cache_opts o = { .description = STR("local source"),
				.type = CACHE_TYPE_LOCAL,
				.retain = true };
	struct cache_ref *a = env_layer(e, NULL, "one", "1"), *b = env_layer(e, a, "two", "2"), *v;
	struct cache_mut *m = env_mut(e, NULL, &o, "f", "1");
	const char *ids[] = { cache_ref_id(a), cache_ref_id(b) };
	const struct cache_usage *u;
	struct cache_usage *all;
	size_t n;

	cache_ref_release(a);
	all = usage(e, NULL, &n);
	assert_int_equal(n, 3);
	u = find(all, n, ids[0]);
	assert_true(u->in_use); /* by its child */
	assert_int_equal(u->usage_count, 1);
	assert_true(u->last_used_ns > 0 && u->size > 0 && u->created_ns > 0);
	assert_int_equal(u->n_parents, 0);
	u = find(all, n, ids[1]);
	assert_int_equal(u->usage_count, 0);
	assert_int_equal(u->last_used_ns, 0);
	assert_true(str_eq_cstr(u->parents[0], ids[0]));
	assert_true(str_eq_cstr(u->type, "regular"));
	all = usage(e, "type==source.local,mutable", &n);
	assert_int_equal(n, 1);
	OK(cache_mut_freeze(m, e->ctx, &v));
	all = usage(e, "type==source.local", &n);
	assert_int_equal(n, 1);
	assert_false(all[0].is_mutable);
	cache_ref_release(v);
	all = usage(e, "type==source.local", &n);
	assert_int_equal(n, 1);
	assert_true(all[0].is_mutable);
	cache_ref_release(b);
	(void)usage(e, "inuse", &n);
	assert_int_equal(n, 0);
	OK(cache_disk_usage(e->c, e->ctx, &e->a, NULL, 0, 3600 * NSEC_PER_SEC, &all, &n));
	assert_int_equal(n, 0);
	OK(cache_disk_usage(e->c, e->ctx, &e->a, NULL, 0, 1, &all, &n));
	assert_int_equal(n, 3);
	{
		struct str bad = STR("id=x");
		struct err *err = cache_disk_usage(e->c, e->ctx, &e->a, &bad, 1, 0, &all, &n);

		assert_string_equal(err_text(err),
				    "failed to parse diskusage filters [id=x]: filters: parse "
				    "error: [id >|=|< x]: unsupported operator \"=\": invalid "
				    "argument");
		err_free(err);
	}
}

static void prune_everything(void **state)
{
	struct env *e = *state;
	struct cache_opts internal = { .type = CACHE_TYPE_INTERNAL };
	struct cache_opts local = { .type = CACHE_TYPE_LOCAL, .retain = true };
	struct cache_ref *a = env_layer(e, NULL, "one", "1"), *b = env_layer(e, a, "two", "2");
	struct cache_ref *i, *used = env_layer(e, NULL, "three", "3"), *v;
	struct cache_compress o = { .type = COMPRESSION_GZIP, .level = -1, .epoch_s = -1 };
	struct cache_layer *l;
	struct str filter = STR("type==source.local");
	struct gone g;
	char *order[2];
	size_t n;

	OK(cache_mut_commit(env_mut(e, NULL, &internal, "i", "i"), e->ctx, &i));
	OK(cache_mut_freeze(env_mut(e, NULL, &local, "f", "1"), e->ctx, &v));
	OK(cache_ref_layers(b, e->ctx, &e->a, &o, &l, &n));
	order[0] = arena_strdup(&e->a, cache_ref_id(b));
	order[1] = arena_strdup(&e->a, cache_ref_id(a));
	cache_ref_release(a);
	g = prune(e, (struct cache_prune) { 0 });
	assert_int_equal(g.n, 0); /* all in use */
	cache_ref_release(b);
	cache_ref_release(i);
	cache_ref_release(v);
	g = prune(e, (struct cache_prune) { .filters = &filter, .n_filters = 1 });
	assert_int_equal(g.n, 1);
	g = prune(e, (struct cache_prune) { .keep_duration_ns = 3600 * NSEC_PER_SEC });
	assert_int_equal(g.n, 0);
	g = prune(e, (struct cache_prune) { 0 });
	assert_int_equal(g.n, 2);
	assert_string_equal(g.ids[0], order[0]);
	assert_string_equal(g.ids[1], order[1]);
	assert_true(g.bytes > 0);
	for (size_t k = 0; k < n; k++)
		assert_false(content_has(e->content, e->ctx, &l[k].desc.digest));
	g = prune(e, (struct cache_prune) { .all = true });
	assert_int_equal(g.n, 1);
	(void)usage(e, NULL, &n);
	assert_int_equal(n, 1);
	cache_ref_release(used);
	g = prune(e, (struct cache_prune) { .all = true });
	assert_int_equal(g.n, 1);
	env_reopen(e);
	assert_int_equal(env_count(e), 0);
}

static struct err *count_snapshots(void *arg, const struct snapshot_info *info)
{
	++*(size_t *)arg;
	return NULL;
}

static char *make_sized(struct env *e, size_t bytes, int uses)
{
	char *text = arena_alloc(&e->a, bytes + 1);
	struct cache_ref *r;
	char *id;

	memset(text, 'x', bytes);
	r = env_layer(e, NULL, "f", text);
	id = arena_strdup(&e->a, cache_ref_id(r));
	cache_ref_release(r);
	for (int i = 1; i < uses; i++)
		cache_ref_release(env_get(e, id));
	return id;
}

static void caps(void **state)
{
	struct env *e = *state;
	char *ids[5];
	struct cache_usage *u;
	struct gone g;
	int64_t total = 0, one;
	size_t n;

	/* The first is the oldest, but the most used. */
	for (int i = 0; i < 5; i++)
		ids[i] = make_sized(e, 100000, i == 0 ? 20 : 1);
	cache_ref_release(env_get(e, ids[0]));
	u = usage(e, NULL, &n);
	assert_int_equal(n, 5);
	for (size_t i = 0; i < n; i++)
		total += u[i].size;
	one = total / 5;
	g = prune(e, (struct cache_prune) { .max_used_space = total + 1 });
	assert_int_equal(g.n, 0);
	g = prune(e, (struct cache_prune) { .min_free_space = 1 });
	assert_int_equal(g.n, 0);
	g = prune(e, (struct cache_prune) { .max_used_space = 1, .reserved_space = total + 1 });
	assert_int_equal(g.n, 0);
	/* Down to below four. */
	g = prune(e, (struct cache_prune) { .max_used_space = 4 * one });
	assert_int_equal(g.n, 2);
	assert_string_equal(g.ids[0], ids[1]);
	assert_string_equal(g.ids[1], ids[2]);
	g = prune(e, (struct cache_prune) { .min_free_space = INT64_MAX / 2 });
	assert_int_equal(g.n, 3);
	n = 0;
	OK(e->s->ops->each(e->s, count_snapshots, &n));
	assert_int_equal(n, 0);
}

static struct err *stop(void *arg, const struct cache_usage *u)
{
	return err_new(ERR_CANCELED, "client went away");
}

static void many(void **state)
{
	enum { N = 400 };
	struct env *e = *state;
	struct cache_prune rule = { 0 };

	for (int i = 0; i < N; i++) {
		struct cache_ref *r;
		struct cache_mut *m;
		struct mounts *mounts;

		OK(cache_new(e->c, e->ctx, NULL, NULL, &m));
		OK(cache_mut_mounts(m, e->ctx, &e->a, false, &mounts));
		OK(cache_mut_commit(m, e->ctx, &r));
		cache_ref_release(r);
	}
	EXPECT(ERR_CANCELED, cache_prune(e->c, e->ctx, &rule, 1, stop, NULL));
	(void)prune(e, (struct cache_prune) { 0 });
	env_reopen(e);
	assert_int_equal(env_count(e), 0);
}

static void deep_chain(void **state)
{
	struct env *e = *state;
	struct cache_ref *r = NULL, *next;
	struct gone g;

	for (int i = 0; i < 150; i++) {
		next = env_layer(e, r, i & 1 ? "a" : "b", "x");
		cache_ref_release(r);
		r = next;
	}
	env_expect(e, r, "a", "x");
	cache_ref_release(r);
	env_reopen(e);
	assert_int_equal(env_count(e), 150);
	g = prune(e, (struct cache_prune) { 0 });
	assert_int_equal(g.n, 150);
}

int main(void)
{
	const struct CMUnitTest tests[] = { T(disk_usage), T(prune_everything), T(caps), T(many),
					    T(deep_chain) };

	if (!env_init())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
