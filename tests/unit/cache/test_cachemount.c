#include "env.h"

#include "cache/cachemount.h"

#include <stdatomic.h>

static struct cachemount *get(struct env *e, struct cachemounts *ms, const char *id,
			      enum cachemount_sharing sharing)
{
	struct cache_opts o = { .description = STR("cached mount") };
	struct cachemount *m;

	OK(cachemount_get(ms, e->ctx, str_from(id), NULL, sharing, &o, &m));
	return m;
}

static char *id_of(struct env *e, struct cachemount *m)
{
	return arena_strdup(&e->a, cachemount_record_id(m));
}

static void sharing(void **state)
{
	struct env *e = *state;
	struct cachemounts *ms = cachemounts_new(e->c);
	struct cachemount *a = get(e, ms, "x", CACHEMOUNT_SHARED);
	struct cachemount *b = get(e, ms, "x", CACHEMOUNT_SHARED), *c, *d;
	struct mounts *mounts;
	char *id = id_of(e, a), *private_id;
	struct str *ids;
	size_t n;

	assert_ptr_equal(a, b);
	OK(cachemount_mounts(a, e->ctx, &e->a, false, &mounts));
	env_write(mounts, e->tmp, "f", "1");
	c = get(e, ms, "x", CACHEMOUNT_PRIVATE); /* the other is in use */
	assert_string_not_equal(cachemount_record_id(c), id);
	private_id = id_of(e, c);
	d = get(e, ms, "y", CACHEMOUNT_SHARED);
	assert_string_not_equal(cachemount_record_id(d), id);
	cachemount_put(a);
	cachemount_put(b);
	cachemount_put(c);
	cachemount_put(d);
	/* The one that was made first is the first to be taken. */
	a = get(e, ms, "x", CACHEMOUNT_PRIVATE);
	assert_string_equal(cachemount_record_id(a), id);
	b = cachemount_ref(a);
	assert_ptr_equal(a, b);
	c = get(e, ms, "x", CACHEMOUNT_PRIVATE);
	assert_string_equal(cachemount_record_id(c), private_id);
	cachemount_put(a);
	cachemount_put(b);
	cachemount_put(c);
	OK(cache_meta_search(e->c, STR("cache-dir:x"), &e->a, &ids, &n));
	assert_int_equal(n, 2);
	cachemounts_free(ms);
	env_reopen(e);
	ms = cachemounts_new(e->c);
	a = get(e, ms, "x", CACHEMOUNT_LOCKED);
	OK(cachemount_mounts(a, e->ctx, &e->a, false, &mounts));
	cachemount_put(a);
	cachemounts_free(ms);
}

struct locker {
	struct env *e;
	struct cachemounts *ms;
	atomic_int *inside, *most;
	enum cachemount_sharing sharing;
};

static struct err *lock_a_while(struct ctx *ctx, void *arg)
{
	struct locker *l = arg;

	for (int i = 0; i < 20; i++) {
		struct cachemount *m = get(l->e, l->ms, "x", l->sharing);
		int now = ++*l->inside;

		if (now > *l->most)
			*l->most = now;
		sched_yield();
		--*l->inside;
		cachemount_put(m);
	}
	return NULL;
}

static void locked(void **state)
{
	struct env *e = *state;
	struct cachemounts *ms = cachemounts_new(e->c);
	atomic_int inside = 0, most = 0;
	struct locker l = { e, ms, &inside, &most, CACHEMOUNT_LOCKED };
	struct cachemount *m;
	struct task_group g;
	struct ctx *soon;
	struct err *err;
	struct str *ids;
	size_t n;

	task_group_init(&g, e->ctx, 0);
	for (int i = 0; i < 10; i++)
		task_group_go(&g, "lock", lock_a_while, &l);
	OK(task_group_wait(&g));
	assert_int_equal(most, 1);
	OK(cache_meta_search(e->c, STR("cache-dir:x"), &e->a, &ids, &n));
	assert_int_equal(n, 1);

	/* A wait ends with its ctx. */
	m = get(e, ms, "x", CACHEMOUNT_SHARED);
	soon = ctx_new_timeout(e->ctx, 20 * NSEC_PER_MSEC);
	{
		struct cachemount *second;

		err = cachemount_get(ms, soon, STR("x"), NULL, CACHEMOUNT_LOCKED, NULL, &second);
	}
	assert_true(err_is(err, ERR_DEADLINE_EXCEEDED));
	err_free(err);
	ctx_unref(soon);
	cachemount_put(m);
	cachemounts_free(ms);
}

static void mixed(void **state)
{
	struct env *e = *state;
	struct cachemounts *ms = cachemounts_new(e->c);
	atomic_int inside = 0, most = 0;
	struct locker l[3];
	struct task_group g;

	task_group_init(&g, e->ctx, 0);
	for (int i = 0; i < 3; i++)
		l[i] = (struct locker) { e, ms, &inside, &most, (enum cachemount_sharing)i };
	for (int i = 0; i < 9; i++)
		task_group_go(&g, "lock", lock_a_while, &l[i % 3]);
	OK(task_group_wait(&g));
	cachemounts_free(ms);
}

static void on_an_input(void **state)
{
	struct env *e = *state;
	struct cachemounts *ms = cachemounts_new(e->c);
	struct cache_ref *base = env_layer(e, NULL, "f", "1");
	struct cachemount *m, *plain = get(e, ms, "x", CACHEMOUNT_SHARED);
	struct mounts *mounts;
	struct localmount *l;

	OK(cachemount_get(ms, e->ctx, STR("x"), base, CACHEMOUNT_SHARED, NULL, &m));
	assert_string_not_equal(cachemount_record_id(m), cachemount_record_id(plain));
	OK(cachemount_mounts(m, e->ctx, &e->a, false, &mounts));
	OK(localmount_open(mounts, e->tmp, &l));
	assert_int_equal(faccessat(localmount_dirfd(l), "f", F_OK, 0), 0);
	localmount_close(l);
	cachemount_put(m);
	cachemount_put(plain);
	cache_ref_release(base);
	cachemounts_free(ms);
}

static void clear(void **state)
{
	struct env *e = *state;
	struct cachemounts *ms = cachemounts_new(e->c);
	struct cachemount *used = get(e, ms, "x", CACHEMOUNT_SHARED);
	struct cachemount *idle = get(e, ms, "x", CACHEMOUNT_PRIVATE), *m;
	char *id = id_of(e, used), *idle_id = id_of(e, idle);
	struct cache_mut *mut;

	cachemount_put(idle);
	OK(cachemount_clear(ms, e->ctx, STR("x")));
	EXPECT(ERR_NOT_FOUND, cache_get_mut(e->c, e->ctx, str_from(idle_id), &mut));
	m = get(e, ms, "x", CACHEMOUNT_SHARED);
	assert_string_not_equal(cachemount_record_id(m), id);
	cachemount_put(used);
	EXPECT(ERR_NOT_FOUND, cache_get_mut(e->c, e->ctx, str_from(id), &mut));
	cachemount_put(m);
	assert_int_equal(env_count(e), 1);
	cachemounts_free(ms);
}

int main(void)
{
	const struct CMUnitTest tests[] = { T(sharing), T(locked), T(mixed), T(on_an_input),
					    T(clear) };

	if (!env_init())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
