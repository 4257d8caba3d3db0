#include "base/lock.h"

#include "base/clock.h"
#include "base/ctx.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

static const char *const class_names[] = {
#define LOCK_CLASS(name) #name,
#include "base/locks.def"
#undef LOCK_CLASS
};

/* The locks this thread holds. Order is checked against the highest one only:
 * ranks are strictly increasing, so that one is the last taken. */
#define HELD_MAX 8
static _Thread_local struct lock *held[HELD_MAX];
static _Thread_local int n_held;

void lock_init(struct lock *l, enum lock_class class)
{
	*l = (struct lock) { .class = class };
	(void)pthread_mutex_init(&l->mutex, NULL);
}

void lock_fini(struct lock *l)
{
	assert(!l->held);
	(void)pthread_mutex_destroy(&l->mutex);
}

static void check_order(const struct lock *l)
{
	if (n_held && held[n_held - 1]->class >= l->class) {
		fprintf(stderr, "lock order: %s taken with %s held\n", class_names[l->class],
			class_names[held[n_held - 1]->class]);
		abort();
	}
}

static void note_taken(struct lock *l)
{
	assert(n_held < HELD_MAX);
	held[n_held++] = l;
	l->held = true;
	l->owner = pthread_self();
}

static void note_dropped(struct lock *l)
{
	int i = n_held;

	lock_assert_held(l);
	while (held[--i] != l)
		;
	for (; i + 1 < n_held; i++)
		held[i] = held[i + 1];
	n_held--;
	l->held = false;
}

void lock_take(struct lock *l)
{
	check_order(l);
	(void)pthread_mutex_lock(&l->mutex);
	note_taken(l);
}

void lock_drop(struct lock *l)
{
	note_dropped(l);
	(void)pthread_mutex_unlock(&l->mutex);
}

void lock_assert_held(const struct lock *l)
{
	if (!l->held || !pthread_equal(l->owner, pthread_self())) {
		fprintf(stderr, "lock %s is not held\n", class_names[l->class]);
		abort();
	}
}

void cond_init(struct cond *c)
{
	(void)pthread_cond_init(&c->cond, NULL);
}

void cond_fini(struct cond *c)
{
	(void)pthread_cond_destroy(&c->cond);
}

void cond_signal(struct cond *c)
{
	(void)pthread_cond_signal(&c->cond);
}

void cond_broadcast(struct cond *c)
{
	(void)pthread_cond_broadcast(&c->cond);
}

void cond_wait_uninterrupted(struct cond *c, struct lock *l)
{
	note_dropped(l);
	(void)pthread_cond_wait(&c->cond, &l->mutex);
	note_taken(l);
}

struct cond_wake {
	struct cond *c;
	struct lock *l;
};

/* Runs on the cancelling thread, outside every lock of ours. Taking the mutex makes
 * sure the waiter is either before its check of the ctx or inside the wait. */
static void wake_waiter(void *arg)
{
	struct cond_wake *w = arg;

	(void)pthread_mutex_lock(&w->l->mutex);
	(void)pthread_cond_broadcast(&w->c->cond);
	(void)pthread_mutex_unlock(&w->l->mutex);
}

struct err *cond_wait_until(struct cond *c, struct lock *l, struct ctx *ctx, int64_t when_ns,
			    bool *ret_timeout)
{
	struct cond_wake wake = { c, l };
	struct ctx_watch w;
	int64_t end = when_ns, deadline = ctx_deadline(ctx);
	bool timeout = false;

	lock_assert_held(l);
	if (ctx_done(ctx) || !ctx_watch(ctx, &w, wake_waiter, &wake))
		return ctx_err(ctx);
	note_dropped(l);
	if (deadline && (!end || deadline < end))
		end = deadline;
	if (end) {
		struct timespec ts = clock_to_timespec(end);
		int r = pthread_cond_clockwait(&c->cond, &l->mutex, CLOCK_MONOTONIC, &ts);

		timeout = r == ETIMEDOUT && end == when_ns;
	} else {
		(void)pthread_cond_wait(&c->cond, &l->mutex);
	}
	(void)pthread_mutex_unlock(&l->mutex);
	/* Waits for a wake_waiter under way, which needs the mutex. */
	ctx_unwatch(ctx, &w);
	(void)pthread_mutex_lock(&l->mutex);
	note_taken(l);
	if (ctx_done(ctx))
		return ctx_err(ctx);
	if (ret_timeout)
		*ret_timeout = timeout;
	return NULL;
}

struct err *cond_wait(struct cond *c, struct lock *l, struct ctx *ctx)
{
	return cond_wait_until(c, l, ctx, 0, NULL);
}
