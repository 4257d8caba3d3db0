#include "grpc/internal.h"

#include "base/clock.h"
#include "base/limits.h"
#include "net/listen.h"

#define USER_AGENT "grpc-c-buildkit/1"

struct grpc_client {
	struct ref ref; /* user, HTTP/2 connection, streams */
	struct loop *loop;
	struct ctx *ctx;
	char *authority;
	bool tls;
	size_t max_recv;
	struct h2 *h2; /* (loop) */

	struct lock lock;
	struct cond cond;
	bool ready, down;
	struct err *cause; /* of being down */
};

void client_unref(struct grpc_client *c)
{
	if (!ref_put(&c->ref))
		return;
	ctx_unref(c->ctx);
	err_free(c->cause);
	free(c->authority);
	cond_fini(&c->cond);
	lock_fini(&c->lock);
	free(c);
}

static struct err *lost(const struct err *cause)
{
	if (!cause)
		return err_new(ERR_UNAVAILABLE, "error reading from server: EOF");
	if (err_is(cause, ERR_UNAVAILABLE))
		return err_dup(cause);
	return err_new(ERR_UNAVAILABLE, "error reading from server: %s", err_text(cause));
}

/* ---- HTTP/2's side ---- */

static void on_headers(struct h2_stream *h, const struct h2_header *hdr, size_t n, bool last)
{
	struct grpc_stream *s = stream_of(h);
	struct str status = header_get(hdr, n, ":status");
	struct str type = header_get(hdr, n, "content-type");
	struct err *e = NULL;
	bool end = last;

	if (status.len == 3 && status.ptr[0] == '1')
		return;
	if (status.len && (!str_eq_cstr(status, "200") || !is_grpc_content(type))) {
		if (!status_decode(hdr, n, &e))
			e = status_from_http(status, type);
		end = true;
	} else if (last && !status_decode(hdr, n, &e)) {
		e = err_new(ERR_INTERNAL, "server closed the stream without sending trailers");
	}
	if (!end) {
		lock_take(&s->lock);
		s->peer_md = md_decode(&s->arena, hdr, n, &s->n_peer_md);
		s->have_peer_md = true;
		cond_broadcast(&s->readable);
		lock_drop(&s->lock);
		return;
	}
	stream_end_loop(s, e);
	if (!last || !h->local_ended)
		h2_reset(h, last ? H2_NO_ERROR : H2_CANCEL);
}

static void on_end(struct h2_stream *h)
{
	struct grpc_stream *s = stream_of(h);

	if (s->ended)
		return;
	/* Half-closed by a DATA frame. */
	stream_end_loop(s,
			err_new(ERR_INTERNAL, "server closed the stream without sending trailers"));
	if (h->h2 && !h->local_ended)
		h2_reset(h, H2_CANCEL);
}

static void on_closed(struct h2_stream *h, uint32_t code, bool down, const struct err *cause)
{
	struct grpc_stream *s = stream_of(h);

	stream_end_loop(s, down ? lost(cause) : status_from_reset(code));
	stream_unref(s);
}

static void on_ready(void *arg)
{
	struct grpc_client *c = arg;

	LOCKED(&c->lock);
	c->ready = true;
	cond_broadcast(&c->cond);
}

static void on_down(void *arg, const struct err *cause)
{
	struct grpc_client *c = arg;

	c->h2 = NULL;
	ctx_cancel(c->ctx, lost(cause));
	lock_take(&c->lock);
	c->down = true;
	c->cause = lost(cause);
	cond_broadcast(&c->cond);
	lock_drop(&c->lock);
	client_unref(c);
}

static const struct h2_user user = {
	.headers = on_headers,
	.data = stream_on_data,
	.end = on_end,
	.closed = on_closed,
	.pull = stream_on_pull,
	.copy = stream_on_copy,
	.ready = on_ready,
	.down = on_down,
};

/* ---- connections ---- */

struct attach {
	struct grpc_client *client;
	int rfd, wfd;
	struct tls *tls;
	struct grpc_stream *carrier;
	struct err *err;
};

static void attach_loop(void *arg)
{
	struct attach *a = arg;
	struct grpc_client *c = a->client;
	struct h2 *h = h2_new(c->loop, false, &user, c);
	struct conn *conn = NULL;

	ref_get(&c->ref);
	c->h2 = h;
	if (a->carrier)
		conn = tunnel_conn_new(a->carrier, h);
	else
		a->err = conn_fd_new(c->loop, a->rfd, a->wfd, a->tls, &h2_conn_user, h, &conn);
	h2_start(h, conn);
	if (a->err)
		h2_close(h, NULL);
}

static struct grpc_client *client_new(struct loop *l, struct ctx *ctx, const struct grpc_dial *o)
{
	struct grpc_client *c = NEW(struct grpc_client);

	ref_init(&c->ref);
	c->loop = l;
	c->ctx = ctx_new(ctx);
	c->authority = mem_strdup(o && o->authority ? o->authority : "localhost");
	c->tls = o && o->tls;
	c->max_recv = o && o->max_recv ? o->max_recv : LIMIT_GRPC_MESSAGE;
	c->ready = !c->tls;
	lock_init(&c->lock, LOCK_GRPC_CLIENT);
	cond_init(&c->cond);
	return c;
}

static struct err *wait_ready(struct grpc_client *c, struct ctx *ctx)
{
	LOCKED(&c->lock);
	while (!c->ready) {
		if (c->down)
			return err_new(ERR_UNAVAILABLE,
				       "connection error: desc = \"transport: authentication "
				       "handshake failed: %s\"",
				       err_text(c->cause));
		TRY(cond_wait(&c->cond, &c->lock, ctx));
	}
	return NULL;
}

static struct err *attach(struct attach *a, struct ctx *ctx, struct grpc_client **ret)
{
	struct err *e;

	loop_run(a->client->loop, attach_loop, a);
	e = a->err ? a->err : wait_ready(a->client, ctx);
	if (e)
		grpc_client_close(a->client);
	else
		*ret = a->client;
	return e;
}

struct err *grpc_client_attach_fd(struct grpc_loop *l, struct ctx *ctx, int rfd, int wfd,
				  const struct grpc_dial *o, struct grpc_client **ret)
{
	struct attach a = { .client = client_new(l->loop, ctx, o),
			    .rfd = rfd,
			    .wfd = wfd,
			    .tls = o && o->tls ? o->tls->tls : NULL };

	return attach(&a, ctx, ret);
}

struct err *grpc_client_dial(struct grpc_loop *l, struct ctx *ctx, const char *address,
			     const struct grpc_dial *o, struct grpc_client **ret)
{
	int fd;

	TRY(net_dial(ctx, str_from(address), &fd));
	return grpc_client_attach_fd(l, ctx, fd, fd, o, ret);
}

struct err *grpc_client_tunnel(struct grpc_loop *l, struct ctx *ctx, struct grpc_stream *carrier,
			       const struct grpc_dial *o, struct grpc_client **ret)
{
	/* Bytes are handed over without a hop, so both live on the carrier's loop. */
	struct attach a = { .client = client_new(carrier->loop, ctx, o), .carrier = carrier };

	return attach(&a, ctx, ret);
}

struct close_call {
	struct grpc_client *client;
	struct err *cause;
};

static void close_loop(void *arg)
{
	struct close_call *k = arg;

	if (k->client->h2)
		h2_close(k->client->h2, TAKE_PTR(k->cause));
}

void grpc_client_disconnect(struct grpc_client *c, struct err *cause)
{
	struct close_call k = { c, cause };

	if (!k.cause)
		k.cause = err_new(ERR_UNAVAILABLE, "grpc: the client connection is closing");
	loop_run(c->loop, close_loop, &k);
	err_free(k.cause);
	lock_take(&c->lock);
	while (!c->down)
		cond_wait_uninterrupted(&c->cond, &c->lock);
	lock_drop(&c->lock);
}

void grpc_client_close(struct grpc_client *c)
{
	if (!c)
		return;
	grpc_client_disconnect(c, NULL);
	client_unref(c);
}

struct ctx *grpc_client_ctx(struct grpc_client *c)
{
	return c->ctx;
}

struct keepalive {
	struct grpc_client *client;
	int64_t every, timeout;
};

static void keepalive_loop(void *arg)
{
	struct keepalive *k = arg;

	if (k->client->h2)
		h2_keepalive(k->client->h2, k->every, k->timeout);
}

void grpc_client_keepalive(struct grpc_client *c, int64_t every_ns, int64_t timeout_ns)
{
	struct keepalive k = { c, every_ns, timeout_ns };

	loop_run(c->loop, keepalive_loop, &k);
}

/* ---- calls ---- */

static void add_header(struct grpc_stream *s, struct str name, struct str value)
{
	s->out_hdrs[s->n_out_hdrs++] = (struct h2_header) { name, value };
}

static void on_ctx_end(void *arg)
{
	stream_kick(arg, KICK_CANCEL);
}

static struct err *call_new(struct grpc_client *c, struct ctx *ctx, const char *path,
			    const struct grpc_md *md, size_t n_md, struct grpc_stream **ret)
{
	struct grpc_stream *s;

	TRY(ctx_err(ctx));
	s = stream_new(c->loop, c->max_recv);
	ref_get(&c->ref);
	s->client = c;
	s->ctx = ctx_new(ctx);
	s->path = str_dup(&s->arena, str_from(path));
	s->out_hdrs = ARENA_NEW_N(&s->arena, struct h2_header, n_md + 8);
	add_header(s, STR(":method"), STR("POST"));
	add_header(s, STR(":scheme"), c->tls ? STR("https") : STR("http"));
	add_header(s, STR(":path"), s->path);
	add_header(s, STR(":authority"), str_from(c->authority));
	add_header(s, STR("content-type"), STR("application/grpc"));
	add_header(s, STR("user-agent"), STR(USER_AGENT));
	add_header(s, STR("te"), STR("trailers"));
	if (ctx_deadline(ctx))
		add_header(s, STR("grpc-timeout"),
			   timeout_encode(&s->arena, ctx_deadline(ctx) - clock_now()));
	for (size_t i = 0; i < n_md; i++)
		s->out_hdrs[s->n_out_hdrs++] = md_encode(&s->arena, &md[i]);
	if (!ctx_watch(s->ctx, &s->watch, on_ctx_end, s)) {
		stream_unref(s);
		return ctx_err(ctx);
	}
	*ret = s;
	return NULL;
}

struct err *grpc_call(struct grpc_client *c, struct ctx *ctx, const char *path,
		      const struct grpc_md *md, size_t n_md, struct grpc_stream **ret)
{
	TRY(call_new(c, ctx, path, md, n_md, ret));
	stream_kick(*ret, KICK_OPEN);
	return NULL;
}

static void cancel_loop(struct grpc_stream *s)
{
	struct err *why = ctx_err(s->ctx);

	if (s->ended) {
		err_free(why);
		return;
	}
	stream_end_loop(s, why ? why : err_new(ERR_CANCELED, "context canceled"));
	if (s->h2s.h2)
		h2_reset(&s->h2s, H2_CANCEL);
}

static void on_deadline(void *arg)
{
	cancel_loop(arg);
}

static void open_loop(struct grpc_stream *s)
{
	struct grpc_client *c = s->client;

	if (!c->h2 || !h2_request(c->h2, &s->h2s, s->out_hdrs, s->n_out_hdrs)) {
		stream_end_loop(s, c->h2 ? err_new(ERR_UNAVAILABLE, "transport is closing")
					 : err_dup(c->cause));
		return;
	}
	ref_get(&s->ref);
	stream_arm_deadline_loop(s, on_deadline);
}

void client_kick_loop(struct grpc_stream *s, unsigned kicks)
{
	if (kicks & KICK_CANCEL)
		cancel_loop(s);
	else if (kicks & KICK_OPEN)
		open_loop(s);
	else if (kicks & KICK_OUT && s->h2s.h2)
		h2_resume(&s->h2s);
}

void grpc_stream_free(struct grpc_stream *s)
{
	if (!s)
		return;
	lock_take(&s->lock);
	if (!s->ended)
		stream_kick_locked(s, KICK_CANCEL);
	lock_drop(&s->lock);
	ctx_unwatch(s->ctx, &s->watch);
	stream_unref(s);
}

void grpc_stream_freep(struct grpc_stream **s)
{
	grpc_stream_free(*s);
	*s = NULL;
}

struct err *grpc_unary(struct grpc_client *c, struct ctx *ctx, const char *path,
		       const struct grpc_md *md, size_t n_md, struct str request, struct buf *reply)
{
	CLEANUP(grpc_stream_freep) struct grpc_stream *s = NULL;
	SCOPED_BUF(extra, LIMIT_GRPC_MESSAGE);
	bool eof;

	if (request.len > LIMIT_GRPC_MESSAGE)
		return err_new(ERR_RESOURCE_EXHAUSTED,
			       "grpc: trying to send message larger than max (%zu vs. %zu)",
			       request.len, LIMIT_GRPC_MESSAGE);
	TRY(call_new(c, ctx, path, md, n_md, &s));
	lock_take(&s->lock);
	stream_append_locked(s, NULL, 0, request);
	s->out_closed = true;
	s->out_idle = false;
	stream_kick_locked(s, KICK_OPEN | KICK_OUT);
	lock_drop(&s->lock);
	TRY(grpc_recv(s, ctx, reply, &eof));
	if (eof)
		return err_new(ERR_INTERNAL, "cardinality violation: received no response message "
					     "from non-server-streaming RPC");
	TRY(grpc_recv(s, ctx, &extra, &eof));
	if (!eof)
		return err_new(ERR_INTERNAL, "cardinality violation: expected <EOF> for "
					     "non-server-streaming RPCs, but received another "
					     "message");
	return NULL;
}
