/* What the files of this folder share. Lock: a stream's `lock`; the fields marked (loop) belong
 * to the loop thread and need none. */
#ifndef GRPC_INTERNAL_H
#define GRPC_INTERNAL_H

#include "base/lock.h"
#include "base/ref.h"
#include "base/vec.h"
#include "grpc/grpc.h"
#include "net/h2.h"

struct grpc_loop {
	struct loop *loop;
};

struct grpc_tls {
	struct tls *tls;
};

struct tunnel;

/* A received message. */
struct in_msg {
	struct in_msg *next;
	char *data; /* malloc, with a NUL after len */
	size_t len;
	size_t held; /* window taken by it and not given back */
};

/* A piece of the outbox. */
struct out_seg {
	struct out_seg *next;
	size_t off, len, cap;
	char data[];
};

/* What a kick of the loop is about. */
enum {
	KICK_OPEN = 1,   /* client: send the request headers */
	KICK_OUT = 2,    /* there is something in the outbox, or it was closed */
	KICK_WINDOW = 4, /* `consumed` is to be given back */
	KICK_CANCEL = 8, /* reset */
	KICK_MD = 16,    /* server: send the headers now */
};

struct grpc_stream {
	struct h2_stream h2s; /* (loop) */
	struct loop *loop;
	struct ref ref; /* user, open HTTP/2 stream, queued kick */
	struct grpc_server *server;
	struct grpc_client *client;
	size_t max_recv;
	struct arena arena; /* path, metadata; filled before others see it, see peer_md */
	struct str path;
	struct ctx *ctx;
	struct ctx_watch watch;     /* client: the caller's ctx */
	struct loop_timer deadline; /* (loop) */

	struct lock lock;
	struct cond readable, writable;
	struct loop_call kick;
	unsigned kicks;
	bool kick_queued;

	/* Receiving. */
	struct in_msg *in_head, **in_tail;
	size_t consumed; /* window to give back */
	size_t cur_held; /* window taken by the message under way */
	bool in_end;     /* no more messages will come */
	bool in_failed;  /* a message was refused: skip the rest */
	struct err *in_err;
	char frame_hdr[5]; /* (loop) */
	size_t frame_hdr_len;
	struct in_msg *cur; /* (loop) being filled */
	size_t cur_len;

	/* Sending. */
	struct out_seg *out_head, *out_tail;
	size_t out_bytes;
	bool out_closed; /* no more messages */
	bool out_idle;   /* HTTP/2 waits to be resumed */

	/* The end. */
	bool ended;         /* closed by either side */
	struct err *status; /* client: of the call; server: what the handler returned */
	bool have_status;
	bool finished;  /* server: the handler has returned */
	bool responded; /* (loop) server: headers are out */
	grpc_handler handler;
	void *handler_arg;

	/* Metadata of the peer and (server) our own, request headers (client). */
	const struct grpc_md *peer_md;
	size_t n_peer_md;
	bool have_peer_md;
	struct h2_header *out_hdrs;
	size_t n_out_hdrs;

	struct tunnel *tunnel; /* (loop) takes what comes in */
	bool tunnel_blocked;   /* (loop) it wants to know of room in the outbox */
};

/* ---- stream.c ---- */
#define OUT_HIGH ((size_t)1 << 20)
#define OUT_LOW (OUT_HIGH / 2)

struct grpc_stream *stream_new(struct loop *l, size_t max_recv);
void stream_unref(struct grpc_stream *s);
void stream_kick_locked(struct grpc_stream *s, unsigned what);
void stream_kick(struct grpc_stream *s, unsigned what);
/* Adds a framed message. */
void stream_append_locked(struct grpc_stream *s, const void *head, size_t head_len, struct str msg);
/* Adds room for n bytes to the outbox. */
char *stream_out_room_locked(struct grpc_stream *s, size_t n);
/* (loop) No more will happen on it. status is taken and may be NULL. */
void stream_end_loop(struct grpc_stream *s, struct err *take_status);
/* (loop) The h2_user parts that are the same in both roles. */
void stream_on_data(struct h2_stream *h, const uint8_t *p, size_t n);
void stream_on_end(struct h2_stream *h);
size_t stream_on_pull(struct h2_stream *h, size_t max, enum h2_more *ret);
void stream_on_copy(struct h2_stream *h, uint8_t *to, size_t n);
/* (loop) Sets the timer if the stream's ctx has a deadline. */
void stream_arm_deadline_loop(struct grpc_stream *s, void (*fn)(void *));

static inline struct grpc_stream *stream_of(struct h2_stream *h)
{
	return container_of(h, struct grpc_stream, h2s);
}

/* (loop) Parts of a kick that differ. */
void server_kick_loop(struct grpc_stream *s, unsigned kicks);
void client_kick_loop(struct grpc_stream *s, unsigned kicks);
void client_unref(struct grpc_client *c);

/* ---- wire.c ---- */
/* Headers of a status: grpc-status, grpc-message, grpc-status-details-bin; returns how many. */
#define STATUS_HEADERS 3
size_t status_encode(struct arena *a, const struct err *e, struct h2_header out[STATUS_HEADERS]);
/* False when there is no grpc-status among them. *ret is NULL for OK. */
bool status_decode(const struct h2_header *h, size_t n, struct err **ret);
struct err *status_from_http(struct str http_status, struct str content_type) ERR_RESULT;
struct err *status_from_reset(uint32_t code) ERR_RESULT;
struct str header_get(const struct h2_header *h, size_t n, const char *name);
/* Application metadata among headers, "-bin" values decoded. */
struct grpc_md *md_decode(struct arena *a, const struct h2_header *h, size_t n, size_t *ret_n);
struct h2_header md_encode(struct arena *a, const struct grpc_md *md);
/* grpc-timeout */
struct str timeout_encode(struct arena *a, int64_t ns);
bool timeout_decode(struct str s, int64_t *ret_ns);
/* Does content-type name gRPC? */
bool is_grpc_content(struct str content_type);

/* ---- tunnel.c (loop) ---- */
struct conn *tunnel_conn_new(struct grpc_stream *carrier, void *arg);
void tunnel_on_data(struct tunnel *t, const uint8_t *p, size_t n);
void tunnel_on_writable(struct tunnel *t);
void tunnel_on_end(struct tunnel *t, const struct err *cause);

/* ---- health.c ---- */
struct err *health_check(struct ctx *ctx, struct grpc_stream *s, void *arg) ERR_RESULT;
struct err *health_watch(struct ctx *ctx, struct grpc_stream *s, void *arg) ERR_RESULT;

#endif
