/* A certificate authority of our own, in memory only: signs for any server name, so that a proxy
 * can look into the TLS connections of those who trust it. Immutable once made, for all threads. */
#ifndef NET_TLS_CA_H
#define NET_TLS_CA_H

#include "net/tls.h"

struct tls_ca;
/* Makes two RSA keys, which takes some hundred milliseconds. */
struct err *tls_ca_new(const char *common_name, struct tls_ca **ret) ERR_RESULT;
void tls_ca_free(struct tls_ca *ca); /* NULL is fine */
/* The authority's certificate as PEM. */
struct str tls_ca_pem(const struct tls_ca *ca);
/* Settings of the server called host (a name or an address), good for a day; ALPN is http/1.1. */
struct err *tls_ca_server(const struct tls_ca *ca, struct str host, struct tls **ret) ERR_RESULT;

#endif
