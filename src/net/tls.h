/* TLS settings (OpenSSL), server or client side. Immutable once made: shared between
 * connections and threads. ALPN offers h2; a peer without ALPN is accepted. */
#ifndef NET_TLS_H
#define NET_TLS_H

#include "base/err.h"

struct tls;
/* PEM files. With ca, client certificates are required and verified. */
struct err *tls_server_new(const char *cert, const char *key, const char *ca,
			   struct tls **ret) ERR_RESULT;
/* ca NULL: the system's roots. cert and key: both or none. */
struct err *tls_client_new(const char *server_name, const char *ca, const char *cert,
			   const char *key, struct tls **ret) ERR_RESULT;
void tls_free(struct tls *t); /* NULL is fine */

/* One connection's state, driven by conn_fd.c. */
struct tls_conn;
enum tls_result { TLS_OK, TLS_WANT_READ, TLS_WANT_WRITE, TLS_EOF, TLS_FAILED };
struct err *tls_conn_new(struct tls *t, int rfd, int wfd, struct tls_conn **ret) ERR_RESULT;
void tls_conn_free(struct tls_conn *c);
enum tls_result tls_handshake(struct tls_conn *c);
enum tls_result tls_read(struct tls_conn *c, void *p, size_t n, size_t *ret_n);
enum tls_result tls_write(struct tls_conn *c, const void *p, size_t n, size_t *ret_n);
/* After TLS_FAILED. */
struct err *tls_error(struct tls_conn *c) ERR_RESULT;
void tls_close_notify(struct tls_conn *c);

#endif
