#include "cli/insight.h"

#include "grpc/message.h"

#define SERVICE "buildkitc.v1.Insight"

struct err *insight_call(struct cli *c, const char *method, const void *request,
			 const ProtobufCMessageDescriptor *reply, void *ret)
{
	const char *path = arena_printf(c->arena, "/" SERVICE "/%s", method);
	struct err *e =
		grpc_unary_msg(c->client, c->ctx, path, NULL, 0, request, c->arena, reply, ret);

	if (e && err_is(e, ERR_UNIMPLEMENTED))
		return err_wrap(e,
				"the daemon at %s can't do this (it is not buildkit-c, or older)",
				c->addr);
	return e;
}
