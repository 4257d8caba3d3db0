#include "base/mem.h"
#include "solver/state.h"

#include <assert.h>

static struct str digest_key(const struct digest *d)
{
	return str_make(d, sizeof(*d));
}

struct edge *vstate_edge(struct vstate *vs, uint32_t output)
{
	struct edge *e;

	list_each (&vs->edges, n) {
		e = list_entry(n, struct edge, link);
		if (e->output == output)
			return e;
	}
	e = NEW(struct edge);
	e->vs = vs;
	e->output = output;
	list_init(&e->consumers);
	list_init(&e->requests);
	list_add_tail(&vs->edges, &e->link);
	return e;
}

struct vstate *vstate_ref_sched(struct vstate *vs)
{
	vs->refs++;
	return vs;
}

static void vstate_free(struct vstate *vs)
{
	struct solver *s = vs->solver;
	struct list *n;

	assert(!vs->map && !vs->run && !vs->jobs.len && list_empty(&vs->waiters));
	vstate_stop_waiting_sched(vs);
	if (vs->queued)
		list_del(&vs->ready);
	if (map_get(&s->vertices, digest_key(&vs->digest)) == vs)
		map_del(&s->vertices, digest_key(&vs->digest));
	while ((n = list_pop(&vs->edges))) {
		edge_fini_sched(list_entry(n, struct edge, link));
		free(list_entry(n, struct edge, link));
	}
	for (size_t i = 0; i < vs->n_deps; i++) {
		ckey_unref(&s->keys, vs->deps[i].slow_key);
		list_del(&vs->deps[i].consumer);
	}
	free(vs->deps);
	for (size_t i = 0; i < vs->outputs.n; i++)
		vec_push(&s->dead_results, vs->outputs.items[i]);
	free(vs->outputs.items);
	vec_each (&vs->sources, src)
		cache_source_unref(*src);
	vec_fini(&vs->sources);
	vec_fini(&vs->maps);
	vec_fini(&vs->jobs);
	vec_fini(&vs->children);
	if (vs->op)
		vec_push(&s->dead_ops, vs->op);
	if (vs->failure)
		vec_push(&s->dead_failures, vs->failure);
	if (vs->sessions)
		vec_push(&s->dead_sessions, vs->sessions);
	vec_push(&s->dead_graphs, vs->graph);
	err_free(vs->err);
	vprogress_unref(vs->progress);
	free(vs);
}

void vstate_unref_sched(struct vstate *vs)
{
	VEC(struct vstate *) dead = VEC_INIT;

	sched_assert(vs->solver);
	assert(vs->refs);
	if (--vs->refs)
		return;
	vec_push(&dead, vs);
	while (dead.len) {
		struct vstate *v = vec_pop(&dead);

		for (size_t i = 0; i < v->n_deps; i++) {
			struct edge *in = v->deps[i].edge;

			edge_set_asked_sched(in, v->deps[i].asked, LEVEL_NONE);
			v->deps[i].asked = LEVEL_NONE;
			if (!--in->vs->refs)
				vec_push(&dead, in->vs);
		}
		vec_each (&v->children, c)
			if (!--(*c)->refs)
				vec_push(&dead, *c);
		vstate_free(v);
	}
	vec_fini(&dead);
}

/* ---- jobs of a vertex ---- */

static bool has_job(const struct vstate *vs, const struct job *j)
{
	vec_each (&vs->jobs, have)
		if (*have == j)
			return true;
	return false;
}

/* The job takes part in the vertex and in what its operation builds. The caller does its inputs. */
static void attach_one(struct vstate *vs, struct job *j)
{
	const struct solver_sessions *o = &vs->solver->sessions;

	if (has_job(vs, j))
		return;
	vec_push(&vs->jobs, j);
	vec_push(&j->vertices, vstate_ref_sched(vs));
	if (o->group_add && j->session)
		o->group_add(vs->sessions, j->session);
	vprogress_attach(vs->progress, j->progress);
}

static void attach(struct vstate *first, struct job *j)
{
	VEC(struct vstate *) todo = VEC_INIT;

	if (has_job(first, j))
		return;
	attach_one(first, j);
	vec_each (&first->children, c)
		vec_push(&todo, *c);
	while (todo.len) {
		struct vstate *vs = vec_pop(&todo);

		if (has_job(vs, j))
			continue;
		attach_one(vs, j);
		for (size_t i = 0; i < vs->n_deps; i++)
			vec_push(&todo, vs->deps[i].edge->vs);
		vec_each (&vs->children, c)
			vec_push(&todo, *c);
	}
	vec_fini(&todo);
}

void job_detach_sched(struct job *j)
{
	vec_each (&j->vertices, v) {
		struct vstate *vs = *v;

		for (size_t i = 0; i < vs->jobs.len; i++) {
			if (vs->jobs.items[i] == j) {
				vs->jobs.items[i] = vec_pop(&vs->jobs);
				break;
			}
		}
		vprogress_detach(vs->progress, j->progress);
	}
	while (j->vertices.len)
		vstate_unref_sched(vec_pop(&j->vertices));
	vec_fini(&j->vertices);
}

/* ---- loading ---- */

static struct digest ignore_cache_digest(const struct digest *d)
{
	char text[DIGEST_TEXT_MAX];
	SCOPED_BUF(b, DIGEST_TEXT_MAX + 16);

	buf_addf(&b, "%s-ignorecache", digest_format(d, text));
	return digest_sha256(buf_str(&b));
}

/* A cause that has to do with who asked, not with the work. */
static bool is_passing(const struct err *e)
{
	return err_is(e, ERR_CANCELED) || err_is(e, ERR_DEADLINE_EXCEEDED) ||
	       err_is(e, ERR_UNAVAILABLE);
}

static bool is_idle(const struct vstate *vs)
{
	list_each (&vs->edges, n)
		if (list_entry(n, struct edge, link)->want != LEVEL_NONE)
			return false;
	return true;
}

static void revive(struct vstate *vs)
{
	if (!vs->err || !is_passing(vs->err) || !is_idle(vs))
		return;
	err_free(vs->err);
	vs->err = NULL;
	if (vs->failure)
		vec_push(&vs->solver->dead_failures, TAKE_PTR(vs->failure));
}

/* An active state that will do for the vertex, or NULL and the digest for a new one. A vertex that
 * may use the cache joins one that may not, not the other way round. */
static struct vstate *find_active(struct solver *s, const struct vertex *v, struct digest *ret)
{
	struct digest no_cache = ignore_cache_digest(&v->digest);
	struct vstate *vs = map_get(&s->vertices, digest_key(&no_cache));

	*ret = v->digest;
	if (vs)
		return vs;
	vs = map_get(&s->vertices, digest_key(&v->digest));
	if (vs && v->ignore_cache && !vs->ignore_cache) {
		*ret = no_cache;
		return NULL;
	}
	return vs;
}

static struct vstate *make_vstate(struct solver *s, struct graph *g, const struct vertex *v,
				  const struct digest *digest, struct vstate *const *states)
{
	struct vstate *vs = NEW(struct vstate);
	struct vprogress_info info = {
		.digest = *digest,
		.name = v->name,
		.n_inputs = v->n_inputs,
		.group = v->progress_group,
	};
	struct digest *inputs = mem_calloc(v->n_inputs + 1, sizeof(*inputs));

	vs->solver = s;
	vs->digest = *digest;
	vs->ignore_cache = v->ignore_cache;
	vs->graph = graph_ref(g);
	vs->vertex = v;
	vs->builder = (struct builder) { .solver = s, .vs = vs };
	list_init(&vs->ready);
	list_init(&vs->edges);
	list_init(&vs->waiting);
	list_init(&vs->waiters);
	list_init(&vs->running);
	if (s->sessions.group_new)
		vs->sessions = s->sessions.group_new();
	vs->n_deps = v->n_inputs;
	vs->deps = mem_calloc(v->n_inputs + 1, sizeof(*vs->deps));
	for (size_t i = 0; i < v->n_inputs; i++) {
		struct vstate *in = states[v->inputs[i].vertex];
		struct dep *d = &vs->deps[i];

		d->edge = vstate_edge(vstate_ref_sched(in), v->inputs[i].output);
		d->consumer_vs = vs;
		list_add_tail(&d->edge->consumers, &d->consumer);
		inputs[i] = in->digest;
	}
	info.inputs = inputs;
	vs->progress = vprogress_new(&info, s->limits);
	free(inputs);
	map_put(&s->vertices, digest_key(digest), vs);
	return vs;
}

static void add_source(struct vstate *vs, struct cache_source *src)
{
	vec_each (&vs->sources, have)
		if (*have == src)
			return;
	vec_push(&vs->sources, cache_source_ref(src));
}

struct edge *vstate_load_sched(struct builder *b, struct graph *g, uint32_t vertex, uint32_t output,
			       struct cache_source *const *sources, size_t n_sources)
{
	struct solver *s = b->solver;
	bool *needed = mem_calloc(vertex + 1, sizeof(*needed));
	struct vstate **states = mem_calloc(vertex + 1, sizeof(*states));
	struct edge *e;

	needed[vertex] = true;
	for (uint32_t i = vertex + 1; i-- > 0;) {
		const struct vertex *v = &g->vertices[i];

		for (size_t k = 0; needed[i] && k < v->n_inputs; k++) {
			assert(v->inputs[k].vertex < i);
			needed[v->inputs[k].vertex] = true;
		}
	}
	for (uint32_t i = 0; i <= vertex; i++) {
		const struct vertex *v = &g->vertices[i];
		struct digest d;

		if (!needed[i])
			continue;
		states[i] = find_active(s, v, &d);
		if (!states[i])
			states[i] = make_vstate(s, g, v, &d, states);
		else
			revive(states[i]);
		if (b->job)
			attach(states[i], b->job);
		for (size_t k = 0; b->vs && k < b->vs->jobs.len; k++)
			attach(states[i], b->vs->jobs.items[k]);
		for (size_t k = 0; k < n_sources; k++)
			add_source(states[i], sources[k]);
		for (size_t k = 0; b->vs && k < b->vs->sources.len; k++)
			add_source(states[i], b->vs->sources.items[k]);
	}
	if (b->vs)
		vec_push(&b->vs->children, vstate_ref_sched(states[vertex]));
	e = vstate_edge(states[vertex], output);
	free(needed);
	free(states);
	return e;
}
