#include "servers.h"

#include "base/limits.h"
#include "registry/httpc.h"

struct http {
	struct fixture f;
	struct httpc *c;
};

static int setup(void **state)
{
	struct http *h = NEW(struct http);

	badserver_start(&h->f.server);
	h->f.pool = task_pool_new();
	h->f.ctx = ctx_new_root(h->f.pool);
	h->c = httpc_new("agent/1");
	*state = h;
	return 0;
}

static int teardown(void **state)
{
	struct http *h = *state;

	httpc_free(h->c);
	ctx_unref(h->f.ctx);
	task_pool_free(h->f.pool);
	arena_fini(&h->f.arena);
	server_stop(&h->f.server);
	free(h);
	return 0;
}

static struct str url_of(struct http *h, const char *path)
{
	return str_from(arena_printf(&h->f.arena, "http://127.0.0.1:%d%s", h->f.server.port, path));
}

static struct err *get(struct http *h, const char *path, struct httpc_response *r)
{
	struct httpc_request rq = { .url = url_of(h, path) };

	return httpc_do(h->c, h->f.ctx, &h->f.arena, &rq, r);
}

static void test_methods(void **state)
{
	static const char *const methods[] = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE" };
	struct http *h = *state;
	struct httpc_header own = { STR("X-Own"), STR("") };
	struct httpc_response r;
	char *log;

	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		struct httpc_request rq = { .method = methods[i],
					    .url = url_of(h, "/plain/echo"),
					    .headers = &own,
					    .n_headers = 1 };

		if (i >= 2)
			rq.body = STR("some body");
		OK(httpc_do(h->c, h->f.ctx, &h->f.arena, &rq, &r));
		assert_int_equal(r.status, 200);
		assert_true(str_eq_cstr(r.status_text, "200 OK"));
		assert_true(str_eq(r.url, rq.url));
		assert_true(str_eq_cstr(httpc_header_get(&r, "x-method"), methods[i]));
		assert_true(str_eq_cstr(r.body, i >= 2 ? "some body" : ""));
	}
	/* All over one connection. */
	log = badserver_log(&h->f.server, h->f.ctx);
	assert_int_equal(count_of(log, "\"agent\": \"agent/1\""), 6);
	free(log);
	OK(get(h, "/plain/none", &r));
	assert_true(str_eq_cstr(r.status_text, "404 Not Found"));
}

/* ---- streams ---- */

struct sink {
	size_t total, head;
	int status;
	struct err *fail;
};

static struct err *on_head(void *arg, const struct httpc_response *head)
{
	struct sink *s = arg;

	s->head++;
	s->status = head->status;
	return NULL;
}

static struct err *on_body(void *arg, const void *p, size_t len)
{
	struct sink *s = arg;

	assert_int_equal(s->head, 1);
	s->total += len;
	return s->fail && s->total > 5000 ? TAKE_PTR(s->fail) : NULL;
}

static struct err *open_body(void *arg, struct reader **ret)
{
	*ret = reader_of_str(*(struct str *)arg);
	return NULL;
}

static struct err *open_none(void *arg, struct reader **ret)
{
	return err_new(ERR_NOT_FOUND, "no such body");
}

struct both {
	struct sink s;
	struct str body;
};

static struct err *open_both(void *arg, struct reader **ret)
{
	return open_body(&((struct both *)arg)->body, ret);
}

static void test_streams(void **state)
{
	struct http *h = *state;
	size_t n = 3 << 20;
	char *data = mem_alloc(n);
	struct both b = { .body = str_make(data, n) };
	struct httpc_request rq = { .method = "PUT",
				    .url = url_of(h, "/plain/echo"),
				    .open_body = open_both,
				    .body_size = (int64_t)n,
				    .on_head = on_head,
				    .on_body = on_body,
				    .arg = &b };
	struct httpc_response r;

	OK(httpc_do(h->c, h->f.ctx, &h->f.arena, &rq, &r));
	assert_int_equal(b.s.total, n);
	assert_int_equal(b.s.status, 200);
	assert_int_equal(r.body.len, 0);
	b.s = (struct sink) { 0 };
	rq.body_size = -1; /* in chunks */
	rq.method = "POST";
	OK(httpc_do(h->c, h->f.ctx, &h->f.arena, &rq, &r));
	assert_int_equal(b.s.total, n);
	rq.open_body = open_none;
	FAILS("no such body", httpc_do(h->c, h->f.ctx, &h->f.arena, &rq, &r));
	rq = (struct httpc_request) { .url = url_of(h, "/plain/chunked"),
				      .on_head = on_head,
				      .on_body = on_body,
				      .arg = &b };
	b.s = (struct sink) { 0 };
	OK(httpc_do(h->c, h->f.ctx, &h->f.arena, &rq, &r));
	assert_int_equal(b.s.total, 100000);
	b.s = (struct sink) { .fail = err_new(ERR_RESOURCE_EXHAUSTED, "disk full") };
	FAILS("disk full", httpc_do(h->c, h->f.ctx, &h->f.arena, &rq, &r));
	/* What is kept is bounded. */
	rq = (struct httpc_request) { .url = url_of(h, "/plain/chunked"), .max_body = 1234 };
	OK(httpc_do(h->c, h->f.ctx, &h->f.arena, &rq, &r));
	assert_int_equal(r.body.len, 1234);
	assert_true(r.body_cut);
	rq.max_body = 100000;
	OK(httpc_do(h->c, h->f.ctx, &h->f.arena, &rq, &r));
	assert_int_equal(r.body.len, 100000);
	assert_false(r.body_cut);
	free(data);
}

static void test_redirects(void **state)
{
	struct http *h = *state;
	struct httpc_header secret[] = { { STR("Authorization"), STR("Basic eA==") },
					 { STR("X-Other"), STR("y") } };
	struct httpc_request rq = { .url = url_of(h, "/plain/relative"),
				    .headers = secret,
				    .n_headers = 2 };
	struct str body = STR("again");
	struct httpc_response r;
	char *log;

	OK(httpc_do(h->c, h->f.ctx, &h->f.arena, &rq, &r));
	assert_true(str_eq(r.url, url_of(h, "/plain/echo")));
	log = badserver_log(&h->f.server, h->f.ctx);
	assert_int_equal(count_of(log, "Basic eA=="), 2);
	free(log);
	rq.url = url_of(h, "/plain/away");
	rq.method = "POST";
	rq.open_body = open_body;
	rq.body_size = 5;
	rq.arg = &body;
	OK(httpc_do(h->c, h->f.ctx, &h->f.arena, &rq, &r));
	assert_true(str_eq_cstr(r.body, "again")); /* 307 repeats the body */
	assert_true(str_eq_cstr(httpc_header_get(&r, "X-Method"), "POST"));
	log = badserver_log(&h->f.server, h->f.ctx);
	assert_int_equal(count_of(log, "Basic eA=="), 1);
	free(log);
	rq.url = url_of(h, "/plain/see");
	OK(httpc_do(h->c, h->f.ctx, &h->f.arena, &rq, &r));
	assert_true(str_eq_cstr(httpc_header_get(&r, "X-Method"), "GET"));
	rq.no_redirect = true;
	OK(httpc_do(h->c, h->f.ctx, &h->f.arena, &rq, &r));
	assert_int_equal(r.status, 303);
	FAILS("Get \"http://127.0.0.1:*/plain/loop\": stopped after 10 redirects",
	      get(h, "/plain/loop", &r));
	FAILS("Get \"http://127.0.0.1:*/plain/file\": failed to parse Location header "
	      "\"file:///etc/passwd\": unsupported protocol scheme \"file\"",
	      get(h, "/plain/file", &r));
}

static void test_failures(void **state)
{
	struct http *h = *state;
	struct httpc_header bad = { STR("X-Bad"), STR("a\r\nX-Worse: b") };
	enum httpc_failure why = HTTPC_OTHER;
	struct httpc_request rq = { .url = STR("http://127.0.0.1:1/x"), .failure = &why };
	struct httpc_response r;

	FAILS("Get \"http://127.0.0.1:1/x\": dial tcp 127.0.0.1:1: connect: connection refused",
	      httpc_do(h->c, h->f.ctx, &h->f.arena, &rq, &r));
	assert_int_equal(why, HTTPC_DIAL);
	rq.url = STR("http://joe:secret@127.0.0.1:1/x");
	FAILS("Get \"http://joe:xxxxx@127.0.0.1:1/x\": dial tcp *",
	      httpc_do(h->c, h->f.ctx, &h->f.arena, &rq, &r));
	rq.url = url_of(h, "/plain/drop");
	rq.method = "PATCH";
	FAILS("Patch \"http://*/plain/drop\": EOF", httpc_do(h->c, h->f.ctx, &h->f.arena, &rq, &r));
	assert_int_equal(why, HTTPC_BROKEN);
	rq.method = NULL;
	rq.url = url_of(h, "/plain/headers");
	FAILS("response headers exceeded 262144 bytes",
	      httpc_do(h->c, h->f.ctx, &h->f.arena, &rq, &r));
	rq.url = url_of(h, "/plain/hang");
	rq.stall_ns = NSEC_PER_SEC / 2;
	FAILS("Get \"http://*/plain/hang\": net/http: timeout awaiting response headers",
	      httpc_do(h->c, h->f.ctx, &h->f.arena, &rq, &r));
	assert_int_equal(why, HTTPC_TIMEOUT);
	rq.url = url_of(h, "/plain/echo");
	rq.headers = &bad;
	rq.n_headers = 1;
	FAILS("*invalid header field value for \"X-Bad\"",
	      httpc_do(h->c, h->f.ctx, &h->f.arena, &rq, &r));
	rq = (struct httpc_request) { .url = STR("ftp://x/y") };
	FAILS("unsupported protocol scheme \"ftp\"",
	      httpc_do(h->c, h->f.ctx, &h->f.arena, &rq, &r));
	rq.url = STR("");
	FAILS("invalid URL \"\"", httpc_do(h->c, h->f.ctx, &h->f.arena, &rq, &r));
	rq.url = str_from(arena_printf(&h->f.arena, "https://127.0.0.1:%d/", h->f.server.port));
	rq.failure = &why;
	FAILS("*: http: server gave HTTP response to HTTPS client",
	      httpc_do(h->c, h->f.ctx, &h->f.arena, &rq, &r));
	assert_int_equal(why, HTTPC_PLAIN_HTTP);
}

static void test_cancel(void **state)
{
	struct http *h = *state;
	struct httpc_request rq = { .url = url_of(h, "/plain/hang") };
	struct ctx *ctx = ctx_new_timeout(h->f.ctx, 200 * NSEC_PER_MSEC);
	struct httpc_response r;
	int64_t t = clock_now();

	FAILS("Get \"http://*/plain/hang\": context deadline exceeded",
	      httpc_do(h->c, ctx, &h->f.arena, &rq, &r));
	FAILS("*: context deadline exceeded", httpc_do(h->c, ctx, &h->f.arena, &rq, &r));
	ctx_unref(ctx);
	assert_true(clock_now() - t < 2 * NSEC_PER_SEC);
}

struct canceller {
	struct ctx *ctx;
};

static struct err *cancel_later(struct ctx *ctx, void *arg)
{
	struct canceller *c = arg;

	TRY(ctx_sleep(ctx, 200 * NSEC_PER_MSEC));
	ctx_cancel(c->ctx, err_new(ERR_CANCELED, "enough of it"));
	return NULL;
}

/* At once, not when curl next looks. */
static void test_cancel_wakes(void **state)
{
	struct http *h = *state;
	struct httpc_request rq = { .url = url_of(h, "/plain/hang") };
	struct canceller c = { ctx_new(h->f.ctx) };
	struct httpc_response r;
	int64_t t = clock_now();
	struct task *task = task_start(h->f.ctx, "cancel", cancel_later, &c);

	FAILS("*: enough of it", httpc_do(h->c, c.ctx, &h->f.arena, &rq, &r));
	assert_true(clock_now() - t < 600 * NSEC_PER_MSEC);
	OK(task_wait(task));
	ctx_unref(c.ctx);
}

static void test_proxy(void **state)
{
	struct http *h = *state;
	char *proxy = arena_printf(&h->f.arena, "http://127.0.0.1:%d", h->f.server.port);
	struct httpc_request rq = { .url = STR("http://far.invalid/plain/echo") };
	struct httpc_response r;

	(void)setenv("HTTP_PROXY", proxy, 1);
	OK(httpc_do(h->c, h->f.ctx, &h->f.arena, &rq, &r));
	assert_int_equal(r.status, 200);
	(void)setenv("NO_PROXY", "else.where,.invalid", 1);
	FAILS("*no such host", httpc_do(h->c, h->f.ctx, &h->f.arena, &rq, &r));
	(void)unsetenv("NO_PROXY");
	/* Never for loopback. */
	(void)setenv("HTTP_PROXY", "http://127.0.0.1:1", 1);
	OK(get(h, "/plain/echo", &r));
	(void)unsetenv("HTTP_PROXY");
}

/* ---- threads ---- */

static struct err *many_requests(struct ctx *ctx, void *arg)
{
	struct http *h = arg;

	for (int i = 0; i < 20; i++) {
		SCOPED_ARENA(a);
		struct httpc_request rq = {
			.method = "POST",
			.url = str_from(
				arena_printf(&a, "http://127.0.0.1:%d/plain/%s",
					     i & 1 ? h->f.server.port : h->f.server.other_port,
					     i % 5 ? "echo" : "away")),
			.body = STR("body"),
		};
		struct httpc_response r;

		TRY(httpc_do(h->c, ctx, &a, &rq, &r));
		if (!str_eq_cstr(r.body, "body"))
			return err_new(ERR_INTERNAL, "wrong body");
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct http *h = *state;
	struct task_group g;

	task_group_init(&g, h->f.ctx, 0);
	for (int i = 0; i < 8; i++)
		task_group_go(&g, "requests", many_requests, h);
	OK(task_group_wait(&g));
}

/* ---- pure functions ---- */

static void test_urls(void **state)
{
	SCOPED_ARENA(a);
	struct str u;

	OK(httpc_url_resolve(&a, STR("https://h:1/a/b?x=1"), STR("../c?y=2#f"), &u));
	assert_true(str_eq_cstr(u, "https://h:1/c?y=2"));
	OK(httpc_url_resolve(&a, STR("https://h:1/a/b"), STR("//other/x"), &u));
	assert_true(str_eq_cstr(u, "https://other/x"));
	OK(httpc_url_resolve(&a, STR("http://h/v2/x%20y?scope=a%3Ab"), STR_NONE, &u));
	assert_true(str_eq_cstr(u, "http://h/v2/x%20y?scope=a%3Ab"));
	FAILS("*", httpc_url_resolve(&a, STR("http://h/"), STR("javascript:x"), &u));
	FAILS("*", httpc_url_resolve(&a, STR("http://"), STR_NONE, &u));
	FAILS("*", httpc_url_resolve(&a, str_make("http://h/\0x", 11), STR_NONE, &u));
	assert_true(httpc_same_origin(STR("https://H/x"), STR("https://h:443/y")));
	assert_false(httpc_same_origin(STR("https://h/x"), STR("http://h/x")));
	assert_false(httpc_same_origin(STR("http://h/x"), STR("http://h:81/x")));
	assert_false(httpc_same_origin(STR("http://h/x"), STR("x")));
	u = httpc_url_add(&a, STR("http://h/x"), "a b", STR("c&d=e/ü"));
	assert_true(str_eq_cstr(u, "http://h/x?a+b=c%26d%3De%2F%C3%BC"));
	u = httpc_url_add(&a, STR("http://h/x?q"), "k", STR("v"));
	assert_true(str_eq_cstr(u, "http://h/x?q&k=v"));
	assert_true(httpc_is_loopback(STR("localhost:5000")));
	assert_true(httpc_is_loopback(STR("LOCALHOST")));
	assert_true(httpc_is_loopback(STR("127.1.2.3:1")));
	assert_true(httpc_is_loopback(STR("[::1]:5000")));
	assert_false(httpc_is_loopback(STR("localhost.example")));
	assert_false(httpc_is_loopback(STR("128.0.0.1")));
	assert_false(httpc_is_loopback(STR("")));
}

static void test_values(void **state)
{
	uint64_t from, to;
	int64_t size, ns;

	assert_true(httpc_content_range(STR("bytes 5-9/10"), &from, &to, &size));
	assert_true(from == 5 && to == 9 && size == 10);
	assert_true(httpc_content_range(STR("bytes 0-0/*"), &from, &to, &size));
	assert_int_equal(size, -1);
	assert_false(httpc_content_range(STR("bytes 5-9/9"), &from, &to, &size));
	assert_false(httpc_content_range(STR("bytes 9-5/20"), &from, &to, &size));
	assert_false(httpc_content_range(STR("bytes */20"), &from, &to, &size));
	assert_false(httpc_content_range(STR("5-9/10"), &from, &to, &size));
	assert_false(httpc_content_range(STR(""), &from, &to, &size));
	assert_true(httpc_retry_after(STR(" 7 "), &ns));
	assert_true(ns == 7 * NSEC_PER_SEC);
	assert_true(httpc_retry_after(STR("99999999999"), &ns));
	assert_true(ns == 86400 * NSEC_PER_SEC);
	assert_true(httpc_retry_after(STR("Wed, 21 Oct 2015 07:28:00 GMT"), &ns));
	assert_int_equal(ns, 0);
	assert_true(httpc_retry_after(STR("Wed, 21 Oct 2099 07:28:00 GMT"), &ns));
	assert_true(ns == 86400 * NSEC_PER_SEC);
	assert_false(httpc_retry_after(STR("soon"), &ns));
	assert_false(httpc_retry_after(STR(""), &ns));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_methods),
		T(test_streams),
		T(test_redirects),
		T(test_failures),
		T(test_cancel),
		T(test_cancel_wakes),
		T(test_proxy),
		T(test_threads),
		cmocka_unit_test(test_urls),
		cmocka_unit_test(test_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
