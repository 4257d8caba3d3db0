/* containerd's Content service over a struct content, and plain directories as such stores (OCI
 * layout: blobs/<algorithm>/<hex>; ingest/ while being written; no labels). */
#ifndef SESSION_CONTENT_SERVICE_H
#define SESSION_CONTENT_SERVICE_H

#include "content/content.h"
#include "grpc/message.h"

/* Handlers of the methods. */
struct err *content_service_info(struct ctx *ctx, struct grpc_stream *s,
				 struct content *c) ERR_RESULT;
struct err *content_service_update(struct ctx *ctx, struct grpc_stream *s,
				   struct content *c) ERR_RESULT;
struct err *content_service_list(struct ctx *ctx, struct grpc_stream *s,
				 struct content *c) ERR_RESULT;
struct err *content_service_delete(struct ctx *ctx, struct grpc_stream *s,
				   struct content *c) ERR_RESULT;
struct err *content_service_read(struct ctx *ctx, struct grpc_stream *s,
				 struct content *c) ERR_RESULT;
struct err *content_service_status(struct ctx *ctx, struct grpc_stream *s,
				   struct content *c) ERR_RESULT;
struct err *content_service_list_statuses(struct ctx *ctx, struct grpc_stream *s,
					  struct content *c) ERR_RESULT;
struct err *content_service_write(struct ctx *ctx, struct grpc_stream *s,
				  struct content *c) ERR_RESULT;
struct err *content_service_abort(struct ctx *ctx, struct grpc_stream *s,
				  struct content *c) ERR_RESULT;

/* Made if it is to be written to and missing. Several programs may use one directory at once. */
struct err *content_dir_open(const char *dir, bool writable, struct content **ret) ERR_RESULT;

#endif
