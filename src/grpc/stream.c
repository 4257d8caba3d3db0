#include "grpc/internal.h"

#include "base/limits.h"

#include <assert.h>

/* Window is given back in pieces of at least this, so that a reader of small messages does not
 * wake the loop for each. */
#define CONSUME_STEP (H2_STREAM_WINDOW / 4)
#define SEG_MIN ((size_t)4096)

static void on_kick(void *arg);

struct grpc_stream *stream_new(struct loop *l, size_t max_recv)
{
	struct grpc_stream *s = NEW(struct grpc_stream);

	s->loop = l;
	s->max_recv = max_recv;
	ref_init(&s->ref);
	list_init(&s->h2s.link);
	lock_init(&s->lock, LOCK_GRPC_STREAM);
	cond_init(&s->readable);
	cond_init(&s->writable);
	loop_call_init(&s->kick, on_kick, s);
	s->in_tail = &s->in_head;
	s->out_idle = true;
	return s;
}

static void free_msg(struct in_msg *m)
{
	if (m)
		free(m->data);
	free(m);
}

static void drop_inbox(struct grpc_stream *s)
{
	while (s->in_head) {
		struct in_msg *m = s->in_head;

		s->in_head = m->next;
		free_msg(m);
	}
	s->in_tail = &s->in_head;
}

static void drop_outbox(struct grpc_stream *s)
{
	while (s->out_head) {
		struct out_seg *seg = s->out_head;

		s->out_head = seg->next;
		free(seg);
	}
	s->out_tail = NULL;
	s->out_bytes = 0;
}

void stream_unref(struct grpc_stream *s)
{
	if (!s || !ref_put(&s->ref))
		return;
	drop_inbox(s);
	drop_outbox(s);
	free_msg(s->cur);
	err_free(s->in_err);
	err_free(s->status);
	ctx_unref(s->ctx);
	if (s->client)
		client_unref(s->client);
	cond_fini(&s->readable);
	cond_fini(&s->writable);
	lock_fini(&s->lock);
	arena_fini(&s->arena);
	free(s);
}

struct str grpc_stream_path(const struct grpc_stream *s)
{
	return s->path;
}

struct ctx *grpc_stream_ctx(struct grpc_stream *s)
{
	return s->ctx;
}

/* ---- to the loop ---- */

void stream_kick_locked(struct grpc_stream *s, unsigned what)
{
	s->kicks |= what;
	if (s->kick_queued)
		return;
	s->kick_queued = true;
	ref_get(&s->ref);
	loop_post(s->loop, &s->kick);
}

void stream_kick(struct grpc_stream *s, unsigned what)
{
	LOCKED(&s->lock);
	stream_kick_locked(s, what);
}

static void on_kick(void *arg)
{
	struct grpc_stream *s = arg;
	size_t consumed = 0;
	unsigned kicks;

	lock_take(&s->lock);
	kicks = s->kicks;
	s->kicks = 0;
	s->kick_queued = false;
	if (kicks & KICK_WINDOW) {
		consumed = s->consumed;
		s->consumed = 0;
	}
	lock_drop(&s->lock);
	if (s->client)
		client_kick_loop(s, kicks);
	else
		server_kick_loop(s, kicks);
	if (consumed && s->h2s.h2)
		h2_consume(&s->h2s, consumed);
	stream_unref(s);
}

/* ---- the outbox ---- */

char *stream_out_room_locked(struct grpc_stream *s, size_t n)
{
	struct out_seg *seg = s->out_tail;

	lock_assert_held(&s->lock);
	if (!seg || seg->cap - seg->len < n) {
		size_t cap = MAX(n, SEG_MIN);

		seg = mem_realloc(NULL, 1, sizeof(*seg) + cap);
		*seg = (struct out_seg) { .cap = cap };
		if (s->out_tail)
			s->out_tail->next = seg;
		else
			s->out_head = seg;
		s->out_tail = seg;
	}
	seg->len += n;
	s->out_bytes += n;
	return seg->data + seg->len - n;
}

void stream_append_locked(struct grpc_stream *s, const void *head, size_t head_len, struct str msg)
{
	size_t len = head_len + msg.len;
	char *to = stream_out_room_locked(s, 5 + len);

	to[0] = 0;
	to[1] = (char)(len >> 24);
	to[2] = (char)(len >> 16);
	to[3] = (char)(len >> 8);
	to[4] = (char)len;
	if (head_len)
		memcpy(to + 5, head, head_len);
	if (msg.len)
		memcpy(to + 5 + head_len, msg.ptr, msg.len);
}

/* Why sending is over. */
static struct err *send_failure_locked(struct grpc_stream *s)
{
	if (s->status)
		return err_dup(s->status);
	if (ctx_done(s->ctx) && !s->client)
		return ctx_err(s->ctx);
	return err_new(ERR_CANCELED, "EOF");
}

static struct err *check_send(size_t len)
{
	if (len > LIMIT_GRPC_MESSAGE)
		return err_new(ERR_RESOURCE_EXHAUSTED,
			       "grpc: trying to send message larger than max (%zu vs. %zu)", len,
			       LIMIT_GRPC_MESSAGE);
	return NULL;
}

static struct err *can_send_locked(struct grpc_stream *s)
{
	if (s->ended)
		return send_failure_locked(s);
	if (s->out_closed)
		return err_new(ERR_INTERNAL, "SendMsg called after CloseSend");
	return NULL;
}

static void send_locked(struct grpc_stream *s, struct str msg)
{
	stream_append_locked(s, NULL, 0, msg);
	if (s->out_idle) {
		s->out_idle = false;
		stream_kick_locked(s, KICK_OUT);
	}
}

struct err *grpc_send(struct grpc_stream *s, struct ctx *ctx, struct str msg)
{
	TRY(check_send(msg.len));
	LOCKED(&s->lock);
	TRY(can_send_locked(s));
	while (s->out_bytes >= OUT_HIGH) {
		TRY(cond_wait(&s->writable, &s->lock, ctx));
		TRY(can_send_locked(s));
	}
	send_locked(s, msg);
	return NULL;
}

struct err *grpc_send_now(struct grpc_stream *s, struct str msg)
{
	TRY(check_send(msg.len));
	LOCKED(&s->lock);
	TRY(can_send_locked(s));
	send_locked(s, msg);
	return NULL;
}

size_t stream_on_pull(struct h2_stream *h, size_t max, enum h2_more *ret)
{
	struct grpc_stream *s = stream_of(h);
	bool trailers = false;
	SCOPED_ARENA(a);
	struct h2_header hdr[STATUS_HEADERS];
	size_t n, n_hdr = 0;

	lock_take(&s->lock);
	n = MIN(s->out_bytes, max);
	*ret = H2_MORE;
	if (n == s->out_bytes && s->out_closed && !s->ended) {
		trailers = !s->client;
		*ret = trailers ? H2_TRAILERS : H2_END;
		if (trailers)
			n_hdr = status_encode(&a, s->status, hdr);
	}
	if (!n && *ret == H2_MORE)
		s->out_idle = true;
	lock_drop(&s->lock);
	if (trailers)
		h2_trailers(h, hdr, n_hdr);
	return n;
}

void stream_on_copy(struct h2_stream *h, uint8_t *to, size_t n)
{
	struct grpc_stream *s = stream_of(h);
	bool room;

	lock_take(&s->lock);
	if (s->ended) { /* reset meanwhile: the outbox is gone, the frame is not */
		memset(to, 0, n);
		n = 0;
	}
	s->out_bytes -= n;
	while (n) {
		struct out_seg *seg = s->out_head;
		size_t k = MIN(n, seg->len - seg->off);

		memcpy(to, seg->data + seg->off, k);
		to += k;
		n -= k;
		seg->off += k;
		if (seg->off < seg->len)
			continue;
		/* An emptied piece of the usual size serves again. */
		if (!seg->next && seg->cap == SEG_MIN) {
			seg->off = seg->len = 0;
			break;
		}
		s->out_head = seg->next;
		if (!s->out_head)
			s->out_tail = NULL;
		free(seg);
	}
	room = s->out_bytes <= OUT_LOW;
	if (room)
		cond_broadcast(&s->writable);
	lock_drop(&s->lock);
	if (room && s->tunnel_blocked) {
		s->tunnel_blocked = false;
		if (s->tunnel)
			tunnel_on_writable(s->tunnel);
	}
}

struct err *grpc_close_send(struct grpc_stream *s)
{
	LOCKED(&s->lock);
	if (!s->out_closed && !s->ended) {
		s->out_closed = true;
		s->out_idle = false;
		stream_kick_locked(s, KICK_OUT);
	}
	return NULL;
}

/* ---- the inbox ---- */

static struct err *check_frame(struct grpc_stream *s, size_t len)
{
	if (s->frame_hdr[0] == 1)
		return err_new(ERR_UNIMPLEMENTED, "grpc: compressed messages are not supported");
	if (s->frame_hdr[0] != 0)
		return err_new(ERR_INTERNAL, "grpc: received unexpected payload format %d",
			       (unsigned char)s->frame_hdr[0]);
	if (len > s->max_recv)
		return err_new(ERR_RESOURCE_EXHAUSTED,
			       "grpc: received message larger than max (%zu vs. %zu)", len,
			       s->max_recv);
	return NULL;
}

static size_t frame_len(const char *h)
{
	const unsigned char *u = (const unsigned char *)h;

	return (size_t)u[1] << 24 | (size_t)u[2] << 16 | (size_t)u[3] << 8 | u[4];
}

/* Takes bytes of one message; true when that made it whole (s->cur). */
static bool take_bytes(struct grpc_stream *s, const uint8_t **p, size_t *n, struct err **ret_err)
{
	size_t k;

	if (!s->cur) {
		k = MIN(*n, 5 - s->frame_hdr_len);
		memcpy(s->frame_hdr + s->frame_hdr_len, *p, k);
		s->frame_hdr_len += k;
		*p += k;
		*n -= k;
		if (s->frame_hdr_len < 5)
			return false;
		s->frame_hdr_len = 0;
		s->cur_len = frame_len(s->frame_hdr);
		*ret_err = check_frame(s, s->cur_len);
		if (*ret_err)
			return false;
		s->cur = NEW(struct in_msg);
		s->cur->data = mem_realloc(NULL, s->cur_len + 1, 1);
	}
	k = MIN(*n, s->cur_len - s->cur->len);
	memcpy(s->cur->data + s->cur->len, *p, k);
	s->cur->len += k;
	*p += k;
	*n -= k;
	if (s->cur->len < s->cur_len)
		return false;
	s->cur->data[s->cur_len] = '\0';
	return true;
}

static void fail_inbox(struct grpc_stream *s, struct err *e)
{
	lock_take(&s->lock);
	s->in_failed = s->in_end = true;
	s->in_err = e;
	cond_broadcast(&s->readable);
	lock_drop(&s->lock);
	/* A client has no use for the rest of the call. */
	if (s->client && s->h2s.h2)
		h2_reset(&s->h2s, H2_CANCEL);
}

void stream_on_data(struct h2_stream *h, const uint8_t *p, size_t n)
{
	struct grpc_stream *s = stream_of(h);
	struct in_msg *first = NULL, **last = &first;
	struct err *e = NULL;
	size_t give;

	if (s->tunnel || s->in_failed) {
		if (s->tunnel)
			tunnel_on_data(s->tunnel, p, n);
		h2_consume(h, n);
		return;
	}
	/* cur_held may be zeroed by a reader at any time, so it is added up here and settled
	 * under the lock. */
	size_t total = n, done = 0;

	lock_take(&s->lock);
	while (n && !e) {
		if (!take_bytes(s, &p, &n, &e))
			continue;
		s->cur->held = s->cur_held + (total - n - done);
		s->cur_held = 0;
		done = total - n;
		*last = s->cur;
		last = &s->cur->next;
		s->cur = NULL;
	}
	s->cur_held += total - done;
	if (first) {
		*s->in_tail = first;
		s->in_tail = last;
		cond_signal(&s->readable);
	}
	/* The message a reader waits for must not be held up by its own size. */
	give = 0;
	if (!s->in_head) {
		give = s->cur_held;
		s->cur_held = 0;
	}
	lock_drop(&s->lock);
	if (e)
		fail_inbox(s, e);
	if (give && h->h2)
		h2_consume(h, give);
}

void stream_on_end(struct h2_stream *h)
{
	struct grpc_stream *s = stream_of(h);

	lock_take(&s->lock);
	if (!s->client) {
		s->in_end = true;
		if ((s->cur || s->frame_hdr_len) && !s->in_err)
			s->in_err = err_new(ERR_INTERNAL, "unexpected EOF");
		cond_broadcast(&s->readable);
	}
	lock_drop(&s->lock);
	if (s->tunnel)
		tunnel_on_end(s->tunnel, NULL);
}

static void hand_out(struct in_msg *m, struct buf *msg)
{
	/* A small message into memory that is there; else the memory itself changes hands. */
	if (msg->cap > m->len && m->len <= SEG_MIN) {
		buf_add(msg, m->data, m->len);
		return;
	}
	if (m->len > msg->max) {
		msg->overflow = true;
		return;
	}
	free(msg->data);
	msg->data = TAKE_PTR(m->data);
	msg->len = m->len;
	msg->cap = m->len + 1;
}

struct err *grpc_recv(struct grpc_stream *s, struct ctx *ctx, struct buf *msg, bool *ret_eof)
{
	struct in_msg *m;

	buf_clear(msg);
	lock_take(&s->lock);
	while (!s->in_head) {
		struct err *e = NULL;

		if (s->in_err)
			e = err_dup(s->in_err);
		else if (s->client && s->ended)
			e = err_dup(s->status);
		if (e || s->ended || (s->in_end && !s->client)) {
			lock_drop(&s->lock);
			if (!e)
				*ret_eof = true;
			return e;
		}
		e = cond_wait(&s->readable, &s->lock, ctx);
		if (e) {
			lock_drop(&s->lock);
			return e;
		}
	}
	m = s->in_head;
	s->in_head = m->next;
	s->consumed += m->held;
	if (!s->in_head) {
		s->in_tail = &s->in_head;
		s->consumed += s->cur_held;
		s->cur_held = 0;
	}
	if (s->consumed >= CONSUME_STEP && !s->ended)
		stream_kick_locked(s, KICK_WINDOW);
	lock_drop(&s->lock);
	hand_out(m, msg);
	free_msg(m);
	*ret_eof = false;
	return buf_check(msg, "message");
}

bool grpc_recv_ready(struct grpc_stream *s)
{
	LOCKED(&s->lock);
	return s->in_head || s->in_end || s->ended;
}

/* ---- metadata ---- */

struct err *grpc_peer_md(struct grpc_stream *s, struct ctx *ctx, const struct grpc_md **ret,
			 size_t *ret_n)
{
	LOCKED(&s->lock);
	while (!s->have_peer_md) {
		if (s->ended && s->status)
			return err_dup(s->status);
		if (s->ended)
			break;
		TRY(cond_wait(&s->readable, &s->lock, ctx));
	}
	*ret = s->peer_md;
	*ret_n = s->n_peer_md;
	return NULL;
}

struct str grpc_md_get(struct grpc_stream *s, const char *key)
{
	for (size_t i = 0; i < s->n_peer_md; i++)
		if (str_eq_cstr(s->peer_md[i].key, key))
			return s->peer_md[i].value;
	return STR_NONE;
}

/* ---- the end ---- */

void stream_arm_deadline_loop(struct grpc_stream *s, void (*fn)(void *))
{
	int64_t when = ctx_deadline(s->ctx);

	s->deadline.fn = fn;
	s->deadline.arg = s;
	if (when)
		loop_timer_set(s->loop, &s->deadline, when);
}

void stream_end_loop(struct grpc_stream *s, struct err *status)
{
	struct err *cause = NULL;

	loop_timer_cancel(s->loop, &s->deadline);
	lock_take(&s->lock);
	if (!s->ended) {
		s->ended = true;
		if (!s->client && !s->in_end && !s->in_err)
			s->in_err = err_new(ERR_CANCELED, "context canceled");
		s->in_end = true;
		if (s->client && !s->have_status) {
			s->have_status = true;
			s->status = TAKE_PTR(status);
		}
		cause = s->client ? err_dup(s->status) : NULL;
		drop_outbox(s);
		cond_broadcast(&s->readable);
		cond_broadcast(&s->writable);
	}
	lock_drop(&s->lock);
	if (s->client)
		ctx_unwatch(s->ctx, &s->watch);
	ctx_cancel(s->ctx, cause);
	if (s->tunnel)
		tunnel_on_end(s->tunnel, status ? status : s->status);
	err_free(status);
}
