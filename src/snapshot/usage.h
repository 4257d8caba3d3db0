/* Disk usage of layers. */
#ifndef SNAPSHOT_USAGE_H
#define SNAPSHOT_USAGE_H

#include "snapshot/snapshot.h"

/* Own bytes and inodes of a snapshot: its own layer, and what was linked together for it. */
struct err *store_usage(struct snapshotter *s, struct ctx *ctx, struct str name,
			uint64_t *ret_bytes, uint64_t *ret_inodes) ERR_RESULT;

#endif
