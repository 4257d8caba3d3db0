#include "fake.h"

#include <assert.h>

struct result {
	struct ref ref;
	struct fake_world *world;
	uint64_t value;
	int64_t created;
	char id[40];
};

struct fake_op {
	struct op op;
	struct fake_world *world;
	const struct fake_spec *spec;
	struct cache_dep *deps;
};

uint64_t fake_random(uint64_t *seed)
{
	uint64_t x = *seed += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static uint64_t mix(uint64_t a, uint64_t b)
{
	uint64_t s = a * 31 + b;

	return fake_random(&s) >> 1; /* never UINT64_MAX */
}

/* ---- results ---- */

static struct result *result_ref(struct result *r)
{
	ref_get(&r->ref);
	return r;
}

static void result_unref(struct result *r)
{
	if (!ref_put(&r->ref))
		return;
	lock_take(&r->world->lock);
	r->world->n_results--;
	lock_drop(&r->world->lock);
	free(r);
}

static const char *result_id(const struct result *r)
{
	return r->id;
}

static int64_t result_created(const struct result *r)
{
	return r->created;
}

static struct result *make_result(struct fake_world *w, uint64_t value, struct str id)
{
	struct result *r = NEW(struct result);

	ref_init(&r->ref);
	r->world = w;
	r->value = value;
	r->created = clock_wall();
	lock_take(&w->lock);
	w->n_results++;
	if (id.len)
		(void)snprintf(r->id, sizeof(r->id), "%.*s", STR_ARG(id));
	else
		(void)snprintf(r->id, sizeof(r->id), "w::%zu", w->next_id++);
	map_put(&w->live, str_from(r->id), (void *)(uintptr_t)(value + 1));
	lock_drop(&w->lock);
	return r;
}

static struct err *result_load(void *arg, struct ctx *ctx, struct str id, struct result **ret)
{
	struct fake_world *w = arg;
	uintptr_t v;

	atomic_fetch_add(&w->n_loads, 1);
	lock_take(&w->lock);
	v = (uintptr_t)map_get(&w->live, id);
	lock_drop(&w->lock);
	if (!v)
		return err_new(ERR_NOT_FOUND, "%.*s: not found", STR_ARG(id));
	*ret = make_result(w, v - 1, id);
	return NULL;
}

/* Now and then says yes of what is gone. */
static bool result_exists(void *arg, struct str id)
{
	struct fake_world *w = arg;
	bool found;

	lock_take(&w->lock);
	found = map_has(&w->live, id);
	lock_drop(&w->lock);
	return found || id.ptr[id.len - 1] % 2;
}

uint64_t fake_result_value(const struct result *r)
{
	return r->value;
}

void fake_evict(struct fake_world *w, unsigned one_in, uint64_t *seed)
{
	lock_take(&w->lock);
	for (struct map_entry *e = map_next(&w->live, NULL); e; e = map_next(&w->live, e))
		if (fake_random(seed) % one_in == 0)
			map_del(&w->live, map_key(e));
	lock_drop(&w->lock);
}

/* ---- values ---- */

static uint64_t content_of(uint64_t value)
{
	return value & 0xffff;
}

/* All that decides what the operation does. */
static uint64_t kind_of(const struct fake_spec *s)
{
	uint64_t v = mix(s->class, s->n_inputs * 4 + s->outputs);

	for (unsigned i = 0; i < s->n_inputs; i++)
		v = mix(v, s->by_content && s->by_content[i]);
	return v;
}

static uint64_t compute(const struct fake_spec *s, const uint64_t *inputs, uint32_t output)
{
	uint64_t v = mix(kind_of(s), s->content);

	for (unsigned i = 0; i < s->n_inputs; i++)
		v = mix(v, s->by_content && s->by_content[i] ? content_of(inputs[i]) : inputs[i]);
	return mix(v, output);
}

uint64_t fake_evaluate(const struct fake_spec *specs, uint32_t vertex, uint32_t output)
{
	const struct fake_spec *s = &specs[vertex];
	uint64_t *in = mem_calloc(s->n_inputs + 1, sizeof(*in));
	uint64_t v = UINT64_MAX;
	bool failed = s->fails || output >= MAX(s->outputs, 1U);

	for (unsigned i = 0; i < s->n_inputs && !failed; i++) {
		in[i] = fake_evaluate(specs, s->inputs[i].vertex, s->inputs[i].output);
		failed = in[i] == UINT64_MAX;
	}
	if (!failed)
		v = compute(s, in, output);
	if (!failed && s->inner)
		v = mix(v, fake_evaluate(s->inner, (uint32_t)s->n_inner - 1, 0));
	free(in);
	return v;
}

/* ---- operations ---- */

static struct digest digest_of(const char *kind, uint64_t n)
{
	char text[64];

	(void)snprintf(text, sizeof(text), "%s %llx", kind, (unsigned long long)n);
	return digest_sha256(str_from(text));
}

static struct err *content_hash(struct op *op, const struct op_env *env, void *arg,
				struct result *input, struct digest *ret)
{
	struct fake_op *o = container_of(op, struct fake_op, op);

	atomic_fetch_add(&o->world->n_hashes, 1);
	*ret = digest_of("content", content_of(input->value));
	return NULL;
}

static struct err *cache_key(struct op *op, const struct op_env *env, unsigned index,
			     struct cache_key_info *ret)
{
	struct fake_op *o = container_of(op, struct fake_op, op);
	const struct fake_spec *s = o->spec;

	atomic_fetch_add(&o->world->n_keys, 1);
	if (s->key_sleep_ns)
		TRY(ctx_sleep(env->ctx, s->key_sleep_ns));
	*ret = (struct cache_key_info) {
		.digest = digest_of("op",
				    mix(kind_of(s), s->two_maps ? s->salt * 10 + s->content + 100
								: s->content)),
		.deps = o->deps,
		.n_deps = s->n_inputs,
		.done = !s->two_maps || index,
	};
	if (index)
		ret->digest = digest_of("op", mix(kind_of(s), s->content));
	if (s->random)
		ret->digest.algo = DIGEST_RANDOM;
	return NULL;
}

static struct err *run(struct op *op, const struct op_env *env, struct result *const *inputs,
		       size_t n_inputs, struct op_outputs *out, struct failure **ret_failure)
{
	struct fake_op *o = container_of(op, struct fake_op, op);
	const struct fake_spec *s = o->spec;
	uint64_t *in = mem_calloc(n_inputs + 1, sizeof(*in)), inner = 0;
	struct err *e = NULL;

	atomic_fetch_add(&o->world->n_runs, 1);
	check(n_inputs == s->n_inputs);
	if (s->sleep_ns)
		e = ctx_sleep(env->ctx, s->sleep_ns);
	if (!e && s->fails)
		e = err_new(ERR_UNKNOWN, "class %llu fails", (unsigned long long)s->class);
	if (!e && s->inner) {
		struct graph *g = fake_graph(o->world, s->inner, s->n_inner);
		struct build_request br = { .graph = g, .vertex = (uint32_t)s->n_inner - 1 };
		struct build_result r;

		e = solver_build(env->builder, env->ctx, &br, &r, NULL);
		if (!e) {
			inner = r.result->value;
			build_result_fini(builder_solver(env->builder), &r);
		}
		graph_unref(g);
	}
	for (size_t i = 0; i < n_inputs; i++)
		in[i] = inputs[i]->value;
	for (uint32_t i = 0; i < MAX(s->outputs, 1U) && !e; i++) {
		uint64_t v = compute(s, in, i);

		op_outputs_add(out, make_result(o->world, s->inner ? mix(v, inner) : v, STR_NONE));
	}
	free(in);
	return e;
}

static void op_free(struct op *op)
{
	struct fake_op *o = container_of(op, struct fake_op, op);

	free(o->deps);
	free(o);
}

#define OPS(quick_, leaf_)                                                                         \
	{                                                                                          \
		cache_key, run, op_free, quick_, leaf_                                             \
	}
static const struct op_ops op_tables[4] = { OPS(false, false), OPS(false, true), OPS(true, false),
					    OPS(true, true) };

static struct err *make_op(const struct vertex *v, struct op **ret)
{
	const struct fake_spec *s = v->meta;
	struct fake_op *o = NEW(struct fake_op);

	o->op.ops = &op_tables[s->quick * 2 + s->leaf];
	o->world = *(struct fake_world *const *)(s + 1);
	o->spec = s;
	o->deps = mem_calloc(s->n_inputs + 1, sizeof(*o->deps));
	for (unsigned i = 0; i < s->n_inputs; i++)
		if (s->by_content && s->by_content[i])
			o->deps[i].content_hash = content_hash;
	*ret = &o->op;
	return NULL;
}

struct graph *fake_graph(struct fake_world *w, const struct fake_spec *specs, size_t n)
{
	struct graph *g = graph_new();
	struct arena *a = &g->arena;

	g->vertices = ARENA_NEW_N(a, struct vertex, n);
	g->n_vertices = n;
	for (size_t i = 0; i < n; i++) {
		struct vertex *v = &g->vertices[i];
		char *copy = arena_alloc(a, sizeof(*specs) + sizeof(w));
		SCOPED_BUF(b, 1 << 20);

		memcpy(copy, &specs[i], sizeof(*specs));
		if (specs[i].by_content) /* the graph outlives the table it is made from */
			((struct fake_spec *)(void *)copy)->by_content =
				arena_dup(a, specs[i].by_content, specs[i].n_inputs);
		memcpy(copy + sizeof(*specs), &w, sizeof(w));
		buf_addf(&b, "%u %llu %llu %llu %d%d%d%d", specs[i].outputs,
			 (unsigned long long)specs[i].class, (unsigned long long)specs[i].content,
			 (unsigned long long)specs[i].salt, specs[i].random, specs[i].fails,
			 specs[i].two_maps, specs[i].leaf);
		for (unsigned k = 0; k < specs[i].n_inputs; k++) {
			char text[DIGEST_TEXT_MAX];
			const struct vertex_input *in = &specs[i].inputs[k];

			assert(in->vertex < i);
			buf_addf(&b, " %s %u %d",
				 digest_format(&g->vertices[in->vertex].digest, text), in->output,
				 specs[i].by_content && specs[i].by_content[k]);
		}
		v->digest = digest_sha256(buf_str(&b));
		v->name = arena_printf(a, "vertex %zu", i);
		v->inputs = specs[i].inputs ? arena_dup(a, specs[i].inputs,
							specs[i].n_inputs * sizeof(*v->inputs))
					    : NULL;
		v->n_inputs = specs[i].n_inputs;
		v->make_op = make_op;
		v->ignore_cache = specs[i].ignore_cache;
		v->meta = copy;
	}
	return g;
}

/* ---- world ---- */

void fake_world_init(struct fake_world *w)
{
	*w = (struct fake_world) { 0 };
	lock_init(&w->lock, LOCK_LEAF);
	w->ops = (struct result_ops) {
		.ref = result_ref,
		.unref = result_unref,
		.id = result_id,
		.created = result_created,
		.load = result_load,
		.exists = result_exists,
		.arg = w,
	};
	w->pool = task_pool_new();
	w->ctx = ctx_new_root(w->pool);
}

void fake_world_fini(struct fake_world *w)
{
	task_pool_free(w->pool);
	ctx_unref(w->ctx);
	check(w->n_results == 0);
	map_fini(&w->live, NULL);
	lock_fini(&w->lock);
}

struct solver *fake_solver(struct fake_world *w, struct kv *kv)
{
	struct solver_config cfg = {
		.kv = kv,
		.results = &w->ops,
		.log_limits = { -1, -1 },
	};

	return solver_new(w->ctx, &cfg);
}

void fake_build(struct solver *s, const char *job, struct graph *g, uint32_t vertex,
		uint32_t output, uint64_t expected)
{
	struct build_request br = { .graph = g, .vertex = vertex, .output = output };
	struct build_result r = { 0 };
	struct ctx *ctx = ctx_new_root(NULL);
	struct job *j;
	struct err *e;

	assert_ok(job_new(s, str_from(job), NULL, &j));
	e = solver_build(job_builder(j), ctx, &br, &r, NULL);
	if (expected == UINT64_MAX) {
		check(e);
	} else {
		assert_ok(e);
		check(r.result->value == expected);
	}
	err_free(e);
	build_result_fini(s, &r);
	job_discard(j);
	ctx_unref(ctx);
}

/* ---- an imported cache ---- */

struct import_record {
	struct digest digest;
	struct export_link **inputs;
	size_t *n_links;
	size_t n_inputs;
	bool has_result;
	uint64_t value;
};

struct import {
	struct cache_source base;
	struct fake_world *world;
	struct arena arena;
	struct import_record *list;
	size_t n;
};

static struct cache_key_id import_id(const struct import *im, size_t i)
{
	struct cache_key_id id = { 0 };

	if (im->list[i].n_inputs) {
		id.len = sizeof(i);
		memcpy(id.bytes, &i, sizeof(i));
	} else {
		id.len = 33;
		id.bytes[0] = im->list[i].digest.algo;
		memcpy(id.bytes + 1, im->list[i].digest.bytes, 32);
	}
	return id;
}

static bool leads_to(const struct import *im, size_t i, const struct cache_key_id *key,
		     const struct cache_link *link)
{
	const struct import_record *r = &im->list[i];
	struct cache_key_id want = cache_key_root(&link->digest, link->output);
	struct digest d;

	(void)cache_key_root_digest(&want, &d);
	if (!r->n_inputs || link->input >= r->n_inputs || !digest_eq(&d, &r->digest))
		return false;
	for (size_t k = 0; k < r->n_links[link->input]; k++) {
		const struct export_link *l = &r->inputs[link->input][k];
		struct cache_key_id id = import_id(im, l->record);

		if (digest_eq(&l->selector, &link->selector) &&
		    memcmp(&id, key, 1 + (size_t)id.len) == 0)
			return true;
	}
	return false;
}

static void import_query(struct cache_source *s, const struct cache_key_id *key,
			 const struct cache_link *link,
			 void (*each)(void *arg, const struct cache_key_id *id), void *arg)
{
	const struct import *im = container_of(s, struct import, base);

	for (size_t i = 0; i < im->n; i++) {
		struct cache_key_id id = import_id(im, i);

		if (leads_to(im, i, key, link))
			each(arg, &id);
	}
}

static void import_results(struct cache_source *s, const struct cache_key_id *key,
			   void (*each)(void *arg, const struct cache_hit *hit), void *arg)
{
	const struct import *im = container_of(s, struct import, base);

	for (size_t i = 0; i < im->n; i++) {
		struct cache_key_id id = import_id(im, i);
		char text[32];

		if (!im->list[i].has_result || memcmp(&id, key, 1 + (size_t)id.len) != 0)
			continue;
		(void)snprintf(text, sizeof(text), "import %zu", i);
		each(arg, &(struct cache_hit) { str_from(text), 1 });
	}
}

static void import_backlinks(struct cache_source *s, const struct cache_key_id *key,
			     void (*each)(void *arg, const struct cache_key_id *from,
					  const struct cache_link *link),
			     void *arg)
{
	const struct import *im = container_of(s, struct import, base);

	for (size_t i = 0; i < im->n; i++) {
		const struct import_record *r = &im->list[i];
		struct cache_key_id id = import_id(im, i);

		if (memcmp(&id, key, 1 + (size_t)id.len) != 0)
			continue;
		for (uint32_t k = 0; k < r->n_inputs; k++)
			for (size_t m = 0; m < r->n_links[k]; m++) {
				const struct export_link *l = &r->inputs[k][m];
				struct cache_key_id from = import_id(im, l->record);

				each(arg, &from,
				     &(struct cache_link) { .input = k, .selector = l->selector });
			}
	}
}

static struct err *import_load(struct cache_source *s, struct ctx *ctx, void *session,
			       const struct cache_key_id *key, struct str id, struct result **ret)
{
	const struct import *im = container_of(s, struct import, base);
	uint64_t i;

	if (!str_to_u64(str_trim_prefix(id, STR("import ")), &i))
		abort();
	atomic_fetch_add(&im->world->n_imports, 1);
	/* Now and then the other side is gone. */
	if (atomic_load(&im->world->n_imports) % 7 == 0)
		return err_new(ERR_UNAVAILABLE, "no registry");
	*ret = make_result(im->world, im->list[i].value, STR_NONE);
	return NULL;
}

static void import_free(struct cache_source *s)
{
	struct import *im = container_of(s, struct import, base);

	arena_fini(&im->arena);
	free(im);
}

static const struct cache_source_ops import_ops = {
	.query = import_query,
	.results = import_results,
	.backlinks = import_backlinks,
	.load = import_load,
	.free = import_free,
};

struct cache_source *fake_source(struct fake_world *w, struct cache_key *k,
				 const struct export_record *rec, size_t n)
{
	struct import *im = NEW(struct import);
	struct arena *a = &im->arena;

	im->base.ops = &import_ops;
	ref_init(&im->base.ref);
	im->world = w;
	im->n = n;
	im->list = ARENA_NEW_N(a, struct import_record, n + 1);
	for (size_t i = 0; i < n; i++) {
		struct import_record *r = &im->list[i];
		struct result *result;
		struct err *e;

		r->digest = rec[i].digest;
		r->n_inputs = rec[i].n_inputs;
		r->inputs = ARENA_NEW_N(a, struct export_link *, r->n_inputs + 1);
		r->n_links = ARENA_NEW_N(a, size_t, r->n_inputs + 1);
		for (size_t d = 0; d < r->n_inputs; d++) {
			r->n_links[d] = rec[i].n_links[d];
			if (r->n_links[d])
				r->inputs[d] = arena_dup(a, rec[i].inputs[d],
							 r->n_links[d] * sizeof(**r->inputs));
		}
		if (!rec[i].has_result)
			continue;
		e = export_record_load(k, w->ctx, &rec[i], &result);
		if (!e) {
			r->has_result = true;
			r->value = result->value;
			result_unref(result);
		}
		err_free(e);
	}
	return &im->base;
}
