/* A containerd daemon as a worker's back end, over its gRPC API: its content store, one of its
 * snapshotters, its images, and its tasks as what runs bundles. All of it in one namespace of its.
 *
 * What the worker keeps there is in a lease of its own, under the worker's id, so that containerd's
 * garbage collection leaves it alone; letting go is taking it out of the lease. The connection is
 * made again when it is lost: a call that can be repeated waits for a containerd that restarts, up
 * to CTD_PATIENCE. Calls are thread-safe and block.
 *
 * What is opened here outlives nothing: it is freed before the ctd is closed. Facts:
 * docs/internals/containerd.md. */
#ifndef CONTAINERD_CTD_H
#define CONTAINERD_CTD_H

#include "base/arena.h"
#include "base/ctx.h"
#include "base/err.h"

struct ctd;
struct grpc_loop;
struct content;
struct snapshotter;
struct image_store;
struct exec_driver;

#define CTD_PATIENCE (60 * NSEC_PER_SEC)

struct ctd_config {
	const char *address; /* path of the socket */
	const char *namespace;
	const char *snapshotter;
	const char *runtime, *runtime_path; /* of tasks; path may be NULL */
};

/* Connects, waiting at most patience_ns; makes the namespace. ctx is the parent of shared work and
 * gives the pool. */
struct err *ctd_open(struct grpc_loop *loop, struct ctx *ctx, const struct ctd_config *cfg,
		     int64_t patience_ns, struct ctd **ret) ERR_RESULT;
void ctd_close(struct ctd *c); /* NULL is fine */
/* The daemon's own id, for the worker's label. */
struct err *ctd_uuid(struct ctd *c, struct ctx *ctx, struct arena *a, struct str *ret) ERR_RESULT;
/* Before anything below: the lease of this worker. */
struct err *ctd_use_lease(struct ctd *c, struct ctx *ctx, const char *worker_id) ERR_RESULT;

/* A blob that is removed is let go of: it stays as long as an image of containerd's has it. */
struct err *ctd_content_open(struct ctd *c, struct ctx *ctx, struct content **ret) ERR_RESULT;
/* Names are those of our snapshots; merges and differences, which containerd has not, are made by
 * copying. UNIMPLEMENTED for mounts that we can't do (of FUSE, say). */
struct err *ctd_snapshotter_open(struct ctd *c, struct ctx *ctx,
				 struct snapshotter **ret) ERR_RESULT;
/* Bundles as tasks; in c. */
const struct exec_driver *ctd_driver(struct ctd *c);
/* The images that ctr and nerdctl list; in c. */
struct image_store *ctd_images(struct ctd *c);

#endif
