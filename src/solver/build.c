#include "base/mem.h"
#include "solver/state.h"

#include <assert.h>

struct cache_key {
	struct ref ref;
	struct msg msg;
	struct solver *solver;
	struct vstate *vs; /* a reference */
	uint32_t output;
	VEC(struct result *) held; /* of other vertices, for export records */
};

static struct cache_key *cache_key_new(struct edge *e)
{
	struct cache_key *k = NEW(struct cache_key);

	ref_init(&k->ref);
	k->solver = e->vs->solver;
	k->vs = vstate_ref_sched(e->vs);
	k->output = e->output;
	return k;
}

struct cache_key *cache_key_ref(struct cache_key *k)
{
	ref_get(&k->ref);
	return k;
}

static void free_key_msg(struct solver *s, struct msg *m)
{
	struct cache_key *k = container_of(m, struct cache_key, msg);

	vstate_unref_sched(k->vs);
	vec_each (&k->held, r)
		vec_push(&s->dead_results, *r);
	vec_fini(&k->held);
	free(k);
}

void cache_key_hold_sched(struct cache_key *k, struct result *take_r)
{
	sched_assert(k->solver);
	vec_push(&k->held, take_r);
}

void cache_key_free(struct cache_key *k)
{
	if (k && ref_put(&k->ref))
		solver_post(k->solver, &k->msg, free_key_msg);
}

struct vstate *cache_key_vstate(const struct cache_key *k, uint32_t *ret_output)
{
	*ret_output = k->output;
	return k->vs;
}

struct solver *cache_key_solver(const struct cache_key *k)
{
	return k->solver;
}

void build_result_fini(struct solver *s, struct build_result *r)
{
	if (r->result)
		s->results->unref(r->result);
	cache_key_free(r->key);
	*r = (struct build_result) { 0 };
}

/* ---- requests ---- */

static void request_unref(struct request *r)
{
	if (!ref_put(&r->ref))
		return;
	build_result_fini(r->solver, &r->result);
	failure_unref(r->failure);
	err_free(r->err);
	graph_unref(r->graph);
	cond_fini(&r->cond);
	lock_fini(&r->lock);
	free(r);
}

static void answer(struct request *r, struct edge *e)
{
	if (e && e->result) {
		r->result.result = e->vs->solver->results->ref(e->result);
		r->result.key = cache_key_new(e);
	} else if (e) {
		r->err = err_dup(e->vs->err);
		r->failure = failure_ref(e->vs->failure);
	}
	lock_take(&r->lock);
	r->done = true;
	cond_signal(&r->cond);
	lock_drop(&r->lock);
}

void request_finish_sched(struct request *r, struct edge *e)
{
	list_del(&r->link);
	edge_set_asked_sched(e, LEVEL_RESULT, LEVEL_NONE);
	answer(r, e);
	request_unref(r);
}

static void start_request(struct solver *s, struct msg *m)
{
	struct request *r = container_of(m, struct request, msg);

	r->edge = vstate_load_sched(r->builder, r->graph, r->vertex, r->output, r->sources,
				    r->n_sources);
	list_add_tail(&r->edge->requests, &r->link);
	edge_set_asked_sched(r->edge, LEVEL_NONE, LEVEL_RESULT);
	r->edge->changed = true; /* perhaps it is there already */
	sched_queue(r->edge->vs);
}

static void cancel_request(struct solver *s, struct msg *m)
{
	struct request *r = container_of(m, struct request, cancel);

	if (!list_empty(&r->link)) {
		list_del(&r->link);
		edge_set_asked_sched(r->edge, LEVEL_RESULT, LEVEL_NONE);
		answer(r, NULL);
		request_unref(r);
	}
	request_unref(r);
}

struct err *solver_build(struct builder *b, struct ctx *ctx, const struct build_request *br,
			 struct build_result *ret, struct failure **ret_failure)
{
	struct request *r;
	struct err *e = NULL;
	bool cancelled = false;

	if (ret_failure)
		*ret_failure = NULL;
	TRY(ctx_err(ctx));
	r = NEW(struct request);
	ref_init(&r->ref);
	ref_get(&r->ref);
	list_init(&r->link);
	r->builder = b;
	r->solver = b->solver;
	r->graph = graph_ref(br->graph);
	r->vertex = br->vertex;
	r->output = br->output;
	r->sources = br->sources;
	r->n_sources = br->n_sources;
	lock_init(&r->lock, LOCK_EVENT);
	cond_init(&r->cond);
	solver_post(b->solver, &r->msg, start_request);
	lock_take(&r->lock);
	while (!r->done) {
		if (cancelled) {
			/* The scheduler answers at once. */
			cond_wait_uninterrupted(&r->cond, &r->lock);
			continue;
		}
		e = cond_wait(&r->cond, &r->lock, ctx);
		if (!e)
			continue;
		cancelled = true;
		lock_drop(&r->lock);
		ref_get(&r->ref);
		solver_post(b->solver, &r->cancel, cancel_request);
		lock_take(&r->lock);
	}
	lock_drop(&r->lock);
	if (!e && r->err) {
		e = TAKE_PTR(r->err);
		if (ret_failure)
			*ret_failure = TAKE_PTR(r->failure);
	} else if (!e) {
		*ret = r->result;
		r->result = (struct build_result) { 0 };
	}
	request_unref(r);
	return e;
}

/* ---- builders ---- */

struct solver *builder_solver(struct builder *b)
{
	return b->solver;
}

struct find_job {
	struct vstate *vs;
	struct job *job;
};

static void find_job(struct solver *s, void *arg)
{
	struct find_job *f = arg;

	if (f->vs->jobs.len)
		f->job = job_ref(f->vs->jobs.items[0]);
}

struct job *builder_job(struct builder *b)
{
	struct find_job f = { b->vs, NULL };

	if (b->job)
		return job_ref(b->job);
	solver_call(b->solver, find_job, &f);
	return f.job;
}
