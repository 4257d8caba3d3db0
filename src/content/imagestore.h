/* Images by name: what a worker's back end lists beside its blobs, if it has such a list
 * (containerd has). Names are whole references, "docker.io/library/x:latest". Thread-safe; calls
 * block. */
#ifndef CONTENT_IMAGESTORE_H
#define CONTENT_IMAGESTORE_H

#include "base/ctx.h"
#include "codec/oci.h"

struct image_store {
	/* The target, in the arena. */
	struct err *(*get)(struct image_store *s, struct ctx *ctx, struct arena *a, struct str name,
			   struct oci_descriptor *ret, bool *ret_found);
	/* Made, or pointed elsewhere. The content is in the worker's store. */
	struct err *(*put)(struct image_store *s, struct ctx *ctx, struct str name,
			   const struct oci_descriptor *target);
	/* Snapshots of the layers (lowest first), as containers start from. config: the blob that
	 * is to keep them. */
	struct err *(*unpack)(struct image_store *s, struct ctx *ctx,
			      const struct oci_descriptor *layers, const struct digest *diff_ids,
			      size_t n, const struct digest *config);
};

#endif
