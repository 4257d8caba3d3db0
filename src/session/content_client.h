/* Between content_client.c (reading, labels) and content_write.c. */
#ifndef SESSION_CONTENT_CLIENT_H
#define SESSION_CONTENT_CLIENT_H

#include "content/content.h"
#include "grpc/message.h"
#include "session/internal.h"
#include "session/remote_content.h"

struct client_store {
	struct content base;
	struct session *session;
	char *id;
	/* Instead of a session. */
	const struct remote_content *remote;
};
struct ctx *client_store_ctx(const struct client_store *cs);

/* Readers and writers may outlive the store they came from. */
struct client_store *client_store_dup(struct client_store *cs);
void client_store_free(struct client_store *cs);
struct err *client_store_unary(struct client_store *cs, struct ctx *ctx, const char *path,
			       const void *q, struct arena *a, const ProtobufCMessageDescriptor *d,
			       void *ret) ERR_RESULT;
struct err *client_store_call(struct client_store *cs, struct ctx *ctx, const char *path,
			      struct grpc_stream **ret) ERR_RESULT;
struct err *client_store_writer(struct content *c, struct ctx *ctx, struct str ref,
				struct content_writer **ret) ERR_RESULT;

#endif
