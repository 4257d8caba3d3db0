/* MergeOp and DiffOp on overlay layers. */
#ifndef SNAPSHOT_MERGE_H
#define SNAPSHOT_MERGE_H

#include "snapshot/snapshot.h"

struct err *overlay_merge(struct snapshotter *sn, struct ctx *ctx, struct str name,
			  const struct str *parents, size_t n) ERR_RESULT;
struct err *overlay_between(struct snapshotter *sn, struct ctx *ctx, struct str name,
			    struct str lower, struct str upper) ERR_RESULT;

#endif
