#include "netproxy/impl.h"

#include "base/limits.h"
#include "base/mem.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

/* No byte from the peer for this long ends the connection; a request may take its time. */
#define IDLE_MS 120000
#define LINE_MAX_LEN 4096
#define SKIP_MAX (1 * MIB)

void peer_open(struct ctx *ctx, int take_fd, struct peer *ret)
{
	*ret = (struct peer) { .ctx = ctx, .fd = take_fd, .in = mem_alloc(PEER_BUFFER) };
}

void peer_close(struct peer *p)
{
	if (p->conn)
		tls_close_notify(p->conn);
	tls_conn_free(p->conn);
	tls_free(p->tls);
	(void)close(p->fd);
	free(p->in);
}

static struct err *wait_for(struct peer *p, short events)
{
	struct pollfd fd = { .fd = p->fd, .events = events };
	int ready;

	TRY(ctx_poll(p->ctx, &fd, 1, IDLE_MS, &ready));
	return ready ? NULL : err_new(ERR_DEADLINE_EXCEEDED, "proxy connection idle");
}

/* After an operation that gave this: NULL to try it again. */
static struct err *wait_tls(struct peer *p, enum tls_result r)
{
	switch (r) {
	case TLS_WANT_READ:
		return wait_for(p, POLLIN);
	case TLS_WANT_WRITE:
		return wait_for(p, POLLOUT);
	case TLS_EOF:
		return err_new(ERR_UNAVAILABLE, "proxy connection closed");
	default:
		return tls_error(p->conn);
	}
}

struct err *peer_start_tls(struct peer *p, struct tls *take_tls)
{
	enum tls_result r;

	p->tls = take_tls;
	/* Nothing may have come before our answer to CONNECT. */
	if (p->start != p->end)
		return err_new(ERR_INVALID_ARGUMENT, "data before the TLS handshake");
	TRY(tls_conn_new(p->tls, p->fd, p->fd, &p->conn));
	while ((r = tls_handshake(p->conn)) != TLS_OK)
		TRY(wait_tls(p, r));
	return NULL;
}

static struct err *read_some(struct peer *p, void *buf, size_t n, size_t *ret_n)
{
	for (;;) {
		ssize_t got;

		if (p->conn) {
			enum tls_result r = tls_read(p->conn, buf, n, ret_n);

			if (r == TLS_OK)
				return NULL;
			*ret_n = 0;
			if (r == TLS_EOF)
				return NULL;
			TRY(wait_tls(p, r));
			continue;
		}
		got = recv(p->fd, buf, n, 0);
		if (got >= 0) {
			*ret_n = (size_t)got;
			return NULL;
		}
		if (errno == EAGAIN)
			TRY(wait_for(p, POLLIN));
		else if (errno != EINTR)
			return err_errno(errno, "read from the step");
	}
}

struct err *peer_write(struct peer *p, struct str data)
{
	while (data.len) {
		size_t n = 0;

		if (p->conn) {
			enum tls_result r = tls_write(p->conn, data.ptr, data.len, &n);

			if (r != TLS_OK) {
				TRY(wait_tls(p, r));
				continue;
			}
		} else {
			ssize_t sent = send(p->fd, data.ptr, data.len, MSG_NOSIGNAL);

			if (sent < 0 && errno == EAGAIN) {
				TRY(wait_for(p, POLLOUT));
				continue;
			}
			if (sent < 0 && errno == EINTR)
				continue;
			if (sent < 0)
				return err_errno(errno, "write to the step");
			n = (size_t)sent;
		}
		data = str_sub(data, n, data.len);
	}
	return NULL;
}

struct err *peer_read(struct peer *p, void *buf, size_t n, size_t *ret_n)
{
	size_t have = MIN(n, p->end - p->start);

	if (!have)
		return read_some(p, buf, n, ret_n);
	memcpy(buf, p->in + p->start, have);
	p->start += have;
	*ret_n = have;
	return NULL;
}

/* More into the buffer; *ret false at the end. */
static struct err *fill(struct peer *p, bool *ret)
{
	size_t n;

	if (p->start) {
		memmove(p->in, p->in + p->start, p->end - p->start);
		p->end -= p->start;
		p->start = 0;
	}
	if (p->end == PEER_BUFFER)
		return err_new(ERR_RESOURCE_EXHAUSTED, "request head over %d bytes", PEER_BUFFER);
	TRY(read_some(p, p->in + p->end, PEER_BUFFER - p->end, &n));
	p->end += n;
	*ret = n > 0;
	return NULL;
}

static struct str pending(const struct peer *p)
{
	return str_make(p->in + p->start, p->end - p->start);
}

struct err *peer_read_head(struct peer *p, struct arena *a, struct str *ret)
{
	size_t n;
	bool more;

	while (!(n = http1_head_len(pending(p)))) {
		TRY(fill(p, &more));
		if (more)
			continue;
		if (pending(p).len)
			return err_new(ERR_UNAVAILABLE, "request head cut");
		*ret = STR_NONE;
		return NULL;
	}
	*ret = str_dup(a, str_sub(pending(p), 0, n));
	p->start += n;
	return NULL;
}

struct err *peer_read_line(struct peer *p, struct arena *a, struct str *ret)
{
	ptrdiff_t at;
	bool more;

	while ((at = str_find_str(pending(p), STR("\r\n"))) < 0) {
		if (pending(p).len > LINE_MAX_LEN)
			return err_new(ERR_INVALID_ARGUMENT, "line too long");
		TRY(fill(p, &more));
		if (!more)
			return err_new(ERR_UNAVAILABLE, "request body cut");
	}
	*ret = str_dup(a, str_sub(pending(p), 0, (size_t)at));
	p->start += (size_t)at + 2;
	return NULL;
}

/* ---- bodies ---- */

/* After a chunk its line end, then the next one's size; after the last the trailers. */
static struct err *next_chunk(struct peer_body *b)
{
	struct str line;

	if (b->in_chunks) {
		TRY(peer_read_line(b->peer, &b->arena, &line));
		if (line.len)
			return err_new(ERR_INVALID_ARGUMENT, "malformed chunk");
	}
	b->in_chunks = true;
	TRY(peer_read_line(b->peer, &b->arena, &line));
	TRY(http1_chunk_size(line, &b->left));
	while (!b->left && !b->end) {
		TRY(peer_read_line(b->peer, &b->arena, &line));
		b->end = !line.len;
	}
	return NULL;
}

static struct err *body_read(struct reader *r, void *buf, size_t n, size_t *ret_n)
{
	struct peer_body *b = container_of(r, struct peer_body, base);

	*ret_n = 0;
	if (!b->left && b->chunked && !b->end) {
		arena_fini(&b->arena);
		b->arena = ARENA_INIT;
		TRY(next_chunk(b));
	}
	if (b->end || !b->left)
		return NULL;
	TRY(peer_read(b->peer, buf, MIN(n, b->left), ret_n));
	if (!*ret_n)
		return err_new(ERR_UNAVAILABLE, "request body cut");
	b->left -= *ret_n;
	return NULL;
}

static void body_close(struct reader *r)
{
	(void)r; /* embedded: peer_body_fini */
}

void peer_body_init(struct peer_body *b, struct peer *p, const struct http1_request *r)
{
	*b = (struct peer_body) { .base = { .read = body_read, .close = body_close },
				  .peer = p,
				  .chunked = r->chunked,
				  .left = r->length > 0 ? (uint64_t)r->length : 0 };
}

bool peer_body_skip(struct peer_body *b)
{
	size_t total = 0, n;
	char junk[4096];

	do {
		struct err *e = body_read(&b->base, junk, sizeof(junk), &n);

		if (e) {
			err_free(e);
			return false;
		}
		total += n;
	} while (n && total < SKIP_MAX);
	return !n;
}

void peer_body_fini(struct peer_body *b)
{
	arena_fini(&b->arena);
}
