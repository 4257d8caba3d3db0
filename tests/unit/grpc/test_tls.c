#include "world.h"

#include "base/clock.h"
#include "net/listen.h"

#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

/* Keys and certificates: an authority, a server for localhost, a client. */
static char dir[] = "/tmp/test-tls-XXXXXX";

static const char *file(const char *name)
{
	static char path[8][128];
	static int i;

	i = (i + 1) % 8;
	(void)snprintf(path[i], sizeof(path[i]), "%s/%s", dir, name);
	return path[i];
}

static EVP_PKEY *make_cert(const char *name, X509 *ca, EVP_PKEY *ca_key, X509 **ret_cert)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	X509V3_CTX v3;
	char leaf[64];
	FILE *f;

	assert_non_null(key);
	(void)X509_set_version(x, 2);
	(void)ASN1_INTEGER_set(X509_get_serialNumber(x), ca ? 2 : 1);
	(void)X509_gmtime_adj(X509_getm_notBefore(x), -3600);
	(void)X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	(void)X509_set_pubkey(x, key);
	(void)X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
					 (const unsigned char *)name, -1, -1, 0);
	(void)X509_set_issuer_name(x, X509_get_subject_name(ca ? ca : x));
	X509V3_set_ctx(&v3, ca ? ca : x, x, NULL, NULL, 0);
	X509_EXTENSION *ext =
		ca ? X509V3_EXT_conf_nid(NULL, &v3, NID_subject_alt_name, "DNS:localhost")
		   : X509V3_EXT_conf_nid(NULL, &v3, NID_basic_constraints, "critical,CA:TRUE");
	(void)X509_add_ext(x, ext, -1);
	X509_EXTENSION_free(ext);
	assert_true(X509_sign(x, ca ? ca_key : key, EVP_sha256()) > 0);
	(void)snprintf(leaf, sizeof(leaf), "%s.pem", name);
	f = fopen(file(leaf), "w");
	(void)PEM_write_X509(f, x);
	(void)fclose(f);
	(void)snprintf(leaf, sizeof(leaf), "%s.key", name);
	f = fopen(file(leaf), "w");
	(void)PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
	(void)fclose(f);
	*ret_cert = x;
	return key;
}

static int make_all(void **state)
{
	X509 *ca, *x;
	EVP_PKEY *ca_key, *k;

	assert_non_null(mkdtemp(dir));
	ca_key = make_cert("ca", NULL, NULL, &ca);
	k = make_cert("server", ca, ca_key, &x);
	EVP_PKEY_free(k);
	X509_free(x);
	k = make_cert("client", ca, ca_key, &x);
	EVP_PKEY_free(k);
	X509_free(x);
	EVP_PKEY_free(ca_key);
	X509_free(ca);
	return 0;
}

static int remove_all(void **state)
{
	static const char *const names[] = { "ca.pem",     "ca.key",     "server.pem",
					     "server.key", "client.pem", "client.key" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		(void)unlink(file(names[i]));
	(void)rmdir(dir);
	return 0;
}

static struct err *echo(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	SCOPED_BUF(b, LIMIT_GRPC_MESSAGE);
	bool eof;

	TRY(grpc_recv(s, ctx, &b, &eof));
	return grpc_send(s, ctx, buf_str(&b));
}

static const struct grpc_method methods[] = { { "/t.T/Echo", echo } };

static struct err *try_call(struct world *w, const char *addr, struct grpc_tls *tls)
{
	struct grpc_dial o = { .tls = tls };
	struct grpc_client *c;
	SCOPED_BUF(b, 8 * MIB);
	SCOPED_BUF(r, 8 * MIB);
	struct err *e;

	TRY(grpc_client_dial(w->loop, w->root, addr, &o, &c));
	(void)buf_reserve(&b, 8 * MIB);
	memset(b.data, 'q', 8 * MIB);
	b.len = 8 * MIB;
	e = grpc_unary(c, w->root, "/t.T/Echo", NULL, 0, buf_str(&b), &r);
	if (!e)
		assert_int_equal(r.len, b.len);
	grpc_client_close(c);
	return e;
}

static void listen_on(struct world *w, struct grpc_tls *tls, char *ret_addr, size_t size)
{
	struct sockaddr_in sa;
	socklen_t len = sizeof(sa);
	int fd;

	ok(net_listen(STR("tcp://127.0.0.1:0"), NULL, &fd));
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	(void)snprintf(ret_addr, size, "tcp://127.0.0.1:%d", ntohs(sa.sin_port));
	ok(grpc_server_listen(w->server, fd, tls));
}

static void test_server_auth(void **state)
{
	struct grpc_tls *srv, *good, *wrong_name, *no_ca;
	struct world w;
	char addr[64];
	struct err *e;

	world_open(&w, methods, 1, NULL);
	ok(grpc_tls_server(file("server.pem"), file("server.key"), NULL, &srv));
	ok(grpc_tls_client("localhost", file("ca.pem"), NULL, NULL, &good));
	ok(grpc_tls_client("other", file("ca.pem"), NULL, NULL, &wrong_name));
	ok(grpc_tls_client("localhost", NULL, NULL, NULL, &no_ca));
	listen_on(&w, srv, addr, sizeof(addr));
	ok(try_call(&w, addr, good));
	fails(try_call(&w, addr, wrong_name), ERR_UNAVAILABLE,
	      "connection error: desc = \"transport: authentication handshake failed: tls: failed "
	      "to verify certificate: hostname mismatch\"");
	e = try_call(&w, addr, no_ca);
	assert_int_equal(err_code(e), ERR_UNAVAILABLE);
	err_free(e);
	/* Plain text to a TLS server. */
	e = try_call(&w, addr, NULL);
	assert_int_equal(err_code(e), ERR_UNAVAILABLE);
	err_free(e);
	world_close(&w);
	grpc_tls_free(srv);
	grpc_tls_free(good);
	grpc_tls_free(wrong_name);
	grpc_tls_free(no_ca);
}

static void test_mutual(void **state)
{
	struct grpc_tls *srv, *good, *none;
	struct world w;
	char addr[64];
	struct err *e;

	world_open(&w, methods, 1, NULL);
	ok(grpc_tls_server(file("server.pem"), file("server.key"), file("ca.pem"), &srv));
	ok(grpc_tls_client("localhost", file("ca.pem"), file("client.pem"), file("client.key"),
			   &good));
	ok(grpc_tls_client("localhost", file("ca.pem"), NULL, NULL, &none));
	listen_on(&w, srv, addr, sizeof(addr));
	ok(try_call(&w, addr, good));
	e = try_call(&w, addr, none);
	assert_int_equal(err_code(e), ERR_UNAVAILABLE);
	err_free(e);
	world_close(&w);
	grpc_tls_free(srv);
	grpc_tls_free(good);
	grpc_tls_free(none);
}

static void test_settings(void **state)
{
	struct grpc_tls *t;
	struct err *e;

	fails(grpc_tls_server(file("server.pem"), NULL, NULL, &t), ERR_INVALID_ARGUMENT,
	      "you must specify key and cert file if one is specified");
	e = grpc_tls_server(file("nope"), file("server.key"), NULL, &t);
	assert_non_null(e);
	err_free(e);
	e = grpc_tls_server(file("server.pem"), file("client.key"), NULL, &t);
	assert_non_null(e);
	err_free(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_server_auth),
		cmocka_unit_test(test_mutual),
		cmocka_unit_test(test_settings),
	};

	return cmocka_run_group_tests(tests, make_all, remove_all);
}
