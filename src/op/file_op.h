/* Inside of the file operation: its state. */
#ifndef OP_FILE_OP_H
#define OP_FILE_OP_H

#include "op/file.h"

struct file_op {
	struct op_base base;
	const Pb__FileOp *pb;
	struct digest digest;
	/* Number of the action that makes output i. */
	size_t *outputs;
	size_t n_outputs;
};

/* NULL for actions without one. */
const Pb__ChownOpt *file_action_owner(const Pb__FileAction *a);
/* Digest and deps of the inputs. */
void file_op_make_key(struct file_op *o);

struct file_op_failure {
	int64_t action;            /* the one that failed; -1: none did */
	struct cache_ref **states; /* heap, one an action, held: its tree and its source; or NULL */
};
/* Runs the actions that the outputs need; fills out. ret is always filled. */
struct err *file_op_solve(struct file_op *o, const struct op_env *env, struct result *const *inputs,
			  struct op_outputs *out, struct file_op_failure *ret);

#endif
