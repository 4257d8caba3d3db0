/* BuildOp: a definition found in a file of an input is built. */
#include "op/op_impl.h"
#include "op/tree.h"

#define DEFINITION_INPUT "buildkit.llb.definition"
#define DEFINITION_MAX (64 * MIB)

static struct err *build_cache_key(struct op *op, const struct op_env *env, unsigned index,
				   struct cache_key_info *ret)
{
	struct op_base *o = op_base_of(op);
	struct key_json k;

	key_json_begin(&k, "buildkit.build.v0");
	json_key(&k.j, STR("Exec"));
	gojson_message(&k.j, &o->meta->op->build->base);
	*ret = (struct cache_key_info) {
		.digest = key_json_end(&k),
		.deps = o->deps,
		.n_deps = o->vertex->n_inputs,
		.done = true,
	};
	return NULL;
}

static struct err *read_definition(struct op_base *o, const struct op_env *env, struct cache_ref *r,
				   struct str path, struct arena *a, Pb__Definition **ret)
{
	struct tree *t;
	struct err *e;
	SCOPED_BUF(data, DEFINITION_MAX);

	TRY(op_unlazy(env, r));
	TRY(tree_open(o->worker, env->ctx, r, &t));
	e = tree_read_file(t, path, &data);
	tree_close(t);
	TRYW(e, "failed to read llb definition");
	TRYW(PROTO_UNPACK(a, pb__definition, str_dup(a, buf_str(&data)), ret),
	     "failed to parse llb definition");
	return NULL;
}

static struct err *solve(struct op_base *o, const struct op_env *env, const Pb__Definition *def,
			 struct op_outputs *out, struct failure **ret_failure)
{
	const struct op_graph *shared = o->meta->graph;
	struct op_load_opts lo = {
		.worker = o->worker,
		.policy = shared->has_policy ? &shared->policy : NULL,
		.entitlements = shared->entitlements,
		.devices = &shared->devices,
		.proxy_network = shared->proxy_network,
		.cgroup_parent = shared->cgroup_parent,
	};
	struct solver *s = builder_solver(env->builder);
	struct build_request br = { 0 };
	struct build_result r;
	struct cache_ref *ref;
	struct graph *g;
	struct err *e;

	TRY(op_load_definition(env->ctx, def, &lo, &g, &br.vertex, &br.output));
	br.graph = g;
	e = solver_build(env->builder, env->ctx, &br, &r, ret_failure);
	if (e)
		op_add_source_details(g, e);
	graph_unref(g);
	TRY(e);
	ref = op_result_ref(r.result);
	op_outputs_add(
		out, op_result_new(op_result_worker(r.result), ref ? cache_ref_clone(ref) : NULL));
	build_result_fini(s, &r);
	return NULL;
}

static struct err *build_run(struct op *op, const struct op_env *env, struct result *const *inputs,
			     size_t n_inputs, struct op_outputs *out, struct failure **ret_failure)
{
	struct op_base *o = op_base_of(op);
	const Pb__BuildOp *b = o->meta->op->build;
	const Pb__BuildInput *in = PROTO_MAP_GET(b->n_inputs, b->inputs, DEFINITION_INPUT);
	const char *path = PROTO_MAP_GET(b->n_attrs, b->attrs, "llbbuild.filename");
	Pb__Definition *def;
	SCOPED_ARENA(a);

	if (b->builder != -1)
		return err_new(ERR_INVALID_ARGUMENT, "only LLB builder is currently allowed");
	if (!in)
		return err_new(ERR_INVALID_ARGUMENT, "no llb definition input %s found",
			       DEFINITION_INPUT);
	if (in->input < 0 || (uint64_t)in->input >= n_inputs)
		return err_new(ERR_INVALID_ARGUMENT, "invalid index %lld", (long long)in->input);
	TRY(read_definition(o, env, op_result_ref(inputs[in->input]),
			    str_from(path && path[0] ? path : DEFINITION_INPUT), &a, &def));
	return solve(o, env, def, out, ret_failure);
}

static const struct op_ops build_ops = {
	.cache_key = build_cache_key,
	.run = build_run,
	.free = op_base_free,
	.quick_key = true,
};

struct err *op_make_build(const struct vertex *v, struct op **ret)
{
	struct op_base *o = op_new(v, &build_ops, sizeof(*o));

	*ret = &o->op;
	return NULL;
}
