/* What cache keys were made of, for people: `buildctl explain`. */
#ifndef OP_EXPLAIN_H
#define OP_EXPLAIN_H

#include "op/op.h"

/* "exec", "file", "source", ... */
const char *op_kind(const struct vertex *v);
/* Everything that counts for the operation's own key, each as a name and a value ("argument 2",
 * "make all"); the name is unique in the operation. Long values are shortened, with their digest.
 */
struct op_key_part {
	struct str name, value;
};
void op_key_parts(const struct op *op, struct arena *a, struct op_key_part **ret, size_t *ret_n);

/* What the content key of an input was made of; arg as the solver has it. max entries at most. */
struct contenthash_part;
struct err *op_content_parts(struct ctx *ctx, const void *arg, struct result *input, size_t max,
			     void (*each)(void *arg, const struct contenthash_part *p),
			     void *each_arg) ERR_RESULT;

#endif
