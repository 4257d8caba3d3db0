/* Records, handles, metadata, views, restarts. */
#include "env.h"

static void commit_and_restart(void **state)
{
	struct env *e = *state;
	struct cache_ref *a = env_layer(e, NULL, "one", "1"), *b = env_layer(e, a, "two", "2"), *r;
	char *id_a = arena_strdup(&e->a, cache_ref_id(a)), *id_b;
	struct cache_mut *m;

	id_b = arena_strdup(&e->a, cache_ref_id(b));
	assert_ptr_equal(cache_ref_parent(b), a);
	assert_null(cache_ref_parent(a));
	assert_string_equal(cache_ref_description(b), "two");
	env_expect(e, b, "one", "1");
	env_expect(e, b, "two", "2");
	env_expect(e, a, "two", NULL);
	r = cache_ref_clone(b);
	assert_ptr_equal(r, b);
	cache_ref_release(r);
	OK(cache_new(e->c, e->ctx, b, NULL, &m)); /* is gone with its handle */
	assert_int_equal(env_count(e), 3);
	cache_mut_release(m);
	assert_int_equal(env_count(e), 2);
	cache_ref_release(a);
	cache_ref_release(b);
	env_reopen(e);
	assert_int_equal(env_count(e), 2);
	b = env_get(e, id_b);
	assert_string_equal(cache_ref_id(cache_ref_parent(b)), id_a);
	assert_string_equal(cache_ref_description(b), "two");
	env_expect(e, b, "one", "1");
	cache_ref_release(b);
	EXPECT(ERR_NOT_FOUND, cache_get(e->c, e->ctx, STR("nope"), &b));
}

static void upper_only(void **state)
{
	struct env *e = *state;
	struct cache_ref *a = env_layer(e, NULL, "one", "1"), *b;
	struct cache_mut *m;
	struct mounts *mounts;

	OK(cache_new(e->c, e->ctx, a, NULL, &m));
	OK(cache_mut_upper(m, &e->a, &mounts));
	assert_int_equal(mounts->kind, MOUNT_BIND);
	env_write(mounts, e->tmp, "two", "2");
	OK(cache_mut_commit(m, e->ctx, &b));
	env_expect(e, b, "one", "1");
	env_expect(e, b, "two", "2");
	cache_ref_release(a);
	cache_ref_release(b);
}

static void lost_snapshot(void **state)
{
	struct env *e = *state;
	struct cache_ref *a = env_layer(e, NULL, "one", "1"), *b = env_layer(e, a, "two", "2");
	struct cache_ref *d = env_layer(e, NULL, "three", "3"), *r;
	char *id_a = arena_strdup(&e->a, cache_ref_id(a));
	char *id_b = arena_strdup(&e->a, cache_ref_id(b));
	char *id_d = arena_strdup(&e->a, cache_ref_id(d));

	cache_ref_release(a);
	cache_ref_release(b);
	cache_ref_release(d);
	OK(cache_flush(e->c, true));
	cache_close(e->c);
	OK(snapshot_remove(e->s, str_from(id_b)));
	OK(snapshot_prepare(e->s, STR("stranger"), str_from(id_a)));
	OK(snapshot_commit(e->s, STR("stranger"), STR("stranger")));
	OK(snapshot_prepare(e->s, STR("stranger2"), STR("stranger")));
	OK(cache_open(e->kv, e->s, e->content, e->tmp, e->ctx, &e->c));
	EXPECT(ERR_NOT_FOUND, cache_get(e->c, e->ctx, str_from(id_b), &r));
	r = env_get(e, id_a);
	cache_ref_release(r);
	r = env_get(e, id_d);
	cache_ref_release(r);
	{
		struct snapshot_info info;

		EXPECT(ERR_NOT_FOUND, snapshot_stat(e->s, &e->a, STR("stranger2"), &info));
		EXPECT(ERR_NOT_FOUND, snapshot_stat(e->s, &e->a, STR("stranger"), &info));
	}
}

static void metadata(void **state)
{
	struct env *e = *state;
	struct cache_ref *a = env_layer(e, NULL, "one", "1"), *b = env_layer(e, NULL, "two", "2");
	char *id_a = arena_strdup(&e->a, cache_ref_id(a));
	char *id_b = arena_strdup(&e->a, cache_ref_id(b));
	struct str value, *ids;
	bool found;
	size_t n;

	OK(cache_meta_set(e->c, str_from(id_a), "k", STR("v"), STR("ix")));
	OK(cache_meta_set(e->c, str_from(id_b), "k", STR("w"), STR("ix")));
	OK(cache_meta_set(e->c, str_from(id_b), "other", STR("x"), STR_NONE));
	EXPECT(ERR_NOT_FOUND, cache_meta_set(e->c, STR("nope"), "k", STR("v"), STR_NONE));
	cache_ref_release(a);
	cache_ref_release(b);
	for (int i = 0; i < 2; i++) {
		OK(cache_meta_search(e->c, STR("ix"), &e->a, &ids, &n));
		assert_int_equal(n, 2);
		OK(cache_meta_get(e->c, str_from(id_b), "k", &e->a, &value, &found));
		assert_true(found && str_eq(value, STR("w")));
		OK(cache_meta_get(e->c, str_from(id_a), "other", &e->a, &value, &found));
		assert_false(found);
		env_reopen(e);
	}
	OK(cache_meta_set(e->c, str_from(id_a), "k", STR_NONE, STR_NONE));
	OK(cache_meta_search(e->c, STR("ix"), &e->a, &ids, &n));
	assert_int_equal(n, 1);
	assert_true(str_eq_cstr(ids[0], id_b));
	OK(cache_meta_search(e->c, STR("nothing"), &e->a, &ids, &n));
	assert_int_equal(n, 0);
}

static void retained(void **state)
{
	struct env *e = *state;
	struct cache_opts keep = { .description = STR("kept"),
				   .type = CACHE_TYPE_LOCAL,
				   .retain = true };
	struct cache_opts drop = { .description = STR("dropped") };
	struct cache_mut *m = env_mut(e, NULL, &keep, "f", "1"), *second;
	char *id = arena_strdup(&e->a, cache_mut_id(m));
	char *lost = arena_strdup(&e->a, cache_mut_id(second = env_mut(e, NULL, &drop, "g", "2")));
	struct cache_ref *r;
	struct mounts *mounts;

	EXPECT(ERR_UNAVAILABLE, cache_get_mut(e->c, e->ctx, str_from(id), &m));
	cache_mut_release(second);
	cache_mut_release(m);
	EXPECT(ERR_NOT_FOUND, cache_get_mut(e->c, e->ctx, str_from(lost), &m));
	EXPECT(ERR_NOT_FOUND, cache_get(e->c, e->ctx, str_from(id), &r));
	env_reopen(e);
	OK(cache_get_mut(e->c, e->ctx, str_from(id), &m));
	OK(cache_mut_mounts(m, e->ctx, &e->a, true, &mounts));
	assert_true(mounts->readonly);
	assert_int_equal(env_count(e), 1);
	cache_mut_release(m);
}

static void views(void **state)
{
	struct env *e = *state;
	struct cache_opts o = { .description = STR("context"),
				.type = CACHE_TYPE_LOCAL,
				.retain = true };
	struct cache_mut *m = env_mut(e, NULL, &o, "f", "1");
	char *id = arena_strdup(&e->a, cache_mut_id(m)), *view_id;
	struct cache_ref *v, *w, *child;
	struct mounts *mounts;

	OK(cache_mut_freeze(m, e->ctx, &v));
	assert_string_not_equal(cache_ref_id(v), id);
	env_expect(e, v, "f", "1");
	assert_int_equal(env_count(e), 1); /* the view speaks for both */
	view_id = arena_strdup(&e->a, cache_ref_id(v));
	cache_ref_release(v);
	assert_int_equal(env_count(e), 1);
	/* Kept until the next write, also over a restart. */
	env_reopen(e);
	v = env_get(e, view_id);
	env_expect(e, v, "f", "1");
	cache_ref_release(v);

	/* Nobody has it: gone with the next write. */
	OK(cache_get_mut(e->c, e->ctx, str_from(id), &m));
	EXPECT(ERR_NOT_FOUND, cache_get(e->c, e->ctx, str_from(view_id), &v));
	OK(cache_mut_mounts(m, e->ctx, &e->a, false, &mounts));
	assert_int_equal(mounts->kind, MOUNT_BIND);
	env_write(mounts, e->tmp, "f", "2");
	OK(cache_mut_freeze(m, e->ctx, &v));

	/* In use: it stays as it is, the writer goes on above. */
	OK(cache_get_mut(e->c, e->ctx, str_from(id), &m));
	OK(cache_mut_mounts(m, e->ctx, &e->a, false, &mounts));
	env_write(mounts, e->tmp, "f", "3");
	env_expect(e, v, "f", "2");
	OK(cache_mut_freeze(m, e->ctx, &w));
	env_expect(e, w, "f", "3");
	env_expect(e, v, "f", "2");
	cache_ref_release(v);

	/* A layer on a view. */
	child = env_layer(e, w, "g", "4");
	env_expect(e, child, "f", "3");
	OK(cache_get_mut(e->c, e->ctx, str_from(id), &m));
	OK(cache_mut_mounts(m, e->ctx, &e->a, false, &mounts));
	env_write(mounts, e->tmp, "f", "5");
	env_expect(e, child, "f", "3");
	env_expect(e, w, "f", "3");
	cache_mut_release(m);
	cache_ref_release(w);
	cache_ref_release(child);
	env_reopen(e);
	OK(cache_get_mut(e->c, e->ctx, str_from(id), &m));
	OK(cache_mut_freeze(m, e->ctx, &v));
	env_expect(e, v, "f", "5");
	cache_ref_release(v);
}

static void views_are_bounded(void **state)
{
	struct env *e = *state;
	struct cache_opts o = { .retain = true };
	struct cache_mut *m = env_mut(e, NULL, &o, "f", "1");
	char *id = arena_strdup(&e->a, cache_mut_id(m));
	struct cache_ref *v[40];
	struct err *err = NULL;
	size_t n = 0;

	while (n < 40) {
		OK(cache_mut_freeze(m, e->ctx, &v[n++]));
		err = cache_get_mut(e->c, e->ctx, str_from(id), &m);
		if (err)
			break;
	}
	assert_true(err_is(err, ERR_UNAVAILABLE));
	err_free(err);
	assert_in_range(n, 5, 30);
	for (size_t i = 0; i < n; i++)
		cache_ref_release(v[i]);
	OK(cache_get_mut(e->c, e->ctx, str_from(id), &m));
	cache_mut_release(m);
}

struct builder {
	struct env *e;
	struct cache_ref *base;
	size_t i;
};

static struct err *build(struct ctx *ctx, void *arg)
{
	struct builder *b = arg;
	struct cache_mut *m;
	struct cache_ref *r;
	SCOPED_ARENA(a);
	struct mounts *mounts;
	char name[32];

	(void)snprintf(name, sizeof(name), "f%zu", b->i);
	for (int k = 0; k < 10; k++) {
		OK(cache_new(b->e->c, ctx, b->base, NULL, &m));
		OK(cache_mut_upper(m, &a, &mounts));
		env_write(mounts, b->e->tmp, name, "x");
		OK(cache_mut_commit(m, ctx, &r));
		OK(cache_meta_set(b->e->c, str_from(cache_ref_id(r)), "n", str_from(name),
				  STR("ix")));
		cache_ref_release(r);
	}
	return NULL;
}

static void many_at_once(void **state)
{
	struct env *e = *state;
	struct cache_ref *base = env_layer(e, NULL, "one", "1");
	struct builder builders[20];
	struct task_group g;
	struct str *ids;
	size_t n;

	task_group_init(&g, e->ctx, 0);
	for (size_t i = 0; i < 20; i++) {
		builders[i] = (struct builder) { e, base, i };
		task_group_go(&g, "build", build, &builders[i]);
	}
	OK(task_group_wait(&g));
	cache_ref_release(base);
	assert_int_equal(env_count(e), 201);
	env_reopen(e);
	assert_int_equal(env_count(e), 201);
	OK(cache_meta_search(e->c, STR("ix"), &e->a, &ids, &n));
	assert_int_equal(n, 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(commit_and_restart), T(upper_only), T(lost_snapshot),     T(metadata),
		T(retained),           T(views),      T(views_are_bounded), T(many_at_once),
	};

	if (!env_init())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
