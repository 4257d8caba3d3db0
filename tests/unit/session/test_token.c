#include "world.h"

#include "session/token_fetch.h"

#include <netinet/in.h>

/* A server that gives prepared answers, one a connection, and keeps what it was asked. */
struct http {
	int fd;
	char url[64];
	const char *answers[4];
	int n;
	char asked[4][2000];
};

static struct err *serve(struct ctx *ctx, void *arg)
{
	struct http *h = arg;

	for (int i = 0; i < h->n; i++) {
		int c = accept4(h->fd, NULL, NULL, SOCK_CLOEXEC);
		size_t len = 0;
		char *body;

		for (;;) {
			ssize_t n = read(c, h->asked[i] + len, sizeof(h->asked[i]) - 1 - len);
			char *cl;

			if (n <= 0)
				break;
			len += (size_t)n;
			h->asked[i][len] = '\0';
			body = strstr(h->asked[i], "\r\n\r\n");
			cl = strstr(h->asked[i], "Content-Length: ");
			if (body && (!cl || strlen(body + 4) >= strtoul(cl + 16, NULL, 10)))
				break;
		}
		if (*h->answers[i])
			(void)!write(c, h->answers[i], strlen(h->answers[i]));
		(void)close(c);
	}
	return NULL;
}

static void http_open(struct http *h)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sa);

	memset(h, 0, sizeof(*h));
	h->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(h->fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(h->fd, 5), 0);
	assert_int_equal(getsockname(h->fd, (struct sockaddr *)&sa, &len), 0);
	(void)snprintf(h->url, sizeof(h->url), "http://127.0.0.1:%d/token", ntohs(sa.sin_port));
}

#define OK_HEAD "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"

struct fixture {
	struct task_pool *pool;
	struct ctx *root;
	struct http http;
	struct task *task;
};

static int setup(void **state)
{
	struct fixture *f = NEW(struct fixture);

	f->pool = task_pool_new();
	f->root = ctx_new_root(f->pool);
	http_open(&f->http);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	ok(task_wait(f->task));
	(void)close(f->http.fd);
	ctx_unref(f->root);
	task_pool_free(f->pool);
	free(f);
	return 0;
}

static void start(struct fixture *f, int n)
{
	f->http.n = n;
	f->task = task_start(f->root, "http", serve, &f->http);
}

static void test_anonymous(void **state)
{
	struct fixture *f = *state;
	static const struct str scopes[] = { { "repository:a/b:pull", 19 }, { "x", 1 } };
	struct token_query q = { .realm = str_from(f->http.url),
				 .service = STR("my service"),
				 .scopes = scopes,
				 .n_scopes = 2 };
	struct token_answer a;
	SCOPED_ARENA(mem);

	f->http.answers[0] = OK_HEAD "{\"token\":\"t1\",\"expires_in\":300,"
				     "\"issued_at\":\"2024-01-02T03:04:05Z\"}";
	start(f, 1);
	ok(token_fetch(f->root, &mem, &q, &a));
	assert_true(str_eq_cstr(a.token, "t1") && a.expires_in_s == 300);
	assert_int_equal(a.issued_at_s, 1704164645);
	assert_non_null(strstr(f->http.asked[0], "GET /token?service=my+service&"
						 "scope=repository%3Aa%2Fb%3Apull&scope=x HTTP"));
	assert_null(strstr(f->http.asked[0], "Authorization"));
}

static void test_oauth(void **state)
{
	struct fixture *f = *state;
	struct token_query q = { .realm = str_from(f->http.url),
				 .service = STR("s"),
				 .username = STR("u&x"),
				 .secret = STR("p=") };
	struct token_answer a;
	SCOPED_ARENA(mem);

	f->http.answers[0] = OK_HEAD "{\"access_token\":\"t2\"}";
	start(f, 1);
	ok(token_fetch(f->root, &mem, &q, &a));
	assert_true(str_eq_cstr(a.token, "t2") && a.expires_in_s == 60 && !a.issued_at_s);
	assert_non_null(strstr(f->http.asked[0], "POST /token HTTP"));
	assert_non_null(strstr(f->http.asked[0],
			       "service=s&client_id=buildkit-client&grant_type=password&"
			       "username=u%26x&password=p%3D"));
}

static void test_refresh_and_fallback(void **state)
{
	struct fixture *f = *state;
	struct token_query q = { .realm = str_from(f->http.url),
				 .service = STR("s"),
				 .secret = STR("refresh") };
	struct token_answer a;
	SCOPED_ARENA(mem);

	/* The connection breaks; POST is not known; GET is. */
	f->http.answers[0] = "";
	f->http.answers[1] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
	f->http.answers[2] = OK_HEAD "{\"token\":\"t3\"}";
	start(f, 3);
	ok(token_fetch(f->root, &mem, &q, &a));
	assert_true(str_eq_cstr(a.token, "t3"));
	assert_non_null(strstr(f->http.asked[1], "grant_type=refresh_token&refresh_token=refresh"));
	assert_non_null(strstr(f->http.asked[2], "Authorization: Basic OnJlZnJlc2g="));
}

static void test_refused(void **state)
{
	struct fixture *f = *state;
	struct token_query q = { .realm = str_from(f->http.url) };
	struct token_answer a;
	SCOPED_ARENA(mem);
	struct err *e;

	f->http.answers[0] = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
	f->http.answers[1] = OK_HEAD "{\"no\":1}";
	start(f, 2);
	e = token_fetch(f->root, &mem, &q, &a);
	assert_int_equal(err_code(e), ERR_UNAUTHENTICATED);
	assert_true(str_has_prefix(str_from(err_text(e)),
				   STR("failed to fetch anonymous token: unexpected status from "
				       "GET request to http://127.0.0.1:")));
	err_free(e);
	fails(token_fetch(f->root, &mem, &q, &a), ERR_UNKNOWN,
	      "authorization server did not include a token in the response");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_anonymous),
		T(test_oauth),
		T(test_refresh_and_fallback),
		T(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
