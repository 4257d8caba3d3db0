#include "control/history.h"

#include "base/limits.h"
#include "control/control.h"
#include "grpc/message.h"

/* Without history (maxEntries 0) there is nothing to tell, ever. */
static struct err *listen_to_nothing(struct ctx *ctx, bool early_exit)
{
	struct pollfd none;
	int ready;

	return early_exit ? NULL : ctx_poll(ctx, &none, 0, -1, &ready);
}

static struct err *send_events(struct history_listener *l, struct ctx *ctx, struct grpc_stream *s,
			       bool early_exit)
{
	SCOPED_BUF(event, LIMIT_GRPC_MESSAGE);

	for (;;) {
		bool eof;

		TRY(history_next(l, ctx, &event, &eof));
		if (eof && early_exit)
			return NULL;
		if (!eof)
			TRY(grpc_send(s, ctx, buf_str(&event)));
	}
}

struct err *control_listen_history(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	struct control *c = arg;
	SCOPED_ARENA(a);
	Moby__Buildkit__V1__BuildHistoryRequest *req;
	struct history_listener *l;
	struct err *e;

	TRY(grpc_recv_request(s, ctx, &a, &moby__buildkit__v1__build_history_request__descriptor,
			      &req));
	TRY(control_send_timestamp(s));
	if (!c->history)
		return listen_to_nothing(ctx, req->earlyexit);
	TRY(history_listen(c->history, ctx, req, &l));
	e = send_events(l, ctx, s, req->earlyexit);
	history_unlisten(l, c->ctx);
	return e;
}

struct err *control_update_history(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	struct control *c = arg;
	SCOPED_ARENA(a);
	Moby__Buildkit__V1__UpdateBuildHistoryRequest *req;
	Moby__Buildkit__V1__UpdateBuildHistoryResponse reply =
		MOBY__BUILDKIT__V1__UPDATE_BUILD_HISTORY_RESPONSE__INIT;
	struct str ref;

	TRY(grpc_recv_request(s, ctx, &a,
			      &moby__buildkit__v1__update_build_history_request__descriptor, &req));
	ref = str_from(req->ref);
	/* No traces are kept, so there is nothing to be finished. */
	if (!req->delete_ && req->finalize)
		return grpc_send_msg(s, ctx, &reply);
	if (!c->history)
		return err_new(ERR_NOT_FOUND, "failed to retrieve ref %s: file does not exist",
			       req->ref);
	TRY(req->delete_ ? history_delete(c->history, ctx, ref)
			 : history_pin(c->history, ref, req->pinned));
	return grpc_send_msg(s, ctx, &reply);
}
