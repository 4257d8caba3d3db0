#include "net/loop.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/lock.h"
#include "base/vec.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#define SCRATCH_SIZE (256 * KIB)
#define MAX_EVENTS 128

struct loop {
	int epfd, wakefd;
	pthread_t thread;
	struct lock lock; /* posted, sleeping, stopping */
	struct list posted;
	bool sleeping; /* in epoll_wait, or about to be */
	bool woken;    /* and the eventfd has been written */
	bool stopping;

	/* The loop thread's own. */
	struct list later;
	VEC(struct loop_timer *) timers; /* binary heap, soonest first */
	struct epoll_event events[MAX_EVENTS];
	int n_events, at_event; /* of the current turn */
	uint8_t *scratch;
};

bool loop_is_here(const struct loop *l)
{
	return pthread_equal(l->thread, pthread_self());
}

void loop_call_init(struct loop_call *c, void (*fn)(void *), void *arg)
{
	*c = (struct loop_call) { .fn = fn, .arg = arg };
	list_init(&c->link);
}

void loop_post(struct loop *l, struct loop_call *c)
{
	bool wake;

	lock_take(&l->lock);
	list_add_tail(&l->posted, &c->link);
	wake = l->sleeping && !l->woken;
	if (wake)
		l->woken = true;
	lock_drop(&l->lock);
	if (wake)
		(void)eventfd_write(l->wakefd, 1);
}

void loop_later(struct loop *l, struct loop_call *c)
{
	assert(loop_is_here(l));
	if (list_empty(&c->link))
		list_add_tail(&l->later, &c->link);
}

void loop_later_cancel(struct loop_call *c)
{
	list_del(&c->link);
}

struct sync_call {
	struct loop_call call;
	struct lock lock;
	struct cond cond;
	bool done;
	void (*fn)(void *);
	void *arg;
};

static void run_sync(void *arg)
{
	struct sync_call *s = arg;

	s->fn(s->arg);
	lock_take(&s->lock);
	s->done = true;
	cond_signal(&s->cond);
	lock_drop(&s->lock);
}

void loop_run(struct loop *l, void (*fn)(void *), void *arg)
{
	struct sync_call s = { .fn = fn, .arg = arg };

	if (loop_is_here(l)) {
		fn(arg);
		return;
	}
	lock_init(&s.lock, LOCK_EVENT);
	cond_init(&s.cond);
	loop_call_init(&s.call, run_sync, &s);
	loop_post(l, &s.call);
	lock_take(&s.lock);
	while (!s.done)
		cond_wait_uninterrupted(&s.cond, &s.lock);
	lock_drop(&s.lock);
	cond_fini(&s.cond);
	lock_fini(&s.lock);
}

/* ---- descriptors ---- */

struct err *loop_io_add(struct loop *l, struct loop_io *io, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = io };

	assert(loop_is_here(l));
	if (epoll_ctl(l->epfd, EPOLL_CTL_ADD, io->fd, &ev) < 0)
		return err_errno(errno, "epoll_ctl");
	return NULL;
}

void loop_io_mod(struct loop *l, struct loop_io *io, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = io };

	assert(loop_is_here(l));
	(void)epoll_ctl(l->epfd, EPOLL_CTL_MOD, io->fd, &ev);
}

void loop_io_del(struct loop *l, struct loop_io *io)
{
	assert(loop_is_here(l));
	(void)epoll_ctl(l->epfd, EPOLL_CTL_DEL, io->fd, NULL);
	for (int i = l->at_event; i < l->n_events; i++)
		if (l->events[i].data.ptr == io)
			l->events[i].data.ptr = NULL;
}

/* ---- timers ---- */

static void heap_put(struct loop *l, size_t i, struct loop_timer *t)
{
	l->timers.items[i] = t;
	t->at = i + 1;
}

static void heap_up(struct loop *l, size_t i)
{
	struct loop_timer *t = l->timers.items[i];

	while (i > 0) {
		size_t up = (i - 1) / 2;

		if (l->timers.items[up]->when_ns <= t->when_ns)
			break;
		heap_put(l, i, l->timers.items[up]);
		i = up;
	}
	heap_put(l, i, t);
}

static void heap_down(struct loop *l, size_t i)
{
	struct loop_timer *t = l->timers.items[i];

	for (;;) {
		size_t c = 2 * i + 1;

		if (c >= l->timers.len)
			break;
		if (c + 1 < l->timers.len &&
		    l->timers.items[c + 1]->when_ns < l->timers.items[c]->when_ns)
			c++;
		if (l->timers.items[c]->when_ns >= t->when_ns)
			break;
		heap_put(l, i, l->timers.items[c]);
		i = c;
	}
	heap_put(l, i, t);
}

void loop_timer_set(struct loop *l, struct loop_timer *t, int64_t when_ns)
{
	assert(loop_is_here(l));
	t->when_ns = when_ns;
	if (!t->at) {
		vec_push(&l->timers, t);
		t->at = l->timers.len;
	}
	heap_up(l, t->at - 1);
	heap_down(l, t->at - 1);
}

void loop_timer_cancel(struct loop *l, struct loop_timer *t)
{
	struct loop_timer *last;
	size_t i;

	assert(loop_is_here(l));
	if (!t->at)
		return;
	i = t->at - 1;
	t->at = 0;
	last = vec_pop(&l->timers);
	if (last == t)
		return;
	heap_put(l, i, last);
	heap_up(l, i);
	heap_down(l, last->at - 1);
}

static void run_timers(struct loop *l)
{
	while (l->timers.len) {
		struct loop_timer *t = l->timers.items[0];

		if (t->when_ns > clock_now())
			break;
		loop_timer_cancel(l, t);
		t->fn(t->arg);
	}
}

/* ---- the thread ---- */

/* What was posted up to now; later posts wait for the next turn. */
static void run_posted(struct loop *l)
{
	struct list batch, *n;

	list_init(&batch);
	lock_take(&l->lock);
	if (!list_empty(&l->posted)) {
		list_add_tail(&l->posted, &batch);
		list_del(&l->posted);
	}
	lock_drop(&l->lock);
	while ((n = list_pop(&batch))) {
		struct loop_call *c = list_entry(n, struct loop_call, link);

		c->fn(c->arg);
	}
}

static void run_later(struct loop *l)
{
	struct list *n;

	while ((n = list_pop(&l->later))) {
		struct loop_call *c = list_entry(n, struct loop_call, link);

		c->fn(c->arg);
	}
}

static struct timespec sleep_time(struct loop *l)
{
	int64_t ns = 3600 * NSEC_PER_SEC;

	if (l->timers.len)
		ns = MAX(l->timers.items[0]->when_ns - clock_now(), INT64_C(0));
	return clock_to_timespec(ns);
}

static void wait_events(struct loop *l)
{
	struct timespec ts = { 0 };
	bool idle;

	lock_take(&l->lock);
	idle = list_empty(&l->posted) && !l->stopping;
	l->sleeping = idle;
	lock_drop(&l->lock);
	if (idle)
		ts = sleep_time(l);
	l->at_event = 0;
	l->n_events = epoll_pwait2(l->epfd, l->events, MAX_EVENTS, &ts, NULL);
	if (l->n_events < 0)
		l->n_events = 0;
	lock_take(&l->lock);
	l->sleeping = l->woken = false;
	lock_drop(&l->lock);
}

static void *loop_main(void *arg)
{
	struct loop *l = arg;
	bool stop = false;

	while (!stop) {
		wait_events(l);
		for (l->at_event = 0; l->at_event < l->n_events;) {
			struct epoll_event *ev = &l->events[l->at_event++];
			struct loop_io *io = ev->data.ptr;
			eventfd_t v;

			if (ev->data.ptr == l)
				(void)eventfd_read(l->wakefd, &v);
			else if (io)
				io->fn(io->arg, ev->events);
		}
		l->n_events = 0;
		run_timers(l);
		run_posted(l);
		run_later(l);
		lock_take(&l->lock);
		stop = l->stopping && list_empty(&l->posted);
		lock_drop(&l->lock);
	}
	return NULL;
}

struct err *loop_start(struct loop **ret)
{
	struct loop *l = NEW(struct loop);
	sigset_t all, old;
	int r;

	lock_init(&l->lock, LOCK_NET);
	list_init(&l->posted);
	list_init(&l->later);
	l->scratch = mem_alloc(SCRATCH_SIZE);
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	l->wakefd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->epfd < 0 || l->wakefd < 0)
		abort(); /* out of descriptors at start: same as out of memory */
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = l };
	(void)epoll_ctl(l->epfd, EPOLL_CTL_ADD, l->wakefd, &ev);
	/* Signals are the main thread's business; and a write to a closed pipe must
	 * be an error here, not a SIGPIPE. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	lock_take(&l->lock); /* l->thread is set before the thread looks at it */
	r = pthread_create(&l->thread, NULL, loop_main, l);
	lock_drop(&l->lock);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r) {
		(void)close(l->epfd);
		(void)close(l->wakefd);
		free(l->scratch);
		lock_fini(&l->lock);
		free(l);
		return err_errno(r, "start the loop thread");
	}
	*ret = l;
	return NULL;
}

void loop_stop(struct loop *l)
{
	if (!l)
		return;
	lock_take(&l->lock);
	l->stopping = true;
	if (l->sleeping && !l->woken) {
		l->woken = true;
		(void)eventfd_write(l->wakefd, 1);
	}
	lock_drop(&l->lock);
	(void)pthread_join(l->thread, NULL);
	(void)close(l->epfd);
	(void)close(l->wakefd);
	vec_fini(&l->timers);
	free(l->scratch);
	lock_fini(&l->lock);
	free(l);
}

uint8_t *loop_scratch(struct loop *l, size_t *ret_size)
{
	*ret_size = SCRATCH_SIZE;
	return l->scratch;
}
