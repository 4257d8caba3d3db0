/* Between the files of the proxy. */
#ifndef NETPROXY_IMPL_H
#define NETPROXY_IMPL_H

#include "base/task.h"
#include "codec/io.h"
#include "netproxy/http1.h"
#include "netproxy/netproxy.h"

struct netproxy {
	struct netproxy_config cfg;
	struct ctx *ctx;
	int listen_fd;
	struct httpc *client;
	struct task *acceptor;
	struct task_group conns;
};

/* ---- peer.c: the step's side of a connection ---- */

#define PEER_BUFFER 65536
struct peer {
	struct ctx *ctx;
	int fd;
	struct tls *tls;
	struct tls_conn *conn; /* NULL: plain */
	char *in;              /* PEER_BUFFER bytes, read but not used */
	size_t start, end;
};
void peer_open(struct ctx *ctx, int take_fd, struct peer *ret);
void peer_close(struct peer *p);
/* From here on through TLS, as the server. */
struct err *peer_start_tls(struct peer *p, struct tls *take_tls) ERR_RESULT;
/* A whole head; an empty one when the peer has ended before its first byte. RESOURCE_EXHAUSTED when
 * it is too long. It lives in the arena. */
struct err *peer_read_head(struct peer *p, struct arena *a, struct str *ret) ERR_RESULT;
/* *ret_n 0 only at the end. */
struct err *peer_read(struct peer *p, void *buf, size_t n, size_t *ret_n) ERR_RESULT;
struct err *peer_write(struct peer *p, struct str data) ERR_RESULT;
/* A line without its end, at most 4 KiB. */
struct err *peer_read_line(struct peer *p, struct arena *a, struct str *ret) ERR_RESULT;

/* The body of a request, decoded. */
struct peer_body {
	struct reader base;
	struct peer *peer;
	struct arena arena;
	bool chunked, end, opened;
	uint64_t left; /* of the length or of the chunk */
	bool in_chunks;
};
void peer_body_init(struct peer_body *b, struct peer *p, const struct http1_request *r);
/* What the other side didn't want: reads it, up to a bound; false when the connection can't be used
 * for another request. */
bool peer_body_skip(struct peer_body *b);
void peer_body_fini(struct peer_body *b);

/* ---- exchange.c: one request ---- */
struct exchange {
	struct netproxy *proxy;
	struct peer *peer;
	const struct http1_request *rq;
	struct str url;
	struct arena *a;
};
/* Answers the peer. *ret_again: the connection may be used for another request. */
struct err *exchange_run(struct exchange *x, bool *ret_again) ERR_RESULT;
/* "HTTP/1.1 STATUS", a text as the body; closes. */
struct err *exchange_refuse(struct peer *p, int status, const char *text) ERR_RESULT;

#endif
