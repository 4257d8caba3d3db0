#include "check.h"

#include "base/task.h"

#include <stdatomic.h>

static struct task_pool *pool;
static struct ctx *root;

static int setup(void **state)
{
	pool = task_pool_new();
	root = ctx_new_root(pool);
	return 0;
}

static int teardown(void **state)
{
	ctx_unref(root);
	task_pool_free(pool);
	return 0;
}

static struct err *add_one(struct ctx *ctx, void *arg)
{
	atomic_fetch_add((atomic_int *)arg, 1);
	return NULL;
}

static struct err *failing(struct ctx *ctx, void *arg)
{
	return err_new(ERR_ABORTED, "%s", (const char *)arg);
}

static struct err *until_cancelled(struct ctx *ctx, void *arg)
{
	return ctx_sleep(ctx, 600 * NSEC_PER_SEC);
}

static void results(void **state)
{
	atomic_int n = 0;

	OK(task_wait(task_start(root, "t", add_one, &n)));
	assert_int_equal(n, 1);
	FAILS(task_wait(task_start(root, "t", failing, (void *)"no")), ERR_ABORTED, "no");
	for (int i = 0; i < 200; i++)
		task_go(root, "t", add_one, &n);
	task_go(root, "t", failing, (void *)"dropped");
	while (task_pool_active(pool))
		OK(ctx_sleep(root, NSEC_PER_MSEC));
	assert_int_equal(n, 201);
}

static struct err *chain(struct ctx *ctx, void *arg)
{
	int *left = arg;

	if (!*left)
		return NULL;
	--*left;
	return task_wait(task_start(ctx, "chain", chain, left));
}

/* Tasks that wait for tasks: there is always a thread for the next one. */
static void waiting_for_each_other(void **state)
{
	int left = 60;

	OK(task_wait(task_start(root, "chain", chain, &left)));
	assert_int_equal(left, 0);
}

static void cancelled(void **state)
{
	struct ctx *c = ctx_new(root);
	struct task *t = task_start(c, "t", until_cancelled, NULL);

	ctx_cancel(c, err_new(ERR_ABORTED, "stop"));
	ctx_unref(c); /* the task holds its own */
	FAILS(task_wait(t), ERR_ABORTED, "stop");
}

static void group_all(void **state)
{
	struct task_group g;
	atomic_int n = 0;

	task_group_init(&g, root, 0);
	for (int i = 0; i < 100; i++)
		task_group_go(&g, "t", add_one, &n);
	OK(task_group_wait(&g));
	assert_int_equal(n, 100);
	task_group_init(&g, root, 0);
	OK(task_group_wait(&g));
}

static void group_first_error(void **state)
{
	struct task_group g;

	task_group_init(&g, root, 0);
	for (int i = 0; i < 10; i++)
		task_group_go(&g, "t", until_cancelled, NULL);
	task_group_go(&g, "t", failing, (void *)"first");
	FAILS(task_group_wait(&g), ERR_ABORTED, "first");
	assert_false(ctx_done(root));
}

struct gauge {
	atomic_int now, max;
};

static struct err *measure(struct ctx *ctx, void *arg)
{
	struct gauge *g = arg;
	int n = atomic_fetch_add(&g->now, 1) + 1, max = atomic_load(&g->max);

	while (n > max && !atomic_compare_exchange_weak(&g->max, &max, n))
		;
	TRY(ctx_sleep(ctx, NSEC_PER_MSEC));
	atomic_fetch_sub(&g->now, 1);
	return NULL;
}

static void group_limit(void **state)
{
	struct task_group g;
	struct gauge gauge = { 0 };

	task_group_init(&g, root, 3);
	for (int i = 0; i < 30; i++)
		task_group_go(&g, "t", measure, &gauge);
	OK(task_group_wait(&g));
	assert_true(gauge.max <= 3);
	assert_int_equal(gauge.now, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(results, setup, teardown),
		cmocka_unit_test_setup_teardown(waiting_for_each_other, setup, teardown),
		cmocka_unit_test_setup_teardown(cancelled, setup, teardown),
		cmocka_unit_test_setup_teardown(group_all, setup, teardown),
		cmocka_unit_test_setup_teardown(group_first_error, setup, teardown),
		cmocka_unit_test_setup_teardown(group_limit, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
