/* A store behind containerd's Content service on any connection, as a struct content. */
#ifndef SESSION_REMOTE_CONTENT_H
#define SESSION_REMOTE_CONTENT_H

#include "content/content.h"
#include "grpc/message.h"

/* How it is reached; outlives the store, its readers and writers. */
struct remote_content {
	struct err *(*unary)(void *arg, struct ctx *ctx, const char *path, const void *request,
			     struct arena *a, const ProtobufCMessageDescriptor *reply,
			     void *ret_reply);
	struct err *(*call)(void *arg, struct ctx *ctx, const char *path, struct grpc_stream **ret);
	struct ctx *ctx; /* ends all calls */
	void *arg;
};
struct content *remote_content_new(const struct remote_content *r);

#endif
