/* A connection inside a stream's messages: BytesMessage{data=1}. Bytes go between the two HTTP/2
 * sessions on the loop thread, with no task and no message in between: what a DATA frame of the
 * carrier brings is parsed where it lies and goes straight into the inner session. */
#include "grpc/internal.h"

#include "base/limits.h"

#include <assert.h>

/* Output goes out in messages of at most this. */
#define CHUNK (256 * KIB)

enum state {
	FRAME,  /* the 5 bytes before a message */
	KEY,    /* a field's number and type */
	VARINT, /* a value to skip */
	LENGTH, /* of a length-delimited field */
	BODY,   /* its bytes */
	FIXED,  /* 4 or 8 bytes to skip */
};

struct tunnel {
	struct conn base;
	struct grpc_stream *carrier;
	struct loop_call start;
	bool ended;

	enum state state;
	unsigned char frame[5];
	size_t n_frame;
	size_t msg_left;  /* of the message */
	size_t body_left; /* of the field */
	uint64_t key, varint;
	unsigned shift;
};

static void end(struct tunnel *t, struct err *cause)
{
	if (t->ended) {
		err_free(cause);
		return;
	}
	t->ended = true;
	t->base.user->ended(t->base.arg, cause);
}

/* One step of a varint; true when it is whole. */
static bool varint_byte(struct tunnel *t, uint8_t b)
{
	if (t->shift < 64)
		t->varint |= (uint64_t)(b & 0x7f) << t->shift;
	t->shift += 7;
	if (b & 0x80 && t->shift < 70)
		return false;
	t->shift = 0;
	return true;
}

static void next_state(struct tunnel *t, enum state s)
{
	t->state = s;
	t->varint = 0;
	t->shift = 0;
	if (s == KEY && !t->msg_left) {
		t->state = FRAME;
		t->n_frame = 0;
	}
}

static bool start_field(struct tunnel *t)
{
	t->key = t->varint;
	switch (t->key & 7) {
	case 0:
		next_state(t, VARINT);
		return true;
	case 1:
	case 5:
		t->body_left = (t->key & 7) == 1 ? 8 : 4;
		next_state(t, FIXED);
		return t->body_left <= t->msg_left;
	case 2:
		next_state(t, LENGTH);
		return true;
	default:
		return false;
	}
}

/* Takes what it can of p; 0 on junk. */
static size_t step(struct tunnel *t, const uint8_t *p, size_t n)
{
	size_t k;

	switch (t->state) {
	case FRAME:
		t->frame[t->n_frame++] = *p;
		if (t->n_frame < sizeof(t->frame))
			return 1;
		if (t->frame[0] != 0)
			return 0;
		t->msg_left = (size_t)t->frame[1] << 24 | (size_t)t->frame[2] << 16 |
			      (size_t)t->frame[3] << 8 | t->frame[4];
		next_state(t, KEY);
		return 1;
	case KEY:
	case VARINT:
	case LENGTH:
		t->msg_left--;
		if (!varint_byte(t, *p))
			return t->msg_left ? 1 : 0;
		if (t->state == KEY)
			return start_field(t) ? 1 : 0;
		if (t->state == LENGTH) {
			if (t->varint > t->msg_left)
				return 0;
			t->body_left = (size_t)t->varint;
			next_state(t, t->body_left ? BODY : KEY);
		} else {
			next_state(t, KEY);
		}
		return 1;
	case BODY:
	case FIXED:
		k = MIN(n, t->body_left);
		t->body_left -= k;
		t->msg_left -= k;
		if (t->state == BODY && t->key >> 3 == 1 && !t->ended)
			t->base.user->input(t->base.arg, p, k);
		if (!t->body_left)
			next_state(t, KEY);
		return k;
	}
	return 0;
}

static void take(struct tunnel *t, const uint8_t *p, size_t n)
{
	while (n && !t->ended) {
		size_t k = step(t, p, n);

		if (!k) {
			end(t, err_new(ERR_INTERNAL, "malformed message in the session stream"));
			return;
		}
		p += k;
		n -= k;
	}
}

void tunnel_on_writable(struct tunnel *t)
{
	if (!t->ended)
		t->base.user->writable(t->base.arg);
}

void tunnel_on_end(struct tunnel *t, const struct err *cause)
{
	end(t, err_dup(cause));
}

static size_t tunnel_write(struct conn *base, const uint8_t *p, size_t n)
{
	struct tunnel *t = container_of(base, struct tunnel, base);
	struct grpc_stream *s = t->carrier;
	size_t done = 0;
	bool resume;

	if (t->ended)
		return 0;
	lock_take(&s->lock);
	if (s->ended || s->out_closed) {
		lock_drop(&s->lock);
		end(t, NULL);
		return 0;
	}
	while (done < n && s->out_bytes < OUT_HIGH) {
		size_t k = MIN(n - done, CHUNK), v = k;
		char head[6] = { 1 << 3 | 2 };
		size_t n_head = 1;

		for (; v > 0x7f; v >>= 7)
			head[n_head++] = (char)(v | 0x80);
		head[n_head++] = (char)v;
		stream_append_locked(s, head, n_head, str_make(p + done, k));
		done += k;
	}
	if (done < n)
		s->tunnel_blocked = true;
	resume = done && s->out_idle && (s->client || s->responded);
	if (resume)
		s->out_idle = false;
	lock_drop(&s->lock);
	if (resume && s->h2s.h2)
		h2_resume(&s->h2s);
	return done;
}

static void tunnel_close(struct conn *base)
{
	struct tunnel *t = container_of(base, struct tunnel, base);

	t->carrier->tunnel = NULL;
	loop_later_cancel(&t->start);
	stream_unref(t->carrier);
	free(t);
}

/* What the stream had received before it became a carrier. */
static void feed_backlog(struct tunnel *t)
{
	struct grpc_stream *s = t->carrier;
	struct in_msg *first, *m;
	size_t held = 0;

	lock_take(&s->lock);
	first = s->in_head;
	s->in_head = NULL;
	s->in_tail = &s->in_head;
	held = s->cur_held + s->consumed;
	s->cur_held = s->consumed = 0;
	lock_drop(&s->lock);
	while ((m = first)) {
		unsigned char head[5] = { 0, (unsigned char)(m->len >> 24),
					  (unsigned char)(m->len >> 16),
					  (unsigned char)(m->len >> 8), (unsigned char)m->len };

		first = m->next;
		held += m->held;
		take(t, head, sizeof(head));
		take(t, (const uint8_t *)m->data, m->len);
		free(m->data);
		free(m);
	}
	m = s->cur;
	if (m)
		take(t, (const uint8_t *)s->frame_hdr, 5);
	else
		take(t, (const uint8_t *)s->frame_hdr, s->frame_hdr_len);
	if (m) {
		take(t, (const uint8_t *)m->data, m->len);
		free(m->data);
		free(m);
		s->cur = NULL;
	}
	if (held && s->h2s.h2)
		h2_consume(&s->h2s, held);
}

void tunnel_on_data(struct tunnel *t, const uint8_t *p, size_t n)
{
	if (!list_empty(&t->start.link)) {
		loop_later_cancel(&t->start);
		feed_backlog(t);
	}
	take(t, p, n);
}

static void on_start(void *arg)
{
	struct tunnel *t = arg;
	struct grpc_stream *s = t->carrier;
	bool ended;

	feed_backlog(t);
	lock_take(&s->lock);
	ended = s->in_end || s->ended;
	lock_drop(&s->lock);
	if (ended)
		end(t, NULL);
}

static const struct conn_ops ops = { tunnel_write, tunnel_close };

struct conn *tunnel_conn_new(struct grpc_stream *carrier, void *arg)
{
	struct tunnel *t = NEW(struct tunnel);

	assert(loop_is_here(carrier->loop) && !carrier->tunnel);
	t->base = (struct conn) { &ops, &h2_conn_user, arg };
	ref_get(&carrier->ref);
	t->carrier = carrier;
	carrier->tunnel = t;
	/* After the caller has finished its construction. Nothing else comes in before that. */
	loop_call_init(&t->start, on_start, t);
	loop_later(carrier->loop, &t->start);
	/* A server's answer begins with headers, which a peer may be waiting for. */
	if (!carrier->client)
		stream_kick(carrier, KICK_MD);
	return &t->base;
}
