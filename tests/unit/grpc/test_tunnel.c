#include "world.h"

#include "base/clock.h"
#include "grpc/internal.h"

/* The session's shape: the client calls Session; inside that stream's bytes the client is the
 * server and the server the client. */

struct session_test {
	struct grpc_loop *loop;
	struct grpc_client *inner; /* set while the handler runs */
	struct lock lock;
	struct cond cond;
	bool up, leave;
};

static struct session_test st;

static struct err *session(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	struct grpc_client *c;
	struct err *e = NULL;

	TRY(grpc_client_tunnel(st.loop, ctx, s, NULL, &c));
	lock_take(&st.lock);
	st.inner = c;
	st.up = true;
	cond_broadcast(&st.cond);
	while (!st.leave && !e)
		e = cond_wait(&st.cond, &st.lock, grpc_client_ctx(c));
	st.inner = NULL;
	lock_drop(&st.lock);
	grpc_client_close(c);
	lock_take(&st.lock);
	st.up = false;
	cond_broadcast(&st.cond);
	lock_drop(&st.lock);
	err_free(e);
	return NULL;
}

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

static struct err *pour(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	SCOPED_BUF(b, LIMIT_GRPC_MESSAGE);
	uint64_t n;
	bool eof;

	TRY(grpc_recv(s, ctx, &b, &eof));
	if (!str_to_u64(buf_str(&b), &n))
		return err_new(ERR_INVALID_ARGUMENT, "not a number");
	buf_clear(&b);
	(void)buf_reserve(&b, 32 * KIB);
	memset(b.data, 'z', 32 * KIB);
	b.len = 32 * KIB;
	while (n--)
		TRY(grpc_send(s, ctx, buf_str(&b)));
	return NULL;
}

static const struct grpc_method outer[] = { { "/moby.buildkit.v1.Control/Session", session } };
static const struct grpc_method inner[] = { { "/t.T/Echo", echo }, { "/t.T/Pour", pour } };

struct client_half {
	struct world *w;
	struct grpc_server *server;
	struct ctx *ctx;
};

static struct err *serve(struct ctx *ctx, void *arg)
{
	struct client_half *h = arg;
	CLEANUP(grpc_stream_freep) struct grpc_stream *s = NULL;

	TRY(grpc_call(h->w->client, ctx, outer[0].path, NULL, 0, &s));
	return grpc_server_serve_tunnel(h->server, ctx, s);
}

static void open_both(struct world *w, struct client_half *h, struct task **ret)
{
	memset(&st, 0, sizeof(st));
	lock_init(&st.lock, LOCK_LEAF);
	cond_init(&st.cond);
	world_open(w, outer, 1, NULL);
	st.loop = w->loop;
	h->w = w;
	h->ctx = ctx_new(w->root);
	h->server = grpc_server_new(w->loop, w->root, inner, ARRAY_SIZE(inner), NULL);
	*ret = task_start(h->ctx, "serve", serve, h);
	lock_take(&st.lock);
	while (!st.up)
		cond_wait_uninterrupted(&st.cond, &st.lock);
	lock_drop(&st.lock);
}

static void close_both(struct world *w, struct client_half *h)
{
	grpc_server_free(h->server);
	ctx_unref(h->ctx);
	world_close(w);
	cond_fini(&st.cond);
	lock_fini(&st.lock);
}

static void leave(void)
{
	lock_take(&st.lock);
	st.leave = true;
	cond_broadcast(&st.cond);
	lock_drop(&st.lock);
}

static void test_calls(void **state)
{
	struct client_half h;
	struct world w;
	struct task *t;
	SCOPED_BUF(b, LIMIT_GRPC_MESSAGE);
	SCOPED_BUF(r, LIMIT_GRPC_MESSAGE);

	open_both(&w, &h, &t);
	ok(grpc_unary(st.inner, w.root, "/t.T/Echo", NULL, 0, STR("through"), &b));
	assert_string_equal(buf_cstr(&b), "through");
	buf_clear(&b);
	(void)buf_reserve(&b, 10 * MIB);
	b.len = 10 * MIB;
	for (size_t i = 0; i < b.len; i++)
		b.data[i] = (char)(i * 7 + i / 1000);
	ok(grpc_unary(st.inner, w.root, "/t.T/Echo", NULL, 0, buf_str(&b), &r));
	assert_int_equal(r.len, b.len);
	assert_memory_equal(r.data, b.data, b.len);
	leave();
	ok(task_wait(t));
	close_both(&w, &h);
}

static void test_client_leaves(void **state)
{
	struct client_half h;
	struct world w;
	struct task *t;

	open_both(&w, &h, &t);
	ctx_cancel(h.ctx, NULL);
	fails(task_wait(t), ERR_CANCELED, "context canceled");
	lock_take(&st.lock);
	while (st.up)
		cond_wait_uninterrupted(&st.cond, &st.lock);
	lock_drop(&st.lock);
	close_both(&w, &h);
}

static void test_throughput(void **state)
{
	struct client_half h;
	struct world w;
	struct task *t;
	struct grpc_stream *s;
	SCOPED_BUF(b, LIMIT_GRPC_MESSAGE);
	int64_t start = clock_now();
	uint64_t bytes = 0;
	bool eof;

	open_both(&w, &h, &t);
	ok(grpc_call(st.inner, w.root, "/t.T/Pour", NULL, 0, &s));
	ok(grpc_send(s, w.root, STR("8192")));
	ok(grpc_close_send(s));
	for (;;) {
		ok(grpc_recv(s, w.root, &b, &eof));
		if (eof)
			break;
		bytes += b.len;
	}
	assert_int_equal(bytes, 256 * MIB);
	print_message("%.0f MB/s through the tunnel\n",
		      (double)bytes * 1e3 / (double)(clock_now() - start));
	grpc_stream_free(s);
	leave();
	ok(task_wait(t));
	close_both(&w, &h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calls),
		cmocka_unit_test(test_client_leaves),
		cmocka_unit_test(test_throughput),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
