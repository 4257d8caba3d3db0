#include "registry/httpc_impl.h"

#include "base/limits.h"
#include "base/mem.h"

#define REDIRECTS_MAX 10

bool httpc_is_redirect(int status)
{
	return (status >= 301 && status <= 303) || status == 307 || status == 308;
}

struct str httpc_header_get(const struct httpc_response *r, const char *name)
{
	for (size_t i = 0; i < r->n_headers; i++)
		if (str_eq_nocase(r->headers[i].name, str_from(name)))
			return r->headers[i].value;
	return STR_NONE;
}

/* Without the password, which the words of an error must not have. */
static struct str redact(struct arena *a, struct str url)
{
	ptrdiff_t from = str_find_str(url, STR("//")), end, at, colon;
	struct str rest;

	if (from < 0)
		return url;
	rest = str_sub(url, (size_t)from + 2, url.len);
	end = str_find(rest, '/');
	at = str_rfind(str_sub(rest, 0, end < 0 ? rest.len : (size_t)end), '@');
	colon = str_find(rest, ':');
	if (at < 0 || colon < 0 || colon > at)
		return url;
	return str_from(arena_printf(a, "%.*s:xxxxx%.*s", (int)(from + 2 + colon), url.ptr,
				     STR_ARG(str_sub(rest, (size_t)at, rest.len))));
}

/* `Get "URL": ` as Go's url.Error puts it: the method in title case. */
static struct err *name_request(struct err *e, struct arena *a, const char *method, struct str url)
{
	char name[16];
	size_t i;

	for (i = 0; method[i] && i < sizeof(name) - 1; i++)
		name[i] = i ? (char)(method[i] | 0x20) : method[i];
	name[i] = '\0';
	return err_wrap(e, "%s \"%.*s\"", name, STR_ARG(redact(a, url)));
}

static struct err *follow(struct httpc_exchange *x, const struct httpc_request *rq, int n)
{
	struct str next;
	int status = x->resp.status;

	if (n >= REDIRECTS_MAX)
		return err_new(ERR_UNKNOWN, "stopped after 10 redirects");
	TRYW(httpc_url_resolve(x->a, x->url, x->location, &next),
	     "failed to parse Location header \"%.*s\"", STR_ARG(x->location));
	if (!httpc_same_origin(x->url, next))
		x->same_origin = false; /* for good, also when it comes back */
	if (status <= 303 && strcmp(x->method, "HEAD") != 0) {
		x->method = "GET";
		x->with_body = false;
	}
	x->url = next;
	return NULL;
}

struct err *httpc_do(struct httpc *c, struct ctx *ctx, struct arena *a,
		     const struct httpc_request *rq, struct httpc_response *ret)
{
	enum httpc_failure none;
	enum httpc_failure *failure = rq->failure ? rq->failure : &none;
	struct httpc_exchange x = {
		.c = c,
		.ctx = ctx,
		.a = a,
		.rq = rq,
		.method = rq->method ? rq->method : "GET",
		.same_origin = true,
		.with_body = true,
		.following = !rq->no_redirect,
	};

	*failure = HTTPC_OTHER;
	TRY(httpc_url_resolve(a, rq->url, STR_NONE, &x.url));
	for (int n = 0;; n++) {
		struct err *e = httpc_exchange_run(&x, failure);

		while (e && *failure == HTTPC_CLIENT_CERT && rq->tls &&
		       x.keypair + 1 < rq->tls->n_keypairs) {
			x.keypair++;
			err_free(e);
			e = httpc_exchange_run(&x, failure);
		}

		if (!e && x.location.len)
			e = follow(&x, rq, n);
		else if (!e)
			break;
		if (e && x.own_error)
			return e;
		if (e)
			return name_request(e, a, x.method, x.url);
	}
	x.resp.method = x.method;
	*ret = x.resp;
	return NULL;
}
