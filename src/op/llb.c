#include "base/map.h"
#include "base/task.h"
#include "base/vec.h"
#include "cache/cachemount.h"
#include "op/op_impl.h"
#include "op/workers.h"

/* Without a code of its own, as the original has it. */
#define INVALID(...) err_new(ERR_UNKNOWN, __VA_ARGS__)

/* One op of a definition while it is loaded. */
struct loading {
	Pb__Op *op;
	struct digest original; /* digest of the bytes that came */
	struct digest digest;   /* after changes by policy, of it or below it */
	bool changed;
	bool done;
	uint32_t vertex; /* once done */
};

struct loader {
	struct ctx *ctx;
	const Pb__Definition *def;
	const struct op_load_opts *o;
	struct graph *graph;
	struct arena *arena; /* the graph's */
	struct op_graph *shared;
	struct loading *ops;
	struct map by_digest; /* original digest text -> struct loading */
	struct map metadata;  /* the same -> Pb__OpMetadata */
	struct map by_final;  /* final digest -> vertex number + 1 */
	VEC(struct vertex) vertices;
};

static struct err *make_op(const struct vertex *v, struct op **ret)
{
	const struct op_meta *m = op_meta_of(v);

	TRY(op_validate(m->op));
	switch (m->op->op_case) {
	case PB__OP__OP_SOURCE:
		return op_make_source(v, ret);
	case PB__OP__OP_EXEC:
		return op_make_exec(v, ret);
	case PB__OP__OP_FILE:
		return op_make_file(v, ret);
	case PB__OP__OP_BUILD:
		return op_make_build(v, ret);
	case PB__OP__OP_MERGE:
		return op_make_merge(v, ret);
	case PB__OP__OP_DIFF:
		return op_make_diff(v, ret);
	case PB__OP__OP_PASSTHROUGH:
		return op_make_passthrough(v, ret);
	default:
		return INVALID("could not resolve op of unknown type");
	}
}

/* ---- reading the ops ---- */

static struct err *parse_ops(struct loader *l)
{
	char text[DIGEST_TEXT_MAX];

	l->ops = mem_calloc(l->def->n_def, sizeof(*l->ops));
	for (size_t i = 0; i < l->def->n_def; i++) {
		struct str bytes = proto_bytes(l->def->def[i]);
		struct loading *x = &l->ops[i];

		TRYW(PROTO_UNPACK(l->arena, pb__op, bytes, &x->op), "failed to parse llb proto op");
		for (size_t k = 0; k < x->op->n_inputs; k++) {
			const Pb__Input *in = x->op->inputs[k];

			if (in->index < 0 || in->index > INT32_MAX)
				return INVALID("invalid input %zu output index %lld", k,
					       (long long)in->index);
		}
		x->original = digest_sha256(bytes);
		map_put(&l->by_digest, str_from(digest_format(&x->original, text)), x);
	}
	if (l->def->n_def < 2)
		return INVALID("invalid LLB with %zu vertexes", l->def->n_def);
	for (size_t i = 0; i < l->def->n_metadata; i++)
		map_put(&l->metadata, str_from(l->def->metadata[i]->key),
			l->def->metadata[i]->value);
	return NULL;
}

static const Pb__OpMetadata *metadata_of(const struct loader *l, const struct loading *x)
{
	char text[DIGEST_TEXT_MAX];

	return map_get(&l->metadata, str_from(digest_format(&x->original, text)));
}

static struct err *check_caps(const Pb__OpMetadata *md)
{
	for (size_t i = 0; md && i < md->n_caps; i++)
		if (md->caps[i]->value && !op_cap(md->caps[i]->key))
			return err_new(ERR_UNIMPLEMENTED, "unknown API capability %s",
				       md->caps[i]->key);
	return NULL;
}

/* ---- one op becomes a vertex; its inputs are vertices already ---- */

static char *lower_platform(struct arena *a, struct str s)
{
	return str_cstr(a, s);
}

/* The platform of an op without one is the worker's; all are written the same way. Not part of the
 * digest. */
static void set_platform(struct loader *l, struct loading *x, struct op_meta *m)
{
	struct arena *a = l->arena;
	Pb__Platform *p = x->op->platform;
	struct platform pf;

	if (!p) {
		pf = m->worker->n_platforms ? m->worker->platforms[0] : platform_default();
		p = ARENA_NEW(a, Pb__Platform);
		pb__platform__init(p);
		p->osversion = lower_platform(a, pf.os_version);
	} else {
		pf = (struct platform) {
			.os = str_from(p->os),
			.arch = str_from(p->architecture),
			.variant = str_from(p->variant),
		};
	}
	pf = platform_normalize(pf);
	m->platform = (struct platform) {
		.os = str_dup(a, pf.os),
		.arch = str_dup(a, pf.arch),
		.variant = str_dup(a, pf.variant),
		.os_version = str_from(p->osversion),
		.n_os_features = p->n_osfeatures,
		.os_features = ARENA_NEW_N(a, struct str, p->n_osfeatures + 1),
	};
	for (size_t i = 0; i < p->n_osfeatures; i++)
		m->platform.os_features[i] = str_from(p->osfeatures[i]);
	p->os = str_cstr(a, m->platform.os);
	p->architecture = str_cstr(a, m->platform.arch);
	p->variant = str_cstr(a, m->platform.variant);
	x->op->platform = p;
}

/* The policy's answer for one source; several are asked for at once, since each may wait for a
 * client. */
struct asking {
	struct loader *l;
	struct loading *x;
	struct arena arena;
	Pb__SourceOp *source; /* a copy in arena, to be changed */
	bool changed;
};

static struct err *ask_policy(struct ctx *ctx, void *arg)
{
	struct asking *q = arg;
	const struct op_source_policy *policy = q->l->o->policy;

	return policy->evaluate(policy->arg, ctx, &q->arena, q->source, q->x->op->platform,
				&q->changed);
}

static struct err *apply_policy(struct loader *l)
{
	struct asking *list;
	struct task_group group;
	size_t n = 0;
	struct err *e;

	if (!l->o->policy)
		return NULL;
	list = mem_calloc(l->def->n_def, sizeof(*list));
	for (size_t i = 0; i < l->def->n_def; i++) {
		struct asking *q = &list[n];

		if (l->ops[i].op->op_case != PB__OP__OP_SOURCE)
			continue;
		n++;
		q->l = l;
		q->x = &l->ops[i];
		q->source = proto_dup(&q->arena, q->x->op->source);
	}
	if (n == 1) {
		e = ask_policy(l->ctx, list);
	} else {
		task_group_init(&group, l->ctx, LIMIT_POLICY_QUESTIONS);
		for (size_t i = 0; i < n; i++)
			task_group_go(&group, "source policy", ask_policy, &list[i]);
		e = task_group_wait(&group);
	}
	for (size_t i = 0; i < n; i++) {
		list[i].x->op->source = proto_dup(l->arena, list[i].source);
		list[i].x->changed = list[i].changed;
		arena_fini(&list[i].arena);
	}
	free(list);
	return err_wrap(e, "error evaluating the source policy");
}

static const char *vertex_name(struct loader *l, const struct loading *x, const Pb__OpMetadata *md)
{
	const char *custom =
		md ? PROTO_MAP_GET(md->n_description, md->description, "llb.customname") : NULL;
	const char **inputs;
	const char *name;

	if (custom && custom[0])
		return arena_strdup(l->arena, custom);
	inputs = mem_calloc(x->op->n_inputs + 1, sizeof(*inputs));
	for (size_t i = 0; i < x->op->n_inputs; i++) {
		const struct loading *in =
			map_get(&l->by_digest, str_from(x->op->inputs[i]->digest));

		inputs[i] = l->vertices.items[in->vertex].name;
	}
	name = op_name(l->arena, x->op, inputs);
	free(inputs);
	return name;
}

/* The worker that the op's constraints ask for. */
static struct err *choose_worker(struct loader *l, const struct loading *x, struct worker **ret)
{
	const Pb__WorkerConstraints *c = x->op->constraints;
	size_t n = c ? c->n_filter : 0;
	struct str *filters = ARENA_NEW_N(l->arena, struct str, n + 1);

	for (size_t i = 0; i < n; i++)
		filters[i] = str_from(c->filter[i]);
	return worker_select(l->o->worker, filters, n, ret);
}

/* Without a network there is nothing to stand between. */
static bool is_proxied(const Pb__Op *op, const struct op_load_opts *o)
{
	return o->proxy_network && op->op_case == PB__OP__OP_EXEC &&
	       op->exec->network != PB__NET_MODE__NET_MODE_NONE;
}

/* The same step with and without the proxy are two, as it may fetch other things. */
static struct digest final_digest(const Pb__Op *op, bool proxied, struct arena *a)
{
	static const char mark[] = "\0buildkit.proxy-network.v0";
	CLEANUP(hasher_freep) struct hasher *h = hasher_new(DIGEST_SHA256);

	hasher_add_str(h, proto_pack_arena(op, a));
	if (proxied)
		hasher_add(h, mark, sizeof(mark) - 1);
	return hasher_sum(h);
}

static struct err *check_network(const Pb__Op *op, const struct op_load_opts *o)
{
	if (!is_proxied(op, o))
		return NULL;
	if (op->exec->network != PB__NET_MODE__NET_MODE_UNSET &&
	    op->exec->network != PB__NET_MODE__NET_MODE_HOST)
		return INVALID("network mode %d is not allowed when proxy network is enabled",
			       (int)op->exec->network);
	return NULL;
}

static struct err *finish_op(struct loader *l, struct loading *x)
{
	struct arena *a = l->arena;
	const Pb__OpMetadata *md = metadata_of(l, x);
	struct op_meta *m;
	struct worker *worker;
	struct vertex v = { .make_op = make_op };
	struct vertex_input *inputs;
	void *known;
	bool proxied;

	TRY(check_caps(md));
	TRY(op_validate(x->op));
	TRY(check_network(x->op, l->o));
	TRY(choose_worker(l, x, &worker));
	v.name = vertex_name(l, x, md);
	inputs = ARENA_NEW_N(a, struct vertex_input, x->op->n_inputs + 1);
	for (size_t i = 0; i < x->op->n_inputs; i++) {
		Pb__Input *in = x->op->inputs[i];
		const struct loading *y = map_get(&l->by_digest, str_from(in->digest));

		inputs[i] = (struct vertex_input) { y->vertex, (uint32_t)in->index };
		if (!y->changed)
			continue;
		in->digest = digest_text(&y->digest, a);
		x->changed = true;
	}
	proxied = is_proxied(x->op, l->o);
	x->changed = x->changed || proxied;
	x->digest = x->changed ? final_digest(x->op, proxied, a) : x->original;
	/* What it leaves of the devices is no part of the digest. */
	TRY(entitlement_check(x->op, md, l->o, a));
	x->done = true;
	known = map_get(&l->by_final, str_make(&x->digest, sizeof(x->digest)));
	if (known) {
		x->vertex = (uint32_t)(uintptr_t)known - 1;
		return NULL;
	}
	m = ARENA_NEW(a, struct op_meta);
	m->graph = l->shared;
	m->worker = worker;
	m->op = x->op;
	m->original = x->original;
	m->proxied = proxied;
	if (md) {
		m->md = proto_dup(a, md);
	} else {
		Pb__OpMetadata *none = ARENA_NEW(a, Pb__OpMetadata);

		pb__op_metadata__init(none);
		m->md = none;
	}
	set_platform(l, x, m);
	v.digest = x->digest;
	v.inputs = inputs;
	v.n_inputs = x->op->n_inputs;
	v.ignore_cache = m->md->ignore_cache;
	if (m->md->export_cache)
		v.export_cache = m->md->export_cache->value ? EXPORT_CACHE_ON : EXPORT_CACHE_OFF;
	v.progress_group = m->md->progress_group;
	v.meta = m;
	x->vertex = (uint32_t)l->vertices.len;
	vec_push(&l->vertices, v);
	map_put(&l->by_final, str_make(&x->digest, sizeof(x->digest)),
		(void *)(uintptr_t)l->vertices.len);
	return NULL;
}

/* Inputs first, without recursion: graphs are deep. */
static struct err *load_below(struct loader *l, struct loading *top)
{
	VEC(struct loading *) stack = VEC_INIT;
	struct err *e = NULL;

	vec_push(&stack, top);
	while (stack.len && !e) {
		struct loading *x = stack.items[stack.len - 1];
		size_t before = stack.len;

		if (x->done) {
			stack.len--;
			continue;
		}
		for (size_t i = x->op->n_inputs; i-- > 0 && !e;) {
			const char *d = x->op->inputs[i]->digest;
			struct loading *in = map_get(&l->by_digest, str_from(d));

			if (!in)
				e = INVALID("invalid missing input digest %s", d);
			else if (!in->done)
				vec_push(&stack, in);
		}
		if (e || stack.len > before)
			continue;
		stack.len--;
		e = finish_op(l, x);
	}
	vec_fini(&stack);
	return e;
}

static struct err *load(struct loader *l, uint32_t *ret_vertex, uint32_t *ret_output)
{
	const Pb__Op *last;
	struct loading *top;

	TRY(op_check_source_map(l->def->source));
	TRY(parse_ops(l));
	TRY(apply_policy(l));
	last = l->ops[l->def->n_def - 1].op;
	if (!last->n_inputs)
		return INVALID("invalid LLB with no inputs on last vertex");
	top = map_get(&l->by_digest, str_from(last->inputs[0]->digest));
	if (!top)
		return INVALID("invalid missing input digest %s", last->inputs[0]->digest);
	TRY(load_below(l, top));
	l->graph->vertices = arena_dup(l->arena, l->vertices.items,
				       l->vertices.len * sizeof(*l->vertices.items));
	l->graph->n_vertices = l->vertices.len;
	*ret_vertex = top->vertex;
	*ret_output = (uint32_t)last->inputs[0]->index;
	return NULL;
}

/* A step that ignores the cache starts with empty cache mounts. */
static struct err *clear_cache_mounts(const struct loader *l)
{
	for (size_t i = 0; i < l->graph->n_vertices; i++) {
		const struct vertex *v = &l->graph->vertices[i];
		struct cachemounts *mounts = op_meta_of(v)->worker->cachemounts;
		const Pb__Op *op = op_meta_of(v)->op;

		if (!v->ignore_cache || !mounts || op->op_case != PB__OP__OP_EXEC)
			continue;
		for (size_t k = 0; k < op->exec->n_mounts; k++) {
			const Pb__Mount *m = op->exec->mounts[k];

			if (m->mounttype == PB__MOUNT_TYPE__MOUNT_TYPE_CACHE && m->cacheopt)
				TRY(cachemount_clear(mounts, l->ctx, str_from(m->cacheopt->id)));
		}
	}
	return NULL;
}

static void drop_policy(void *owner)
{
	const struct op_source_policy *p = owner;

	p->unref(p->arg);
}

struct err *op_load_definition(struct ctx *ctx, const Pb__Definition *def,
			       const struct op_load_opts *o, struct graph **ret_graph,
			       uint32_t *ret_vertex, uint32_t *ret_output)
{
	struct loader l = { .ctx = ctx, .def = def, .o = o };
	struct err *e;

	if (!def || !def->n_def)
		return INVALID("invalid empty definition");
	if (def->n_def > LIMIT_LLB_OPS)
		return err_new(ERR_RESOURCE_EXHAUSTED, "definition has more than %d vertexes",
			       LIMIT_LLB_OPS);
	l.graph = graph_new();
	l.arena = &l.graph->arena;
	l.shared = ARENA_NEW(l.arena, struct op_graph);
	l.shared->entitlements = o->entitlements;
	l.shared->proxy_network = o->proxy_network;
	if (o->devices)
		l.shared->devices = entitlement_devices_dup(l.arena, o->devices);
	if (o->cgroup_parent)
		l.shared->cgroup_parent = arena_strdup(l.arena, o->cgroup_parent);
	if (def->source)
		l.shared->source_map = proto_dup(l.arena, def->source);
	l.graph->shared = l.shared;
	if (o->policy) {
		l.shared->has_policy = true;
		l.shared->policy = *o->policy;
		o->policy->ref(o->policy->arg);
		l.graph->owner = &l.shared->policy;
		l.graph->free_owner = drop_policy;
	}
	e = load(&l, ret_vertex, ret_output);
	if (!e)
		e = clear_cache_mounts(&l);
	free(l.ops);
	map_fini(&l.by_digest, NULL);
	map_fini(&l.metadata, NULL);
	map_fini(&l.by_final, NULL);
	vec_fini(&l.vertices);
	if (e)
		graph_unref(l.graph);
	else
		*ret_graph = l.graph;
	return e;
}

/* ---- looking in ---- */

const Pb__Op *op_vertex_pb(const struct vertex *v)
{
	return op_meta_of(v)->op;
}

bool op_vertex_is_proxied(const struct vertex *v)
{
	return op_meta_of(v)->proxied;
}

const Pb__OpMetadata *op_vertex_metadata(const struct vertex *v)
{
	return op_meta_of(v)->md;
}

/* What other workers made is brought here first. */
static struct err *run_here(struct op *op, const struct op_env *env, struct result *const *inputs,
			    size_t n_inputs, struct op_outputs *out, struct failure **ret_failure)
{
	struct op_base *o = op_base_of(op);
	struct result **here = mem_calloc(n_inputs + 1, sizeof(struct result *));
	struct result_ops ops;
	struct err *e = NULL;

	op_result_ops_init(&ops, o->worker);
	for (size_t i = 0; i < n_inputs && !e; i++)
		e = worker_bring_result(o->worker, env->ctx, inputs[i], &here[i]);
	if (!e)
		e = o->kind->run(op, env, here, n_inputs, out, ret_failure);
	for (size_t i = 0; i < n_inputs; i++)
		if (here[i])
			ops.unref(here[i]);
	free(here);
	return e;
}

void *op_new(const struct vertex *v, const struct op_ops *ops, size_t size)
{
	struct op_base *o = mem_alloc(size);

	o->kind = o->op.ops = ops;
	o->vertex = v;
	o->meta = op_meta_of(v);
	o->worker = o->meta->worker;
	if (o->worker->set && o->worker->set->n > 1 && v->n_inputs) {
		o->here = *ops;
		o->here.run = run_here;
		o->op.ops = &o->here;
	}
	o->deps = ARENA_NEW_N(&o->arena, struct cache_dep, v->n_inputs + 1);
	return o;
}

void op_base_free(struct op *op)
{
	struct op_base *o = op_base_of(op);

	arena_fini(&o->arena);
	free(o);
}
