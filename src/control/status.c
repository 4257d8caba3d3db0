#include "control/control.h"

#include "base/clock.h"
#include "base/limits.h"
#include "grpc/message.h"

/* A client may ask before its Solve has arrived. */
#define JOB_WAIT (6 * NSEC_PER_SEC)

struct err *control_send_timestamp(struct grpc_stream *s)
{
	SCOPED_ARENA(a);
	struct grpc_md md = { STR("buildkit-current-timestamp"),
			      str_from(clock_rfc3339(&a, clock_wall())) };

	return grpc_send_md(s, &md, 1);
}

struct err *control_status(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	struct control *c = arg;
	SCOPED_ARENA(a);
	SCOPED_BUF(batch, LIMIT_GRPC_MESSAGE);
	Moby__Buildkit__V1__StatusRequest *req;
	struct progress_reader *r;
	struct err *e = NULL;
	struct job *job;

	TRY(grpc_recv_request(s, ctx, &a, &moby__buildkit__v1__status_request__descriptor, &req));
	TRY(control_send_timestamp(s));
	TRY(job_get(c->solver, ctx, str_from(req->ref), JOB_WAIT, &job));
	r = progress_reader_new(job_progress(job));
	job_unref(job);
	while (!e) {
		bool eof;

		e = progress_read(r, ctx, &batch, &eof);
		if (e || eof)
			break;
		e = grpc_send(s, ctx, buf_str(&batch));
	}
	progress_reader_free(r);
	return e;
}

struct err *control_session(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	struct control *c = arg;

	return session_serve(c->worker->sessions, ctx, s);
}
