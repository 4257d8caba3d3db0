#include "registry/limiter.h"

#include "servers.h"

#include <stdatomic.h>

static void test_slots(void **state)
{
	struct ctx *ctx = ctx_new_root(NULL);
	struct ctx *soon = ctx_new_timeout(ctx, 50 * NSEC_PER_MSEC);
	struct limiter l;
	int a, b, json, again;

	limiter_init(&l, 2);
	OK(limiter_take(&l, ctx, false, &a));
	OK(limiter_take(&l, ctx, true, &b));
	OK(limiter_take(&l, ctx, true, &json)); /* the extra one */
	FAILS("context deadline exceeded", limiter_take(&l, soon, true, &again));
	FAILS("context deadline exceeded", limiter_take(&l, soon, false, &again));
	limiter_give(&l, json);
	FAILS("context deadline exceeded", limiter_take(&l, soon, false, &again));
	limiter_give(&l, a);
	OK(limiter_take(&l, ctx, false, &again));
	limiter_give(&l, again);
	limiter_give(&l, b);
	limiter_fini(&l);
	ctx_unref(soon);
	ctx_unref(ctx);
}

struct load {
	struct limiter l;
	atomic_int now, now_any, most, most_any;
	atomic_int turn;
};

static void note_most(atomic_int *most, int n)
{
	int m = atomic_load(most);

	while (n > m && !atomic_compare_exchange_weak(most, &m, n)) {
	}
}

static struct err *work(struct ctx *ctx, void *arg)
{
	struct load *x = arg;

	for (int i = 0; i < 200; i++) {
		bool json = atomic_fetch_add(&x->turn, 1) & 1;
		int slot;

		TRY(limiter_take(&x->l, ctx, json, &slot));
		note_most(&x->most, atomic_fetch_add(&x->now, 1) + 1);
		if (!json)
			note_most(&x->most_any, atomic_fetch_add(&x->now_any, 1) + 1);
		(void)sched_yield();
		if (!json)
			(void)atomic_fetch_sub(&x->now_any, 1);
		(void)atomic_fetch_sub(&x->now, 1);
		limiter_give(&x->l, slot);
	}
	return NULL;
}

static void test_bound(void **state)
{
	struct task_pool *pool = task_pool_new();
	struct ctx *ctx = ctx_new_root(pool);
	struct load x = { 0 };
	struct task_group g;

	limiter_init(&x.l, 3);
	task_group_init(&g, ctx, 0);
	for (int i = 0; i < 12; i++)
		task_group_go(&g, "work", work, &x);
	OK(task_group_wait(&g));
	assert_true(x.most <= 4);
	assert_true(x.most_any <= 3);
	limiter_fini(&x.l);
	ctx_unref(ctx);
	task_pool_free(pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slots),
		cmocka_unit_test(test_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
