/* Between the files of the client half. The set is filled before it runs and read-only then, but
 * for what has a lock of its own. */
#ifndef SESSION_ATTACH_INTERNAL_H
#define SESSION_ATTACH_INTERNAL_H

#include "base/id.h"
#include "grpc/message.h"
#include "session/attach.h"
#include "session/internal.h"

struct auth_config; /* docker_config.h */

struct attach_secret {
	char *path, *env; /* one of them */
};

struct attach_export {
	int index;
	char *dir; /* or fd */
	bool mirror;
	int fd; /* taken by the first transfer */
};

struct attach {
	struct ctx *ctx;
	struct grpc_loop *loop;
	char id[ID_LEN + 1];
	char *shared_key;
	struct map locals;  /* name -> struct attach_local */
	struct map secrets; /* id -> struct attach_secret */
	struct map ssh;     /* id -> socket path */
	struct map stores;  /* id -> struct content */
	VEC(struct attach_export) exports;
	struct auth_config *auth;
	struct lock lock;   /* uploads, fd of exports */
	struct map uploads; /* id -> struct reader */
};

struct attach_local {
	int fd;
};

/* The handlers; arg is the attach. */
struct err *attach_filesync(struct ctx *ctx, struct grpc_stream *s, void *arg) ERR_RESULT;
struct err *attach_filesend(struct ctx *ctx, struct grpc_stream *s, void *arg) ERR_RESULT;
struct err *attach_get_secret(struct ctx *ctx, struct grpc_stream *s, void *arg) ERR_RESULT;
struct err *attach_ssh_check(struct ctx *ctx, struct grpc_stream *s, void *arg) ERR_RESULT;
struct err *attach_ssh_forward(struct ctx *ctx, struct grpc_stream *s, void *arg) ERR_RESULT;
struct err *attach_pull(struct ctx *ctx, struct grpc_stream *s, void *arg) ERR_RESULT;
struct err *attach_credentials(struct ctx *ctx, struct grpc_stream *s, void *arg) ERR_RESULT;
struct err *attach_fetch_token(struct ctx *ctx, struct grpc_stream *s, void *arg) ERR_RESULT;
struct err *attach_token_authority(struct ctx *ctx, struct grpc_stream *s, void *arg) ERR_RESULT;
struct err *attach_verify_authority(struct ctx *ctx, struct grpc_stream *s, void *arg) ERR_RESULT;

void attach_free_locals(struct attach *a);
void attach_free_exports(struct attach *a);
void attach_free_secrets(struct attach *a);
void attach_free_uploads(struct attach *a);

#endif
