#include "check.h"

#include "base/sem.h"
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

struct shared {
	struct sem sem;
	atomic_int now, max;
};

static struct err *use(struct ctx *ctx, void *arg)
{
	struct shared *s = arg;
	int n;

	TRY(sem_take(&s->sem, ctx, 1));
	n = atomic_fetch_add(&s->now, 1) + 1;
	if (n > atomic_load(&s->max))
		atomic_store(&s->max, n);
	atomic_fetch_sub(&s->now, 1);
	sem_give(&s->sem, 1);
	return NULL;
}

static void never_more_than_total(void **state)
{
	struct shared s = { 0 };
	struct task_group g;

	sem_init(&s.sem, 2);
	task_group_init(&g, root, 0);
	for (int i = 0; i < 200; i++)
		task_group_go(&g, "use", use, &s);
	OK(task_group_wait(&g));
	assert_true(s.max <= 2);
	assert_int_equal(s.sem.free, 2);
	sem_fini(&s.sem);
}

static struct err *take_two(struct ctx *ctx, void *arg)
{
	return sem_take(arg, ctx, 2);
}

/* A big request at the head is not overtaken by a small one. */
static void first_come(void **state)
{
	struct sem s;
	struct ctx *soon = ctx_new_timeout(root, 30 * NSEC_PER_MSEC);
	struct task *t;

	sem_init(&s, 2);
	OK(sem_take(&s, root, 1));
	t = task_start(root, "two", take_two, &s);
	for (;;) {
		bool waits;

		lock_take(&s.lock);
		waits = !list_empty(&s.waiters);
		lock_drop(&s.lock);
		if (waits)
			break;
		OK(ctx_sleep(root, NSEC_PER_MSEC));
	}
	FAILS_CODE(sem_take(&s, soon, 1), ERR_DEADLINE_EXCEEDED);
	sem_give(&s, 1);
	OK(task_wait(t));
	sem_give(&s, 2);
	ctx_unref(soon);
	sem_fini(&s);
}

static void edges(void **state)
{
	struct sem s;
	struct ctx *c = ctx_new(root);

	sem_init(&s, 0); /* unlimited */
	OK(sem_take(&s, c, 1000));
	sem_give(&s, 1000);
	ctx_cancel(c, NULL);
	FAILS_CODE(sem_take(&s, c, 1), ERR_CANCELED);
	sem_fini(&s);
	sem_init(&s, 3);
	OK(sem_take(&s, root, 100)); /* as many as there are */
	assert_int_equal(s.free, 0);
	FAILS_CODE(sem_take(&s, c, 1), ERR_CANCELED);
	sem_give(&s, 100);
	assert_int_equal(s.free, 3);
	sem_fini(&s);
	ctx_unref(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(never_more_than_total, setup, teardown),
		cmocka_unit_test_setup_teardown(first_come, setup, teardown),
		cmocka_unit_test_setup_teardown(edges, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
