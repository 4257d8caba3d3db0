/* Several workers in one daemon: which one a vertex runs on, and trees that one made and another
 * needs. */
#ifndef OP_WORKERS_H
#define OP_WORKERS_H

#include "cache/filter.h"
#include "op/op.h"

/* The first of w's set that any of the filters matches; w itself when there are none.
 * Fields: id, labels.KEY (keys with dots are quoted), platform (one that it runs). INVALID_ARGUMENT
 * for a filter that can't be parsed, NOT_FOUND naming filters and workers when none matches. */
struct err *worker_select(struct worker *w, const struct str *filters, size_t n,
			  struct worker **ret) ERR_RESULT;
/* For ListWorkers: does any of the parsed filters match? */
bool worker_matches(const struct worker *w, const struct filter *f);

/* The record of the result on worker `to`, a new reference (NULL: the empty tree). One that another
 * worker has is made there as lazy layers, whose blobs are copied between the content stores when
 * they are first needed; asked again, the same record is found. */
struct err *worker_bring(struct worker *to, struct ctx *ctx, const struct result *r,
			 struct cache_ref **ret) ERR_RESULT;
/* The same as a result of that worker. NULL stays NULL. */
struct err *worker_bring_result(struct worker *to, struct ctx *ctx, struct result *r,
				struct result **ret) ERR_RESULT;

#endif
