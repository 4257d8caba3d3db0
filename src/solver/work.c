#include "base/mem.h"
#include "solver/state.h"

#include <assert.h>

struct work *work_new_sched(struct vstate *vs, enum work_kind kind)
{
	struct work *w = NEW(struct work);

	w->kind = kind;
	w->solver = vs->solver;
	w->vs = vstate_ref_sched(vs);
	w->ctx = ctx_new(vs->solver->ctx);
	list_init(&w->pending);
	vs->solver->n_works++;
	return w;
}

static void run_map(struct work *w, const struct op_env *env)
{
	struct vprogress *vp = w->vs->progress;

	if (!w->vs->n_deps)
		vprogress_start(vp);
	w->err = w->vs->op->ops->cache_key(w->vs->op, env, w->index, &w->info);
	if (!w->err && w->info.n_deps != w->vs->n_deps && w->index == 0)
		w->err = err_new(ERR_INTERNAL, "cache key of %s has %zu dependencies of %zu",
				 w->vs->vertex->name, w->info.n_deps, w->vs->n_deps);
	if (!w->vs->n_deps || w->err)
		vprogress_complete(vp, false, w->err);
}

static void run_slow(struct work *w, const struct op_env *env)
{
	const struct cache_dep *d = &w->vs->dep_info[w->index];

	w->err = d->content_hash(w->vs->op, env, d->arg, w->inputs[0], &w->digest);
	if (w->err) {
		w->err = err_wrap(w->err, "failed to compute cache key");
		vprogress_complete(w->vs->progress, false, w->err);
	}
}

static void run_run(struct work *w, const struct op_env *env)
{
	struct vprogress *vp = w->vs->progress;

	vprogress_start(vp);
	w->err = w->vs->op->ops->run(w->vs->op, env, w->inputs, w->n_inputs, &w->outputs,
				     &w->failure);
	vprogress_complete(vp, false, w->err);
}

static void run_load(struct work *w, const struct op_env *env)
{
	w->err = w->source->ops->load(w->source, env->ctx, env->session, &w->key->id,
				      str_from(w->result_id), &w->result);
	if (!w->err)
		vprogress_cached(w->vs->progress);
}

/* Here, not by the scheduler: it may take time. */
static void drop_inputs(struct work *w, const struct result_ops *ops)
{
	for (size_t i = 0; i < w->n_inputs; i++)
		ops->unref(w->inputs[i]);
	w->n_inputs = 0;
}

static void run_work(struct work *w)
{
	struct op_env env = {
		.ctx = w->ctx,
		.session = w->vs->sessions,
		.progress = w->vs->progress,
		.builder = &w->vs->builder,
		.failure = &w->failure,
	};

	switch (w->kind) {
	case WORK_MAP:
		run_map(w, &env);
		break;
	case WORK_SLOW:
		run_slow(w, &env);
		break;
	case WORK_RUN:
		run_run(w, &env);
		break;
	case WORK_LOAD:
		run_load(w, &env);
		break;
	}
	drop_inputs(w, w->solver->results);
}

static struct err *work_task(struct ctx *ctx, void *arg)
{
	struct work *w = arg;

	run_work(w);
	solver_post(w->solver, &w->done, work_done_sched);
	return NULL;
}

/* Works that only compute share a few threads. */
static struct err *quick_runner(struct ctx *ctx, void *arg)
{
	struct solver *s = arg;
	struct list *n;

	lock_take(&s->quick_lock);
	while ((n = list_pop(&s->quick))) {
		struct work *w = list_entry(n, struct work, pending);

		lock_drop(&s->quick_lock);
		if (ctx_done(w->ctx))
			w->err = ctx_err(w->ctx);
		else
			run_work(w);
		solver_post(s, &w->done, work_done_sched);
		lock_take(&s->quick_lock);
	}
	s->n_quick_runners--;
	cond_broadcast(&s->quick_cond);
	lock_drop(&s->quick_lock);
	return NULL;
}

static void start_quick(struct work *w)
{
	struct solver *s = w->solver;
	bool more;

	lock_take(&s->quick_lock);
	list_add_tail(&s->quick, &w->pending);
	more = s->n_quick_runners < s->max_quick;
	if (more)
		s->n_quick_runners++;
	lock_drop(&s->quick_lock);
	if (more)
		task_go(s->ctx, "solver keys", quick_runner, s);
}

static void start_now(struct work *w)
{
	static const char *const names[] = { "cache key", "content key", "vertex", "load" };

	task_go(w->ctx, names[w->kind], work_task, w);
}

void work_start_sched(struct work *w)
{
	struct solver *s = w->solver;

	sched_assert(s);
	w->leaf = w->kind == WORK_RUN && w->vs->op->ops->leaf;
	if (w->kind == WORK_MAP && w->vs->op->ops->quick_key) {
		start_quick(w);
	} else if (w->leaf && s->n_leaf >= s->max_leaf) {
		list_add_tail(&s->leaf_pending, &w->pending);
	} else {
		s->n_leaf += w->leaf;
		start_now(w);
	}
}

void work_drop_sched(struct work *w)
{
	bool waits = w->leaf && !list_empty(&w->pending);

	if (w->dropped)
		return;
	w->dropped = true;
	ctx_cancel(w->ctx, NULL);
	if (waits) {
		/* Never started. */
		list_del(&w->pending);
		w->leaf = false;
		w->err = ctx_err(w->ctx);
		solver_post(w->solver, &w->done, work_done_sched);
	}
}

void work_end_sched(struct work *w)
{
	struct solver *s = w->solver;
	struct list *n;

	s->n_works--;
	if (w->leaf) {
		s->n_leaf--;
		n = list_pop(&s->leaf_pending);
		if (n) {
			s->n_leaf++;
			start_now(list_entry(n, struct work, pending));
		}
	}
	for (size_t i = 0; i < w->n_inputs; i++)
		vec_push(&s->dead_results, w->inputs[i]);
	free(w->inputs);
	for (size_t i = 0; i < w->outputs.n; i++)
		vec_push(&s->dead_results, w->outputs.items[i]);
	free(w->outputs.items);
	if (w->failure)
		vec_push(&s->dead_failures, w->failure);
	if (w->result)
		vec_push(&s->dead_results, w->result);
	ckey_unref(&s->keys, w->key);
	cache_source_unref(w->source);
	free(w->result_id);
	err_free(w->err);
	ctx_unref(w->ctx);
	vstate_unref_sched(w->vs);
	free(w);
}
