/* One request of a step: check, fetch, answer, record. */
#include "netproxy/impl.h"

#include "base/limits.h"
#include "base/mem.h"

struct answer {
	struct exchange *x;
	struct hasher *hash;
	struct peer_body body;
	struct str shown;
	bool head_sent, chunked, close, no_body;
	bool peer_failed; /* the body did not get through to the step */
	int status;
	bool partial;
};

/* ---- records ---- */

static void record_request(struct answer *w, int status, struct str location)
{
	struct capture *c = w->x->proxy->cfg.capture;
	struct capture_request r = { w->x->rq->method, w->shown, STR_NONE, status };

	if (location.len) {
		struct err *e = httpc_url_resolve(w->x->a, w->x->url, location, &r.redirect);

		if (e)
			r.redirect = location;
		err_free(e);
		r.redirect = http1_shown_url(r.redirect, w->x->a);
	}
	capture_add_request(c, &r);
}

static void record_incomplete(struct answer *w, const char *reason)
{
	const struct capture_incomplete i = { w->x->rq->method, w->shown, reason };

	capture_add_incomplete(w->x->proxy->cfg.capture, &i);
}

/* Only a whole body of a plain GET says what the build has used. */
static void record_answer(struct answer *w, bool failed)
{
	struct capture_material m = { .url = w->shown };

	if (!str_eq_cstr(w->x->rq->method, "GET"))
		record_incomplete(w, "method_not_materializable");
	else if (http1_header(w->x->rq, "Range").len || w->status == 206)
		record_incomplete(w, "partial_response");
	else if (failed)
		record_incomplete(w, "body_read_failed");
	else if (w->status >= 400)
		record_incomplete(w, "unsuccessful_response");
	else if (w->status / 100 == 2) {
		m.digest = hasher_sum(w->hash);
		capture_add_material(w->x->proxy->cfg.capture, &m);
	}
}

/* ---- the answer as it comes ---- */

static struct err *peer_error(struct answer *w, struct err *e)
{
	w->peer_failed = w->peer_failed || e;
	return e;
}

static struct err *send_head(struct answer *w, const struct httpc_response *head)
{
	SCOPED_BUF(out, 2 * LIMIT_HTTP_HEADERS);
	const struct http1_request *rq = w->x->rq;
	struct str text = head->status_text, code;
	bool length = httpc_header_get(head, "Content-Length").len > 0;

	(void)str_cut(head->status_text, ' ', &code, &text);
	w->no_body = str_eq_cstr(rq->method, "HEAD") || head->status / 100 == 1 ||
		     head->status == 204 || head->status == 304;
	w->chunked = !w->no_body && !length && rq->minor;
	w->close = rq->close || (!w->no_body && !length && !rq->minor);
	buf_addf(&out, "HTTP/1.%d %d %.*s\r\n", rq->minor, head->status,
		 STR_ARG(text.len ? text : str_from(http1_status_text(head->status))));
	for (size_t i = 0; i < head->n_headers; i++)
		if (!http1_is_hop_by_hop(head->headers[i].name))
			buf_addf(&out, "%.*s: %.*s\r\n", STR_ARG(head->headers[i].name),
				 STR_ARG(head->headers[i].value));
	if (w->chunked)
		buf_add_cstr(&out, "Transfer-Encoding: chunked\r\n");
	if (w->close)
		buf_add_cstr(&out, "Connection: close\r\n");
	buf_add_cstr(&out, "\r\n");
	TRY(buf_check(&out, "response head"));
	w->head_sent = true;
	return peer_write(w->x->peer, buf_str(&out));
}

static struct err *on_head(void *arg, const struct httpc_response *head)
{
	struct answer *w = arg;

	w->status = head->status;
	record_request(w, head->status, httpc_header_get(head, "Location"));
	return peer_error(w, send_head(w, head));
}

static struct err *on_body(void *arg, const void *p, size_t n)
{
	struct answer *w = arg;
	char size[24];

	hasher_add(w->hash, p, n);
	if (w->no_body || !n)
		return NULL;
	if (w->chunked) {
		(void)snprintf(size, sizeof(size), "%zx\r\n", n);
		TRY(peer_error(w, peer_write(w->x->peer, str_from(size))));
	}
	TRY(peer_error(w, peer_write(w->x->peer, str_make(p, n))));
	return w->chunked ? peer_error(w, peer_write(w->x->peer, STR("\r\n"))) : NULL;
}

/* ---- the request as it goes on ---- */

static struct err *open_body(void *arg, struct reader **ret)
{
	struct answer *w = arg;

	/* It has gone: it can't be sent twice. */
	if (w->body.opened)
		return err_new(ERR_UNAVAILABLE, "connection lost while the request was sent");
	w->body.opened = true;
	*ret = &w->body.base;
	return NULL;
}

/* Those for the next one only. The host is the URL's unless the URL is the step's own. */
static void pass_headers(struct exchange *x, bool converted, struct httpc_request *out)
{
	const struct http1_request *rq = x->rq;
	struct httpc_header *h = ARENA_NEW_N(x->a, struct httpc_header, rq->n_headers + 1);
	struct str extra = http1_header(rq, "Connection");

	for (size_t i = 0; i < rq->n_headers; i++) {
		struct str name = rq->headers[i].name, rest = extra, one;
		bool drop = http1_is_hop_by_hop(name) ||
			    str_eq_nocase(name, STR("Accept-Encoding")) ||
			    str_eq_nocase(name, STR("Content-Length")) ||
			    str_eq_nocase(name, STR("Expect")) ||
			    (converted && str_eq_nocase(name, STR("Host")));

		while (rest.len && str_next(&rest, ',', &one))
			drop = drop || str_eq_nocase(str_trim(one), name);
		if (!drop)
			h[out->n_headers++] = rq->headers[i];
	}
	out->headers = h;
}

static struct err *fetch(struct answer *w, bool converted)
{
	struct exchange *x = w->x;
	struct httpc_request out = {
		.method = str_cstr(x->a, x->rq->method),
		.url = x->url,
		.no_redirect = true,
		.on_head = on_head,
		.on_body = on_body,
		.body_always = true,
		.arg = w,
	};
	struct httpc_response resp;

	if (str_eq_nocase(http1_header(x->rq, "Expect"), STR("100-continue")))
		TRY(peer_error(w, peer_write(x->peer, STR("HTTP/1.1 100 Continue\r\n\r\n"))));
	if (x->rq->length) {
		out.open_body = open_body;
		out.body_size = x->rq->length;
	}
	pass_headers(x, converted, &out);
	return httpc_do(x->proxy->client, x->peer->ctx, x->a, &out, &resp);
}

struct err *exchange_refuse(struct peer *p, int status, const char *text)
{
	SCOPED_BUF(b, LIMIT_ERROR_TEXT * 2);

	buf_addf(&b,
		 "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\n"
		 "Content-Length: %zu\r\nConnection: close\r\n\r\n%s\n",
		 status, http1_status_text(status), strlen(text) + 1, text);
	return peer_write(p, buf_str(&b));
}

/* A conversion by policy: of GET only. */
static struct err *check(struct exchange *x, bool *ret_converted)
{
	const struct netproxy_config *c = &x->proxy->cfg;
	struct str shown = http1_redacted_url(x->url, x->a), url = STR_NONE;

	*ret_converted = false;
	if (!c->check)
		return NULL;
	TRY(c->check(c->arg, x->peer->ctx, x->a, x->rq->method, shown, &url));
	if (!url.len || str_eq(url, shown))
		return NULL;
	if (!str_eq_cstr(x->rq->method, "GET"))
		return err_new(ERR_PERMISSION_DENIED,
			       "source policy converted proxy request \"%.*s\", but conversion is "
			       "only supported for GET",
			       STR_ARG(shown));
	if (!str_has_prefix(url, STR("http://")) && !str_has_prefix(url, STR("https://")))
		return err_new(ERR_PERMISSION_DENIED,
			       "source policy converted proxy request to unsupported URL \"%.*s\"",
			       STR_ARG(http1_redacted_url(url, x->a)));
	x->url = url;
	*ret_converted = true;
	return NULL;
}

static struct err *finish(struct answer *w, struct err *take_e, bool *ret_again)
{
	struct err *e = take_e;

	if (!e && w->chunked)
		e = peer_error(w, peer_write(w->x->peer, STR("0\r\n\r\n")));
	if (!w->head_sent && e && !w->peer_failed) {
		record_request(w, 502, STR_NONE);
		record_incomplete(w, "upstream_error");
		TRY(exchange_refuse(w->x->peer, 502, err_text(e)));
		err_free(e);
		return NULL;
	}
	if (w->status)
		record_answer(w, e != NULL);
	*ret_again = !e && !w->close && peer_body_skip(&w->body);
	return e;
}

struct err *exchange_run(struct exchange *x, bool *ret_again)
{
	CLEANUP(hasher_freep) struct hasher *hash = hasher_new(DIGEST_SHA256);
	struct answer w = { .x = x, .hash = hash };
	struct err *e;
	bool converted;

	*ret_again = false;
	e = check(x, &converted);
	if (e) {
		err_free(e);
		return exchange_refuse(x->peer, 403, "Forbidden");
	}
	w.shown = http1_shown_url(x->url, x->a);
	peer_body_init(&w.body, x->peer, x->rq);
	e = finish(&w, fetch(&w, converted), ret_again);
	peer_body_fini(&w.body);
	return e;
}
