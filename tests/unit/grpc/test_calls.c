#include "world.h"

#include "base/clock.h"
#include "proto/proto.h"

/* ---- the methods ---- */

static struct err *echo(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	SCOPED_BUF(b, LIMIT_GRPC_MESSAGE);
	bool eof;

	for (;;) {
		TRY(grpc_recv(s, ctx, &b, &eof));
		if (eof)
			return NULL;
		TRY(grpc_send(s, ctx, buf_str(&b)));
	}
}

static struct err *count(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	SCOPED_BUF(b, LIMIT_GRPC_MESSAGE);
	uint64_t bytes = 0;
	bool eof;

	for (;;) {
		TRY(grpc_recv(s, ctx, &b, &eof));
		if (eof)
			break;
		bytes += b.len;
	}
	buf_clear(&b);
	buf_addf(&b, "%llu", (unsigned long long)bytes);
	return grpc_send(s, ctx, buf_str(&b));
}

static struct err *source(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	SCOPED_BUF(b, LIMIT_GRPC_MESSAGE);
	uint64_t n;
	bool eof;

	TRY(grpc_recv(s, ctx, &b, &eof));
	if (!str_to_u64(buf_str(&b), &n))
		return err_new(ERR_INVALID_ARGUMENT, "not a number");
	while (n--)
		TRY(grpc_send(s, ctx, str_make("0123456789", 10)));
	return NULL;
}

static struct err *refuse(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	struct err *e = err_new(ERR_FAILED_PRECONDITION, "100%% wrong:\n\"ä\"");

	err_add_detail(e, "type.googleapis.com/x.Y", STR("\0\1\2"));
	err_add_detail(e, "type.googleapis.com/x.Z", STR(""));
	return e;
}

struct hold {
	struct lock lock;
	struct cond cond;
	int begun, ended;
};

static struct err *hang(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	struct hold *h = arg;
	int ready;
	struct err *e;

	lock_take(&h->lock);
	h->begun++;
	cond_broadcast(&h->cond);
	lock_drop(&h->lock);
	e = ctx_poll(ctx, NULL, 0, -1, &ready);
	lock_take(&h->lock);
	h->ended++;
	cond_broadcast(&h->cond);
	lock_drop(&h->lock);
	return e;
}

static struct err *mirror_md(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	const struct grpc_md *md;
	size_t n, k = 0;
	struct grpc_md out[8];

	TRY(grpc_peer_md(s, ctx, &md, &n));
	for (size_t i = 0; i < n; i++)
		if (str_has_prefix(md[i].key, STR("x-")) && k < ARRAY_SIZE(out))
			out[k++] = md[i];
	TRY(grpc_send_md(s, out, k));
	return grpc_send(s, ctx, grpc_md_get(s, "x-a"));
}

static const struct grpc_method methods[] = {
	{ "/t.T/Echo", echo },     { "/t.T/Count", count }, { "/t.T/Source", source },
	{ "/t.T/Refuse", refuse }, { "/t.T/Hang", hang },   { "/t.T/Mirror", mirror_md },
};

/* The methods' argument: kept here as the tests want to see it too. */
static struct hold *hold_of;

static int setup(void **state)
{
	struct world *w = NEW(struct world);

	hold_of = NEW(struct hold);
	lock_init(&hold_of->lock, LOCK_LEAF);
	cond_init(&hold_of->cond);
	world_open(w, methods, ARRAY_SIZE(methods), hold_of);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	world_close(*state);
	free(*state);
	cond_fini(&hold_of->cond);
	lock_fini(&hold_of->lock);
	free(hold_of);
	return 0;
}

static void wait_for(int *what, int n)
{
	lock_take(&hold_of->lock);
	while (*what < n)
		cond_wait_uninterrupted(&hold_of->cond, &hold_of->lock);
	lock_drop(&hold_of->lock);
}

/* ---- the tests ---- */

static void test_unary(void **state)
{
	struct world *w = *state;
	SCOPED_BUF(reply, 1000);

	ok(grpc_unary(w->client, w->root, "/t.T/Echo", NULL, 0, STR("hello"), &reply));
	assert_string_equal(buf_cstr(&reply), "hello");
	ok(grpc_unary(w->client, w->root, "/t.T/Echo", NULL, 0, STR(""), &reply));
	assert_int_equal(reply.len, 0);
}

static void test_unknown(void **state)
{
	struct world *w = *state;
	SCOPED_BUF(reply, 1000);

	fails(grpc_unary(w->client, w->root, "/t.T/Nope", NULL, 0, STR(""), &reply),
	      ERR_UNIMPLEMENTED, "unknown method Nope for service t.T");
	fails(grpc_unary(w->client, w->root, "/t.U/Nope", NULL, 0, STR(""), &reply),
	      ERR_UNIMPLEMENTED, "unknown service t.U");
	fails(grpc_unary(w->client, w->root, "/t", NULL, 0, STR(""), &reply), ERR_UNIMPLEMENTED,
	      "malformed method name: \"/t\"");
}

static void test_error_details(void **state)
{
	struct world *w = *state;
	SCOPED_BUF(reply, 1000);
	struct err *e = grpc_unary(w->client, w->root, "/t.T/Refuse", NULL, 0, STR(""), &reply);
	struct str v;

	assert_non_null(e);
	assert_int_equal(err_code(e), ERR_FAILED_PRECONDITION);
	assert_string_equal(err_text(e), "100% wrong:\n\"ä\"");
	assert_int_equal(err_detail_count(e), 2);
	assert_string_equal(err_detail(e, 0, &v), "type.googleapis.com/x.Y");
	assert_int_equal(v.len, 3);
	assert_memory_equal(v.ptr, "\0\1\2", 3);
	err_free(e);
}

static void test_bidi(void **state)
{
	struct world *w = *state;
	CLEANUP(grpc_stream_freep) struct grpc_stream *s = NULL;
	SCOPED_BUF(b, 1000);
	bool eof;

	ok(grpc_call(w->client, w->root, "/t.T/Echo", NULL, 0, &s));
	for (int i = 0; i < 1000; i++) {
		buf_clear(&b);
		buf_addf(&b, "message %d", i);
		ok(grpc_send(s, w->root, buf_str(&b)));
		ok(grpc_recv(s, w->root, &b, &eof));
		assert_false(eof);
		char want[32];
		(void)snprintf(want, sizeof(want), "message %d", i);
		assert_string_equal(buf_cstr(&b), want);
	}
	ok(grpc_close_send(s));
	ok(grpc_recv(s, w->root, &b, &eof));
	assert_true(eof);
}

static void test_client_stream(void **state)
{
	struct world *w = *state;
	CLEANUP(grpc_stream_freep) struct grpc_stream *s = NULL;
	SCOPED_BUF(b, 4 * MIB);
	bool eof;

	(void)buf_reserve(&b, 3 * MIB);
	memset(b.data, 'x', 3 * MIB);
	b.len = 3 * MIB;
	ok(grpc_call(w->client, w->root, "/t.T/Count", NULL, 0, &s));
	for (int i = 0; i < 20; i++)
		ok(grpc_send(s, w->root, buf_str(&b)));
	ok(grpc_close_send(s));
	ok(grpc_recv(s, w->root, &b, &eof));
	assert_string_equal(buf_cstr(&b), "62914560");
	ok(grpc_recv(s, w->root, &b, &eof));
	assert_true(eof);
}

static void test_server_stream(void **state)
{
	struct world *w = *state;
	CLEANUP(grpc_stream_freep) struct grpc_stream *s = NULL;
	SCOPED_BUF(b, 1000);
	bool eof;
	int n = 0;

	ok(grpc_call(w->client, w->root, "/t.T/Source", NULL, 0, &s));
	ok(grpc_send(s, w->root, STR("300000")));
	ok(grpc_close_send(s));
	for (;; n++) {
		ok(grpc_recv(s, w->root, &b, &eof));
		if (eof)
			break;
		assert_int_equal(b.len, 10);
	}
	assert_int_equal(n, 300000);
}

static void test_big_messages(void **state)
{
	struct world *w = *state;
	SCOPED_BUF(b, LIMIT_GRPC_MESSAGE + 1);
	SCOPED_BUF(r, LIMIT_GRPC_MESSAGE);
	SCOPED_BUF(small, 100);

	(void)buf_reserve(&b, LIMIT_GRPC_MESSAGE + 1);
	memset(b.data, 'y', LIMIT_GRPC_MESSAGE + 1);
	b.len = LIMIT_GRPC_MESSAGE;
	ok(grpc_unary(w->client, w->root, "/t.T/Echo", NULL, 0, buf_str(&b), &r));
	assert_int_equal(r.len, b.len);
	assert_memory_equal(r.data, b.data, b.len);
	b.len++;
	fails(grpc_unary(w->client, w->root, "/t.T/Echo", NULL, 0, buf_str(&b), &r),
	      ERR_RESOURCE_EXHAUSTED,
	      "grpc: trying to send message larger than max (16777217 vs. 16777216)");
	fails(grpc_unary(w->client, w->root, "/t.T/Echo", NULL, 0, str_sub(buf_str(&b), 0, 5000),
			 &small),
	      ERR_RESOURCE_EXHAUSTED, "message is larger than 100 bytes");
	b.len = 0;
}

static void test_max_recv(void **state)
{
	struct world *w = *state;
	struct grpc_dial o = { .max_recv = 1000 };
	struct grpc_client *c;
	SCOPED_BUF(b, 4000);
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	ok(grpc_server_attach_fd(w->server, fd[0], fd[0]));
	ok(grpc_client_attach_fd(w->loop, w->root, fd[1], fd[1], &o, &c));
	(void)buf_reserve(&b, 2000);
	memset(b.data, 'y', 2000);
	b.len = 1001;
	fails(grpc_unary(c, w->root, "/t.T/Echo", NULL, 0, buf_str(&b), &b), ERR_RESOURCE_EXHAUSTED,
	      "grpc: received message larger than max (1001 vs. 1000)");
	grpc_client_close(c);
}

static void test_metadata(void **state)
{
	struct world *w = *state;
	CLEANUP(grpc_stream_freep) struct grpc_stream *s = NULL;
	const struct grpc_md md[] = {
		{ STR("x-a"), STR("value") },
		{ STR("x-b-bin"), STR("\0\377bytes") },
		{ STR("x-a"), STR("second") },
		{ STR("x-c-bin"), STR("") },
	};
	const struct grpc_md *got;
	SCOPED_BUF(b, 1000);
	size_t n;
	bool eof;

	ok(grpc_call(w->client, w->root, "/t.T/Mirror", md, ARRAY_SIZE(md), &s));
	ok(grpc_close_send(s));
	ok(grpc_peer_md(s, w->root, &got, &n));
	assert_int_equal(n, ARRAY_SIZE(md));
	for (size_t i = 0; i < n; i++) {
		assert_true(str_eq(got[i].key, md[i].key));
		assert_true(str_eq(got[i].value, md[i].value));
	}
	ok(grpc_recv(s, w->root, &b, &eof));
	assert_string_equal(buf_cstr(&b), "value");
}

static void test_cancel(void **state)
{
	struct world *w = *state;
	struct ctx *c = ctx_new(w->root);
	struct grpc_stream *s;
	SCOPED_BUF(b, 1000);
	bool eof;

	/* The caller's ctx ends. */
	ok(grpc_call(w->client, c, "/t.T/Hang", NULL, 0, &s));
	wait_for(&hold_of->begun, 1);
	ctx_cancel(c, NULL);
	fails(grpc_recv(s, w->root, &b, &eof), ERR_CANCELED, "context canceled");
	wait_for(&hold_of->ended, 1);
	grpc_stream_free(s);
	/* The call is dropped. */
	ok(grpc_call(w->client, w->root, "/t.T/Hang", NULL, 0, &s));
	wait_for(&hold_of->begun, 2);
	grpc_stream_free(s);
	wait_for(&hold_of->ended, 2);
	/* A ctx that has ended before. */
	fails(grpc_call(w->client, c, "/t.T/Hang", NULL, 0, &s), ERR_CANCELED, "context canceled");
	ctx_unref(c);
}

static void test_deadline(void **state)
{
	struct world *w = *state;
	struct ctx *c = ctx_new_timeout(w->root, 50 * NSEC_PER_MSEC);
	struct grpc_stream *s;
	SCOPED_BUF(b, 1000);
	bool eof;

	fails(grpc_unary(w->client, c, "/t.T/Hang", NULL, 0, STR(""), &b), ERR_DEADLINE_EXCEEDED,
	      "context deadline exceeded");
	wait_for(&hold_of->ended, 1);
	ctx_unref(c);
	/* A reader that waits under another ctx hears of it too. */
	c = ctx_new_timeout(w->root, 50 * NSEC_PER_MSEC);
	ok(grpc_call(w->client, c, "/t.T/Hang", NULL, 0, &s));
	fails(grpc_recv(s, w->root, &b, &eof), ERR_DEADLINE_EXCEEDED, "context deadline exceeded");
	grpc_stream_free(s);
	wait_for(&hold_of->ended, 2);
	ctx_unref(c);
}

static void test_connection_lost(void **state)
{
	struct world *w = *state;
	struct grpc_stream *s[50];
	struct grpc_client *c;
	SCOPED_BUF(b, 1000);
	int fd[2], cut;
	bool eof;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	cut = dup(fd[1]);
	ok(grpc_server_attach_fd(w->server, fd[0], fd[0]));
	ok(grpc_client_attach_fd(w->loop, w->root, fd[1], fd[1], NULL, &c));
	for (size_t i = 0; i < ARRAY_SIZE(s); i++)
		ok(grpc_call(c, w->root, "/t.T/Hang", NULL, 0, &s[i]));
	wait_for(&hold_of->begun, ARRAY_SIZE(s));
	assert_int_equal(shutdown(cut, SHUT_RDWR), 0);
	wait_for(&hold_of->ended, ARRAY_SIZE(s));
	for (size_t i = 0; i < ARRAY_SIZE(s); i++) {
		fails(grpc_recv(s[i], w->root, &b, &eof), ERR_UNAVAILABLE,
		      "error reading from server: EOF");
		grpc_stream_free(s[i]);
	}
	assert_true(ctx_done(grpc_client_ctx(c)));
	fails(grpc_unary(c, w->root, "/t.T/Echo", NULL, 0, STR(""), &b), ERR_UNAVAILABLE,
	      "error reading from server: EOF");
	grpc_client_close(c);
	(void)close(cut);
}

static void test_close_ends_calls(void **state)
{
	struct world *w = *state;
	struct grpc_stream *s;
	struct grpc_client *c;
	SCOPED_BUF(b, 1000);
	int fd[2];
	bool eof;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	ok(grpc_server_attach_fd(w->server, fd[0], fd[0]));
	ok(grpc_client_attach_fd(w->loop, w->root, fd[1], fd[1], NULL, &c));
	ok(grpc_call(c, w->root, "/t.T/Hang", NULL, 0, &s));
	wait_for(&hold_of->begun, 1);
	grpc_client_close(c);
	fails(grpc_recv(s, w->root, &b, &eof), ERR_UNAVAILABLE,
	      "grpc: the client connection is closing");
	wait_for(&hold_of->ended, 1);
	grpc_stream_free(s);
}

static struct err *one_echo(struct ctx *ctx, void *arg)
{
	SCOPED_BUF(b, 1000);

	return grpc_unary(arg, ctx, "/t.T/Echo", NULL, 0, STR("x"), &b);
}

static void test_parallel_unary(void **state)
{
	struct world *w = *state;
	struct task_group g;

	task_group_init(&g, w->root, 50);
	for (int i = 0; i < 2000; i++)
		task_group_go(&g, "echo", one_echo, w->client);
	ok(task_group_wait(&g));
}

static void test_1000_streams(void **state)
{
	struct world *w = *state;
	static struct grpc_stream *s[1000];
	SCOPED_BUF(b, 1000);
	bool eof;

	for (size_t i = 0; i < ARRAY_SIZE(s); i++)
		ok(grpc_call(w->client, w->root, "/t.T/Echo", NULL, 0, &s[i]));
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(s); i++)
			ok(grpc_send(s[i], w->root, STR("ping")));
		for (size_t i = 0; i < ARRAY_SIZE(s); i++) {
			ok(grpc_recv(s[i], w->root, &b, &eof));
			assert_string_equal(buf_cstr(&b), "ping");
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(s); i++) {
		if (i % 2)
			ok(grpc_close_send(s[i]));
		grpc_stream_free(s[i]);
	}
}

/* A reader that does not read must stop the writer, and nobody else. */
static void test_backpressure(void **state)
{
	struct world *w = *state;
	struct ctx *c = ctx_new_timeout(w->root, 200 * NSEC_PER_MSEC);
	struct grpc_stream *s;
	SCOPED_BUF(b, 100000);
	struct err *e = NULL;
	size_t sent = 0;

	(void)buf_reserve(&b, 65536);
	b.len = 65536;
	memset(b.data, 0, b.len);
	ok(grpc_call(w->client, w->root, "/t.T/Hang", NULL, 0, &s));
	while (!e) {
		e = grpc_send(s, c, buf_str(&b));
		sent += b.len;
	}
	assert_int_equal(err_code(e), ERR_DEADLINE_EXCEEDED);
	err_free(e);
	assert_in_range(sent, 1 * MIB, 4 * MIB);
	ok(grpc_unary(w->client, w->root, "/t.T/Echo", NULL, 0, STR("hi"), &b));
	grpc_stream_free(s);
	ctx_unref(c);
}

static void test_send_after_end(void **state)
{
	struct world *w = *state;
	struct grpc_stream *s;
	SCOPED_BUF(b, 1000);
	bool eof;

	ok(grpc_call(w->client, w->root, "/t.T/Refuse", NULL, 0, &s));
	fails(grpc_recv(s, w->root, &b, &eof), ERR_FAILED_PRECONDITION, "100% wrong:\n\"ä\"");
	fails(grpc_send(s, w->root, STR("x")), ERR_FAILED_PRECONDITION, "100% wrong:\n\"ä\"");
	grpc_stream_free(s);
}

static void test_health(void **state)
{
	struct world *w = *state;
	SCOPED_ARENA(a);
	Grpc__Health__V1__HealthCheckRequest q = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	Grpc__Health__V1__HealthCheckResponse *r;
	CLEANUP(grpc_stream_freep) struct grpc_stream *s = NULL;
	bool eof;

	ok(grpc_unary_msg(w->client, w->root, "/grpc.health.v1.Health/Check", NULL, 0, &q, &a,
			  &grpc__health__v1__health_check_response__descriptor, &r));
	assert_int_equal(r->status, 1);
	q.service = (char *)"x";
	fails(grpc_unary_msg(w->client, w->root, "/grpc.health.v1.Health/Check", NULL, 0, &q, &a,
			     &grpc__health__v1__health_check_response__descriptor, &r),
	      ERR_NOT_FOUND, "unknown service");
	ok(grpc_call(w->client, w->root, "/grpc.health.v1.Health/Watch", NULL, 0, &s));
	ok(grpc_send_msg(s, w->root, &q));
	ok(grpc_close_send(s));
	ok(grpc_recv_msg(s, w->root, &a, &grpc__health__v1__health_check_response__descriptor, &r,
			 &eof));
	assert_int_equal(r->status, 3);
}

static void test_wrong_peer(void **state)
{
	struct world *w = *state;
	struct grpc_client *c;
	SCOPED_BUF(b, 1000);
	char junk[200];
	int fd[2];
	ssize_t n;

	/* HTTP/1 to the server: closed. */
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	ok(grpc_server_attach_fd(w->server, fd[0], fd[0]));
	assert_int_equal(write(fd[1], "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27), 27);
	do
		n = read(fd[1], junk, sizeof(junk));
	while (n > 0);
	assert_int_equal(n, 0);
	(void)close(fd[1]);
	/* HTTP/1 to the client: calls fail. */
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	ok(grpc_client_attach_fd(w->loop, w->root, fd[1], fd[1], NULL, &c));
	assert_int_equal(write(fd[0], "HTTP/1.1 400 Bad Request\r\n\r\n", 28), 28);
	struct err *e = grpc_unary(c, w->root, "/t.T/Echo", NULL, 0, STR(""), &b);
	assert_int_equal(err_code(e), ERR_UNAVAILABLE);
	err_free(e);
	grpc_client_close(c);
	(void)close(fd[0]);
}

static void test_keepalive(void **state)
{
	struct world *w = *state;
	struct grpc_client *c;
	struct grpc_stream *s;
	SCOPED_BUF(b, 1000);
	int fd[2];
	bool eof;

	/* Answered. */
	grpc_client_keepalive(w->client, 20 * NSEC_PER_MSEC, 500 * NSEC_PER_MSEC);
	/* A peer that says nothing. */
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	ok(grpc_client_attach_fd(w->loop, w->root, fd[1], fd[1], NULL, &c));
	grpc_client_keepalive(c, 20 * NSEC_PER_MSEC, 50 * NSEC_PER_MSEC);
	ok(grpc_call(c, w->root, "/t.T/Echo", NULL, 0, &s));
	fails(grpc_recv(s, w->root, &b, &eof), ERR_UNAVAILABLE,
	      "keepalive ping failed to receive ACK within timeout");
	grpc_stream_free(s);
	grpc_client_close(c);
	(void)close(fd[0]);
	ok(grpc_unary(w->client, w->root, "/t.T/Echo", NULL, 0, STR("x"), &b));
}

static void test_pipes(void **state)
{
	struct world *w = *state;
	struct grpc_client *c;
	SCOPED_BUF(b, LIMIT_GRPC_MESSAGE);
	SCOPED_BUF(r, LIMIT_GRPC_MESSAGE);
	int up[2], down[2];

	assert_int_equal(pipe(up), 0);
	assert_int_equal(pipe(down), 0);
	ok(grpc_server_attach_fd(w->server, up[0], down[1]));
	ok(grpc_client_attach_fd(w->loop, w->root, down[0], up[1], NULL, &c));
	(void)buf_reserve(&b, 5 * MIB);
	memset(b.data, 'y', 5 * MIB);
	b.len = 5 * MIB;
	ok(grpc_unary(c, w->root, "/t.T/Echo", NULL, 0, buf_str(&b), &r));
	assert_int_equal(r.len, b.len);
	grpc_client_close(c);
}

static struct err *drain(struct ctx *ctx, void *arg)
{
	struct ctx *never = ctx_new(ctx);

	grpc_server_drain(arg, never);
	ctx_unref(never);
	return NULL;
}

static void test_drain(void **state)
{
	struct world *w = *state;
	struct grpc_stream *s;
	struct task *t;
	SCOPED_BUF(b, 1000);
	struct err *e;
	bool eof;

	ok(grpc_call(w->client, w->root, "/t.T/Echo", NULL, 0, &s));
	ok(grpc_send(s, w->root, STR("1")));
	ok(grpc_recv(s, w->root, &b, &eof));
	t = task_start(w->root, "drain", drain, w->server);
	/* Until the client has seen the GOAWAY, calls still work or are refused. */
	do
		e = grpc_unary(w->client, w->root, "/t.T/Echo", NULL, 0, STR("x"), &b);
	while (!e);
	assert_int_equal(err_code(e), ERR_UNAVAILABLE);
	err_free(e);
	/* What was under way goes on. */
	ok(grpc_send(s, w->root, STR("2")));
	ok(grpc_recv(s, w->root, &b, &eof));
	assert_string_equal(buf_cstr(&b), "2");
	ok(grpc_close_send(s));
	ok(grpc_recv(s, w->root, &b, &eof));
	assert_true(eof);
	grpc_stream_free(s);
	ok(task_wait(t));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_unary),
		T(test_unknown),
		T(test_error_details),
		T(test_bidi),
		T(test_client_stream),
		T(test_server_stream),
		T(test_big_messages),
		T(test_max_recv),
		T(test_metadata),
		T(test_cancel),
		T(test_deadline),
		T(test_connection_lost),
		T(test_close_ends_calls),
		T(test_parallel_unary),
		T(test_1000_streams),
		T(test_backpressure),
		T(test_send_after_end),
		T(test_health),
		T(test_wrong_peer),
		T(test_keepalive),
		T(test_pipes),
		T(test_drain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
