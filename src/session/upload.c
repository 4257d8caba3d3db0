#include "session/internal.h"

#include "base/limits.h"
#include "codec/io.h"

struct upload {
	struct reader base;
	struct session *session;
	struct joined_ctx ctx;
	struct grpc_stream *st;
	struct buf msg;
	struct str rest; /* of msg */
	bool eof;
};

static struct err *upload_read(struct reader *r, void *p, size_t len, size_t *ret_n)
{
	struct upload *u = container_of(r, struct upload, base);
	size_t n;

	while (!u->rest.len && !u->eof) {
		TRY(grpc_recv(u->st, u->ctx.ctx, &u->msg, &u->eof));
		if (!u->eof)
			TRY(bytes_parse(buf_str(&u->msg), &u->rest));
	}
	n = MIN(len, u->rest.len);
	if (n)
		memcpy(p, u->rest.ptr, n);
	u->rest = str_sub(u->rest, n, u->rest.len);
	*ret_n = n;
	return NULL;
}

static void upload_close(struct reader *r)
{
	struct upload *u = container_of(r, struct upload, base);

	grpc_stream_free(u->st);
	joined_ctx_fini(&u->ctx);
	session_unref(u->session);
	buf_fini(&u->msg);
	free(u);
}

struct err *session_upload_pull(struct session *s, struct ctx *ctx, struct str url_path,
				struct str url_host, struct reader **ret)
{
	const struct grpc_md md[] = { { STR("urlpath"), url_path }, { STR("urlhost"), url_host } };
	struct upload *u = NEW(struct upload);
	struct err *e;

	u->base = (struct reader) { upload_read, upload_close };
	u->session = session_ref(s);
	joined_ctx_init(&u->ctx, ctx, s->ctx);
	buf_init(&u->msg, LIMIT_GRPC_MESSAGE);
	e = grpc_call(s->client, u->ctx.ctx, "/moby.upload.v1.Upload/Pull", md, ARRAY_SIZE(md),
		      &u->st);
	if (!e)
		e = grpc_close_send(u->st);
	if (e) {
		upload_close(&u->base);
		return e;
	}
	*ret = &u->base;
	return NULL;
}
