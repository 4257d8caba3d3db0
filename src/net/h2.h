/* HTTP/2 connections (nghttp2), server or client side, owned by the loop thread: everything
 * here is called there. One user: src/grpc.
 *
 * Flow control: a stream's window is given back by h2_consume() only, the connection's on
 * receipt. Output is gathered in one buffer and written after the loop's turn, however many
 * streams had something to say. */
#ifndef NET_H2_H
#define NET_H2_H

#include "net/conn.h"

#define H2_STREAM_WINDOW (1024 * 1024)
#define H2_CONN_WINDOW (16 * 1024 * 1024)

struct h2;

struct h2_header {
	struct str name, value;
};

/* Embedded by the user. h2 is NULL before the stream is opened and after it is closed. */
struct h2_stream {
	struct list link;
	struct h2 *h2;
	int32_t id;
	bool remote_ended; /* the peer has half-closed */
	bool local_ended;
};

enum h2_code { /* RFC 9113, section 7 */
	       H2_NO_ERROR = 0,
	       H2_PROTOCOL_ERROR = 1,
	       H2_INTERNAL_ERROR = 2,
	       H2_FLOW_CONTROL_ERROR = 3,
	       H2_REFUSED_STREAM = 7,
	       H2_CANCEL = 8,
	       H2_ENHANCE_YOUR_CALM = 11,
	       H2_INADEQUATE_SECURITY = 12,
};

enum h2_more { H2_MORE, H2_END, H2_TRAILERS };

struct h2_user {
	/* Server: a request's headers are in. NULL refuses the stream. */
	struct h2_stream *(*request)(void *arg, const struct h2_header *h, size_t n);
	/* Client: response headers (or interim ones); last: nothing follows. Trailers come here
	 * too, in both roles. */
	void (*headers)(struct h2_stream *s, const struct h2_header *h, size_t n, bool last);
	void (*data)(struct h2_stream *s, const uint8_t *p, size_t n);
	/* The peer has half-closed. */
	void (*end)(struct h2_stream *s);
	/* Closed, by whatever side; s is the user's alone again. down: the connection went, for
	 * this cause (NULL: a clean end). */
	void (*closed)(struct h2_stream *s, uint32_t code, bool down, const struct err *cause);
	/* How much there is to send now (at most max) and what follows after that. H2_TRAILERS:
	 * call h2_trailers() from within. 0 with H2_MORE: wait for h2_resume(). */
	size_t (*pull)(struct h2_stream *s, size_t max, enum h2_more *ret);
	/* Those n bytes, next in order. */
	void (*copy)(struct h2_stream *s, uint8_t *to, size_t n);
	/* TLS handshake done. May be NULL. */
	void (*ready)(void *arg);
	/* The connection is gone, all its streams have been closed; h2 is freed after this call.
	 * cause NULL: a clean end. */
	void (*down)(void *arg, const struct err *cause);
};

/* Users of a connection pass this to their struct conn. */
extern const struct conn_user h2_conn_user;

struct h2 *h2_new(struct loop *l, bool server, const struct h2_user *u, void *arg);
/* The connection's arg must be h2. Owned from now on. */
void h2_start(struct h2 *h, struct conn *take_c);
/* Tears down in this turn of the loop: streams closed, then down(). what is not sent is dropped. */
void h2_close(struct h2 *h, struct err *take_cause);
/* GOAWAY; closes when the streams that run have ended. */
void h2_drain(struct h2 *h);
/* A PING after every_ns without input; closed when timeout_ns pass without any. 0 is off. */
void h2_keepalive(struct h2 *h, int64_t every_ns, int64_t timeout_ns);

/* Client: opens a stream whose body comes from pull(). False: the connection takes no more. */
bool h2_request(struct h2 *h, struct h2_stream *s, const struct h2_header *hdr, size_t n);
/* Server: response headers; with last there is no body. */
void h2_respond(struct h2_stream *s, const struct h2_header *hdr, size_t n, bool last);
void h2_trailers(struct h2_stream *s, const struct h2_header *hdr, size_t n);
void h2_resume(struct h2_stream *s);
void h2_consume(struct h2_stream *s, size_t n);
void h2_reset(struct h2_stream *s, uint32_t code);
const char *h2_code_name(uint32_t code);

#endif
