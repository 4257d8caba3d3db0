#include "content/durable.h"

#include "base/ctx.h"
#include "base/lock.h"
#include "base/vec.h"

#include <errno.h>
#include <unistd.h>

struct digests {
	struct digest *items;
	size_t len, cap;
};

struct durable {
	int fd;
	int64_t delay;
	struct err *(*passed)(void *arg, const struct digest *d, size_t n);
	void *arg;
	struct ctx *ctx; /* never cancelled: for timed waits */
	pthread_t thread;
	bool thread_runs;

	struct lock lock;
	struct cond work, done;
	struct digests pending;
	bool flush, stopping, busy;
	uint64_t passes;
	struct err *err; /* of the last pass */
};

static struct err *pass(struct durable *d, const struct digests *batch)
{
	if (syncfs(d->fd) < 0)
		return err_errno(errno, "syncfs");
	return d->passed(d->arg, batch->items, batch->len);
}

/* Without the delay once somebody waits or the end has come. */
static void wait_delay_locked(struct durable *d)
{
	int64_t until = clock_now() + d->delay;
	bool timeout = false;

	while (!d->stopping && !d->flush && !timeout)
		err_free(cond_wait_until(&d->work, &d->lock, d->ctx, until, &timeout));
}

static void run_pass_locked(struct durable *d)
{
	struct digests batch = d->pending;
	struct err *e;

	d->pending = (struct digests) { 0 };
	d->flush = false;
	d->busy = true;
	lock_drop(&d->lock);
	e = pass(d, &batch);
	lock_take(&d->lock);
	if (e)
		for (size_t i = 0; i < batch.len; i++)
			vec_push(&d->pending, batch.items[i]);
	vec_fini(&batch);
	err_free(d->err);
	d->err = e;
	d->busy = false;
	d->passes++;
	cond_broadcast(&d->done);
}

static void *thread_main(void *arg)
{
	struct durable *d = arg;

	LOCKED(&d->lock);
	for (;;) {
		if (!d->pending.len) {
			if (d->stopping)
				break;
			cond_wait_uninterrupted(&d->work, &d->lock);
			continue;
		}
		wait_delay_locked(d);
		run_pass_locked(d);
		if (d->stopping && d->err)
			break;
	}
	return NULL;
}

struct durable *durable_new(int fd, int64_t delay_ns,
			    struct err *(*passed)(void *arg, const struct digest *d, size_t n),
			    void *arg)
{
	struct durable *d = NEW(struct durable);

	*d = (struct durable) { .fd = fd, .delay = delay_ns, .passed = passed, .arg = arg };
	d->ctx = ctx_new_root(NULL);
	lock_init(&d->lock, LOCK_LEAF);
	cond_init(&d->work);
	cond_init(&d->done);
	d->thread_runs = pthread_create(&d->thread, NULL, thread_main, d) == 0;
	return d;
}

void durable_note(struct durable *d, const struct digest *digest)
{
	LOCKED(&d->lock);
	if (!d->pending.len)
		cond_signal(&d->work);
	vec_push(&d->pending, *digest);
}

struct err *durable_flush(struct durable *d)
{
	uint64_t until;

	LOCKED(&d->lock);
	if (!d->pending.len && !d->busy)
		return NULL;
	if (!d->thread_runs)
		return err_new(ERR_INTERNAL, "no thread to sync");
	/* What is pending now is in the pass after the one under way. */
	until = d->passes + d->busy + (d->pending.len > 0);
	d->flush = d->pending.len;
	cond_signal(&d->work);
	while (d->passes < until)
		cond_wait_uninterrupted(&d->done, &d->lock);
	return d->err ? err_dup(d->err) : NULL;
}

void durable_free(struct durable *d)
{
	if (!d)
		return;
	lock_take(&d->lock);
	d->stopping = true;
	cond_signal(&d->work);
	lock_drop(&d->lock);
	if (d->thread_runs)
		(void)pthread_join(d->thread, NULL);
	vec_fini(&d->pending);
	err_free(d->err);
	ctx_unref(d->ctx);
	cond_fini(&d->work);
	cond_fini(&d->done);
	lock_fini(&d->lock);
	free(d);
}
