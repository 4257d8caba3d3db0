#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/task.h"
#include "net/loop.h"

#include <sys/epoll.h>

static int setup(void **state)
{
	struct loop *l;

	assert_null(loop_start(&l));
	*state = l;
	return 0;
}

static int teardown(void **state)
{
	loop_stop(*state);
	return 0;
}

struct counter {
	struct loop *loop;
	struct loop_call call, later;
	int posted, run, later_run;
	bool here;
};

static void count(void *arg)
{
	struct counter *c = arg;

	c->run++;
	c->here = loop_is_here(c->loop);
	if (c->run < c->posted)
		loop_post(c->loop, &c->call);
}

static void nothing(void *arg)
{
	(void)arg;
}

static void test_post(void **state)
{
	struct counter c = { .loop = *state, .posted = 1000 };

	loop_call_init(&c.call, count, &c);
	loop_post(c.loop, &c.call);
	/* Each run posts the next; runs of ours are queued behind. */
	for (int i = 0; i < 1001; i++)
		loop_run(c.loop, nothing, NULL);
	assert_int_equal(c.run, 1000);
	assert_true(c.here);
	assert_false(loop_is_here(c.loop));
}

static void later(void *arg)
{
	struct counter *c = arg;

	c->later_run++;
}

static void queue_later(void *arg)
{
	struct counter *c = arg;

	loop_later(c->loop, &c->later);
	loop_later(c->loop, &c->later); /* once is enough */
	assert_int_equal(c->later_run, 0);
}

static void queue_and_cancel(void *arg)
{
	struct counter *c = arg;

	loop_later(c->loop, &c->later);
	loop_later_cancel(&c->later);
}

static void test_later(void **state)
{
	struct counter c = { .loop = *state };

	loop_call_init(&c.later, later, &c);
	loop_run(c.loop, queue_later, &c);
	loop_run(c.loop, nothing, NULL);
	assert_int_equal(c.later_run, 1);
	loop_run(c.loop, queue_and_cancel, &c);
	loop_run(c.loop, nothing, NULL);
	assert_int_equal(c.later_run, 1);
}

#define N_TIMERS 100
struct timers {
	struct loop *loop;
	struct loop_timer t[N_TIMERS];
	struct lock lock;
	struct cond cond;
	int64_t last;
	int fired;
	bool in_order;
};

struct one {
	struct timers *all;
	int64_t when;
};
static struct one ones[N_TIMERS];

static void fire(void *arg)
{
	struct one *o = arg;
	struct timers *t = o->all;

	LOCKED(&t->lock);
	if (o->when < t->last || clock_now() < o->when)
		t->in_order = false;
	t->last = o->when;
	t->fired++;
	cond_broadcast(&t->cond);
}

static void set_timers(void *arg)
{
	struct timers *t = arg;
	int64_t now = clock_now();

	for (int i = 0; i < N_TIMERS; i++) {
		ones[i] = (struct one) { t, now + (i * 37 % N_TIMERS) * NSEC_PER_MSEC / 4 };
		t->t[i].fn = fire;
		t->t[i].arg = &ones[i];
		loop_timer_set(t->loop, &t->t[i], now + 3600 * NSEC_PER_SEC);
		loop_timer_set(t->loop, &t->t[i], ones[i].when);
	}
	for (int i = 0; i < N_TIMERS; i += 3)
		loop_timer_cancel(t->loop, &t->t[i]);
	loop_timer_cancel(t->loop, &t->t[0]);
}

static void test_timers(void **state)
{
	struct timers t = { .loop = *state, .in_order = true };

	lock_init(&t.lock, LOCK_LEAF);
	cond_init(&t.cond);
	loop_run(t.loop, set_timers, &t);
	lock_take(&t.lock);
	while (t.fired < N_TIMERS - (N_TIMERS + 2) / 3)
		cond_wait_uninterrupted(&t.cond, &t.lock);
	lock_drop(&t.lock);
	assert_true(t.in_order);
	cond_fini(&t.cond);
	lock_fini(&t.lock);
}

/* Two descriptors are ready in one turn; the first one's callback takes the second away. */
struct pair {
	struct loop *loop;
	struct loop_io a, b;
	int calls;
};

static void take_other(void *arg, uint32_t events)
{
	struct pair *p = arg;

	assert_true(events & EPOLLIN);
	p->calls++;
	loop_io_del(p->loop, &p->a);
	loop_io_del(p->loop, &p->b);
}

static void add_pair(void *arg)
{
	struct pair *p = arg;

	assert_null(loop_io_add(p->loop, &p->a, EPOLLIN));
	assert_null(loop_io_add(p->loop, &p->b, EPOLLIN));
}

static void test_io_del(void **state)
{
	struct pair p = { .loop = *state };
	int x[2], y[2];

	assert_int_equal(pipe(x), 0);
	assert_int_equal(pipe(y), 0);
	assert_int_equal(write(x[1], "x", 1), 1);
	assert_int_equal(write(y[1], "y", 1), 1);
	p.a = (struct loop_io) { x[0], take_other, &p };
	p.b = (struct loop_io) { y[0], take_other, &p };
	loop_run(p.loop, add_pair, &p);
	for (int i = 0; i < 3; i++)
		loop_run(p.loop, nothing, NULL);
	assert_int_equal(p.calls, 1);
	for (int i = 0; i < 2; i++) {
		(void)close(x[i]);
		(void)close(y[i]);
	}
}

static struct err *post_many(struct ctx *ctx, void *arg)
{
	for (int i = 0; i < 500; i++)
		loop_run(arg, nothing, NULL);
	return NULL;
}

static void test_many_threads(void **state)
{
	struct task_pool *pool = task_pool_new();
	struct ctx *root = ctx_new_root(pool);
	struct task_group g;

	task_group_init(&g, root, 0);
	for (int i = 0; i < 8; i++)
		task_group_go(&g, "post", post_many, *state);
	assert_null(task_group_wait(&g));
	ctx_unref(root);
	task_pool_free(pool);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_post), T(test_later), T(test_timers), T(test_io_del), T(test_many_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
