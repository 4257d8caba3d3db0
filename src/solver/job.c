#include "base/mem.h"
#include "solver/state.h"

#include <assert.h>
#include <sched.h>
#include <sys/sysinfo.h>

#define KNOWN_FOR (10 * NSEC_PER_SEC)

static bool key_in_use(void *arg, const struct cache_key_id *id)
{
	const struct solver *s = arg;

	return ckey_known(&s->keys, id);
}

struct solver *solver_new(struct ctx *ctx, const struct solver_config *cfg)
{
	struct solver *s = NEW(struct solver);
	int cpus = get_nprocs();

	s->ctx = ctx_new(ctx);
	s->wait_ctx = ctx_new_root(NULL);
	s->results = cfg->results;
	s->sessions = cfg->sessions;
	if (cfg->spill_dir)
		s->spill_dir = mem_strdup(cfg->spill_dir);
	s->limits = cfg->log_limits;
	s->max_quick = (size_t)MAX(cpus, 1);
	s->max_leaf = cfg->max_leaf ? cfg->max_leaf : MAX(s->max_quick * 2, (size_t)8);
	lock_init(&s->queue_lock, LOCK_QUEUE);
	cond_init(&s->queue_cond);
	list_init(&s->queue);
	lock_init(&s->lock, LOCK_SOLVER);
	cond_init(&s->jobs_cond);
	list_init(&s->ready);
	list_init(&s->leaf_pending);
	lock_init(&s->quick_lock, LOCK_QUEUE);
	cond_init(&s->quick_cond);
	list_init(&s->quick);
	s->store = keystore_new(cfg->kv, cfg->results, key_in_use, s);
	s->keys.local = keystore_source(s->store);
	s->thread_task = task_start(s->ctx, "scheduler", sched_main, s);
	lock_take(&s->queue_lock);
	while (!s->started)
		cond_wait_uninterrupted(&s->queue_cond, &s->queue_lock);
	lock_drop(&s->queue_lock);
	return s;
}

static void set_quit(struct solver *s, void *arg)
{
	s->quit = true;
}

void solver_free(struct solver *s)
{
	struct store_batch *b;

	if (!s)
		return;
	solver_call(s, set_quit, NULL);
	err_free(task_wait(s->thread_task));
	/* The last changes: nobody else is left. */
	s->thread = pthread_self();
	b = keystore_batch(s->store);
	if (b) {
		struct err *e = keystore_write(b);

		keystore_written(s->store, b, !e);
		err_free(e);
	}
	lock_take(&s->quick_lock);
	while (s->n_quick_runners)
		cond_wait_uninterrupted(&s->quick_cond, &s->quick_lock);
	lock_drop(&s->quick_lock);
	assert(!map_len(&s->jobs) && !map_len(&s->vertices) && !map_len(&s->running));
	keystore_free(s->store);
	assert(!map_len(&s->keys.keys));
	map_fini(&s->keys.keys, NULL);
	map_fini(&s->jobs, NULL);
	map_fini(&s->vertices, NULL);
	map_fini(&s->running, NULL);
	cond_fini(&s->quick_cond);
	lock_fini(&s->quick_lock);
	cond_fini(&s->jobs_cond);
	lock_fini(&s->lock);
	cond_fini(&s->queue_cond);
	lock_fini(&s->queue_lock);
	ctx_unref(s->wait_ctx);
	ctx_unref(s->ctx);
	free(s->spill_dir);
	free(s);
}

/* ---- jobs ---- */

struct err *job_new(struct solver *s, struct str id, void *session, struct job **ret)
{
	struct job *j = NEW(struct job);
	bool taken;

	ref_init(&j->ref);
	j->solver = s;
	j->id = str_heap(id);
	j->session = session;
	j->progress = progress_new(s->ctx, s->spill_dir);
	j->builder = (struct builder) { .solver = s, .job = j };
	lock_take(&s->lock);
	taken = map_has(&s->jobs, id);
	if (!taken) {
		map_put(&s->jobs, id, job_ref(j));
		cond_broadcast(&s->jobs_cond);
	}
	lock_drop(&s->lock);
	if (taken) {
		job_unref(j);
		return err_new(ERR_ALREADY_EXISTS, "job ID %.*s exists", STR_ARG(id));
	}
	*ret = j;
	return NULL;
}

struct err *job_get(struct solver *s, struct ctx *ctx, struct str id, int64_t wait_ns,
		    struct job **ret)
{
	int64_t until = clock_now() + wait_ns;
	bool timeout = wait_ns <= 0;
	struct job *j;

	LOCKED(&s->lock);
	while (!(j = map_get(&s->jobs, id)) && !timeout)
		TRY(cond_wait_until(&s->jobs_cond, &s->lock, ctx, until, &timeout));
	if (!j)
		return err_new(ERR_NOT_FOUND, "no such job %.*s", STR_ARG(id));
	*ret = job_ref(j);
	return NULL;
}

struct job *job_ref(struct job *j)
{
	ref_get(&j->ref);
	return j;
}

void job_unref(struct job *j)
{
	if (!j || !ref_put(&j->ref))
		return;
	assert(!j->vertices.len);
	progress_unref(j->progress);
	free(j->id);
	free(j);
}

const char *job_id(const struct job *j)
{
	return j->id;
}

struct progress *job_progress(struct job *j)
{
	return j->progress;
}

struct builder *job_builder(struct job *j)
{
	return &j->builder;
}

void *job_session(const struct job *j)
{
	return j->session;
}

static void detach(struct solver *s, void *arg)
{
	struct job *j = arg;

	job_detach_sched(j);
	lock_take(&s->lock);
	j->expires = clock_now() + KNOWN_FOR;
	lock_drop(&s->lock);
}

void job_discard(struct job *j)
{
	if (!j)
		return;
	progress_close(j->progress);
	solver_call(j->solver, detach, j);
	job_unref(j);
}

/* ---- garbage, numbers ---- */

static void drop_garbage(struct solver *s, void *arg)
{
	const struct store_garbage *g = arg;

	for (size_t i = 0; i < g->n_results; i++)
		if (!s->results->exists(s->results->arg, g->results[i]))
			keystore_drop_result(s->store, g->results[i]);
	for (size_t i = 0; i < g->n_keys; i++)
		keystore_drop_key(s->store, &g->keys[i]);
}

struct find {
	struct store_garbage *garbage;
	struct err *err;
};

static void find_in_memory(struct solver *s, void *arg)
{
	struct find *f = arg;

	f->err = keystore_find_garbage(s->store, f->garbage);
}

struct err *solver_release_unreferenced(struct solver *s, struct ctx *ctx)
{
	struct store_garbage g;
	struct find f = { &g, NULL };

	if (keystore_in_memory(s->store))
		solver_call(s, find_in_memory, &f);
	else
		f.err = keystore_find_garbage(s->store, &g);
	TRY(f.err);
	solver_call(s, drop_garbage, &g);
	keystore_garbage_fini(&g);
	return ctx_err(ctx);
}

static void get_stats(struct solver *s, void *arg)
{
	struct solver_stats *st = arg;

	st->vertices = map_len(&s->vertices);
	st->running = s->n_works;
	st->keys = map_len(&s->keys.keys);
}

struct solver_stats solver_stats(struct solver *s)
{
	struct solver_stats st = { 0 };

	solver_call(s, get_stats, &st);
	lock_take(&s->lock);
	st.jobs = map_len(&s->jobs);
	lock_drop(&s->lock);
	return st;
}
