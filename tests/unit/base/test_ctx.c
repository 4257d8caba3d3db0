#include "check.h"

#include "base/ctx.h"

#include <stdatomic.h>
#include <unistd.h>

static void cancel_reaches_descendants(void **state)
{
	struct ctx *root = ctx_new_root(NULL), *a = ctx_new(root), *b = ctx_new(a),
		   *other = ctx_new(root);

	OK(ctx_err(b));
	ctx_cancel(a, err_new(ERR_ABORTED, "because"));
	ctx_cancel(a, err_new(ERR_ABORTED, "a second cause goes for nothing"));
	FAILS(ctx_err(a), ERR_ABORTED, "because");
	FAILS(ctx_err(b), ERR_ABORTED, "because");
	assert_true(ctx_done(b));
	assert_false(ctx_done(root));
	assert_false(ctx_done(other));
	ctx_cancel(other, NULL);
	FAILS(ctx_err(other), ERR_CANCELED, "context canceled");
	ctx_unref(b);
	ctx_unref(a);
	ctx_unref(other);
	ctx_unref(root);
	ctx_unref(NULL);
}

static void child_of_a_cancelled_one(void **state)
{
	struct ctx *root = ctx_new_root(NULL), *c;

	ctx_cancel(root, err_new(ERR_ABORTED, "gone"));
	c = ctx_new(root);
	FAILS(ctx_err(c), ERR_ABORTED, "gone");
	/* The child may outlive what its creator held. */
	ctx_unref(root);
	FAILS(ctx_err(c), ERR_ABORTED, "gone");
	ctx_unrefp(&c);
	assert_null(c);
}

static void deadlines(void **state)
{
	struct ctx *root = ctx_new_root(NULL);
	struct ctx *late = ctx_new_timeout(root, 3600 * NSEC_PER_SEC);
	struct ctx *past = ctx_new_deadline(late, clock_now() - 1);
	/* Never later than the parent's. */
	struct ctx *child = ctx_new_timeout(past, 3600 * NSEC_PER_SEC);

	assert_int_equal(ctx_deadline(root), 0);
	assert_false(ctx_done(late));
	FAILS(ctx_err(past), ERR_DEADLINE_EXCEEDED, "context deadline exceeded");
	FAILS(ctx_err(child), ERR_DEADLINE_EXCEEDED, "context deadline exceeded");
	assert_int_equal(ctx_deadline(child), ctx_deadline(past));
	ctx_unref(child);
	ctx_unref(past);
	ctx_unref(late);
	ctx_unref(root);
}

static void count(void *arg)
{
	atomic_fetch_add((atomic_int *)arg, 1);
}

static void watches(void **state)
{
	struct ctx *root = ctx_new_root(NULL), *c = ctx_new(root);
	struct ctx_watch on, off, late;
	atomic_int n = 0;

	assert_true(ctx_watch(c, &on, count, &n));
	assert_true(ctx_watch(c, &off, count, &n));
	ctx_unwatch(c, &off);
	ctx_cancel(root, NULL);
	assert_int_equal(n, 1);
	assert_false(ctx_watch(c, &late, count, &n));
	ctx_unwatch(c, &late);
	ctx_unwatch(c, &on);
	ctx_unwatch(c, &on);
	assert_int_equal(n, 1);
	ctx_unref(c);
	ctx_unref(root);
}

struct race {
	struct ctx *root, *c;
	atomic_int calls;
};

static void *cancel_root(void *arg)
{
	struct race *r = arg;

	ctx_cancel(r->root, NULL);
	return NULL;
}

/* A watch that is taken off while another thread cancels: after ctx_unwatch() its memory may go. */
static void watch_races(void **state)
{
	for (int i = 0; i < 500; i++) {
		struct race r = { 0 };
		struct ctx_watch *w = NEW(struct ctx_watch);
		pthread_t t;
		int before;

		r.root = ctx_new_root(NULL);
		r.c = ctx_new(r.root);
		(void)ctx_watch(r.c, w, count, &r.calls);
		assert_int_equal(pthread_create(&t, NULL, cancel_root, &r), 0);
		ctx_unwatch(r.c, w);
		free(w);
		before = atomic_load(&r.calls);
		/* Children come and go while the tree is being cancelled. */
		ctx_unref(ctx_new(r.c));
		(void)pthread_join(t, NULL);
		assert_int_equal(atomic_load(&r.calls), before);
		assert_true(before <= 1);
		assert_true(ctx_done(r.c));
		ctx_unref(r.c);
		ctx_unref(r.root);
	}
}

static void *cancel_soon(void *arg)
{
	struct timespec ts = { .tv_nsec = 20 * NSEC_PER_MSEC };

	(void)nanosleep(&ts, NULL);
	ctx_cancel(arg, err_new(ERR_ABORTED, "stop"));
	return NULL;
}

static void poll_ends(void **state)
{
	struct ctx *root = ctx_new_root(NULL), *c;
	struct pollfd p = { .events = POLLIN };
	int fds[2], ready = -1;
	pthread_t t;

	assert_int_equal(pipe(fds), 0);
	p.fd = fds[0];
	/* time-out */
	OK(ctx_poll(root, &p, 1, 10, &ready));
	assert_int_equal(ready, 0);
	/* deadline before the time-out */
	c = ctx_new_timeout(root, 10 * NSEC_PER_MSEC);
	FAILS_CODE(ctx_poll(c, &p, 1, -1, &ready), ERR_DEADLINE_EXCEEDED);
	FAILS_CODE(ctx_sleep(c, NSEC_PER_SEC), ERR_DEADLINE_EXCEEDED);
	ctx_unref(c);
	/* readiness */
	assert_int_equal(write(fds[1], "x", 1), 1);
	OK(ctx_poll(root, &p, 1, -1, &ready));
	assert_int_equal(ready, 1);
	assert_true(p.revents & POLLIN);
	OK(ctx_sleep(root, NSEC_PER_MSEC));
	/* cancel from another thread */
	c = ctx_new(root);
	assert_int_equal(pthread_create(&t, NULL, cancel_soon, c), 0);
	FAILS(ctx_sleep(c, 60 * NSEC_PER_SEC), ERR_ABORTED, "stop");
	(void)pthread_join(t, NULL);
	FAILS(ctx_poll(c, NULL, 0, -1, &ready), ERR_ABORTED, "stop");
	ctx_unref(c);
	ctx_unref(root);
	(void)close(fds[0]);
	(void)close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cancel_reaches_descendants),
		cmocka_unit_test(child_of_a_cancelled_one),
		cmocka_unit_test(deadlines),
		cmocka_unit_test(watches),
		cmocka_unit_test(watch_races),
		cmocka_unit_test(poll_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
