/* What the operations hand to each other: a worker's record as the solver's opaque result. */
#ifndef OP_RESULT_H
#define OP_RESULT_H

#include "cache/cache.h"
#include "solver/types.h"

struct worker;

/* ref is taken; NULL is the empty tree. */
struct result *op_result_new(const struct worker *w, struct cache_ref *take_ref);
/* Borrowed; NULL for the empty tree. */
struct cache_ref *op_result_ref(const struct result *r);
const struct worker *op_result_worker(const struct result *r);

/* For solver_config.results; of any worker of w's set. They outlive the solver. */
void op_result_ops_init(struct result_ops *ret, struct worker *w);

#endif
