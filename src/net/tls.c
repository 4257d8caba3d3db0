#include "net/tls_impl.h"

#include "base/mem.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

struct tls_conn {
	SSL *ssl;
	int errnum;
	unsigned long code;
};

static const unsigned char alpn_h2[] = { 2, 'h', '2' };

struct err *tls_ssl_err(enum err_code code, const char *what)
{
	unsigned long n = ERR_get_error();
	char text[256] = "unknown error";

	if (n)
		ERR_error_string_n(n, text, sizeof(text));
	ERR_clear_error();
	return err_new(code, "%s: %s", what, text);
}

static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
		       const unsigned char *in, unsigned in_len, void *arg)
{
	(void)ssl;
	(void)arg;
	if (SSL_select_next_proto((unsigned char **)out, out_len, alpn_h2, sizeof(alpn_h2), in,
				  in_len) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	return SSL_TLSEXT_ERR_OK;
}

static struct err *load_pair(SSL_CTX *ctx, const char *cert, const char *key)
{
	if (!cert && !key)
		return NULL;
	if (!cert || !key)
		return err_new(ERR_INVALID_ARGUMENT,
			       "you must specify key and cert file if one is specified");
	if (SSL_CTX_use_certificate_chain_file(ctx, cert) != 1)
		return err_wrap(tls_ssl_err(ERR_INVALID_ARGUMENT, cert),
				"could not load certificate");
	if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
		return err_wrap(tls_ssl_err(ERR_INVALID_ARGUMENT, key), "could not load key");
	if (SSL_CTX_check_private_key(ctx) != 1)
		return tls_ssl_err(ERR_INVALID_ARGUMENT, "private key does not match certificate");
	return NULL;
}

static struct err *load_ca(SSL_CTX *ctx, const char *ca)
{
	if (SSL_CTX_load_verify_file(ctx, ca) != 1)
		return err_wrap(tls_ssl_err(ERR_INVALID_ARGUMENT, ca), "could not load CA");
	return NULL;
}

struct tls *tls_make(bool server)
{
	struct tls *t = NEW(struct tls);

	t->server = server;
	t->ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
	if (!t->ctx)
		abort();
	(void)SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION);
	(void)SSL_CTX_set_mode(t->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
					       SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					       SSL_MODE_RELEASE_BUFFERS);
	return t;
}

struct err *tls_server_new(const char *cert, const char *key, const char *ca, struct tls **ret)
{
	struct tls *t = tls_make(true);
	struct err *e = load_pair(t->ctx, cert, key);

	if (!e && ca) {
		e = load_ca(t->ctx, ca);
		SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	}
	if (e) {
		tls_free(t);
		return e;
	}
	SSL_CTX_set_alpn_select_cb(t->ctx, choose_alpn, NULL);
	*ret = t;
	return NULL;
}

struct err *tls_client_new(const char *server_name, const char *ca, const char *cert,
			   const char *key, struct tls **ret)
{
	struct tls *t = tls_make(false);
	struct err *e = load_pair(t->ctx, cert, key);

	if (!e && ca)
		e = load_ca(t->ctx, ca);
	else if (!e)
		(void)SSL_CTX_set_default_verify_paths(t->ctx);
	if (e) {
		tls_free(t);
		return e;
	}
	SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, NULL);
	(void)SSL_CTX_set_alpn_protos(t->ctx, alpn_h2, sizeof(alpn_h2));
	t->server_name = server_name ? mem_strdup(server_name) : NULL;
	*ret = t;
	return NULL;
}

void tls_free(struct tls *t)
{
	if (!t)
		return;
	SSL_CTX_free(t->ctx);
	free(t->server_name);
	free(t);
}

static struct err *set_name(SSL *ssl, const char *name)
{
	X509_VERIFY_PARAM *p = SSL_get0_param(ssl);

	/* An address is checked as one, and is no SNI. */
	if (X509_VERIFY_PARAM_set1_ip_asc(p, name) == 1)
		return NULL;
	ERR_clear_error();
	if (SSL_set1_host(ssl, name) != 1 || SSL_set_tlsext_host_name(ssl, name) != 1)
		return tls_ssl_err(ERR_INVALID_ARGUMENT, "invalid server name");
	return NULL;
}

struct err *tls_conn_new(struct tls *t, int rfd, int wfd, struct tls_conn **ret)
{
	struct tls_conn *c = NEW(struct tls_conn);
	struct err *e = NULL;

	c->ssl = SSL_new(t->ctx);
	if (!c->ssl || SSL_set_rfd(c->ssl, rfd) != 1 || SSL_set_wfd(c->ssl, wfd) != 1)
		abort();
	if (t->server)
		SSL_set_accept_state(c->ssl);
	else
		SSL_set_connect_state(c->ssl);
	if (!t->server && t->server_name)
		e = set_name(c->ssl, t->server_name);
	if (e) {
		tls_conn_free(c);
		return e;
	}
	*ret = c;
	return NULL;
}

void tls_conn_free(struct tls_conn *c)
{
	if (!c)
		return;
	SSL_free(c->ssl);
	free(c);
}

static enum tls_result result(struct tls_conn *c, int r)
{
	int saved = errno;

	switch (SSL_get_error(c->ssl, r)) {
	case SSL_ERROR_WANT_READ:
		return TLS_WANT_READ;
	case SSL_ERROR_WANT_WRITE:
		return TLS_WANT_WRITE;
	case SSL_ERROR_ZERO_RETURN:
		return TLS_EOF;
	case SSL_ERROR_SYSCALL:
		c->errnum = saved;
		c->code = ERR_get_error();
		break;
	default:
		c->code = ERR_get_error();
	}
	ERR_clear_error();
	/* A peer that just hangs up: HTTP/2 has its own framing, so nothing is cut. */
	if (!c->errnum && ERR_GET_REASON(c->code) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
		return TLS_EOF;
	return TLS_FAILED;
}

enum tls_result tls_handshake(struct tls_conn *c)
{
	int r;

	errno = 0;
	r = SSL_do_handshake(c->ssl);
	return r == 1 ? TLS_OK : result(c, r);
}

enum tls_result tls_read(struct tls_conn *c, void *p, size_t n, size_t *ret_n)
{
	int r;

	errno = 0;
	r = SSL_read_ex(c->ssl, p, n, ret_n);
	return r == 1 ? TLS_OK : result(c, r);
}

enum tls_result tls_write(struct tls_conn *c, const void *p, size_t n, size_t *ret_n)
{
	int r;

	errno = 0;
	r = SSL_write_ex(c->ssl, p, n, ret_n);
	return r == 1 ? TLS_OK : result(c, r);
}

struct err *tls_error(struct tls_conn *c)
{
	long verify = SSL_get_verify_result(c->ssl);
	const char *reason;

	if (c->errnum)
		return err_errno(c->errnum, "tls");
	if (verify != X509_V_OK && !SSL_is_server(c->ssl))
		return err_new(ERR_UNAVAILABLE, "tls: failed to verify certificate: %s",
			       X509_verify_cert_error_string(verify));
	reason = ERR_reason_error_string(c->code);
	return err_new(ERR_UNAVAILABLE, "tls: %s", reason ? reason : "handshake failed");
}

void tls_close_notify(struct tls_conn *c)
{
	(void)SSL_shutdown(c->ssl);
	ERR_clear_error();
}
