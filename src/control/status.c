#include "control/control.h"

#include "base/clock.h"
#include "base/limits.h"
#include "control/history.h"
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

/* All of it, or DATA_LOSS. */
static struct err *read_all(struct content_reader *in, void *to, size_t len, uint64_t at)
{
	for (size_t got = 0, n; got < len; got += n) {
		TRY(in->read_at(in, (char *)to + got, len - got, at + got, &n));
		if (!n)
			return err_new(ERR_DATA_LOSS, "unexpected EOF");
	}
	return NULL;
}

/* The log of a finished build, as it was. */
static struct err *replay(struct control *c, struct ctx *ctx, struct grpc_stream *s,
			  const history_record *r)
{
	CLEANUP(content_reader_closep) struct content_reader *in = NULL;
	SCOPED_BUF(batch, LIMIT_GRPC_MESSAGE);
	struct digest d;
	uint64_t at = 0;

	if (!r->logs)
		return NULL;
	TRY(digest_parse(str_from(r->logs->digest), &d));
	TRY(content_open(history_content(c->history), ctx, &d, &in));
	while (at < in->size) {
		uint8_t head[4];
		size_t len;
		void *to;

		TRYW(read_all(in, head, sizeof(head), at), "log of build %s", r->ref);
		len = (size_t)head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 |
		      (size_t)head[3] << 24;
		at += sizeof(head);
		buf_clear(&batch);
		to = len <= in->size - at ? buf_reserve(&batch, len) : NULL;
		if (!to)
			return err_new(ERR_DATA_LOSS, "log of build %s is damaged", r->ref);
		TRYW(read_all(in, to, len, at), "log of build %s", r->ref);
		batch.len = len;
		at += len;
		TRY(grpc_send(s, ctx, buf_str(&batch)));
	}
	return NULL;
}

struct err *control_status(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	struct control *c = arg;
	SCOPED_ARENA(a);
	SCOPED_BUF(batch, LIMIT_GRPC_MESSAGE);
	Moby__Buildkit__V1__StatusRequest *req;
	struct progress_reader *r;
	history_record *record;
	struct err *e = NULL;
	bool found = false;
	struct job *job;

	TRY(grpc_recv_request(s, ctx, &a, &moby__buildkit__v1__status_request__descriptor, &req));
	TRY(control_send_timestamp(s));
	if (c->history)
		TRY(history_get(c->history, &a, str_from(req->ref), &record, &found));
	if (found)
		return replay(c, ctx, s, record);
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
