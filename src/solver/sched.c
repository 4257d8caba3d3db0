#include "base/mem.h"
#include "solver/state.h"

#include <assert.h>

#define WRITE_DELAY (100 * NSEC_PER_MSEC)

void sched_assert(const struct solver *s)
{
	assert(pthread_equal(s->thread, pthread_self()));
}

void solver_post(struct solver *s, struct msg *m, void (*fn)(struct solver *s, struct msg *m))
{
	bool wake;

	m->fn = fn;
	lock_take(&s->queue_lock);
	list_add_tail(&s->queue, &m->link);
	wake = s->sleeping;
	s->sleeping = false;
	/* With the lock held: once it is dropped the scheduler may end, and s with it. */
	if (wake)
		cond_signal(&s->queue_cond);
	lock_drop(&s->queue_lock);
}

struct call {
	struct msg msg;
	void (*fn)(struct solver *s, void *arg);
	void *arg;
	struct lock lock;
	struct cond cond;
	bool done;
};

static void run_call(struct solver *s, struct msg *m)
{
	struct call *c = container_of(m, struct call, msg);

	c->fn(s, c->arg);
	lock_take(&c->lock);
	c->done = true;
	cond_signal(&c->cond);
	lock_drop(&c->lock);
}

void solver_call(struct solver *s, void (*fn)(struct solver *s, void *arg), void *arg)
{
	struct call c = { .fn = fn, .arg = arg };

	lock_init(&c.lock, LOCK_EVENT);
	cond_init(&c.cond);
	solver_post(s, &c.msg, run_call);
	lock_take(&c.lock);
	while (!c.done)
		cond_wait_uninterrupted(&c.cond, &c.lock);
	lock_drop(&c.lock);
	cond_fini(&c.cond);
	lock_fini(&c.lock);
}

void sched_queue(struct vstate *vs)
{
	if (vs->queued)
		return;
	vs->queued = true;
	list_add_tail(&vs->solver->ready, &vs->ready);
}

/* ---- letting go of what may take time to release ---- */

struct reap {
	struct msg done;
	struct solver *solver;
	VEC(struct op *) ops;
	VEC(struct result *) results;
	VEC(void *) sessions;
	VEC(struct failure *) failures;
	VEC(struct graph *) graphs;
};

static void reap_done(struct solver *s, struct msg *m)
{
	s->n_reapers--;
	free(container_of(m, struct reap, done));
}

static struct err *reap_task(struct ctx *ctx, void *arg)
{
	struct reap *r = arg;
	struct solver *s = r->solver;

	vec_each (&r->results, x)
		s->results->unref(*x);
	vec_each (&r->failures, x)
		failure_unref(*x);
	vec_each (&r->ops, x)
		(*x)->ops->free(*x);
	vec_each (&r->sessions, x)
		s->sessions.group_free(*x);
	vec_each (&r->graphs, x)
		graph_unref(*x);
	vec_fini(&r->results);
	vec_fini(&r->failures);
	vec_fini(&r->ops);
	vec_fini(&r->sessions);
	vec_fini(&r->graphs);
	solver_post(s, &r->done, reap_done);
	return NULL;
}

#define MOVE_VEC(to, from)                                                                         \
	do {                                                                                       \
		(to)->items = (from)->items;                                                       \
		(to)->len = (from)->len;                                                           \
		(to)->cap = (from)->cap;                                                           \
		(from)->items = NULL;                                                              \
		(from)->len = (from)->cap = 0;                                                     \
	} while (0)

static void reap(struct solver *s)
{
	struct reap *r;

	if (!s->dead_ops.len && !s->dead_results.len && !s->dead_sessions.len &&
	    !s->dead_failures.len && !s->dead_graphs.len)
		return;
	r = NEW(struct reap);
	r->solver = s;
	MOVE_VEC(&r->ops, &s->dead_ops);
	MOVE_VEC(&r->results, &s->dead_results);
	MOVE_VEC(&r->sessions, &s->dead_sessions);
	MOVE_VEC(&r->failures, &s->dead_failures);
	MOVE_VEC(&r->graphs, &s->dead_graphs);
	s->n_reapers++;
	task_go(s->ctx, "solver release", reap_task, r);
}

/* ---- writing the store ---- */

struct write {
	struct msg done;
	struct solver *solver;
	struct store_batch *batch;
	bool ok;
};

static void write_done(struct solver *s, struct msg *m)
{
	struct write *w = container_of(m, struct write, done);

	s->writing = NULL;
	keystore_written(s->store, w->batch, w->ok);
	free(w);
}

static struct err *write_task(struct ctx *ctx, void *arg)
{
	struct write *w = arg;
	struct err *e = keystore_write(w->batch);

	/* What can't be stored is looked for in vain later: it costs time, nothing else. */
	w->ok = !e;
	err_free(e);
	solver_post(w->solver, &w->done, write_done);
	return NULL;
}

static void write_store(struct solver *s)
{
	struct write *w = NEW(struct write);

	w->solver = s;
	w->batch = s->writing = keystore_batch(s->store);
	s->write_at = 0;
	task_go(s->ctx, "solver store", write_task, w);
}

/* When the next batch is due: 0 is never. */
static void plan_write(struct solver *s)
{
	if (s->writing || !keystore_dirty(s->store))
		return;
	if (!s->write_at)
		s->write_at = clock_now() + WRITE_DELAY;
	if (clock_now() >= s->write_at)
		write_store(s);
}

/* ---- the loop ---- */

static void free_job_entry(void *arg)
{
	job_unref(arg);
}

/* Jobs that ended long enough ago are forgotten. Gives the time of the next one, or 0. */
static int64_t forget_jobs(struct solver *s, bool all)
{
	VEC(struct job *) gone = VEC_INIT;
	int64_t now = clock_now(), next = 0;

	lock_take(&s->lock);
	for (struct map_entry *e = map_next(&s->jobs, NULL); e; e = map_next(&s->jobs, e)) {
		struct job *j = e->value;

		if (!j->expires)
			continue;
		if (all || j->expires <= now) {
			vec_push(&gone, j);
			map_del(&s->jobs, map_key(e));
		} else if (!next || j->expires < next) {
			next = j->expires;
		}
	}
	lock_drop(&s->lock);
	vec_each (&gone, j)
		free_job_entry(*j);
	vec_fini(&gone);
	return next;
}

static bool can_quit(const struct solver *s)
{
	return s->quit && !s->n_works && !s->n_reapers && !s->writing;
}

static struct msg *wait_message(struct solver *s, int64_t until)
{
	struct list *n;

	LOCKED(&s->queue_lock);
	while (!(n = list_pop(&s->queue))) {
		bool timeout = false;

		s->sleeping = true;
		/* Not s->ctx: work that ends because of it must still be dealt with. */
		if (!until)
			cond_wait_uninterrupted(&s->queue_cond, &s->queue_lock);
		else
			err_free(cond_wait_until(&s->queue_cond, &s->queue_lock, s->wait_ctx, until,
						 &timeout));
		s->sleeping = false;
		if (timeout)
			return NULL;
	}
	return list_entry(n, struct msg, link);
}

static bool take_message(struct solver *s, struct msg **ret)
{
	LOCKED(&s->queue_lock);
	struct list *n = list_pop(&s->queue);

	if (n)
		*ret = list_entry(n, struct msg, link);
	return n;
}

struct err *sched_main(struct ctx *ctx, void *arg)
{
	struct solver *s = arg;
	struct msg *m;

	lock_take(&s->queue_lock);
	s->thread = pthread_self();
	s->started = true;
	cond_broadcast(&s->queue_cond);
	lock_drop(&s->queue_lock);
	for (;;) {
		int64_t until;
		struct list *n;

		while (take_message(s, &m))
			m->fn(s, m);
		while ((n = list_pop(&s->ready))) {
			struct vstate *vs = list_entry(n, struct vstate, ready);

			vs->queued = false;
			vstate_step_sched(vs);
		}
		reap(s);
		plan_write(s);
		until = forget_jobs(s, s->quit);
		if (s->write_at && (!until || s->write_at < until))
			until = s->write_at;
		if (can_quit(s))
			break;
		m = wait_message(s, until);
		if (m)
			m->fn(s, m);
	}
	return NULL;
}
