#include "op/op_impl.h"

#define INVALID(...) err_new(ERR_INVALID_ARGUMENT, __VA_ARGS__)

static struct err *check_exec(const Pb__ExecOp *op)
{
	bool root = false;

	if (!op)
		return INVALID("invalid nil exec op");
	if (!op->meta)
		return INVALID("invalid exec op with no meta");
	if (!op->meta->n_args)
		return INVALID("invalid exec op with no args");
	if (!op->n_mounts)
		return INVALID("invalid exec op with no mounts");
	for (size_t i = 0; i < op->n_mounts; i++)
		root = root || strcmp(op->mounts[i]->dest, "/") == 0;
	if (!root)
		return INVALID("invalid exec op with no rootfs");
	return NULL;
}

static struct err *check_file(const Pb__FileOp *op)
{
	if (!op)
		return INVALID("invalid nil file op");
	if (!op->n_actions)
		return INVALID("invalid file op with no actions");
	return NULL;
}

static struct err *check_diff(const Pb__DiffOp *op)
{
	if (!op)
		return INVALID("invalid nil diff op");
	if (!op->lower || !op->upper)
		return INVALID("invalid diff op with nil lower or upper input");
	return NULL;
}

static struct err *check_passthrough(const Pb__PassthroughOp *op, size_t n_inputs)
{
	if (!op)
		return INVALID("invalid nil passthrough op");
	if (!op->id[0])
		return INVALID("invalid passthrough op with no id");
	if (!op->n_outputs)
		return INVALID("invalid passthrough op with no outputs");
	for (size_t i = 0; i < op->n_outputs; i++)
		if (op->outputs[i] < 0 || (uint64_t)op->outputs[i] >= n_inputs)
			return INVALID("invalid passthrough output input index %lld",
				       (long long)op->outputs[i]);
	return NULL;
}

struct err *op_validate(const Pb__Op *op)
{
	if (!op)
		return INVALID("invalid nil op");
	switch (op->op_case) {
	case PB__OP__OP_SOURCE:
		return op->source ? NULL : INVALID("invalid nil source op");
	case PB__OP__OP_EXEC:
		return check_exec(op->exec);
	case PB__OP__OP_FILE:
		return check_file(op->file);
	case PB__OP__OP_BUILD:
		return op->build ? NULL : INVALID("invalid nil build op");
	case PB__OP__OP_MERGE:
		return op->merge ? NULL : INVALID("invalid nil merge op");
	case PB__OP__OP_DIFF:
		return check_diff(op->diff);
	case PB__OP__OP_PASSTHROUGH:
		return check_passthrough(op->passthrough, op->n_inputs);
	default:
		return INVALID("could not resolve op of unknown type");
	}
}
