/* Between the files about TLS. */
#ifndef NET_TLS_IMPL_H
#define NET_TLS_IMPL_H

#include "net/tls.h"

#include <openssl/ssl.h>

struct tls {
	SSL_CTX *ctx;
	char *server_name;
	bool server;
};

/* Settings without certificates. */
struct tls *tls_make(bool server);
/* With what OpenSSL says last. */
struct err *tls_ssl_err(enum err_code code, const char *what) ERR_RESULT;

#endif
