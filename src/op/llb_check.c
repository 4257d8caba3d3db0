#include "op/op_impl.h"

#define INVALID(...) err_new(ERR_INVALID_ARGUMENT, __VA_ARGS__)

static struct err *check_source(const Pb__SourceOp *op, size_t n_inputs)
{
	if (!op)
		return INVALID("invalid nil source op");
	if (n_inputs)
		return INVALID("invalid source op with %zu inputs", n_inputs);
	return NULL;
}

static struct err *check_mount(const Pb__Mount *m, size_t n_inputs)
{
	if (m->input < -1 || (m->input >= 0 && (uint64_t)m->input >= n_inputs))
		return INVALID("missing input %lld", (long long)m->input);
	if (m->output < -1)
		return INVALID("invalid output %lld of mount %s", (long long)m->output, m->dest);
	if (!proto_enum_known(&pb__mount_type__descriptor, (int)m->mounttype))
		return INVALID("mount type %d not implemented", (int)m->mounttype);
	if (!proto_enum_known(&pb__mount_content_cache__descriptor, (int)m->contentcache))
		return INVALID("invalid mount content cache %d", (int)m->contentcache);
	if (m->mounttype == PB__MOUNT_TYPE__MOUNT_TYPE_CACHE && m->cacheopt &&
	    !proto_enum_known(&pb__cache_sharing_opt__descriptor, (int)m->cacheopt->sharing))
		return INVALID("invalid cache sharing option: %d", (int)m->cacheopt->sharing);
	return NULL;
}

static struct err *check_exec(const Pb__ExecOp *op, size_t n_inputs)
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
	for (size_t i = 0; i < op->n_mounts; i++) {
		root = root || strcmp(op->mounts[i]->dest, "/") == 0;
		TRY(check_mount(op->mounts[i], n_inputs));
	}
	if (!root)
		return INVALID("invalid exec op with no rootfs");
	if (!proto_enum_known(&pb__security_mode__descriptor, op->security))
		return INVALID("invalid security mode %d", op->security);
	if (!proto_enum_known(&pb__net_mode__descriptor, (int)op->network))
		return INVALID("unknown network mode %d", (int)op->network);
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

static struct err *check_merge(const Pb__MergeOp *op, size_t n_inputs)
{
	if (!op)
		return INVALID("invalid nil merge op");
	if (op->n_inputs != n_inputs)
		return INVALID("invalid merge op with %zu inner inputs and %zu outer inputs",
			       op->n_inputs, n_inputs);
	return NULL;
}

static struct err *check_diff(const Pb__DiffOp *op, size_t n_inputs)
{
	size_t n;

	if (!op)
		return INVALID("invalid nil diff op");
	if (!op->lower || !op->upper)
		return INVALID("invalid diff op with nil lower or upper input");
	n = (size_t)(op->lower->input != -1) + (size_t)(op->upper->input != -1);
	if (n != n_inputs)
		return INVALID("invalid diff op with %zu inner inputs and %zu outer inputs", n,
			       n_inputs);
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
		return check_source(op->source, op->n_inputs);
	case PB__OP__OP_EXEC:
		return check_exec(op->exec, op->n_inputs);
	case PB__OP__OP_FILE:
		return check_file(op->file);
	case PB__OP__OP_BUILD:
		return op->build ? NULL : INVALID("invalid nil build op");
	case PB__OP__OP_MERGE:
		return check_merge(op->merge, op->n_inputs);
	case PB__OP__OP_DIFF:
		return check_diff(op->diff, op->n_inputs);
	case PB__OP__OP_PASSTHROUGH:
		return check_passthrough(op->passthrough, op->n_inputs);
	default:
		return INVALID("could not resolve op of unknown type");
	}
}

struct err *op_check_source_map(const Pb__Source *map)
{
	for (size_t i = 0; map && i < map->n_locations; i++) {
		const char *digest = map->locations[i]->key;
		const Pb__Locations *locs = map->locations[i]->value;

		if (!locs)
			return INVALID("invalid nil source locations for vertex %s", digest);
		for (size_t k = 0; k < locs->n_locations; k++) {
			int32_t n = locs->locations[k]->sourceindex;

			if (n < 0 || (size_t)n >= map->n_infos)
				return INVALID("invalid source index %d for vertex %s", n, digest);
		}
	}
	return NULL;
}
