/* Inside of pushing: what is to be pushed (push_tree.c), one blob or manifest (push_one.c), and
 * the order and the tries (push.c). */
#ifndef REGISTRY_PUSH_H
#define REGISTRY_PUSH_H

#include "base/vec.h"
#include "registry/request.h"

struct push {
	struct registry *r;
	struct ctx *ctx;
	const struct imageref *ref;
	struct content *store;
	const struct registry_auth *auth;
	const struct registry_push_opts *o;
	struct str tag; /* of the root; empty: by digest */
	struct endpoint *ep;
	struct arena arena;                   /* of the tree; written by the calling thread only */
	VEC(struct oci_descriptor) manifests; /* children before parents */
	VEC(struct oci_descriptor) blobs;
	struct map seen;
};

/* Fills manifests and blobs from root, each once. */
struct err *push_walk(struct push *p, const struct oci_descriptor *root) ERR_RESULT;
/* Makes a lazily known blob available. */
struct err *push_need(struct push *p, struct ctx *ctx, const struct oci_descriptor *d) ERR_RESULT;
void push_report(struct push *p, const struct oci_descriptor *d, int64_t current);

/* Why one try failed. */
struct push_failure {
	bool transient;
	struct str says; /* the "errors" of the answer's body, or empty; in the try's arena */
};
struct err *push_blob(struct push *p, struct ctx *ctx, struct arena *a,
		      const struct oci_descriptor *d, struct push_failure *why) ERR_RESULT;
struct err *push_manifest(struct push *p, struct ctx *ctx, struct arena *a,
			  const struct oci_descriptor *d, bool root,
			  struct push_failure *why) ERR_RESULT;

#endif
