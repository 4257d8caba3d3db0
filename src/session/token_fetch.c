#include "session/token_fetch.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/version.h"
#include "session/internal.h"

#include <curl/curl.h>
#include <pthread.h>

#define CLIENT_ID "buildkit-client"
#define DEFAULT_EXPIRES 60
#define ANSWER_MAX (1 * MIB)
#define CONNECT_MS 30000L
#define TOTAL_MS 60000L
#define TRIES 3
#define RETRY_NS (NSEC_PER_SEC / 2)

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init(void)
{
	(void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

struct call {
	struct ctx *ctx;
	struct buf body;
	long status;
};

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
	struct call *c = arg;

	buf_add(&c->body, p, size * n);
	return c->body.overflow ? 0 : size * n;
}

static int on_progress(void *arg, curl_off_t dl_total, curl_off_t dl, curl_off_t ul_total,
		       curl_off_t ul)
{
	struct call *c = arg;

	return ctx_done(c->ctx);
}

static struct err *perform(CURL *h, struct call *c, const char *method, const char *url)
{
	char text[CURL_ERROR_SIZE] = "", agent[96];
	CURLcode r;

	(void)snprintf(agent, sizeof(agent), "buildkit/%s", buildkit_version);
	buf_clear(&c->body);
	curl_easy_setopt(h, CURLOPT_URL, url);
	curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(h, CURLOPT_ERRORBUFFER, text);
	curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, TOTAL_MS);
	curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, 1L);
	curl_easy_setopt(h, CURLOPT_MAXREDIRS, 10L);
	curl_easy_setopt(h, CURLOPT_USERAGENT, agent);
	curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(h, CURLOPT_WRITEDATA, c);
	curl_easy_setopt(h, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(h, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(h, CURLOPT_XFERINFODATA, c);
	r = curl_easy_perform(h);
	if (r == CURLE_ABORTED_BY_CALLBACK)
		return ctx_err(c->ctx);
	if (r != CURLE_OK)
		return err_new(ERR_UNAVAILABLE, "%s \"%s\": %s", method, url,
			       *text ? text : curl_easy_strerror(r));
	curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &c->status);
	return NULL;
}

static void cleanup_curl(CURL **h)
{
	if (*h)
		curl_easy_cleanup(*h);
}

static void add_field(struct buf *b, struct arena *a, const char *key, struct str value)
{
	struct str v = query_escape(a, value);

	if (b->len)
		buf_add_char(b, '&');
	buf_addf(b, "%s=%.*s", key, STR_ARG(v));
}

static struct str join_scopes(struct arena *a, const struct token_query *q)
{
	SCOPED_BUF(b, LIMIT_GRPC_HEADERS);

	for (size_t i = 0; i < q->n_scopes; i++) {
		if (i)
			buf_add_char(&b, ' ');
		buf_add_str(&b, q->scopes[i]);
	}
	return str_dup(a, buf_str(&b));
}

/* OAuth2: a POST with the credentials in the form. */
static struct err *post(struct call *c, struct arena *a, const struct token_query *q)
{
	CLEANUP(cleanup_curl) CURL *h = curl_easy_init();
	const char *url = str_cstr(a, q->realm);
	SCOPED_BUF(form, 4 * LIMIT_GRPC_HEADERS);

	if (q->n_scopes)
		add_field(&form, a, "scope", join_scopes(a, q));
	add_field(&form, a, "service", q->service);
	add_field(&form, a, "client_id", STR(CLIENT_ID));
	if (q->username.len) {
		add_field(&form, a, "grant_type", STR("password"));
		add_field(&form, a, "username", q->username);
		add_field(&form, a, "password", q->secret);
	} else {
		add_field(&form, a, "grant_type", STR("refresh_token"));
		add_field(&form, a, "refresh_token", q->secret);
	}
	TRY(buf_check(&form, "token request"));
	curl_easy_setopt(h, CURLOPT_POST, 1L);
	curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE, (long)form.len);
	curl_easy_setopt(h, CURLOPT_POSTFIELDS, buf_cstr(&form));
	return perform(h, c, "Post", url);
}

/* The older form: a GET with basic authentication, or none. */
static struct err *get(struct call *c, struct arena *a, const struct token_query *q)
{
	CLEANUP(cleanup_curl) CURL *h = curl_easy_init();
	bool has_query = str_find(q->realm, '?') >= 0;
	SCOPED_BUF(query, 4 * LIMIT_GRPC_HEADERS);
	const char *url;

	if (q->service.len)
		add_field(&query, a, "service", q->service);
	for (size_t i = 0; i < q->n_scopes; i++)
		add_field(&query, a, "scope", q->scopes[i]);
	TRY(buf_check(&query, "token request"));
	url = arena_printf(a, "%.*s%s%s", STR_ARG(q->realm),
			   query.len ? (has_query ? "&" : "?") : "", buf_cstr(&query));
	if (q->secret.len) {
		curl_easy_setopt(h, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
		curl_easy_setopt(h, CURLOPT_USERNAME, str_cstr(a, q->username));
		curl_easy_setopt(h, CURLOPT_PASSWORD, str_cstr(a, q->secret));
	}
	return perform(h, c, "Get", url);
}

/* A connection that breaks is tried again; an answer is an answer. */
static struct err *with_retry(struct err *(*fn)(struct call *, struct arena *,
						const struct token_query *),
			      struct call *c, struct arena *a, const struct token_query *q)
{
	struct err *e = fn(c, a, q);

	for (int i = 1; i < TRIES && err_is(e, ERR_UNAVAILABLE) && !ctx_done(c->ctx); i++) {
		TRY(ctx_sleep(c->ctx, RETRY_NS << i));
		err_free(e);
		e = fn(c, a, q);
	}
	return e;
}

static struct err *bad_status(const struct call *c, const char *method, struct str url)
{
	enum err_code code = c->status == 401   ? ERR_UNAUTHENTICATED
			     : c->status == 403 ? ERR_PERMISSION_DENIED
						: ERR_UNKNOWN;

	return err_new(code, "unexpected status from %s request to %.*s: %ld", method, STR_ARG(url),
		       c->status);
}

static bool is_good(const struct call *c)
{
	return c->status >= 200 && c->status < 400;
}

static struct err *parse(const struct call *c, struct arena *a, struct token_answer *ret)
{
	SCOPED_JSON(j);
	struct str token, issued;
	int64_t ns;

	TRYW(json_read(buf_str(&c->body), "token", &j), "unable to decode token response");
	token = json_get_str(j, "access_token");
	if (!token.len)
		token = json_get_str(j, "token");
	if (!token.len)
		return err_new(ERR_UNKNOWN,
			       "authorization server did not include a token in the response");
	*ret = (struct token_answer) {
		.token = str_dup(a, token),
		.expires_in_s = json_get_int(j, "expires_in", 0),
	};
	if (ret->expires_in_s <= 0)
		ret->expires_in_s = DEFAULT_EXPIRES;
	issued = json_get_str(j, "issued_at");
	if (issued.len && clock_parse_rfc3339(issued, &ns))
		ret->issued_at_s = ns / NSEC_PER_SEC;
	return NULL;
}

static struct err *fetch(struct call *c, struct arena *a, const struct token_query *q,
			 struct token_answer *ret)
{
	if (!q->secret.len) {
		TRYW(with_retry(get, c, a, q), "failed to fetch anonymous token");
		if (!is_good(c))
			return err_wrap(bad_status(c, "GET", q->realm),
					"failed to fetch anonymous token");
		return parse(c, a, ret);
	}
	TRYW(with_retry(post, c, a, q), "failed to fetch oauth token");
	/* Some registries know only the older form, and say so in several ways. */
	if ((c->status == 405 && q->username.len) || c->status == 404 || c->status == 401) {
		TRYW(with_retry(get, c, a, q), "failed to fetch oauth token");
		if (!is_good(c))
			return err_wrap(bad_status(c, "GET", q->realm),
					"failed to fetch oauth token");
	}
	if (!is_good(c))
		return err_wrap(bad_status(c, "POST", q->realm), "failed to fetch oauth token");
	return parse(c, a, ret);
}

struct err *token_fetch(struct ctx *ctx, struct arena *a, const struct token_query *q,
			struct token_answer *ret)
{
	struct call c = { .ctx = ctx };
	struct err *e;

	(void)pthread_once(&once, init);
	buf_init(&c.body, ANSWER_MAX);
	e = fetch(&c, a, q, ret);
	buf_fini(&c.body);
	return e;
}
