#include "base/mem.h"
#include "solver/state.h"

/* Both walks gather on the scheduler thread, into the caller's arena; what they point at is kept by
 * the caller's key. */

struct walk {
	struct cache_key *key;
	struct arena *arena;
	VEC(struct vstate *) order; /* inputs first */
	struct map positions;       /* vstate -> number + 1 */
};

static struct str pointer_key(const void *const *p)
{
	return str_make(p, sizeof(*p));
}

static size_t position(const struct walk *w, const struct vstate *vs)
{
	const void *p = vs;

	return (size_t)(uintptr_t)map_get(&w->positions, pointer_key(&p));
}

static void order_vertices(struct walk *w, struct vstate *top)
{
	VEC(struct vstate *) stack = VEC_INIT;

	vec_push(&stack, top);
	while (stack.len) {
		struct vstate *vs = stack.items[stack.len - 1];
		const void *p = vs;
		size_t before = stack.len;

		if (position(w, vs)) {
			stack.len--;
			continue;
		}
		for (size_t i = vs->n_deps; i-- > 0;)
			if (!position(w, vs->deps[i].edge->vs))
				vec_push(&stack, vs->deps[i].edge->vs);
		if (stack.len > before)
			continue;
		stack.len--;
		vec_push(&w->order, vs);
		map_put(&w->positions, pointer_key(&p), (void *)(uintptr_t)w->order.len);
	}
	vec_fini(&stack);
}

static void walk_fini(struct walk *w)
{
	vec_fini(&w->order);
	map_fini(&w->positions, NULL);
}

/* ---- vertices ---- */

struct vertex_walk {
	struct walk walk;
	struct walk_vertex *out;
};

static void walk_vertices(struct solver *s, void *arg)
{
	struct vertex_walk *v = arg;
	struct walk *w = &v->walk;
	uint32_t output;

	order_vertices(w, cache_key_vstate(w->key, &output));
	v->out = ARENA_NEW_N(w->arena, struct walk_vertex, w->order.len);
	for (size_t i = 0; i < w->order.len; i++) {
		const struct vstate *vs = w->order.items[i];
		uint32_t *inputs = ARENA_NEW_N(w->arena, uint32_t, vs->n_deps + 1);

		for (size_t k = 0; k < vs->n_deps; k++)
			inputs[k] = (uint32_t)position(w, vs->deps[k].edge->vs) - 1;
		v->out[i] = (struct walk_vertex) {
			.vertex = vs->vertex,
			.digest = vs->digest,
			.op = vs->op,
			.inputs = inputs,
			.n_inputs = vs->n_deps,
			.executed = vs->ran,
		};
	}
}

struct err *cache_key_walk(struct cache_key *k, struct ctx *ctx, struct arena *a,
			   struct walk_vertex **ret, size_t *ret_n)
{
	struct vertex_walk v = { .walk = { .key = k, .arena = a } };

	solver_call(cache_key_solver(k), walk_vertices, &v);
	*ret_n = v.walk.order.len;
	*ret = v.out;
	walk_fini(&v.walk);
	return ctx_err(ctx);
}

/* ---- records ---- */

struct records {
	struct walk walk;
	struct solver *solver;
	VEC(struct export_record) list;
	struct map by_root; /* id of a root key -> number + 1 */
	struct map by_edge; /* edge -> first record + 1; its records stand together */
};

static uint32_t root_record(struct records *r, const struct cache_key_id *id,
			    const struct vertex *vertex)
{
	struct str key = str_make(id->bytes, id->len);
	size_t have = (size_t)(uintptr_t)map_get(&r->by_root, key);
	struct export_record rec = { .vertex = vertex };

	if (have)
		return (uint32_t)have - 1;
	(void)cache_key_root_digest(id, &rec.digest);
	vec_push(&r->list, rec);
	map_put(&r->by_root, key, (void *)(uintptr_t)r->list.len);
	return (uint32_t)r->list.len - 1;
}

static void set_result(struct records *r, struct export_record *rec, struct edge *e)
{
	struct candidate c = { 0 };

	if (e->result) {
		rec->has_result = true;
		rec->result = e->result;
		rec->created_ns = r->solver->results->created(e->result);
	} else if (edge_candidate_sched(e, &c)) {
		rec->has_result = true;
		if (c.live) {
			rec->result = c.live->result;
			/* Its vertex is not ours to keep. */
			cache_key_hold_sched(r->walk.key, r->solver->results->ref(rec->result));
			rec->created_ns = r->solver->results->created(rec->result);
		} else {
			rec->source = c.source;
			rec->key = c.key->id;
			rec->result_id = str_dup(r->walk.arena, str_from(c.result_id));
			rec->created_ns = c.created_ns;
		}
		candidate_fini(&c);
	}
}

struct links {
	VEC(struct export_link) list;
};

static void add_link(struct links *l, uint32_t record, const struct digest *selector)
{
	vec_each (&l->list, have)
		if (have->record == record && digest_eq(&have->selector, selector))
			return;
	vec_push(&l->list, ((struct export_link) { record, *selector }));
}

struct stored_links {
	struct records *records;
	struct links *links; /* one an input */
	size_t n;
};

/* Content keys known from earlier builds. */
static void add_stored(void *arg, const struct cache_key_id *key, const struct cache_link *link)
{
	struct stored_links *s = arg;
	struct digest d;

	if (link->input < s->n && !digest_is_set(&link->selector) && cache_key_root_digest(key, &d))
		add_link(&s->links[link->input], root_record(s->records, key, NULL),
			 &link->selector);
}

/* All records of an input's edge: the n from *ret_first on. */
static uint32_t edge_records(const struct records *r, const struct edge *e, uint32_t *ret_first)
{
	const void *p = e;
	size_t first = (size_t)(uintptr_t)map_get(&r->by_edge, pointer_key(&p));

	*ret_first = (uint32_t)first - 1;
	return first ? 1 : 0;
}

static void export_inner(struct records *r, struct edge *e)
{
	struct vstate *vs = e->vs;
	struct arena *a = r->walk.arena;
	struct links *links = mem_calloc(vs->n_deps, sizeof(*links));
	struct stored_links stored = { r, links, vs->n_deps };
	struct cache_key_id id = cache_key_root(&vs->maps.items[0], e->output);
	struct export_record rec = { .vertex = vs->vertex, .n_inputs = vs->n_deps };
	const void *p = e;

	for (size_t i = 0; i < vs->n_deps; i++) {
		const struct dep *d = &vs->deps[i];
		const struct digest none = { 0 };
		uint32_t first;

		if (!d->edge->vs->n_deps)
			vec_each (&d->edge->keys, k)
				add_link(&links[i], root_record(r, &(*k)->id, d->edge->vs->vertex),
					 &vs->dep_info[i].selector);
		else if (edge_records(r, d->edge, &first))
			add_link(&links[i], first, &vs->dep_info[i].selector);
		if (d->slow_key)
			add_link(&links[i], root_record(r, &d->slow_key->id, NULL), &none);
	}
	vec_each (&e->keys, k) {
		struct cache_source *s = (*k)->source ?: r->solver->keys.local;

		if (!(*k)->transient)
			s->ops->backlinks(s, &(*k)->id, add_stored, &stored);
	}
	(void)cache_key_root_digest(&id, &rec.digest);
	rec.inputs = ARENA_NEW_N(a, struct export_link *, vs->n_deps);
	rec.n_links = ARENA_NEW_N(a, size_t, vs->n_deps);
	for (size_t i = 0; i < vs->n_deps; i++) {
		rec.n_links[i] = links[i].list.len;
		rec.inputs[i] = ARENA_NEW_N(a, struct export_link, links[i].list.len + 1);
		for (size_t k = 0; k < links[i].list.len; k++)
			rec.inputs[i][k] = links[i].list.items[k];
		vec_fini(&links[i].list);
	}
	free(links);
	set_result(r, &rec, e);
	vec_push(&r->list, rec);
	map_put(&r->by_edge, pointer_key(&p), (void *)(uintptr_t)r->list.len);
}

static void export_root(struct records *r, struct edge *e)
{
	vec_each (&e->keys, k) {
		uint32_t n = root_record(r, &(*k)->id, e->vs->vertex);

		if (!r->list.items[n].has_result)
			set_result(r, &r->list.items[n], e);
	}
}

static void walk_records(struct solver *s, void *arg)
{
	struct records *r = arg;
	struct walk *w = &r->walk;
	uint32_t output;
	struct vstate *top = cache_key_vstate(w->key, &output);

	order_vertices(w, top);
	vec_each (&w->order, v) {
		struct vstate *vs = *v;

		if (!vs->maps.len)
			continue;
		list_each (&vs->edges, n) {
			struct edge *e = list_entry(n, struct edge, link);

			/* Of the top only what was asked for. */
			if (vs == top && e->output != output)
				continue;
			if (vs->n_deps)
				export_inner(r, e);
			else
				export_root(r, e);
		}
	}
}

struct err *cache_key_export(struct cache_key *k, struct ctx *ctx, struct arena *a,
			     struct export_record **ret, size_t *ret_n)
{
	struct records r = { .walk = { .key = k, .arena = a }, .solver = cache_key_solver(k) };

	solver_call(r.solver, walk_records, &r);
	*ret = ARENA_NEW_N(a, struct export_record, r.list.len + 1);
	*ret_n = r.list.len;
	for (size_t i = 0; i < r.list.len; i++)
		(*ret)[i] = r.list.items[i];
	vec_fini(&r.list);
	map_fini(&r.by_root, NULL);
	map_fini(&r.by_edge, NULL);
	walk_fini(&r.walk);
	return ctx_err(ctx);
}

struct err *export_record_load(struct cache_key *k, struct ctx *ctx, const struct export_record *r,
			       struct result **ret)
{
	struct solver *s = cache_key_solver(k);

	if (r->result) {
		*ret = s->results->ref(r->result);
		return NULL;
	}
	if (!r->source)
		return err_new(ERR_NOT_FOUND, "cache record has no result");
	return r->source->ops->load(r->source, ctx, NULL, &r->key, r->result_id, ret);
}
