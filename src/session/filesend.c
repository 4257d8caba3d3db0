#include "session/filesync.h"

#include "base/limits.h"
#include "codec/io.h"
#include "session/internal.h"

#define METHOD "/moby.filesync.v1.FileSend/DiffCopy"

/* More than Go's own default leaves room for would be refused by the client. */
#define STREAM_CHUNK (1 * MIB)

static struct err *open_stream(struct session *s, struct ctx *ctx, int exporter_index,
			       bool multi_platform, const struct grpc_md *md, size_t n_md,
			       struct grpc_stream **ret)
{
	SCOPED_ARENA(a);
	SCOPED_MD(list, &a);

	if (!session_has_method(s, METHOD))
		return err_new(ERR_UNKNOWN,
			       "method /moby.filesync.v1.FileSend/diffcopy not supported by the "
			       "client");
	for (size_t i = 0; i < n_md; i++)
		vec_push(&list.v, md[i]);
	md_add(&list, EXPORTER_ID_KEY, str_from(arena_printf(&a, "%d", exporter_index)));
	if (multi_platform)
		md_add(&list, EXPORTER_MULTI_KEY, STR("1"));
	return grpc_call(session_client(s), ctx, METHOD, list.v.items, list.v.len, ret);
}

/* The client's last word, after everything was sent. */
static struct err *wait_end(struct grpc_stream *st, struct ctx *ctx)
{
	SCOPED_BUF(msg, LIMIT_GRPC_MESSAGE);
	bool eof = false;

	TRY(grpc_close_send(st));
	while (!eof)
		TRY(grpc_recv(st, ctx, &msg, &eof));
	return NULL;
}

struct err *filesend_trees(struct session *s, struct ctx *ctx, int exporter_index,
			   const struct filesend_tree *trees, size_t n, int64_t epoch_ns,
			   bool multi_platform_md, const struct grpc_md *md, size_t n_md,
			   const struct filesync_sink *sink)
{
	CLEANUP(grpc_stream_freep) struct grpc_stream *st = NULL;
	struct fsutil_send_opts o = { .epoch_ns = epoch_ns };

	TRY(open_stream(s, ctx, exporter_index, multi_platform_md, md, n_md, &st));
	TRY(fsutil_send(st, ctx, trees, n, &o, sink));
	return wait_end(st, ctx);
}

/* ---- a stream of bytes ---- */

struct send_writer {
	struct writer base;
	struct session *session;
	struct joined_ctx ctx;
	struct grpc_stream *st;
	struct buf pending, scratch;
};

static struct err *flush(struct send_writer *w)
{
	struct err *e;

	if (!w->pending.len)
		return NULL;
	e = bytes_send(w->st, w->ctx.ctx, buf_str(&w->pending), &w->scratch);
	buf_clear(&w->pending);
	return e;
}

static struct err *send_write(struct writer *base, const void *p, size_t len)
{
	struct send_writer *w = container_of(base, struct send_writer, base);
	const char *from = p;

	while (len) {
		size_t n = MIN(len, STREAM_CHUNK - w->pending.len);

		buf_add(&w->pending, from, n);
		from += n;
		len -= n;
		if (w->pending.len == STREAM_CHUNK)
			TRY(flush(w));
	}
	return NULL;
}

static struct err *send_finish(struct writer *base)
{
	struct send_writer *w = container_of(base, struct send_writer, base);

	TRY(flush(w));
	return wait_end(w->st, w->ctx.ctx);
}

static void send_close(struct writer *base)
{
	struct send_writer *w = container_of(base, struct send_writer, base);

	grpc_stream_free(w->st);
	joined_ctx_fini(&w->ctx);
	session_unref(w->session);
	buf_fini(&w->pending);
	buf_fini(&w->scratch);
	free(w);
}

struct err *filesend_stream(struct session *s, struct ctx *ctx, int exporter_index,
			    const struct grpc_md *md, size_t n_md, struct writer **ret)
{
	struct send_writer *w = NEW(struct send_writer);
	struct err *e;

	w->base = (struct writer) { send_write, send_finish, send_close };
	w->session = session_ref(s);
	joined_ctx_init(&w->ctx, ctx, session_ctx(s));
	buf_init(&w->pending, STREAM_CHUNK);
	buf_init(&w->scratch, STREAM_CHUNK + 64);
	e = open_stream(s, w->ctx.ctx, exporter_index, false, md, n_md, &w->st);
	if (e) {
		send_close(&w->base);
		return e;
	}
	*ret = &w->base;
	return NULL;
}
