#include "net/tls_ca.h"

#include "base/buf.h"
#include "base/mem.h"
#include "net/tls_impl.h"

#include <arpa/inet.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#define HOUR 3600L
#define CA_LIFE (10 * 365 * 24 * HOUR)
#define LEAF_LIFE (24 * HOUR)
#define KEY_BITS 2048

struct tls_ca {
	X509 *cert;
	EVP_PKEY *key;
	EVP_PKEY *leaf_key; /* of all servers: making one costs more than the rest */
	struct buf pem;
};

void tls_ca_free(struct tls_ca *ca)
{
	if (!ca)
		return;
	X509_free(ca->cert);
	EVP_PKEY_free(ca->key);
	EVP_PKEY_free(ca->leaf_key);
	buf_fini(&ca->pem);
	free(ca);
}

struct str tls_ca_pem(const struct tls_ca *ca)
{
	return buf_str(&ca->pem);
}

static void x509_freep(X509 **x)
{
	X509_free(*x);
}

/* Serial, times and subject; one hour ago, for clocks that differ. */
static bool set_basics(X509 *x, struct str name, long life, EVP_PKEY *key)
{
	X509_NAME *subject = X509_get_subject_name(x);
	unsigned char serial[16];
	BIGNUM *n;
	bool ok;

	if (RAND_bytes(serial, sizeof(serial)) != 1)
		return false;
	serial[0] = (serial[0] & 0x7f) | 1;
	n = BN_bin2bn(serial, sizeof(serial), NULL);
	ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x));
	BN_free(n);
	/* A common name has 64 characters at most; nobody goes by it. */
	return ok && X509_set_version(x, X509_VERSION_3) == 1 &&
	       X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
					  (const unsigned char *)name.ptr,
					  (int)MIN(name.len, (size_t)64), -1, 0) == 1 &&
	       X509_gmtime_adj(X509_getm_notBefore(x), -HOUR) &&
	       X509_gmtime_adj(X509_getm_notAfter(x), life) && X509_set_pubkey(x, key) == 1;
}

static bool add_ext(X509 *x, X509V3_CTX *ctx, int nid, const char *value)
{
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, ctx, nid, value);
	bool ok = e && X509_add_ext(x, e, -1) == 1;

	X509_EXTENSION_free(e);
	return ok;
}

static bool make_authority(struct tls_ca *ca, const char *name)
{
	X509V3_CTX ctx;

	ca->key = EVP_RSA_gen(KEY_BITS);
	ca->leaf_key = EVP_RSA_gen(KEY_BITS);
	ca->cert = X509_new();
	if (!ca->key || !ca->leaf_key || !ca->cert ||
	    !set_basics(ca->cert, str_from(name), CA_LIFE, ca->key) ||
	    X509_set_issuer_name(ca->cert, X509_get_subject_name(ca->cert)) != 1)
		return false;
	X509V3_set_ctx(&ctx, ca->cert, ca->cert, NULL, NULL, 0);
	return add_ext(ca->cert, &ctx, NID_basic_constraints, "critical,CA:TRUE") &&
	       add_ext(ca->cert, &ctx, NID_key_usage, "critical,keyCertSign,digitalSignature") &&
	       add_ext(ca->cert, &ctx, NID_subject_key_identifier, "hash") &&
	       X509_sign(ca->cert, ca->key, EVP_sha256()) > 0;
}

static bool write_pem(struct tls_ca *ca)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *data;
	long n;
	bool ok = bio && PEM_write_bio_X509(bio, ca->cert) == 1;

	if (ok) {
		n = BIO_get_mem_data(bio, &data);
		buf_add(&ca->pem, data, (size_t)n);
	}
	BIO_free(bio);
	return ok;
}

struct err *tls_ca_new(const char *common_name, struct tls_ca **ret)
{
	struct tls_ca *ca = NEW(struct tls_ca);

	buf_init(&ca->pem, 64 * 1024);
	if (!make_authority(ca, common_name) || !write_pem(ca)) {
		tls_ca_free(ca);
		return tls_ssl_err(ERR_INTERNAL, "make a certificate authority");
	}
	*ret = ca;
	return NULL;
}

/* The name as a structure, not by a text: it is the peer's, and must not be read as options. */
static bool add_alt_name(X509 *x, struct str host)
{
	GENERAL_NAMES *names = GENERAL_NAMES_new();
	GENERAL_NAME *name = GENERAL_NAME_new();
	unsigned char addr[16];
	char text[INET6_ADDRSTRLEN];
	int type = GEN_DNS;
	ASN1_STRING *value;
	bool ok;

	(void)snprintf(text, sizeof(text), "%.*s", STR_ARG(host));
	if (host.len < sizeof(text) && inet_pton(AF_INET, text, addr) == 1) {
		type = GEN_IPADD;
		host = str_make(addr, 4);
	} else if (host.len < sizeof(text) && inet_pton(AF_INET6, text, addr) == 1) {
		type = GEN_IPADD;
		host = str_make(addr, 16);
	}
	value = type == GEN_DNS ? ASN1_IA5STRING_new() : ASN1_OCTET_STRING_new();
	if (!names || !name || !value)
		abort(); /* out of memory */
	ok = ASN1_STRING_set(value, host.ptr, (int)host.len) == 1;
	GENERAL_NAME_set0_value(name, type, value);
	ok = sk_GENERAL_NAME_push(names, name) > 0 && ok;
	ok = ok && X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1;
	GENERAL_NAMES_free(names);
	return ok;
}

static bool make_leaf(const struct tls_ca *ca, struct str host, X509 *x)
{
	X509V3_CTX ctx;

	if (!set_basics(x, host, LEAF_LIFE, ca->leaf_key) ||
	    X509_set_issuer_name(x, X509_get_subject_name(ca->cert)) != 1)
		return false;
	X509V3_set_ctx(&ctx, ca->cert, x, NULL, NULL, 0);
	return add_ext(x, &ctx, NID_key_usage, "critical,digitalSignature,keyEncipherment") &&
	       add_ext(x, &ctx, NID_ext_key_usage, "serverAuth") && add_alt_name(x, host) &&
	       X509_sign(x, ca->key, EVP_sha256()) > 0;
}

static int choose_http1(SSL *ssl, const unsigned char **out, unsigned char *out_len,
			const unsigned char *in, unsigned in_len, void *arg)
{
	static const unsigned char http1[] = "\x08http/1.1";

	(void)ssl;
	(void)arg;
	if (SSL_select_next_proto((unsigned char **)out, out_len, http1, sizeof(http1) - 1, in,
				  in_len) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_NOACK;
	return SSL_TLSEXT_ERR_OK;
}

struct err *tls_ca_server(const struct tls_ca *ca, struct str host, struct tls **ret)
{
	CLEANUP(x509_freep) X509 *x = X509_new();
	struct tls *t;

	if (!host.len || host.len > 253 || !x || !make_leaf(ca, host, x))
		return tls_ssl_err(ERR_INVALID_ARGUMENT, "sign a certificate");
	t = tls_make(true);
	if (SSL_CTX_use_certificate(t->ctx, x) != 1 ||
	    SSL_CTX_use_PrivateKey(t->ctx, ca->leaf_key) != 1) {
		tls_free(t);
		return tls_ssl_err(ERR_INTERNAL, "use a certificate");
	}
	SSL_CTX_set_alpn_select_cb(t->ctx, choose_http1, NULL);
	*ret = t;
	return NULL;
}
