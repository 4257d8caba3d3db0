/* A byte connection owned by the loop thread: socket, pair of pipes, TLS over either, or
 * whatever else implements the table (grpc/tunnel.c: the bytes inside a stream).
 * Input is pushed to the user; output is taken as far as there is room.
 *
 * All calls are on the loop thread. close() must not be called from within one of the
 * connection's own callbacks. */
#ifndef NET_CONN_H
#define NET_CONN_H

#include "net/loop.h"
#include "net/tls.h"

struct conn;

struct conn_user {
	void (*input)(void *arg, const uint8_t *p, size_t n);
	/* After a write that took less than it was given. */
	void (*writable)(void *arg);
	/* TLS: the handshake is over. Not called for others. */
	void (*ready)(void *arg);
	/* No more input; NULL is a clean end. At most once; close() still has to be called. */
	void (*ended)(void *arg, struct err *take_cause);
};

struct conn_ops {
	/* Bytes taken, 0: no room now. A failure is told by ended() and takes nothing. */
	size_t (*write)(struct conn *c, const uint8_t *p, size_t n);
	void (*close)(struct conn *c);
};

struct conn { /* embedded by the kinds */
	const struct conn_ops *ops;
	const struct conn_user *user;
	void *arg;
};

/* Takes the descriptors (the same one twice for a socket) and makes them nonblocking. tls may
 * be NULL, else it is borrowed. On failure they are closed. */
struct err *conn_fd_new(struct loop *l, int take_rfd, int take_wfd, struct tls *tls,
			const struct conn_user *user, void *arg, struct conn **ret) ERR_RESULT;

#endif
