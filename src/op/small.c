/* Operations that only arrange trees: merge, diff, passthrough. */
#include "op/op_impl.h"

static struct err *check_input(int64_t input, size_t n_inputs)
{
	if (input < -1 || (input >= 0 && (uint64_t)input >= n_inputs))
		return err_new(ERR_INVALID_ARGUMENT, "invalid input index %lld, %zu provided",
			       (long long)input, n_inputs);
	return NULL;
}

static struct cache_ref *input_ref(struct result *const *inputs, int64_t i)
{
	return i < 0 ? NULL : op_result_ref(inputs[i]);
}

static struct err *key_of_message(struct op *op, const char *type, struct str member,
				  const ProtobufCMessage *m, struct cache_key_info *ret)
{
	struct op_base *o = op_base_of(op);
	struct key_json k;

	key_json_begin(&k, type);
	json_key(&k.j, member);
	gojson_message(&k.j, m);
	*ret = (struct cache_key_info) {
		.digest = key_json_end(&k),
		.deps = o->deps,
		.n_deps = o->vertex->n_inputs,
		.done = true,
	};
	return NULL;
}

/* ---- merge ---- */

static struct err *merge_cache_key(struct op *op, const struct op_env *env, unsigned index,
				   struct cache_key_info *ret)
{
	return key_of_message(op, "buildkit.merge.v0", STR("Merge"),
			      &op_base_of(op)->meta->op->merge->base, ret);
}

static struct err *merge_run(struct op *op, const struct op_env *env, struct result *const *inputs,
			     size_t n_inputs, struct op_outputs *out, struct failure **ret_failure)
{
	struct op_base *o = op_base_of(op);
	const Pb__MergeOp *m = o->meta->op->merge;
	struct cache_opts opts = { .description = str_from(o->vertex->name) };
	struct cache_ref **refs = ARENA_NEW_N(&o->arena, struct cache_ref *, m->n_inputs + 1);
	struct cache_ref *ref = NULL;
	size_t n = 0;

	for (size_t i = 0; i < m->n_inputs; i++) {
		refs[n] = input_ref(inputs, m->inputs[i]->input);
		n += refs[n] != NULL;
	}
	if (n == 1)
		ref = cache_ref_clone(refs[0]);
	else if (n)
		TRYW(cache_merge(o->worker->cache, env->ctx, refs, n, &opts, &ref),
		     "failed to merge layers");
	op_outputs_add(out, op_result_new(o->worker, ref));
	return NULL;
}

static const struct op_ops merge_ops = {
	.cache_key = merge_cache_key,
	.run = merge_run,
	.free = op_base_free,
	.quick_key = true,
	.leaf = true,
};

struct err *op_make_merge(const struct vertex *v, struct op **ret)
{
	const Pb__MergeOp *m = op_meta_of(v)->op->merge;
	struct op_base *o;

	for (size_t i = 0; i < m->n_inputs; i++)
		TRY(check_input(m->inputs[i]->input, v->n_inputs));
	o = op_new(v, &merge_ops, sizeof(*o));
	*ret = &o->op;
	return NULL;
}

/* ---- diff ---- */

static struct err *diff_cache_key(struct op *op, const struct op_env *env, unsigned index,
				  struct cache_key_info *ret)
{
	return key_of_message(op, "buildkit.diff.v0", STR("Diff"),
			      &op_base_of(op)->meta->op->diff->base, ret);
}

static struct err *diff_run(struct op *op, const struct op_env *env, struct result *const *inputs,
			    size_t n_inputs, struct op_outputs *out, struct failure **ret_failure)
{
	struct op_base *o = op_base_of(op);
	const Pb__DiffOp *d = o->meta->op->diff;
	struct cache_ref *lower = input_ref(inputs, d->lower->input);
	struct cache_ref *upper = input_ref(inputs, d->upper->input);
	struct cache_opts opts = { .description = str_from(o->vertex->name) };
	struct cache_ref *ref = NULL;

	if (upper && !lower)
		ref = cache_ref_clone(upper);
	else if (lower && (!upper || strcmp(cache_ref_id(lower), cache_ref_id(upper)) != 0))
		TRYW(cache_diff(o->worker->cache, env->ctx, lower, upper, &opts, &ref),
		     "failed to diff layers");
	op_outputs_add(out, op_result_new(o->worker, ref));
	return NULL;
}

static const struct op_ops diff_ops = {
	.cache_key = diff_cache_key,
	.run = diff_run,
	.free = op_base_free,
	.quick_key = true,
	.leaf = true,
};

struct err *op_make_diff(const struct vertex *v, struct op **ret)
{
	const Pb__DiffOp *d = op_meta_of(v)->op->diff;
	struct op_base *o;

	TRY(check_input(d->lower->input, v->n_inputs));
	TRY(check_input(d->upper->input, v->n_inputs));
	o = op_new(v, &diff_ops, sizeof(*o));
	*ret = &o->op;
	return NULL;
}

/* ---- passthrough ---- */

static struct err *passthrough_cache_key(struct op *op, const struct op_env *env, unsigned index,
					 struct cache_key_info *ret)
{
	return key_of_message(op, "buildkit.passthrough.v0", STR("Passthrough"),
			      &op_base_of(op)->meta->op->passthrough->base, ret);
}

static struct err *passthrough_run(struct op *op, const struct op_env *env,
				   struct result *const *inputs, size_t n_inputs,
				   struct op_outputs *out, struct failure **ret_failure)
{
	struct op_base *o = op_base_of(op);
	const Pb__PassthroughOp *p = o->meta->op->passthrough;

	for (size_t i = 0; i < p->n_outputs; i++) {
		struct cache_ref *ref = op_result_ref(inputs[p->outputs[i]]);

		op_outputs_add(out, op_result_new(o->worker, ref ? cache_ref_clone(ref) : NULL));
	}
	return NULL;
}

static const struct op_ops passthrough_ops = {
	.cache_key = passthrough_cache_key,
	.run = passthrough_run,
	.free = op_base_free,
	.quick_key = true,
	.leaf = true,
};

struct err *op_make_passthrough(const struct vertex *v, struct op **ret)
{
	struct op_base *o = op_new(v, &passthrough_ops, sizeof(*o));

	*ret = &o->op;
	return NULL;
}
