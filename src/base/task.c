#include "base/task.h"

#include "base/mem.h"
#include "base/ref.h"

#include <signal.h>

#define STACK_SIZE (256 * 1024)
#define IDLE_NS (5 * NSEC_PER_SEC)

struct task {
	struct list link;
	struct task_pool *pool;
	struct ctx *ctx;
	const char *name;
	task_fn fn;
	void *arg;
	struct ref ref; /* the starter's and the runner's */
	struct lock lock;
	struct cond cond;
	bool finished;
	struct err *err;
};

struct task_pool {
	struct lock lock;
	struct cond work; /* a task was queued */
	struct cond gone; /* a thread ended or a task finished */
	struct list queue;
	size_t n_threads, n_idle, n_queued, n_active;
	bool stopping;
	/* The thread that ended last: whoever ends next waits for its end, so that at the end of
	 * the pool no thread is still on its way out (libraries free what they keep for it there).
	 */
	pthread_t ended;
	bool has_ended;
	struct ctx *idle_ctx; /* never cancelled: for timed waits */
};

struct task_pool *task_pool_new(void)
{
	struct task_pool *p = NEW(struct task_pool);

	lock_init(&p->lock, LOCK_TASK);
	cond_init(&p->work);
	cond_init(&p->gone);
	list_init(&p->queue);
	p->idle_ctx = ctx_new_root(NULL);
	return p;
}

void task_pool_free(struct task_pool *p)
{
	if (!p)
		return;
	lock_take(&p->lock);
	p->stopping = true;
	cond_broadcast(&p->work);
	while (p->n_threads)
		cond_wait_uninterrupted(&p->gone, &p->lock);
	lock_drop(&p->lock);
	if (p->has_ended)
		(void)pthread_join(p->ended, NULL);
	ctx_unref(p->idle_ctx);
	cond_fini(&p->work);
	cond_fini(&p->gone);
	lock_fini(&p->lock);
	free(p);
}

size_t task_pool_active(struct task_pool *p)
{
	LOCKED(&p->lock);
	return p->n_active;
}

static void task_unref(struct task *t)
{
	if (!ref_put(&t->ref))
		return;
	err_free(t->err);
	cond_fini(&t->cond);
	lock_fini(&t->lock);
	free(t);
}

static void run(struct task *t)
{
	struct err *e = t->fn(t->ctx, t->arg);

	ctx_unref(t->ctx);
	t->ctx = NULL;
	lock_take(&t->lock);
	t->err = e;
	t->finished = true;
	cond_broadcast(&t->cond);
	lock_drop(&t->lock);
	task_unref(t);
}

static void *thread_main(void *arg)
{
	struct task_pool *p = arg;
	bool timeout = false, has_before;
	pthread_t before;

	lock_take(&p->lock);
	for (;;) {
		struct list *n = list_pop(&p->queue);

		if (n) {
			p->n_queued--;
			lock_drop(&p->lock);
			run(list_entry(n, struct task, link));
			lock_take(&p->lock);
			p->n_active--;
			timeout = false;
			continue;
		}
		if (p->stopping || timeout)
			break;
		p->n_idle++;
		err_free(cond_wait_until(&p->work, &p->lock, p->idle_ctx, clock_now() + IDLE_NS,
					 &timeout));
		p->n_idle--;
	}
	p->n_threads--;
	before = p->ended;
	has_before = p->has_ended;
	p->ended = pthread_self();
	p->has_ended = true;
	cond_broadcast(&p->gone);
	lock_drop(&p->lock);
	if (has_before)
		(void)pthread_join(before, NULL);
	return NULL;
}

static void add_thread_locked(struct task_pool *p)
{
	pthread_attr_t attr;
	sigset_t all, old;
	pthread_t th;

	lock_assert_held(&p->lock);
	(void)pthread_attr_init(&attr);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	(void)pthread_attr_setstacksize(&attr, STACK_SIZE);
#endif
	/* Signals are the main thread's business. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	if (pthread_create(&th, &attr, thread_main, p) == 0)
		p->n_threads++;
	else if (!p->n_threads)
		abort(); /* nobody left to run it: same as out of memory */
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	(void)pthread_attr_destroy(&attr);
}

struct task *task_start(struct ctx *ctx, const char *name, task_fn fn, void *arg)
{
	struct task_pool *p = ctx_pool(ctx);
	struct task *t = NEW(struct task);

	assert(p);
	t->pool = p;
	t->ctx = ctx_ref(ctx);
	t->name = name;
	t->fn = fn;
	t->arg = arg;
	ref_init(&t->ref);
	ref_get(&t->ref);
	lock_init(&t->lock, LOCK_EVENT);
	cond_init(&t->cond);
	lock_take(&p->lock);
	list_add_tail(&p->queue, &t->link);
	p->n_queued++;
	p->n_active++;
	if (p->n_queued > p->n_idle)
		add_thread_locked(p);
	cond_signal(&p->work);
	lock_drop(&p->lock);
	return t;
}

struct err *task_wait(struct task *t)
{
	struct err *e;

	lock_take(&t->lock);
	while (!t->finished)
		cond_wait_uninterrupted(&t->cond, &t->lock);
	e = TAKE_PTR(t->err);
	lock_drop(&t->lock);
	task_unref(t);
	return e;
}

void task_detach(struct task *t)
{
	task_unref(t);
}

void task_go(struct ctx *ctx, const char *name, task_fn fn, void *arg)
{
	task_detach(task_start(ctx, name, fn, arg));
}

void task_group_init(struct task_group *g, struct ctx *parent, size_t limit)
{
	*g = (struct task_group) { .ctx = ctx_new(parent), .limit = limit };
	lock_init(&g->lock, LOCK_EVENT);
	cond_init(&g->done);
}

struct group_job {
	struct task_group *g;
	task_fn fn;
	void *arg;
};

static struct err *run_in_group(struct ctx *ctx, void *arg)
{
	struct group_job *j = arg;
	struct task_group *g = j->g;
	struct err *e = j->fn(ctx, j->arg);
	struct err *cause = NULL;

	free(j);
	lock_take(&g->lock);
	if (e && !g->err) {
		g->err = TAKE_PTR(e);
		cause = err_dup(g->err);
	}
	lock_drop(&g->lock);
	err_free(e);
	if (cause)
		ctx_cancel(g->ctx, cause);
	/* The group may be gone as soon as the count is seen to be zero. */
	lock_take(&g->lock);
	g->running--;
	cond_broadcast(&g->done);
	lock_drop(&g->lock);
	return NULL;
}

void task_group_go(struct task_group *g, const char *name, task_fn fn, void *arg)
{
	struct group_job *j = NEW(struct group_job);

	*j = (struct group_job) { g, fn, arg };
	lock_take(&g->lock);
	while (g->limit && g->running >= g->limit)
		cond_wait_uninterrupted(&g->done, &g->lock);
	g->running++;
	lock_drop(&g->lock);
	task_go(g->ctx, name, run_in_group, j);
}

struct err *task_group_wait(struct task_group *g)
{
	struct err *e;

	lock_take(&g->lock);
	while (g->running)
		cond_wait_uninterrupted(&g->done, &g->lock);
	e = TAKE_PTR(g->err);
	lock_drop(&g->lock);
	ctx_unref(g->ctx);
	cond_fini(&g->done);
	lock_fini(&g->lock);
	return e;
}
