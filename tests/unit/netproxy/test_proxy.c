/* The proxy between a client and a small server, both of this file. */
#include "../base/check.h"

#include "base/task.h"
#include "netproxy/netproxy.h"
#include "sys/fd.h"
#include "sys/file.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

struct place {
	struct task_pool *pool;
	struct ctx *ctx;
	struct tls_ca *ca;
	struct capture *capture;
	struct netproxy *proxy;
	int listen_fd, server_fd;
	uint16_t port, server_port;
	pthread_t server;
	const char *converted; /* what the policy makes of /old */
};
static struct place at;

static int listen_on(uint16_t *ret_port)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	*ret_port = ntohs(in.sin_port);
	return fd;
}

/* ---- the server: one request a connection ---- */

static void answer(int fd, const char *head)
{
	const char *text = "HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno\n";

	if (strncmp(head, "GET /ok", 7) == 0)
		text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\nConnection: "
		       "x\r\n\r\nhello";
	else if (strncmp(head, "GET /chunk", 10) == 0)
		text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: "
		       "chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
	else if (strncmp(head, "GET /cut", 8) == 0)
		text = "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello";
	else if (strncmp(head, "GET /redir", 10) == 0)
		text = "HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n";
	else if (strncmp(head, "POST /", 6) == 0)
		text = strstr(head, "payload") ? "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone"
					       : "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n";
	(void)!write(fd, text, strlen(text));
}

static void *serve(void *arg)
{
	int fd;

	while ((fd = accept(at.server_fd, NULL, NULL)) >= 0) {
		char head[4096] = "";
		size_t n = 0;
		ssize_t got;

		while (n < sizeof(head) - 1 &&
		       (got = read(fd, head + n, sizeof(head) - 1 - n)) > 0) {
			n += (size_t)got;
			head[n] = '\0';
			if (strstr(head, "\r\n\r\n") &&
			    (strncmp(head, "POST", 4) != 0 || strstr(head, "payload")))
				break;
		}
		answer(fd, head);
		(void)close(fd);
	}
	return NULL;
}

/* ---- set-up ---- */

static int dial(void *arg, int family, int type, int protocol)
{
	return socket(family, type, protocol);
}

static struct err *check(void *arg, struct ctx *ctx, struct arena *a, struct str method,
			 struct str url, struct str *ret_url)
{
	if (str_find_str(url, STR("denied")) >= 0)
		return err_new(ERR_PERMISSION_DENIED, "a secret reason");
	if (str_has_suffix(url, STR("/old")))
		*ret_url = str_from(at.converted);
	return NULL;
}

static int setup(void **state)
{
	struct netproxy_config cfg = { .user_agent = "test", .check = check, .dial = dial };

	(void)signal(SIGPIPE, SIG_IGN);
	at = (struct place) { .pool = task_pool_new() };
	at.ctx = ctx_new_root(at.pool);
	at.server_fd = listen_on(&at.server_port);
	at.listen_fd = listen_on(&at.port);
	assert_int_equal(pthread_create(&at.server, NULL, serve, NULL), 0);
	OK(tls_ca_new("test authority", &at.ca));
	cfg.ca = at.ca;
	cfg.capture = at.capture = capture_new();
	OK(netproxy_start(&cfg, at.ctx, at.listen_fd, &at.proxy));
	return 0;
}

static int teardown(void **state)
{
	netproxy_stop(at.proxy);
	(void)shutdown(at.server_fd, SHUT_RDWR);
	(void)pthread_join(at.server, NULL);
	(void)close(at.server_fd);
	(void)close(at.listen_fd);
	tls_ca_free(at.ca);
	capture_unref(at.capture);
	ctx_unref(at.ctx);
	task_pool_free(at.pool);
	return 0;
}

static int connect_proxy(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_port = htons(at.port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	return fd;
}

/* Sends text, with PORT replaced by the server's, and gives all that comes back. */
static const char *talk(struct arena *a, const char *text)
{
	static char out[65536];
	struct str t = str_from(text), before, after;
	char *sent = (char *)text;
	ptrdiff_t hole = str_find_str(t, STR("PORT"));
	int fd = connect_proxy();
	size_t n = 0;
	ssize_t got;

	if (hole >= 0) {
		before = str_sub(t, 0, (size_t)hole);
		after = str_sub(t, (size_t)hole + 4, t.len);
		sent = arena_printf(a, "%.*s%u%.*s", STR_ARG(before), at.server_port,
				    STR_ARG(after));
	}
	assert_int_equal(write(fd, sent, strlen(sent)), strlen(sent));
	while ((got = read(fd, out + n, sizeof(out) - 1 - n)) > 0)
		n += (size_t)got;
	out[n] = '\0';
	(void)close(fd);
	return out;
}

/* ---- tests ---- */

static void plain(void **state)
{
	SCOPED_ARENA(a);
	const struct capture_material *m;
	const struct capture_incomplete *miss;
	const struct capture_request *rq;
	struct digest hello = digest_sha256(STR("hello"));
	size_t n;

	assert_string_equal(talk(&a, "GET http://127.0.0.1:PORT/ok HTTP/1.1\r\nHost: x\r\n"
				     "Connection: close\r\n\r\n"),
			    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n"
			    "Connection: close\r\n\r\nhello");
	assert_string_equal(talk(&a, "GET http://127.0.0.1:PORT/chunk HTTP/1.1\r\nHost: x\r\n"
				     "Connection: close\r\n\r\n"),
			    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
			    "Connection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
	assert_string_equal(talk(&a, "GET http://127.0.0.1:PORT/chunk HTTP/1.0\r\n\r\n"),
			    "HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nhello");
	assert_non_null(strstr(talk(&a, "GET http://127.0.0.1:PORT/none HTTP/1.0\r\n\r\n"),
			       "404 Not Found\r\n"));
	assert_non_null(strstr(talk(&a, "GET http://127.0.0.1:PORT/redir HTTP/1.0\r\n\r\n"),
			       "Location: /ok\r\n"));
	m = capture_materials(at.capture, &a, &n);
	/* ok and chunk twice, and the redirect to one of them. */
	assert_int_equal(n, 4);
	for (size_t i = 0; i < n; i++)
		assert_true(digest_eq(&m[i].digest, &hello));
	miss = capture_incompletes(at.capture, &n);
	assert_int_equal(n, 1);
	assert_string_equal(miss[0].reason, "unsuccessful_response");
	rq = capture_requests(at.capture, &n);
	assert_int_equal(n, 5);
	assert_int_equal(rq[3].status, 404);
}

static void several_on_one_connection(void **state)
{
	SCOPED_ARENA(a);
	const char *got = talk(&a, "POST http://127.0.0.1:PORT/ HTTP/1.1\r\nHost: x\r\n"
				   "Transfer-Encoding: chunked\r\n\r\n7\r\npayload\r\n0\r\n\r\n"
				   "GET http://denied/ HTTP/1.1\r\nHost: denied\r\n\r\n");
	const struct capture_incomplete *miss;
	size_t n;

	assert_non_null(strstr(got, "\r\n\r\ndone"));
	/* The reason is the policy's business. */
	assert_non_null(strstr(got, "HTTP/1.1 403 Forbidden\r\n"));
	assert_null(strstr(got, "secret reason"));
	miss = capture_incompletes(at.capture, &n);
	assert_int_equal(n, 1);
	assert_string_equal(miss[0].reason, "method_not_materializable");
}

static void failures(void **state)
{
	SCOPED_ARENA(a);
	const struct capture_incomplete *miss;
	const char *got;
	size_t n;

	got = talk(&a, "GET http://127.0.0.1:1/x HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_non_null(strstr(got, "HTTP/1.1 502 Bad Gateway\r\n"));
	assert_non_null(strstr(got, "connection refused"));
	(void)talk(&a, "GET http://127.0.0.1:PORT/cut HTTP/1.1\r\nHost: x\r\n\r\n");
	miss = capture_incompletes(at.capture, &n);
	assert_int_equal(n, 2);
	assert_string_equal(miss[0].reason, "upstream_error");
	assert_string_equal(miss[1].reason, "body_read_failed");
	assert_non_null(strstr(talk(&a, "GET / HTTP/1.1\r\nA: b\r\n c: d\r\n\r\n"), " 400 "));
	assert_non_null(strstr(talk(&a, "GET /x HTTP/1.1\r\n\r\n"), " 400 "));
}

static void conversion(void **state)
{
	SCOPED_ARENA(a);
	const struct capture_material *m;
	size_t n;

	at.converted = arena_printf(&a, "http://127.0.0.1:%u/ok", at.server_port);
	assert_non_null(
		strstr(talk(&a, "GET http://nowhere.invalid/old HTTP/1.0\r\n\r\n"), "hello"));
	m = capture_materials(at.capture, &a, &n);
	assert_int_equal(n, 1);
	assert_string_equal(str_cstr(&a, m[0].url), at.converted);
	assert_non_null(
		strstr(talk(&a, "POST http://nowhere.invalid/old HTTP/1.0\r\n\r\n"), " 403 "));
	at.converted = "file:///etc/passwd";
	assert_non_null(
		strstr(talk(&a, "GET http://nowhere.invalid/old HTTP/1.0\r\n\r\n"), " 403 "));
}

/* Through a tunnel the client sees a certificate for the name that it asked for, signed by the
 * authority, and the server that it names is the one that is asked. */
static void tunnel(void **state)
{
	static const char connect_text[] = "CONNECT localhost:1 HTTP/1.1\r\nHost: x\r\n\r\n";
	static const char get[] = "GET /p HTTP/1.1\r\nHost: elsewhere\r\n\r\n";
	char path[] = "/tmp/bk-ca-XXXXXX", got[4096] = "";
	struct tls *settings;
	struct tls_conn *conn;
	const struct capture_request *rq;
	size_t n, len = 0;
	int fd = connect_proxy();
	int file = mkstemp(path);

	OK(fd_write_all(file, tls_ca_pem(at.ca).ptr, tls_ca_pem(at.ca).len));
	(void)close(file);
	assert_int_equal(write(fd, connect_text, strlen(connect_text)), strlen(connect_text));
	assert_int_equal(read(fd, got, sizeof(got) - 1), 39);
	assert_string_equal(got, "HTTP/1.1 200 Connection Established\r\n\r\n");
	OK(tls_client_new("localhost", path, NULL, NULL, &settings));
	OK(tls_conn_new(settings, fd, fd, &conn));
	if (tls_handshake(conn) != TLS_OK) {
		struct err *e = tls_error(conn);

		fail_msg("%s", err_text(e));
	}
	assert_int_equal(tls_write(conn, get, strlen(get), &n), TLS_OK);
	while (len < sizeof(got) - 1 &&
	       tls_read(conn, got + len, sizeof(got) - 1 - len, &n) == TLS_OK)
		len += n;
	got[len] = '\0';
	assert_non_null(strstr(got, "HTTP/1.1 502 Bad Gateway\r\n"));
	rq = capture_requests(at.capture, &n);
	assert_int_equal(n, 1);
	STR_IS(rq[0].url, "https://localhost:1/p");
	tls_conn_free(conn);
	tls_free(settings);
	(void)close(fd);
	(void)unlink(path);
}

/* A stop does not wait for peers that say nothing. */
static void stop_while_open(void **state)
{
	int idle = connect_proxy(), half = connect_proxy();

	assert_int_equal(write(half, "GET ", 4), 4);
	netproxy_stop(at.proxy);
	at.proxy = NULL;
	(void)close(idle);
	(void)close(half);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(plain, setup, teardown),
		cmocka_unit_test_setup_teardown(several_on_one_connection, setup, teardown),
		cmocka_unit_test_setup_teardown(failures, setup, teardown),
		cmocka_unit_test_setup_teardown(conversion, setup, teardown),
		cmocka_unit_test_setup_teardown(tunnel, setup, teardown),
		cmocka_unit_test_setup_teardown(stop_while_open, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
