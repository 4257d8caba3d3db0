#include "base/ctx.h"

#include "base/lock.h"
#include "base/mem.h"
#include "base/ref.h"

#include <errno.h>
#include <sys/eventfd.h>

struct ctx {
	struct ref ref;
	struct ctx *parent;
	struct task_pool *pool;
	int64_t deadline; /* monotonic; 0 is none */
	atomic_bool cancelled;

	/* A plain mutex, not a struct lock: this sits below everything, and
	 * cond_wait() itself stands on it. */
	pthread_mutex_t mutex;
	pthread_cond_t idle; /* a watch has finished running */
	struct err *cause;
	struct list children; /* of child.sibling */
	struct list sibling;
	struct list watches;
};

static struct ctx *make(struct ctx *parent, struct task_pool *pool, int64_t deadline)
{
	struct ctx *c = NEW(struct ctx);

	ref_init(&c->ref);
	c->pool = pool;
	c->deadline = deadline;
	atomic_init(&c->cancelled, false);
	(void)pthread_mutex_init(&c->mutex, NULL);
	(void)pthread_cond_init(&c->idle, NULL);
	list_init(&c->children);
	list_init(&c->sibling);
	list_init(&c->watches);
	if (!parent)
		return c;
	c->parent = ctx_ref(parent);
	(void)pthread_mutex_lock(&parent->mutex);
	if (parent->cause) {
		c->cause = err_dup(parent->cause);
		atomic_store(&c->cancelled, true);
	} else {
		list_add_tail(&parent->children, &c->sibling);
	}
	(void)pthread_mutex_unlock(&parent->mutex);
	return c;
}

struct ctx *ctx_new_root(struct task_pool *pool)
{
	return make(NULL, pool, 0);
}

struct ctx *ctx_new(struct ctx *parent)
{
	return make(parent, parent->pool, parent->deadline);
}

struct ctx *ctx_new_deadline(struct ctx *parent, int64_t when_ns)
{
	int64_t d = MAX(when_ns, INT64_C(1));

	if (parent->deadline && parent->deadline < d)
		d = parent->deadline;
	return make(parent, parent->pool, d);
}

struct ctx *ctx_new_timeout(struct ctx *parent, int64_t ns)
{
	return ctx_new_deadline(parent, clock_now() + ns);
}

struct ctx *ctx_ref(struct ctx *c)
{
	ref_get(&c->ref);
	return c;
}

void ctx_unref(struct ctx *c)
{
	while (c && ref_put(&c->ref)) {
		struct ctx *parent = c->parent;

		if (parent) {
			(void)pthread_mutex_lock(&parent->mutex);
			list_del(&c->sibling);
			(void)pthread_mutex_unlock(&parent->mutex);
		}
		assert(list_empty(&c->watches));
		err_free(c->cause);
		(void)pthread_mutex_destroy(&c->mutex);
		(void)pthread_cond_destroy(&c->idle);
		free(c);
		c = parent;
	}
}

void ctx_unrefp(struct ctx **c)
{
	ctx_unref(*c);
	*c = NULL;
}

static void run_watches(struct ctx *c)
{
	struct list *n;

	/* The mutex is held on entry and exit, dropped around each call. */
	while ((n = list_pop(&c->watches))) {
		struct ctx_watch *w = list_entry(n, struct ctx_watch, link);

		w->queued = false;
		w->running = true;
		w->runner = pthread_self();
		(void)pthread_mutex_unlock(&c->mutex);
		w->fn(w->arg);
		(void)pthread_mutex_lock(&c->mutex);
		w->running = false;
		(void)pthread_cond_broadcast(&c->idle);
	}
}

void ctx_cancel(struct ctx *c, struct err *cause)
{
	struct ctx *child;

	if (!cause)
		cause = err_new(ERR_CANCELED, "context canceled");
	(void)pthread_mutex_lock(&c->mutex);
	if (c->cause) {
		(void)pthread_mutex_unlock(&c->mutex);
		err_free(cause);
		return;
	}
	c->cause = cause;
	atomic_store(&c->cancelled, true);
	run_watches(c);
	do {
		child = NULL;
		while (!list_empty(&c->children)) {
			struct ctx *x = list_entry(c->children.next, struct ctx, sibling);

			list_del(&x->sibling);
			if (ref_tryget(&x->ref)) {
				child = x;
				break;
			}
		}
		if (child) {
			struct err *copy = err_dup(c->cause);

			(void)pthread_mutex_unlock(&c->mutex);
			ctx_cancel(child, copy);
			ctx_unref(child);
			(void)pthread_mutex_lock(&c->mutex);
		}
	} while (child);
	(void)pthread_mutex_unlock(&c->mutex);
}

bool ctx_done(const struct ctx *c)
{
	return atomic_load(&c->cancelled) || (c->deadline && clock_now() >= c->deadline);
}

struct err *ctx_err(const struct ctx *c)
{
	struct ctx *m = (struct ctx *)c;
	struct err *e = NULL;

	if (atomic_load(&c->cancelled)) {
		(void)pthread_mutex_lock(&m->mutex);
		e = err_dup(c->cause);
		(void)pthread_mutex_unlock(&m->mutex);
	} else if (c->deadline && clock_now() >= c->deadline) {
		e = err_new(ERR_DEADLINE_EXCEEDED, "context deadline exceeded");
	}
	return e;
}

int64_t ctx_deadline(const struct ctx *c)
{
	return c->deadline;
}

struct task_pool *ctx_pool(const struct ctx *c)
{
	return c->pool;
}

bool ctx_watch(struct ctx *c, struct ctx_watch *w, void (*fn)(void *), void *arg)
{
	bool ok;

	*w = (struct ctx_watch) { .fn = fn, .arg = arg };
	list_init(&w->link);
	(void)pthread_mutex_lock(&c->mutex);
	ok = !c->cause;
	if (ok) {
		w->queued = true;
		list_add_tail(&c->watches, &w->link);
	}
	(void)pthread_mutex_unlock(&c->mutex);
	return ok;
}

void ctx_unwatch(struct ctx *c, struct ctx_watch *w)
{
	(void)pthread_mutex_lock(&c->mutex);
	if (w->queued) {
		list_del(&w->link);
		w->queued = false;
	}
	while (w->running && !pthread_equal(w->runner, pthread_self()))
		(void)pthread_cond_wait(&c->idle, &c->mutex);
	(void)pthread_mutex_unlock(&c->mutex);
}

static void poke_eventfd(void *arg)
{
	(void)eventfd_write(*(int *)arg, 1);
}

struct err *ctx_poll(struct ctx *c, struct pollfd *fds, size_t n, int timeout_ms, int *ret_ready)
{
	struct pollfd stack[9], *all = stack;
	CLEANUP_FREE struct pollfd *heap = NULL;
	CLEANUP_FD int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int64_t until = timeout_ms < 0 ? 0 : clock_now() + timeout_ms * NSEC_PER_MSEC;
	struct ctx_watch w;
	struct err *e = NULL;
	int got = 0;

	if (wake < 0)
		return err_errno(errno, "eventfd");
	if (n + 1 > ARRAY_SIZE(stack))
		all = heap = mem_calloc(n + 1, sizeof(*heap));
	if (n)
		memcpy(all, fds, n * sizeof(*fds));
	all[n] = (struct pollfd) { .fd = wake, .events = POLLIN };
	if (!ctx_watch(c, &w, poke_eventfd, &wake))
		return ctx_err(c);
	for (;;) {
		int64_t end = until, now = clock_now();
		struct timespec ts;

		if (ctx_done(c)) {
			e = ctx_err(c);
			break;
		}
		if (c->deadline && (!end || c->deadline < end))
			end = c->deadline;
		if (end)
			ts = clock_to_timespec(MAX(end - now, INT64_C(0)));
		got = ppoll(all, n + 1, end ? &ts : NULL, NULL);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			e = err_errno(errno, "poll");
			break;
		}
		if (all[n].revents)
			continue;
		if (got > 0 || (until && clock_now() >= until))
			break;
	}
	ctx_unwatch(c, &w);
	if (e)
		return e;
	if (n)
		memcpy(fds, all, n * sizeof(*fds));
	*ret_ready = got;
	return NULL;
}

struct err *ctx_sleep(struct ctx *c, int64_t ns)
{
	int64_t until = clock_now() + ns;
	int ready;

	for (;;) {
		int64_t left = until - clock_now();

		if (left <= 0)
			return ctx_err(c);
		TRY(ctx_poll(c, NULL, 0,
			     (int)MIN((left + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC, INT64_C(3600000)),
			     &ready));
	}
}
