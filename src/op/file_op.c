#include "op/file_op.h"

#define INVALID(...) err_new(ERR_INVALID_ARGUMENT, __VA_ARGS__)

static struct err *file_cache_key(struct op *op, const struct op_env *env, unsigned index,
				  struct cache_key_info *ret)
{
	struct file_op *o = container_of(op_base_of(op), struct file_op, base);

	if (!digest_is_set(&o->digest))
		file_op_make_key(o);
	*ret = (struct cache_key_info) {
		.digest = o->digest,
		.deps = o->base.deps,
		.n_deps = o->base.vertex->n_inputs,
		.done = true,
	};
	return NULL;
}

static struct failure *make_failure(struct file_op *o, struct result *const *inputs,
				    size_t n_inputs, struct file_op_failure *left)
{
	struct op_failure *f = op_failure_new(&o->base, inputs, n_inputs);
	size_t n = o->pb->n_actions;

	f->file_action = left->action;
	f->mounts = ARENA_NEW_N(&f->arena, struct result *, n + 1);
	f->n_mounts = n;
	for (size_t i = 0; left->states && i < n; i++)
		if (left->states[i])
			f->mounts[i] = op_result_new(o->base.worker, left->states[i]);
	free(left->states);
	return &f->base;
}

static struct err *file_run(struct op *op, const struct op_env *env, struct result *const *inputs,
			    size_t n_inputs, struct op_outputs *out, struct failure **ret_failure)
{
	struct file_op *o = container_of(op_base_of(op), struct file_op, base);
	struct sem *sem = o->base.worker->parallelism;
	struct file_op_failure left;
	struct err *e;

	if (sem)
		TRY(sem_take(sem, env->ctx, 1));
	e = file_op_solve(o, env, inputs, out, &left);
	if (sem)
		sem_give(sem, 1);
	if (e && left.action >= 0)
		*ret_failure = make_failure(o, inputs, n_inputs, &left);
	return e;
}

static const struct op_ops file_op_ops = {
	.cache_key = file_cache_key,
	.run = file_run,
	.free = op_base_free,
	.quick_key = true,
	.leaf = true,
};

/* ---- outputs: dense from 0 ---- */

static struct err *find_outputs(struct file_op *o)
{
	const Pb__FileOp *f = o->pb;
	size_t n = 0;

	for (size_t i = 0; i < f->n_actions; i++)
		n += f->actions[i]->output != -1;
	if (!n)
		return INVALID("no outputs specified");
	o->outputs = ARENA_NEW_N(&o->base.arena, size_t, n);
	o->n_outputs = n;
	for (size_t k = 0; k < n; k++)
		o->outputs[k] = SIZE_MAX;
	for (size_t i = 0; i < f->n_actions; i++) {
		int64_t k = f->actions[i]->output;

		if (k == -1)
			continue;
		if (k < 0 || (uint64_t)k >= n)
			return INVALID("invalid output index %lld", (long long)k);
		if (o->outputs[k] != SIZE_MAX)
			return INVALID("duplicate output %lld", (long long)k);
		o->outputs[k] = i;
	}
	for (size_t k = 0; k < n; k++)
		if (o->outputs[k] == SIZE_MAX)
			return INVALID("missing output index %zu", k);
	return NULL;
}

static struct err *check_index(const struct file_op *o, int64_t i)
{
	size_t n = o->base.vertex->n_inputs + o->pb->n_actions;

	if (i < -1 || (i >= 0 && (uint64_t)i >= n))
		return INVALID("invalid input index %lld, %zu provided", (long long)i, n);
	return NULL;
}

const Pb__ChownOpt *file_action_owner(const Pb__FileAction *a)
{
	switch (a->action_case) {
	case PB__FILE_ACTION__ACTION_COPY:
		return a->copy->owner;
	case PB__FILE_ACTION__ACTION_MKFILE:
		return a->mkfile->owner;
	case PB__FILE_ACTION__ACTION_MKDIR:
		return a->mkdir->owner;
	case PB__FILE_ACTION__ACTION_SYMLINK:
		return a->symlink->owner;
	default:
		return NULL;
	}
}

static struct err *check_user(const struct file_op *o, const Pb__UserOpt *u)
{
	size_t n = o->base.vertex->n_inputs + o->pb->n_actions;
	int64_t i;

	if (file_owner_input(u, &i) && (i < 0 || (uint64_t)i >= n))
		return INVALID("invalid user index: %lld", (long long)i);
	return NULL;
}

static struct err *check_action(const struct file_op *o, const Pb__FileAction *a)
{
	const Pb__ChownOpt *c = file_action_owner(a);

	TRY(check_index(o, a->input));
	TRY(check_index(o, a->secondaryinput));
	if (a->action_case == PB__FILE_ACTION__ACTION__NOT_SET)
		return INVALID("invalid action type");
	if (!c)
		return NULL;
	TRY(check_user(o, c->user));
	return check_user(o, c->group);
}

struct err *op_make_file(const struct vertex *v, struct op **ret)
{
	struct file_op *o = op_new(v, &file_op_ops, sizeof(*o));
	struct err *e = NULL;

	o->pb = o->base.meta->op->file;
	for (size_t i = 0; i < o->pb->n_actions && !e; i++)
		e = check_action(o, o->pb->actions[i]);
	if (!e)
		e = find_outputs(o);
	if (e) {
		op_base_free(&o->base.op);
		return e;
	}
	*ret = &o->base.op;
	return NULL;
}
