/* A result's tree to read from, at a directory descriptor. */
#ifndef OP_TREE_H
#define OP_TREE_H

#include "op/op.h"

struct tree;
/* r (borrowed; NULL is the empty tree) must not be lazy any more. */
struct err *tree_open(struct worker *w, struct ctx *ctx, struct cache_ref *r,
		      struct tree **ret) ERR_RESULT;
int tree_fd(const struct tree *t);
const struct mounts *tree_mounts(const struct tree *t); /* NULL for the empty tree */
void tree_close(struct tree *t);                        /* NULL is fine */
/* A regular file, through symlinks inside the tree, up to out's maximum. */
struct err *tree_read_file(const struct tree *t, struct str path, struct buf *out) ERR_RESULT;

#endif
