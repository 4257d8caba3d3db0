/* gRPC: server and client over any HTTP/2 connection (unix, TCP, TLS, a pair of pipes, or
 * the bytes inside another stream). Handlers and callers use a blocking view of a stream;
 * the loop thread does the I/O. See docs/internals/grpc.md.
 * A stream's flow-control window is given back when its reader has consumed a message; memory a
 * stream is bounded. Calls on one stream may come from two threads at once: one sends, one
 * receives. */
#ifndef GRPC_GRPC_H
#define GRPC_GRPC_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/ctx.h"
#include "base/err.h"

struct grpc_loop; /* the loop thread: sockets, TLS, HTTP/2, timers */
struct grpc_stream;
struct grpc_server;
struct grpc_client;

struct grpc_md { /* metadata; keys lower-case, values of "-bin" keys raw */
	struct str key, value;
};

/* ---- the loop thread ---- */
struct err *grpc_loop_start(struct grpc_loop **ret) ERR_RESULT;
/* Closes what is still open. After all servers and clients on it are gone. */
void grpc_loop_stop(struct grpc_loop *l);

/* ---- streams, both roles ---- */
/* The next message (payload bytes, whole, at most the connection's maximum) in msg (cleared first);
 * *ret_eof at the peer's half-close. Client: the call's status becomes the error if it is not OK.
 */
struct err *grpc_recv(struct grpc_stream *s, struct ctx *ctx, struct buf *msg,
		      bool *ret_eof) ERR_RESULT;
/* Would grpc_recv return at once? For receivers that have work to hand on before they sleep. */
bool grpc_recv_ready(struct grpc_stream *s);
/* Copies; blocks while the outbox is full. Client: EOF-like failures return the call's status. */
struct err *grpc_send(struct grpc_stream *s, struct ctx *ctx, struct str msg) ERR_RESULT;
/* Never blocks: goes beyond the outbox's bound. For small messages whose number is bounded
 * otherwise, from a thread that must go on receiving. */
struct err *grpc_send_now(struct grpc_stream *s, struct str msg) ERR_RESULT;
/* Metadata the peer sent at the start (server: at once; client: waits). Borrowed, lives with the
 * stream. */
struct err *grpc_peer_md(struct grpc_stream *s, struct ctx *ctx, const struct grpc_md **ret,
			 size_t *ret_n) ERR_RESULT;
/* First value of a key, or empty. For a server stream. */
struct str grpc_md_get(struct grpc_stream *s, const char *key);
/* "/pkg.Service/Method" */
struct str grpc_stream_path(const struct grpc_stream *s);
/* Ends when the peer resets the stream, its deadline passes or the connection is lost. Borrowed. */
struct ctx *grpc_stream_ctx(struct grpc_stream *s);

/* ---- server ---- */
/* A handler's return value is the call's status. Server-side unary handlers use grpc_recv once and
 * grpc_send once. */
typedef struct err *(*grpc_handler)(struct ctx *ctx, struct grpc_stream *s, void *arg);
struct grpc_method {
	const char *path; /* "/moby.buildkit.v1.Control/Solve" */
	grpc_handler handler;
};
/* Methods are matched exactly; others answer UNIMPLEMENTED "unknown service X" or "unknown method M
 * for service X" (Go's words). Every server also has grpc.health.v1.Health (Check, Watch; "" is
 * SERVING). arg goes to each handler. ctx is the parent of every stream's ctx and gives the task
 * pool. */
struct grpc_server *grpc_server_new(struct grpc_loop *l, struct ctx *ctx,
				    const struct grpc_method *methods, size_t n, void *arg);
/* Initial metadata; before the first send. */
struct err *grpc_send_md(struct grpc_stream *s, const struct grpc_md *md, size_t n) ERR_RESULT;
/* Serves a listening socket; take_fd is owned. tls may be NULL. May be called for several. */
struct grpc_tls; /* TLS settings, server or client side */
struct err *grpc_server_listen(struct grpc_server *s, int take_fd, struct grpc_tls *tls) ERR_RESULT;
/* Serves one connection that is already there: a socket, or a pair of pipe ends (rfd != wfd).
 * Owned. */
struct err *grpc_server_attach_fd(struct grpc_server *s, int take_rfd, int take_wfd) ERR_RESULT;
/* The same, and blocks until the connection ends; closes it when ctx does, whose error it is
 * then. */
struct err *grpc_server_serve_fd(struct grpc_server *s, struct ctx *ctx, int take_rfd,
				 int take_wfd) ERR_RESULT;
/* Serves a connection whose bytes travel in another stream's messages (BytesMessage{data=1}).
 * Blocks until it ends. */
struct err *grpc_server_serve_tunnel(struct grpc_server *s, struct ctx *ctx,
				     struct grpc_stream *carrier) ERR_RESULT;
/* No new connections or streams (GOAWAY); waits for running handlers until ctx ends, then cancels
 * them. */
void grpc_server_drain(struct grpc_server *s, struct ctx *ctx);
void grpc_server_free(struct grpc_server *s);

/* ---- client ---- */
struct grpc_dial {
	const char *authority; /* default "localhost" */
	struct grpc_tls *tls;  /* or NULL; borrowed */
	size_t max_recv;       /* 0: LIMIT_GRPC_MESSAGE */
};
/* "unix:///path" or "tcp://host:port". Connects before it returns (or ctx ends). */
struct err *grpc_client_dial(struct grpc_loop *l, struct ctx *ctx, const char *address,
			     const struct grpc_dial *o, struct grpc_client **ret) ERR_RESULT;
struct err *grpc_client_attach_fd(struct grpc_loop *l, struct ctx *ctx, int take_rfd, int take_wfd,
				  const struct grpc_dial *o, struct grpc_client **ret) ERR_RESULT;
/* Over BytesMessages of a stream of either role. The stream must outlive the client; when it ends,
 * so do all calls. */
struct err *grpc_client_tunnel(struct grpc_loop *l, struct ctx *ctx, struct grpc_stream *carrier,
			       const struct grpc_dial *o, struct grpc_client **ret) ERR_RESULT;
/* Ends calls under way with UNAVAILABLE. NULL is fine. */
void grpc_client_close(struct grpc_client *c);
/* Ends the connection for this cause (NULL: as close) and waits for that; c stays valid, its calls
 * fail. For owners that share a client. */
void grpc_client_disconnect(struct grpc_client *c, struct err *take_cause);
/* Ends when the connection is lost. Borrowed. */
struct ctx *grpc_client_ctx(struct grpc_client *c);
/* Keepalive: HTTP/2 PINGs when idle, connection closed without answer. Off by default. */
void grpc_client_keepalive(struct grpc_client *c, int64_t every_ns, int64_t timeout_ns);

/* Starts a call. The deadline of ctx goes out as grpc-timeout; the end of ctx resets the stream. */
struct err *grpc_call(struct grpc_client *c, struct ctx *ctx, const char *path,
		      const struct grpc_md *md, size_t n_md, struct grpc_stream **ret) ERR_RESULT;
struct err *grpc_close_send(struct grpc_stream *s) ERR_RESULT;
/* Drops the call (reset if unfinished). Client streams only; NULL is fine. */
void grpc_stream_free(struct grpc_stream *s);
void grpc_stream_freep(struct grpc_stream **s);
/* One request, one answer. */
struct err *grpc_unary(struct grpc_client *c, struct ctx *ctx, const char *path,
		       const struct grpc_md *md, size_t n_md, struct str request,
		       struct buf *reply) ERR_RESULT;

/* ---- TLS ---- */
/* PEM files; key+cert both or none; with ca a server requires client certificates. A server accepts
 * clients with or without ALPN h2. */
struct err *grpc_tls_server(const char *cert, const char *key, const char *ca,
			    struct grpc_tls **ret) ERR_RESULT;
/* server_name for verification and SNI. NULL ca: system roots. */
struct err *grpc_tls_client(const char *server_name, const char *ca, const char *cert,
			    const char *key, struct grpc_tls **ret) ERR_RESULT;
void grpc_tls_free(struct grpc_tls *t);

#endif
