/* gRPC calls with protobuf messages. */
#ifndef GRPC_MESSAGE_H
#define GRPC_MESSAGE_H

#include "grpc/grpc.h"
#include "proto/proto.h"

/* Message into arena; INVALID_ARGUMENT/INTERNAL on junk. eof as grpc_recv. */
struct err *grpc_recv_msg(struct grpc_stream *s, struct ctx *ctx, struct arena *a,
			  const ProtobufCMessageDescriptor *d, void *ret_msg,
			  bool *ret_eof) ERR_RESULT;
struct err *grpc_send_msg(struct grpc_stream *s, struct ctx *ctx, const void *msg) ERR_RESULT;
/* Server side of a unary call: the one request (INVALID_ARGUMENT when there is none). */
struct err *grpc_recv_request(struct grpc_stream *s, struct ctx *ctx, struct arena *a,
			      const ProtobufCMessageDescriptor *d, void *ret_msg) ERR_RESULT;
/* Client side of a unary call. */
struct err *grpc_unary_msg(struct grpc_client *c, struct ctx *ctx, const char *path,
			   const struct grpc_md *md, size_t n_md, const void *request,
			   struct arena *a, const ProtobufCMessageDescriptor *reply_desc,
			   void *ret_reply) ERR_RESULT;

#endif
