/* One request and its answer over curl, on the caller's thread. */
#include "registry/httpc_impl.h"

#include "base/limits.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>

#define DIAL_MS 30000L
#define TLS_NS (10 * NSEC_PER_SEC)
#define STALL_NS (60 * NSEC_PER_SEC)
#define ANSWER_NS (300 * NSEC_PER_SEC) /* after an upload: the server may have much to do */
#define TICK_MS 1000
#define BUFFER_SIZE (512 * 1024L)
#define UPLOAD_BUFFER_SIZE (256 * 1024L)
#define ERROR_BODY_MAX (64 * KIB)

/* ---- callbacks ---- */

static size_t fail(struct httpc_exchange *x, struct err *e)
{
	x->err = err_first(x->err, e);
	x->own_error = true;
	return 0;
}

static void begin_head(struct httpc_exchange *x, struct str line)
{
	struct str version, rest;
	uint64_t status;

	x->resp.n_headers = 0;
	x->resp.status = 0;
	x->in_head = true;
	if (str_cut(line, ' ', &version, &rest) && str_to_u64(str_sub(rest, 0, 3), &status) &&
	    status < 1000)
		x->resp.status = (int)status;
	rest = str_trim(rest);
	if (rest.len <= 3)
		rest = str_from(arena_printf(x->a, "%.*s %s", STR_ARG(rest), ""));
	x->resp.status_text = str_dup(x->a, str_trim(rest));
}

static struct err *end_head(struct httpc_exchange *x)
{
	x->in_head = false;
	if (x->resp.status < 200)
		return NULL; /* an interim answer */
	x->head_done = true;
	x->resp.url = x->url;
	x->resp.method = x->method;
	x->location = STR_NONE;
	if (x->following && httpc_is_redirect(x->resp.status))
		x->location = httpc_header_get(&x->resp, "Location");
	x->skip_body = x->location.len != 0;
	if (!x->skip_body && x->rq->on_head)
		return x->rq->on_head(x->rq->arg, &x->resp);
	return NULL;
}

static void add_header(struct httpc_exchange *x, struct str line)
{
	struct str name, value;

	if (!str_cut(line, ':', &name, &value))
		return;
	if (x->resp.n_headers == x->cap_headers) {
		size_t cap = x->cap_headers ? 2 * x->cap_headers : 16;
		struct httpc_header *h = ARENA_NEW_N(x->a, struct httpc_header, cap);

		if (x->resp.n_headers)
			memcpy(h, x->resp.headers, x->resp.n_headers * sizeof(*h));
		x->resp.headers = h;
		x->cap_headers = cap;
	}
	x->resp.headers[x->resp.n_headers++] =
		(struct httpc_header) { str_dup(x->a, str_trim(name)),
					str_dup(x->a, str_trim(value)) };
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
	struct httpc_exchange *x = arg;
	struct str line = str_make(p, n);
	struct err *e = NULL;

	x->active = clock_now();
	x->header_bytes += n;
	if (x->header_bytes > LIMIT_HTTP_HEADERS)
		return fail(x, err_new(ERR_RESOURCE_EXHAUSTED,
				       "response headers exceeded %zu bytes", LIMIT_HTTP_HEADERS));
	if (x->head_done)
		return n; /* a trailer */
	if (str_has_prefix(line, STR("HTTP/")) && !x->in_head)
		begin_head(x, str_trim(line));
	else if (!str_trim(line).len)
		e = end_head(x);
	else
		add_header(x, str_trim(line));
	return e ? fail(x, e) : n;
}

static void keep(struct httpc_exchange *x, const char *p, size_t n)
{
	size_t room = x->kept.max - x->kept.len;

	if (n > room) {
		x->resp.body_cut = x->enough = true;
		n = room;
	}
	buf_add(&x->kept, p, n);
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
	struct httpc_exchange *x = arg;
	struct err *e = NULL;

	if (!x->skip_body && x->rq->on_body && (x->rq->body_always || x->resp.status / 100 == 2))
		e = x->rq->on_body(x->rq->arg, p, n);
	else if (!x->skip_body)
		keep(x, p, n);
	else if ((x->skipped += n) > ERROR_BODY_MAX)
		x->enough = true; /* a new connection costs less */
	x->active = clock_now();
	if (e)
		(void)fail(x, e);
	return e || x->enough ? CURL_WRITEFUNC_ERROR : n;
}

static size_t on_send(char *p, size_t size, size_t n, void *arg)
{
	struct httpc_exchange *x = arg;
	struct err *e;
	size_t got = 0;

	n *= size;
	if (x->body) {
		e = reader_read(x->body, p, n, &got);
		if (e) {
			(void)fail(x, e);
			return CURL_READFUNC_ABORT;
		}
	} else {
		got = MIN(n, x->rq->body.len - x->body_at);
		if (got)
			memcpy(p, x->rq->body.ptr + x->body_at, got);
		x->body_at += got;
	}
	if (!got)
		x->sent_all = true;
	x->active = clock_now();
	return got;
}

static struct err *open_body(struct httpc_exchange *x)
{
	struct err *e;

	reader_close(x->body);
	x->body = NULL;
	x->body_at = 0;
	if (!x->with_body || !x->rq->open_body)
		return NULL;
	e = x->rq->open_body(x->rq->arg, &x->body);
	x->own_error |= e != NULL;
	return e;
}

/* Back to the start, when a kept connection turns out to be dead. */
static int on_seek(void *arg, curl_off_t offset, int origin)
{
	struct httpc_exchange *x = arg;
	struct err *e;

	if (offset != 0 || origin != SEEK_SET)
		return CURL_SEEKFUNC_CANTSEEK;
	e = open_body(x);
	if (!e)
		return CURL_SEEKFUNC_OK;
	(void)fail(x, e);
	return CURL_SEEKFUNC_FAIL;
}

static curl_socket_t on_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *addr)
{
	struct httpc_exchange *x = arg;

	if (!x->have_peer && addr->addrlen <= sizeof(x->peer)) {
		memcpy(&x->peer, &addr->addr, addr->addrlen);
		x->have_peer = true;
	}
	if (x->c->dial)
		return x->c->dial(x->c->dial_arg, addr->family, addr->socktype | SOCK_CLOEXEC,
				  addr->protocol);
	return socket(addr->family, addr->socktype | SOCK_CLOEXEC, addr->protocol);
}

static void on_cancel(void *arg)
{
	(void)curl_multi_wakeup(arg);
}

/* ---- set-up ---- */

static struct err *add_line(struct curl_slist **list, struct str name, struct str value)
{
	SCOPED_ARENA(a);
	char *line = arena_printf(&a, "%.*s%s%.*s", STR_ARG(name), value.len ? ": " : ";",
				  STR_ARG(value));
	struct curl_slist *l;

	if (strpbrk(line, "\r\n") || str_find(name, ':') >= 0 || !name.len)
		return err_new(ERR_INVALID_ARGUMENT,
			       "net/http: invalid header field value for "
			       "\"%.*s\"",
			       STR_ARG(name));
	l = curl_slist_append(*list, line);
	if (!l)
		abort();
	*list = l;
	return NULL;
}

static struct err *make_headers(struct httpc_exchange *x, struct curl_slist **ret)
{
	const struct httpc_request *rq = x->rq;
	struct curl_slist *l = curl_slist_append(NULL, "Expect:");

	*ret = l;
	if (!l)
		abort();
	for (size_t i = 0; i < rq->n_headers; i++) {
		struct str name = rq->headers[i].name;

		if (!x->same_origin && (str_eq_nocase(name, STR("Authorization")) ||
					str_eq_nocase(name, STR("Cookie"))))
			continue;
		if (!x->with_body && str_eq_nocase(name, STR("Content-Type")))
			continue;
		TRY(add_line(ret, name, rq->headers[i].value));
	}
	return NULL;
}

static void set_method(struct httpc_exchange *x, CURL *h)
{
	const struct httpc_request *rq = x->rq;
	int64_t size = !x->with_body ? 0 : rq->open_body ? rq->body_size : (int64_t)rq->body.len;

	if (strcmp(x->method, "HEAD") == 0) {
		(void)curl_easy_setopt(h, CURLOPT_NOBODY, 1L);
		return;
	}
	if (strcmp(x->method, "GET") == 0) {
		(void)curl_easy_setopt(h, CURLOPT_HTTPGET, 1L);
		return;
	}
	(void)curl_easy_setopt(h, CURLOPT_UPLOAD, 1L);
	(void)curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, x->method);
	(void)curl_easy_setopt(h, CURLOPT_INFILESIZE_LARGE, (curl_off_t)size);
	(void)curl_easy_setopt(h, CURLOPT_READFUNCTION, on_send);
	(void)curl_easy_setopt(h, CURLOPT_READDATA, x);
	(void)curl_easy_setopt(h, CURLOPT_SEEKFUNCTION, on_seek);
	(void)curl_easy_setopt(h, CURLOPT_SEEKDATA, x);
	(void)curl_easy_setopt(h, CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BUFFER_SIZE);
}

static void set_tls(struct httpc_exchange *x, CURL *h)
{
	const struct httpc_tls *t = x->rq->tls;

	if (x->c->ca_file)
		(void)curl_easy_setopt(h, CURLOPT_CAINFO, x->c->ca_file);
	if (x->c->ca_dir)
		(void)curl_easy_setopt(h, CURLOPT_CAPATH, x->c->ca_dir);
	if (!t)
		return;
	if (t->insecure) {
		(void)curl_easy_setopt(h, CURLOPT_SSL_VERIFYPEER, 0L);
		(void)curl_easy_setopt(h, CURLOPT_SSL_VERIFYHOST, 0L);
	} else if (t->ca_pem.len) {
		struct curl_blob blob = { (void *)t->ca_pem.ptr, t->ca_pem.len, CURL_BLOB_NOCOPY };

		(void)curl_easy_setopt(h, CURLOPT_CAINFO_BLOB, &blob);
	}
	if (x->keypair < t->n_keypairs) {
		(void)curl_easy_setopt(h, CURLOPT_SSLCERT, t->keypairs[x->keypair].cert);
		(void)curl_easy_setopt(h, CURLOPT_SSLKEY, t->keypairs[x->keypair].key);
	}
}

static void set_options(struct httpc_exchange *x, CURL *h, struct curl_slist *headers, char *text)
{
	(void)curl_easy_setopt(h, CURLOPT_URL, str_cstr(x->a, x->url));
	(void)curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
	(void)curl_easy_setopt(h, CURLOPT_PATH_AS_IS, 1L);
	(void)curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(h, CURLOPT_SHARE, httpc_share(x->c));
	(void)curl_easy_setopt(h, CURLOPT_ERRORBUFFER, text);
	(void)curl_easy_setopt(h, CURLOPT_USERAGENT, x->c->user_agent);
	(void)curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers);
	(void)curl_easy_setopt(h, CURLOPT_HTTP_VERSION,
			       x->rq->http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1);
	(void)curl_easy_setopt(h, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	(void)curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, DIAL_MS);
	(void)curl_easy_setopt(h, CURLOPT_TCP_KEEPALIVE, 1L);
	(void)curl_easy_setopt(h, CURLOPT_BUFFERSIZE, BUFFER_SIZE);
	(void)curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, on_header);
	(void)curl_easy_setopt(h, CURLOPT_HEADERDATA, x);
	(void)curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
	(void)curl_easy_setopt(h, CURLOPT_WRITEDATA, x);
	(void)curl_easy_setopt(h, CURLOPT_OPENSOCKETFUNCTION, on_socket);
	(void)curl_easy_setopt(h, CURLOPT_OPENSOCKETDATA, x);
	set_method(x, h);
	set_tls(x, h);
	httpc_set_proxy(h, x->url);
}

/* ---- running ---- */

/* What no byte has moved for too long says, or NULL. */
static struct err *check_stall(struct httpc_exchange *x)
{
	curl_off_t connected = 0, secured = 0, pre = 0;
	int64_t now = clock_now(), limit = STALL_NS;

	(void)curl_easy_getinfo(x->cd->easy, CURLINFO_CONNECT_TIME_T, &connected);
	(void)curl_easy_getinfo(x->cd->easy, CURLINFO_APPCONNECT_TIME_T, &secured);
	(void)curl_easy_getinfo(x->cd->easy, CURLINFO_PRETRANSFER_TIME_T, &pre);
	if (connected > 0 && !x->connected)
		x->connected = x->active = now;
	if (x->connected && !secured && !pre && str_has_prefix(x->url, STR("https:")) &&
	    now - x->connected > TLS_NS)
		return err_new(ERR_UNKNOWN, "net/http: TLS handshake timeout");
	if (x->rq->stall_ns)
		limit = x->rq->stall_ns;
	else if (x->sent_all && !x->head_done)
		limit = ANSWER_NS;
	if (now - x->active > limit)
		return err_new(ERR_UNKNOWN,
			       x->head_done ? "transfer stalled: i/o timeout"
					    : "net/http: timeout awaiting response headers");
	return NULL;
}

static int wait_ms(struct ctx *ctx)
{
	int64_t deadline = ctx_deadline(ctx), left;

	if (!deadline)
		return TICK_MS;
	left = (deadline - clock_now()) / NSEC_PER_MSEC + 1;
	return left < 0 ? 0 : left > TICK_MS ? TICK_MS : (int)left;
}

static struct err *pump(struct httpc_exchange *x, enum httpc_failure *failure)
{
	struct ctx_watch watch;
	struct err *e = NULL;
	int running = 1;

	(void)ctx_watch(x->ctx, &watch, on_cancel, x->cd->multi);
	while (!e) {
		if (ctx_done(x->ctx)) {
			e = ctx_err(x->ctx);
			break;
		}
		if (curl_multi_perform(x->cd->multi, &running) != CURLM_OK)
			e = err_new(ERR_INTERNAL, "curl_multi_perform failed");
		if (!running || e)
			break;
		e = check_stall(x);
		if (e)
			*failure = HTTPC_TIMEOUT;
		else if (curl_multi_poll(x->cd->multi, NULL, 0, wait_ms(x->ctx), NULL) != CURLM_OK)
			e = err_new(ERR_INTERNAL, "curl_multi_poll failed");
	}
	ctx_unwatch(x->ctx, &watch);
	return e;
}

static struct err *result(struct httpc_exchange *x, const char *text, enum httpc_failure *failure)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(x->cd->multi, &left))) {
		if (m->msg != CURLMSG_DONE)
			continue;
		if (x->err)
			return TAKE_PTR(x->err);
		if (m->data.result == CURLE_OK || x->enough)
			return NULL;
		return httpc_curl_error(x, m->data.result, text, failure);
	}
	return err_new(ERR_INTERNAL, "curl has no result");
}

static char *conduit_key(struct httpc_exchange *x)
{
	struct str url = x->url, rest;
	const struct httpc_tls *t = x->rq->tls;
	ptrdiff_t at = str_find_str(url, STR("//"));

	rest = str_sub(url, (size_t)at + 2, url.len);
	at = str_find(rest, '/');
	if (at >= 0)
		url.len -= rest.len - (size_t)at;
	return arena_printf(x->a, "%.*s %d %s", STR_ARG(url), x->rq->http2,
			    t && t->id ? t->id : "");
}

static size_t kept_max(const struct httpc_request *rq)
{
	if (rq->on_body)
		return ERROR_BODY_MAX;
	return rq->max_body ? rq->max_body : LIMIT_HTTP_BODY;
}

struct err *httpc_exchange_run(struct httpc_exchange *x, enum httpc_failure *failure)
{
	struct curl_slist *headers = NULL;
	char text[CURL_ERROR_SIZE] = "";
	struct err *e;

	*failure = HTTPC_OTHER;
	x->started = x->active = clock_now();
	x->connected = 0;
	x->have_peer = x->in_head = x->head_done = x->skip_body = x->sent_all = false;
	x->enough = false;
	x->header_bytes = x->skipped = 0;
	x->resp = (struct httpc_response) { .headers = x->resp.headers };
	x->location = STR_NONE;
	e = make_headers(x, &headers);
	if (!e)
		e = open_body(x);
	if (e) {
		curl_slist_free_all(headers);
		return e;
	}
	buf_init(&x->kept, kept_max(x->rq));
	x->cd = httpc_conduit_get(x->c, conduit_key(x));
	set_options(x, x->cd->easy, headers, text);
	if (curl_multi_add_handle(x->cd->multi, x->cd->easy) != CURLM_OK)
		abort();
	e = pump(x, failure);
	if (!e)
		e = result(x, text, failure);
	(void)curl_multi_remove_handle(x->cd->multi, x->cd->easy);
	/* The list and buffers of this call must not be seen by the next. */
	curl_easy_reset(x->cd->easy);
	httpc_conduit_put(x->c, x->cd, !e && !x->enough);
	curl_slist_free_all(headers);
	reader_close(x->body);
	x->body = NULL;
	err_free(x->err);
	x->err = NULL;
	if (!e)
		x->resp.body = str_dup(x->a, buf_str(&x->kept));
	buf_fini(&x->kept);
	return e;
}
