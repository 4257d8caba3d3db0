#include "net/h2.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/vec.h"

#include <assert.h>
#include <nghttp2/nghttp2.h>

/* Filled before a write, drained before it is filled again. */
#define OUT_TARGET (256 * KIB)
/* Written in one turn at most, so that one connection does not starve the others. */
#define OUT_TURN (2 * MIB)

struct h2 {
	struct loop *loop;
	struct conn *conn;
	nghttp2_session *ng;
	const struct h2_user *user;
	void *arg;
	bool server, closing, draining, blocked;
	struct err *cause;
	struct list streams;
	struct loop_call flush;

	uint8_t *out; /* [out_off, out_len) is still to be written */
	size_t out_off, out_len, out_cap;

	/* The header block being received. */
	struct arena hdr_arena;
	VEC(struct h2_header) hdrs;
	bool hdr_too_big;

	struct loop_timer ping;
	int64_t every_ns, timeout_ns, last_input;
	bool ping_sent;
};

const char *h2_code_name(uint32_t code)
{
	static const char *const names[] = {
		"NO_ERROR",
		"PROTOCOL_ERROR",
		"INTERNAL_ERROR",
		"FLOW_CONTROL_ERROR",
		"SETTINGS_TIMEOUT",
		"STREAM_CLOSED",
		"FRAME_SIZE_ERROR",
		"REFUSED_STREAM",
		"CANCEL",
		"COMPRESSION_ERROR",
		"CONNECT_ERROR",
		"ENHANCE_YOUR_CALM",
		"INADEQUATE_SECURITY",
		"HTTP_1_1_REQUIRED",
	};

	return code < ARRAY_SIZE(names) ? names[code] : "UNKNOWN";
}

static void mark(struct h2 *h)
{
	loop_later(h->loop, &h->flush);
}

/* ---- output ---- */

static uint8_t *out_room(struct h2 *h, size_t n)
{
	if (h->out_cap - h->out_len < n) {
		h->out_cap = MAX(h->out_len + n, h->out_cap ? h->out_cap * 2 : 4 * KIB);
		h->out = mem_realloc(h->out, h->out_cap, 1);
	}
	return h->out + h->out_len;
}

static bool drain_out(struct h2 *h)
{
	if (h->out_off < h->out_len)
		h->out_off +=
			h->conn->ops->write(h->conn, h->out + h->out_off, h->out_len - h->out_off);
	h->blocked = h->out_off < h->out_len;
	if (h->blocked)
		return false;
	h->out_off = h->out_len = 0;
	return true;
}

static bool fill_out(struct h2 *h)
{
	while (h->out_len < OUT_TARGET) {
		const uint8_t *p;
		ssize_t n = nghttp2_session_mem_send(h->ng, &p);

		if (n < 0) {
			h2_close(h, err_new(ERR_INTERNAL, "http2: %s", nghttp2_strerror((int)n)));
			return false;
		}
		if (n == 0)
			break;
		memcpy(out_room(h, (size_t)n), p, (size_t)n);
		h->out_len += (size_t)n;
	}
	return h->out_len > 0;
}

static void tear_down(struct h2 *h)
{
	struct list *n;

	while ((n = list_pop(&h->streams))) {
		struct h2_stream *s = list_entry(n, struct h2_stream, link);

		s->h2 = NULL;
		h->user->closed(s, H2_CANCEL, true, h->cause);
	}
	loop_timer_cancel(h->loop, &h->ping);
	loop_later_cancel(&h->flush);
	nghttp2_session_del(h->ng);
	if (h->conn)
		h->conn->ops->close(h->conn);
	h->user->down(h->arg, h->cause);
	arena_fini(&h->hdr_arena);
	vec_fini(&h->hdrs);
	err_free(h->cause);
	free(h->out);
	free(h);
}

static void flush(void *arg)
{
	struct h2 *h = arg;
	size_t sent = 0;

	while (!h->closing && h->conn && !h->blocked) {
		if (!drain_out(h))
			break;
		if (sent >= OUT_TURN) {
			mark(h);
			break;
		}
		if (!fill_out(h))
			break;
		sent += h->out_len;
	}
	if (!h->closing && h->conn && !h->out_len && !nghttp2_session_want_read(h->ng) &&
	    !nghttp2_session_want_write(h->ng))
		h->closing = true;
	/* A last look: what explains the end (GOAWAY) should reach the peer if there is room. */
	if (h->closing && h->conn && !h->blocked && (fill_out(h) || h->out_len))
		(void)drain_out(h);
	if (h->closing) {
		tear_down(h);
		return;
	}
	if (!h->blocked && h->out_cap > 2 * OUT_TARGET) {
		free(h->out);
		h->out = NULL;
		h->out_cap = 0;
	}
}

void h2_close(struct h2 *h, struct err *cause)
{
	if (h->closing) {
		err_free(cause);
		return;
	}
	h->closing = true;
	h->cause = cause;
	mark(h);
}

/* ---- nghttp2's callbacks ---- */

static struct h2_stream *find(struct h2 *h, int32_t id)
{
	return nghttp2_session_get_stream_user_data(h->ng, id);
}

static ssize_t on_pull(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t max, uint32_t *flags,
		       nghttp2_data_source *src, void *arg)
{
	struct h2 *h = arg;
	struct h2_stream *s = src->ptr;
	enum h2_more more = H2_MORE;
	size_t n = h->user->pull(s, max, &more);

	(void)buf;
	if (!n && more == H2_MORE)
		return NGHTTP2_ERR_DEFERRED;
	*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	if (more != H2_MORE)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	if (more == H2_TRAILERS)
		*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
	return (ssize_t)n;
}

static int on_send_data(nghttp2_session *ng, nghttp2_frame *f, const uint8_t *framehd, size_t n,
			nghttp2_data_source *src, void *arg)
{
	struct h2 *h = arg;
	uint8_t *to;

	if (h->out_len >= OUT_TARGET)
		return NGHTTP2_ERR_WOULDBLOCK;
	to = out_room(h, 9 + n);
	memcpy(to, framehd, 9);
	if (n)
		h->user->copy(src->ptr, to + 9, n);
	h->out_len += 9 + n;
	return 0;
}

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *f, void *arg)
{
	struct h2 *h = arg;

	arena_fini(&h->hdr_arena);
	vec_clear(&h->hdrs);
	h->hdr_too_big = false;
	return 0;
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *f, const uint8_t *name,
		     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
		     void *arg)
{
	struct h2 *h = arg;

	/* 32 an entry: as SETTINGS_MAX_HEADER_LIST_SIZE counts. */
	if (h->hdr_arena.used + name_len + value_len + 32 > LIMIT_GRPC_HEADERS) {
		h->hdr_too_big = true;
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	}
	h->hdr_arena.used += 32;
	vec_push(&h->hdrs,
		 ((struct h2_header) { str_dup(&h->hdr_arena, str_make(name, name_len)),
				       str_dup(&h->hdr_arena, str_make(value, value_len)) }));
	return 0;
}

static void on_headers_in(struct h2 *h, const nghttp2_frame *f)
{
	bool last = f->hd.flags & NGHTTP2_FLAG_END_STREAM;
	struct h2_stream *s;

	if (h->server && f->headers.cat == NGHTTP2_HCAT_REQUEST) {
		s = h->user->request(h->arg, h->hdrs.items, h->hdrs.len);
		if (!s) {
			(void)nghttp2_submit_rst_stream(h->ng, NGHTTP2_FLAG_NONE, f->hd.stream_id,
							NGHTTP2_REFUSED_STREAM);
			return;
		}
		*s = (struct h2_stream) { .h2 = h, .id = f->hd.stream_id };
		list_add_tail(&h->streams, &s->link);
		(void)nghttp2_session_set_stream_user_data(h->ng, s->id, s);
	} else {
		s = find(h, f->hd.stream_id);
		if (s)
			h->user->headers(s, h->hdrs.items, h->hdrs.len, last);
	}
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *f, void *arg)
{
	struct h2 *h = arg;
	struct h2_stream *s;

	if (f->hd.type == NGHTTP2_HEADERS)
		on_headers_in(h, f);
	if (f->hd.type != NGHTTP2_HEADERS && f->hd.type != NGHTTP2_DATA)
		return 0;
	if (!(f->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return 0;
	s = find(h, f->hd.stream_id);
	if (s && !s->remote_ended) {
		s->remote_ended = true;
		h->user->end(s);
	}
	return 0;
}

static int on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
		   void *arg)
{
	struct h2 *h = arg;
	struct h2_stream *s = find(h, id);

	(void)nghttp2_session_consume_connection(ng, n);
	if (s)
		h->user->data(s, p, n);
	else
		(void)nghttp2_session_consume_stream(ng, id, n);
	return 0;
}

static int on_close(nghttp2_session *ng, int32_t id, uint32_t code, void *arg)
{
	struct h2 *h = arg;
	struct h2_stream *s = find(h, id);

	if (!s)
		return 0;
	(void)nghttp2_session_set_stream_user_data(ng, id, NULL);
	list_del(&s->link);
	s->h2 = NULL;
	h->user->closed(s, code, false, NULL);
	return 0;
}

static int on_sent(nghttp2_session *ng, const nghttp2_frame *f, void *arg)
{
	struct h2 *h = arg;
	struct h2_stream *s;

	if (f->hd.type != NGHTTP2_HEADERS && f->hd.type != NGHTTP2_DATA)
		return 0;
	if (!(f->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return 0;
	s = find(h, f->hd.stream_id);
	if (!s)
		return 0;
	s->local_ended = true;
	/* The answer is complete: a client that is still sending may stop. */
	if (h->server && !s->remote_ended)
		(void)nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_NO_ERROR);
	return 0;
}

static ssize_t data_frame_size(nghttp2_session *ng, uint8_t type, int32_t id, int32_t conn_window,
			       int32_t stream_window, uint32_t max_frame, void *arg)
{
	return (ssize_t)MIN(max_frame, (uint32_t)(64 * KIB));
}

/* ---- input ---- */

static void on_input(void *arg, const uint8_t *p, size_t n)
{
	struct h2 *h = arg;
	ssize_t r;

	if (h->closing)
		return;
	h->last_input = h->every_ns ? clock_now() : 0;
	r = nghttp2_session_mem_recv(h->ng, p, n);
	if (r < 0)
		h2_close(h, err_new(ERR_UNAVAILABLE, "http2: %s", nghttp2_strerror((int)r)));
	mark(h);
}

static void on_writable(void *arg)
{
	struct h2 *h = arg;

	h->blocked = false;
	mark(h);
}

static void on_ready(void *arg)
{
	struct h2 *h = arg;

	if (h->user->ready)
		h->user->ready(h->arg);
}

static void on_ended(void *arg, struct err *cause)
{
	h2_close(arg, cause);
}

const struct conn_user h2_conn_user = { on_input, on_writable, on_ready, on_ended };

/* ---- keepalive ---- */

static void on_ping_timer(void *arg)
{
	struct h2 *h = arg;
	int64_t now = clock_now(), quiet = now - h->last_input;

	if (h->closing || !h->every_ns)
		return;
	if (quiet < h->every_ns) {
		h->ping_sent = false;
		loop_timer_set(h->loop, &h->ping, h->last_input + h->every_ns);
	} else if (!h->ping_sent) {
		h->ping_sent = true;
		(void)nghttp2_submit_ping(h->ng, NGHTTP2_FLAG_NONE, NULL);
		mark(h);
		loop_timer_set(h->loop, &h->ping, now + h->timeout_ns);
	} else {
		h2_close(h, err_new(ERR_UNAVAILABLE, "keepalive ping failed to receive ACK within "
						     "timeout"));
	}
}

void h2_keepalive(struct h2 *h, int64_t every_ns, int64_t timeout_ns)
{
	h->every_ns = every_ns;
	h->timeout_ns = timeout_ns;
	h->last_input = clock_now();
	h->ping_sent = false;
	if (every_ns)
		loop_timer_set(h->loop, &h->ping, h->last_input + every_ns);
	else
		loop_timer_cancel(h->loop, &h->ping);
}

/* ---- construction ---- */

static nghttp2_session_callbacks *make_callbacks(void)
{
	nghttp2_session_callbacks *cb;

	if (nghttp2_session_callbacks_new(&cb))
		abort();
	nghttp2_session_callbacks_set_send_data_callback(cb, on_send_data);
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_sent);
	nghttp2_session_callbacks_set_data_source_read_length_callback(cb, data_frame_size);
	return cb;
}

struct h2 *h2_new(struct loop *l, bool server, const struct h2_user *u, void *arg)
{
	const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_STREAM_WINDOW },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, LIMIT_GRPC_HEADERS },
		{ NGHTTP2_SETTINGS_MAX_FRAME_SIZE, 64 * KIB },
		server ? (nghttp2_settings_entry) { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
						    LIMIT_GRPC_STREAMS }
		       : (nghttp2_settings_entry) { NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
	};
	struct h2 *h = NEW(struct h2);
	nghttp2_session_callbacks *cb = make_callbacks();
	nghttp2_option *opt;
	int r;

	h->loop = l;
	h->server = server;
	h->user = u;
	h->arg = arg;
	list_init(&h->streams);
	loop_call_init(&h->flush, flush, h);
	h->ping.fn = on_ping_timer;
	h->ping.arg = h;
	if (nghttp2_option_new(&opt))
		abort();
	nghttp2_option_set_no_auto_window_update(opt, 1);
	nghttp2_option_set_no_closed_streams(opt, 1);
	nghttp2_option_set_max_send_header_block_length(opt, LIMIT_GRPC_HEADERS);
	nghttp2_option_set_max_continuations(opt, LIMIT_GRPC_HEADERS / (16 * KIB) + 1);
	/* A build that is cancelled resets all its calls at once. */
	nghttp2_option_set_stream_reset_rate_limit(opt, LIMIT_GRPC_STREAMS, 1000);
	r = server ? nghttp2_session_server_new2(&h->ng, cb, h, opt)
		   : nghttp2_session_client_new2(&h->ng, cb, h, opt);
	if (r)
		abort();
	nghttp2_option_del(opt);
	nghttp2_session_callbacks_del(cb);
	(void)nghttp2_submit_settings(h->ng, NGHTTP2_FLAG_NONE, settings, ARRAY_SIZE(settings));
	(void)nghttp2_session_set_local_window_size(h->ng, NGHTTP2_FLAG_NONE, 0, H2_CONN_WINDOW);
	return h;
}

void h2_start(struct h2 *h, struct conn *conn)
{
	h->conn = conn;
	mark(h);
}

void h2_drain(struct h2 *h)
{
	if (h->draining || h->closing)
		return;
	h->draining = true;
	(void)nghttp2_submit_goaway(h->ng, NGHTTP2_FLAG_NONE,
				    nghttp2_session_get_last_proc_stream_id(h->ng),
				    NGHTTP2_NO_ERROR, NULL, 0);
	mark(h);
}

/* ---- streams ---- */

static nghttp2_nv *make_nv(struct arena *a, const struct h2_header *hdr, size_t n)
{
	nghttp2_nv *nv = ARENA_NEW_N(a, nghttp2_nv, n + 1);

	for (size_t i = 0; i < n; i++)
		nv[i] = (nghttp2_nv) { (uint8_t *)hdr[i].name.ptr, (uint8_t *)hdr[i].value.ptr,
				       hdr[i].name.len, hdr[i].value.len, NGHTTP2_NV_FLAG_NONE };
	return nv;
}

bool h2_request(struct h2 *h, struct h2_stream *s, const struct h2_header *hdr, size_t n)
{
	SCOPED_ARENA(a);
	nghttp2_data_provider body = { .source.ptr = s, .read_callback = on_pull };
	int32_t id;

	if (h->closing || !nghttp2_session_check_request_allowed(h->ng))
		return false;
	id = nghttp2_submit_request(h->ng, NULL, make_nv(&a, hdr, n), n, &body, s);
	if (id < 0)
		return false;
	*s = (struct h2_stream) { .h2 = h, .id = id };
	list_add_tail(&h->streams, &s->link);
	mark(h);
	return true;
}

void h2_respond(struct h2_stream *s, const struct h2_header *hdr, size_t n, bool last)
{
	SCOPED_ARENA(a);
	nghttp2_data_provider body = { .source.ptr = s, .read_callback = on_pull };

	(void)nghttp2_submit_response(s->h2->ng, s->id, make_nv(&a, hdr, n), n,
				      last ? NULL : &body);
	mark(s->h2);
}

void h2_trailers(struct h2_stream *s, const struct h2_header *hdr, size_t n)
{
	SCOPED_ARENA(a);

	(void)nghttp2_submit_trailer(s->h2->ng, s->id, make_nv(&a, hdr, n), n);
	mark(s->h2);
}

void h2_resume(struct h2_stream *s)
{
	(void)nghttp2_session_resume_data(s->h2->ng, s->id);
	mark(s->h2);
}

void h2_consume(struct h2_stream *s, size_t n)
{
	(void)nghttp2_session_consume_stream(s->h2->ng, s->id, n);
	mark(s->h2);
}

void h2_reset(struct h2_stream *s, uint32_t code)
{
	(void)nghttp2_submit_rst_stream(s->h2->ng, NGHTTP2_FLAG_NONE, s->id, code);
	mark(s->h2);
}
