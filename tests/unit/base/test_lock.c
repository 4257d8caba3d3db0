#include "check.h"

#include "base/ctx.h"
#include "base/lock.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static void order_and_owner(void **state)
{
	struct lock a, b;

	lock_init(&a, LOCK_DAEMON);
	lock_init(&b, LOCK_LEAF);
	lock_take(&a);
	lock_take(&b);
	lock_assert_held(&a);
	/* Dropped in any order. */
	lock_drop(&a);
	lock_assert_held(&b);
	lock_drop(&b);
	{
		LOCKED(&a);
		lock_assert_held(&a);
	}
	assert_false(a.held);
	lock_fini(&a);
	lock_fini(&b);
}

static bool dies(void (*fn)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct rlimit none = { 0, 0 };

		(void)setrlimit(RLIMIT_CORE, &none);
		(void)signal(SIGABRT, SIG_DFL);
		(void)close(STDERR_FILENO);
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

static void take_out_of_order(void)
{
	struct lock a, b;

	lock_init(&a, LOCK_LEAF);
	lock_init(&b, LOCK_DAEMON);
	lock_take(&a);
	lock_take(&b);
}

static void take_twice(void)
{
	struct lock a;

	lock_init(&a, LOCK_LEAF);
	lock_take(&a);
	lock_take(&a);
}

static void not_held(void)
{
	struct lock a;

	lock_init(&a, LOCK_LEAF);
	lock_assert_held(&a);
}

static void mistakes_abort(void **state)
{
	assert_true(dies(take_out_of_order));
	assert_true(dies(take_twice));
	assert_true(dies(not_held));
}

struct shared {
	struct lock lock;
	struct cond cond;
	struct ctx *ctx;
	int value;
	struct err *err;
};

static void shared_init(struct shared *s)
{
	*s = (struct shared) { .ctx = ctx_new_root(NULL) };
	lock_init(&s->lock, LOCK_LEAF);
	cond_init(&s->cond);
}

static void shared_fini(struct shared *s)
{
	lock_fini(&s->lock);
	cond_fini(&s->cond);
	ctx_unref(s->ctx);
}

static void *wait_for_value(void *arg)
{
	struct shared *s = arg;

	LOCKED(&s->lock);
	while (!s->err && !s->value)
		s->err = cond_wait(&s->cond, &s->lock, s->ctx);
	return NULL;
}

static void signalled(void **state)
{
	for (int i = 0; i < 100; i++) {
		struct shared s;
		pthread_t t;

		shared_init(&s);
		assert_int_equal(pthread_create(&t, NULL, wait_for_value, &s), 0);
		lock_take(&s.lock);
		s.value = 1;
		cond_signal(&s.cond);
		lock_drop(&s.lock);
		(void)pthread_join(t, NULL);
		OK(s.err);
		shared_fini(&s);
	}
}

static void cancelled(void **state)
{
	for (int i = 0; i < 100; i++) {
		struct shared s;
		pthread_t t;

		shared_init(&s);
		assert_int_equal(pthread_create(&t, NULL, wait_for_value, &s), 0);
		ctx_cancel(s.ctx, err_new(ERR_ABORTED, "enough"));
		(void)pthread_join(t, NULL);
		FAILS(s.err, ERR_ABORTED, "enough");
		shared_fini(&s);
	}
}

static void timed(void **state)
{
	struct shared s;
	struct ctx *c;
	bool timeout = false;
	int64_t before = clock_now();

	shared_init(&s);
	lock_take(&s.lock);
	while (!timeout)
		OK(cond_wait_until(&s.cond, &s.lock, s.ctx, before + 20 * NSEC_PER_MSEC, &timeout));
	assert_true(clock_now() - before >= 20 * NSEC_PER_MSEC);
	lock_assert_held(&s.lock);
	/* The ctx's deadline is earlier. */
	c = ctx_new_timeout(s.ctx, 10 * NSEC_PER_MSEC);
	FAILS_CODE(cond_wait_until(&s.cond, &s.lock, c, before + 3600 * NSEC_PER_SEC, &timeout),
		   ERR_DEADLINE_EXCEEDED);
	FAILS_CODE(cond_wait(&s.cond, &s.lock, c), ERR_DEADLINE_EXCEEDED);
	lock_drop(&s.lock);
	ctx_unref(c);
	shared_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order_and_owner), cmocka_unit_test(mistakes_abort),
		cmocka_unit_test(signalled),       cmocka_unit_test(cancelled),
		cmocka_unit_test(timed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
