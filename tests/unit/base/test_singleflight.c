#include "check.h"

#include "base/singleflight.h"
#include "base/task.h"

#include <stdatomic.h>

static struct task_pool *pool;
static struct ctx *root;
static struct singleflight flight;
static atomic_int runs, freed;

static int setup(void **state)
{
	pool = task_pool_new();
	root = ctx_new_root(pool);
	singleflight_init(&flight, root);
	atomic_store(&runs, 0);
	atomic_store(&freed, 0);
	return 0;
}

static int teardown(void **state)
{
	/* A run that nobody waits for any more still ends. */
	while (task_pool_active(pool))
		err_free(ctx_sleep(root, NSEC_PER_MSEC));
	singleflight_fini(&flight);
	ctx_unref(root);
	task_pool_free(pool);
	return 0;
}

static void count_free(void *arg)
{
	atomic_fetch_add(&freed, 1);
}

static struct err *slow(struct ctx *ctx, void *arg)
{
	atomic_fetch_add(&runs, 1);
	TRY(ctx_sleep(ctx, 100 * NSEC_PER_MSEC));
	return err_new(ERR_ABORTED, "answer");
}

static struct err *call(struct ctx *ctx, void *arg)
{
	return singleflight_do(&flight, ctx, STR("key"), slow, NULL, count_free);
}

static void joined(void **state)
{
	struct task *t[10];

	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		t[i] = task_start(root, "call", call, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		FAILS(task_wait(t[i]), ERR_ABORTED, "answer");
	assert_true(atomic_load(&runs) < 10);
	assert_int_equal(atomic_load(&freed), 10);
	/* Nothing is remembered. */
	FAILS(call(root, NULL), ERR_ABORTED, "answer");
}

static struct err *until_cancelled(struct ctx *ctx, void *arg)
{
	struct err *e;

	atomic_fetch_add(&runs, 1);
	e = ctx_sleep(ctx, 600 * NSEC_PER_SEC);
	atomic_fetch_add((atomic_int *)arg, 1);
	return e;
}

/* The run ends when its last caller leaves, and a new call makes a new run. */
static void last_one_leaves(void **state)
{
	atomic_int ended = 0;

	for (int i = 1; i <= 3; i++) {
		struct ctx *c = ctx_new_timeout(root, 10 * NSEC_PER_MSEC);

		FAILS_CODE(singleflight_do(&flight, c, STR("k"), until_cancelled, &ended, NULL),
			   ERR_DEADLINE_EXCEEDED);
		ctx_unref(c);
	}
	while (atomic_load(&ended) < 3)
		OK(ctx_sleep(root, NSEC_PER_MSEC));
	assert_int_equal(atomic_load(&runs), 3);
}

static struct err *impatient(struct ctx *ctx, void *arg)
{
	struct ctx *c = ctx_new_timeout(ctx, 5 * NSEC_PER_MSEC);
	struct err *e = singleflight_do(&flight, c, STR("key"), slow, NULL, count_free);

	ctx_unref(c);
	return e;
}

/* One that leaves early does not end it for the others. */
static void one_leaves(void **state)
{
	struct task *stays = task_start(root, "stays", call, NULL);
	struct task *leaves;

	while (!atomic_load(&runs))
		OK(ctx_sleep(root, NSEC_PER_MSEC));
	leaves = task_start(root, "leaves", impatient, NULL);
	FAILS_CODE(task_wait(leaves), ERR_DEADLINE_EXCEEDED);
	FAILS(task_wait(stays), ERR_ABORTED, "answer");
	assert_int_equal(atomic_load(&runs), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(joined, setup, teardown),
		cmocka_unit_test_setup_teardown(last_one_leaves, setup, teardown),
		cmocka_unit_test_setup_teardown(one_leaves, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
