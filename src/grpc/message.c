#include "grpc/message.h"

#include "base/limits.h"

struct err *grpc_recv_msg(struct grpc_stream *s, struct ctx *ctx, struct arena *a,
			  const ProtobufCMessageDescriptor *d, void *ret_msg, bool *ret_eof)
{
	SCOPED_BUF(b, LIMIT_GRPC_MESSAGE);
	bool eof;

	TRY(grpc_recv(s, ctx, &b, &eof));
	if (!eof)
		TRYW(proto_unpack(a, d, buf_str(&b), ret_msg), "grpc: error unmarshalling request");
	*ret_eof = eof;
	return NULL;
}

struct err *grpc_send_msg(struct grpc_stream *s, struct ctx *ctx, const void *msg)
{
	SCOPED_BUF(b, LIMIT_GRPC_MESSAGE + LIMIT_GRPC_MESSAGE / 4);

	proto_pack(msg, &b);
	TRY(buf_check(&b, "message"));
	return grpc_send(s, ctx, buf_str(&b));
}

struct err *grpc_recv_request(struct grpc_stream *s, struct ctx *ctx, struct arena *a,
			      const ProtobufCMessageDescriptor *d, void *ret_msg)
{
	bool eof;

	TRY(grpc_recv_msg(s, ctx, a, d, ret_msg, &eof));
	if (eof)
		return err_new(ERR_INVALID_ARGUMENT, "EOF: the request has no message");
	return NULL;
}

struct err *grpc_unary_msg(struct grpc_client *c, struct ctx *ctx, const char *path,
			   const struct grpc_md *md, size_t n_md, const void *request,
			   struct arena *a, const ProtobufCMessageDescriptor *reply_desc,
			   void *ret_reply)
{
	SCOPED_BUF(out, LIMIT_GRPC_MESSAGE + LIMIT_GRPC_MESSAGE / 4);
	SCOPED_BUF(in, LIMIT_GRPC_MESSAGE);

	proto_pack(request, &out);
	TRY(buf_check(&out, "message"));
	TRY(grpc_unary(c, ctx, path, md, n_md, buf_str(&out), &in));
	return proto_unpack(a, reply_desc, buf_str(&in), ret_reply);
}
