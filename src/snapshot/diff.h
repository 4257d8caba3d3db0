/* Layers to tar and back. */
#ifndef SNAPSHOT_DIFF_H
#define SNAPSHOT_DIFF_H

#include "base/ctx.h"
#include "codec/io.h"
#include "snapshot/snapshot.h"

/* The OCI layer tar of committed snapshot `upper` relative to `lower` (empty: everything):
 * entries sorted as containerd's walking diff emits them, whiteouts as .wh. files, opaque
 * dirs as .wh..wh..opq, hard links, xattrs (security.capability and user.*), devices.
 * From the overlay's upper dir when lower is upper's parent; else by a double walk.
 * Bytes equal those of the original for the same tree (diff ids!). epoch >= 0 clamps newer
 * mtimes to it (SOURCE_DATE_EPOCH with rewrite-timestamp). */
struct err *snapshot_diff(struct snapshotter *s, struct ctx *ctx, struct str lower,
			  struct str upper, int64_t epoch_s, struct writer *out) ERR_RESULT;

/* Unpacks a layer tar on top of the tree at rootfd (an active snapshot's mounted view or
 * its bare upper dir). Hostile names can't leave the root: everything goes through openat2.
 * whiteouts_overlay: the root is an overlay upper dir, so whiteouts become 0/0 devices and
 * opaque xattrs; else they delete. INVALID_ARGUMENT/DATA_LOSS on bad archives. The stream is read
 * to its end, beyond the archive's. With a ctx that has a pool, files are written by several
 * threads. */
struct apply_opts {
	bool whiteouts_overlay;
	/* Read view of the parent chain for what needs it (hard link into a lower layer,
	 * implied parent dirs), or -1. */
	int lower_fd;
};
struct err *snapshot_apply(struct ctx *ctx, int rootfd, struct reader *tar,
			   const struct apply_opts *opts, uint64_t *ret_bytes) ERR_RESULT;

/* Unpacks layers (each a reader of plain tar opened on demand by open_layer) of a chain into
 * committed snapshots names[0..n), names[i] on names[i-1] (names[0] on parent): all at once,
 * each into its own upper dir; hard links into lower layers are fixed up when those are there. */
struct err *snapshot_unpack_chain(struct snapshotter *s, struct ctx *ctx, struct str parent,
				  const struct str *names, size_t n,
				  struct err *(*open_layer)(void *arg, struct ctx *ctx, size_t i,
							    struct reader **ret),
				  void *arg) ERR_RESULT;

#endif
