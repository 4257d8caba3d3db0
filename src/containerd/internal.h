/* Between the files of this folder. */
#ifndef CONTAINERD_INTERNAL_H
#define CONTAINERD_INTERNAL_H

#include "base/lock.h"
#include "base/ref.h"
#include "containerd.pb-c.h"
#include "containerd/ctd.h"
#include "content/imagestore.h"
#include "exec/driver.h"
#include "grpc/message.h"

#define CTD_SERVICE(service, method) "/containerd.services." service "/" method

/* A connection, shared by calls under way; ended when the last lets go. */
struct ctd_conn {
	struct ref ref;
	struct grpc_client *client;
};

struct ctd {
	struct grpc_loop *loop;
	struct ctx *ctx;
	struct arena arena; /* the configuration; nothing is added after the open */
	const char *address, *namespace, *snapshotter, *runtime, *runtime_path;
	const char *worker_id, *lease;

	struct lock lock;
	struct cond changed;
	struct ctd_conn *conn; /* the last one made; may be dead */
	bool dialing;
	int64_t first_patience;

	struct content *content; /* of ctd_content_open */
	struct exec_driver driver;
	struct image_store images;
};

/* The connection as it is now, dialled if there is none: within CTD_PATIENCE. */
struct err *ctd_connect(struct ctd *c, struct ctx *ctx, struct ctd_conn **ret) ERR_RESULT;
void ctd_conn_unref(struct ctd_conn *conn);
/* Metadata of every call: the namespace, and the lease. */
size_t ctd_md(const struct ctd *c, struct grpc_md ret[2]);

/* Once more when the connection was lost under it: for calls that may come twice. *ret_again (may
 * be NULL): it was, so what it is about may have been done before. */
struct err *ctd_call(struct ctd *c, struct ctx *ctx, const char *path, const void *request,
		     struct arena *a, const ProtobufCMessageDescriptor *reply, void *ret_reply,
		     bool *ret_again) ERR_RESULT;
/* Answers without content. */
struct err *ctd_do(struct ctd *c, struct ctx *ctx, const char *path,
		   const void *request) ERR_RESULT;
/* The same for what may have gone already: NOT_FOUND is fine. */
struct err *ctd_undo(struct ctd *c, struct ctx *ctx, const char *path,
		     const void *request) ERR_RESULT;

struct err *ctd_lease_add(struct ctd *c, struct ctx *ctx, const char *type,
			  const char *id) ERR_RESULT;
struct err *ctd_lease_drop(struct ctd *c, struct ctx *ctx, const char *type,
			   const char *id) ERR_RESULT;

/* A round of containerd's collection, waited for. */
struct err *ctd_collect(struct ctd *c, struct ctx *ctx) ERR_RESULT;

void ctd_driver_init(struct ctd *c);
void ctd_images_init(struct ctd *c);

#endif
