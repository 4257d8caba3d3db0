#include "control/control.h"

#include "grpc/message.h"

/* Build records are not kept yet: a listener that only wants what is there gets an empty
 * list, as from a daemon that has built nothing. */

struct err *control_listen_history(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	SCOPED_ARENA(a);
	Moby__Buildkit__V1__BuildHistoryRequest *req;

	(void)arg;
	TRY(grpc_recv_request(s, ctx, &a, &moby__buildkit__v1__build_history_request__descriptor,
			      &req));
	if (!req->earlyexit)
		return err_new(ERR_UNIMPLEMENTED, "build history is not supported");
	if (req->limit < 0)
		return err_new(ERR_INVALID_ARGUMENT, "invalid limit %d", req->limit);
	return control_send_timestamp(s);
}

struct err *control_update_history(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	SCOPED_ARENA(a);
	Moby__Buildkit__V1__UpdateBuildHistoryRequest *req;

	(void)arg;
	TRY(grpc_recv_request(s, ctx, &a,
			      &moby__buildkit__v1__update_build_history_request__descriptor, &req));
	return err_new(ERR_NOT_FOUND, "failed to retrieve ref %s: file does not exist", req->ref);
}
