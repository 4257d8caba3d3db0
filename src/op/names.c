#include "op/op_impl.h"

static void add_file_names(struct buf *b, const Pb__FileOp *f)
{
	for (size_t i = 0; i < f->n_actions; i++) {
		const Pb__FileAction *a = f->actions[i];

		if (i)
			buf_add_cstr(b, ", ");
		switch (a->action_case) {
		case PB__FILE_ACTION__ACTION_MKDIR:
			buf_addf(b, "mkdir %s", a->mkdir->path);
			break;
		case PB__FILE_ACTION__ACTION_MKFILE:
			buf_addf(b, "mkfile %s", a->mkfile->path);
			break;
		case PB__FILE_ACTION__ACTION_SYMLINK:
			buf_addf(b, "symlink %s -> %s", a->symlink->newpath, a->symlink->oldpath);
			break;
		case PB__FILE_ACTION__ACTION_RM:
			buf_addf(b, "rm %s", a->rm->path);
			break;
		case PB__FILE_ACTION__ACTION_COPY:
			buf_addf(b, "copy %s %s", a->copy->src, a->copy->dest);
			break;
		default:
			buf_add_cstr(b, "unknown");
			break;
		}
	}
}

static const char *input_name(const Pb__Op *op, const char *const *inputs, int64_t i)
{
	return i >= 0 && (uint64_t)i < op->n_inputs ? inputs[i] : "scratch";
}

const char *op_name(struct arena *a, const Pb__Op *op, const char *const *inputs)
{
	SCOPED_BUF(b, MIB);

	switch (op->op_case) {
	case PB__OP__OP_SOURCE:
		buf_add_cstr(&b, op->source->identifier);
		break;
	case PB__OP__OP_EXEC:
		for (size_t i = 0; i < op->exec->meta->n_args; i++)
			buf_addf(&b, "%s%s", i ? " " : "", op->exec->meta->args[i]);
		break;
	case PB__OP__OP_FILE:
		add_file_names(&b, op->file);
		break;
	case PB__OP__OP_BUILD:
		buf_add_cstr(&b, "build");
		break;
	case PB__OP__OP_MERGE:
		buf_add_cstr(&b, "merge (");
		for (size_t i = 0; i < op->n_inputs; i++)
			buf_addf(&b, "%s%s", i ? ", " : "", inputs[i]);
		buf_add_cstr(&b, ")");
		break;
	case PB__OP__OP_DIFF:
		buf_addf(&b, "diff (%s) -> (%s)", input_name(op, inputs, op->diff->lower->input),
			 input_name(op, inputs, op->diff->upper->input));
		break;
	case PB__OP__OP_PASSTHROUGH:
		buf_addf(&b, "passthrough %s", op->passthrough->id);
		break;
	default:
		buf_add_cstr(&b, "unknown");
		break;
	}
	/* Names of merges of merges can grow without end. */
	if (b.overflow)
		return "unknown";
	return arena_strdup(a, buf_cstr(&b));
}
