/* An account of a job's vertices, gathered on the scheduler thread into the caller's arena. */
#include "base/mem.h"
#include "solver/state.h"

struct look {
	struct job *job;
	struct arena *arena;
	struct map positions; /* vstate -> number + 1 */
	struct job_vertex *out;
	size_t n;
};

static struct str pointer_key(const void *const *p)
{
	return str_make(p, sizeof(*p));
}

static uint32_t position(const struct look *l, const struct vstate *vs)
{
	const void *p = vs;

	return (uint32_t)(uintptr_t)map_get(&l->positions, pointer_key(&p)) - 1;
}

static enum vertex_fate fate_of(const struct vstate *vs)
{
	if (vs->err)
		return VERTEX_FAILED;
	if (vs->ran && !vs->joined)
		return VERTEX_RAN;
	if (vs->ran)
		return VERTEX_CACHED;
	list_each (&vs->edges, n) {
		const struct edge *e = list_entry(n, struct edge, link);

		/* What nobody had to load was found all the same. */
		if (e->result || (vs->n_deps && e->keys.len))
			return VERTEX_CACHED;
	}
	return VERTEX_UNUSED;
}

static const char *result_id(const struct vstate *vs, const struct result_ops *ops)
{
	list_each (&vs->edges, n) {
		const struct edge *e = list_entry(n, struct edge, link);

		if (e->result)
			return ops->id(e->result);
	}
	return NULL;
}

static struct job_input look_at_input(struct look *l, const struct vstate *vs, size_t i)
{
	const struct dep *d = &vs->deps[i];
	uint64_t *keys = ARENA_NEW_N(l->arena, uint64_t, d->edge->keys.len + 1);
	struct job_input in = { .vertex = position(l, d->edge->vs),
				.keys = keys,
				.result = d->edge->result };

	vec_each (&d->edge->keys, k)
		if (!(*k)->source)
			memcpy(&keys[in.n_keys++], (*k)->id.bytes + 1, sizeof(*keys));
	if (vs->dep_info) {
		in.selector = vs->dep_info[i].selector;
		in.arg = vs->dep_info[i].arg;
	}
	if (d->slow_key)
		in.content = d->slow_key->digest;
	return in;
}

static struct job_vertex look_at(struct look *l, const struct vstate *vs)
{
	struct job_vertex v = {
		.vertex = vs->vertex,
		.digest = vs->digest,
		.op = vs->op,
		.fate = fate_of(vs),
		.ignore_cache = vs->ignore_cache,
		.n_inputs = vs->n_deps,
		.result_id = result_id(vs, vs->solver->results),
	};

	if (vs->maps.len)
		v.key = vs->maps.items[0];
	if (vs->err)
		v.error = str_cstr(l->arena, str_from(err_text(vs->err)));
	list_each (&vs->edges, n)
		vec_each (&list_entry(n, struct edge, link)->keys, k)
			v.transient = v.transient || (*k)->transient;
	v.inputs = ARENA_NEW_N(l->arena, struct job_input, vs->n_deps + 1);
	for (size_t i = 0; i < vs->n_deps; i++)
		v.inputs[i] = look_at_input(l, vs, i);
	return v;
}

static void look_at_job(struct solver *s, void *arg)
{
	struct look *l = arg;

	l->n = l->job->vertices.len;
	l->out = ARENA_NEW_N(l->arena, struct job_vertex, l->n + 1);
	for (size_t i = 0; i < l->n; i++) {
		const void *p = l->job->vertices.items[i];

		map_put(&l->positions, pointer_key(&p), (void *)(uintptr_t)(i + 1));
	}
	for (size_t i = 0; i < l->n; i++)
		l->out[i] = look_at(l, l->job->vertices.items[i]);
}

struct err *job_vertices(struct job *j, struct ctx *ctx, struct arena *a, struct job_vertex **ret,
			 size_t *ret_n)
{
	struct look l = { .job = j, .arena = a };

	solver_call(j->solver, look_at_job, &l);
	map_fini(&l.positions, NULL);
	*ret = l.out;
	*ret_n = l.n;
	return ctx_err(ctx);
}
