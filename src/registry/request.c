#include "registry/request.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "registry/scope.h"

#define DELAY_MAX_NS (10 * NSEC_PER_SEC)
#define DELAY_BUSY_NS (500 * NSEC_PER_MSEC) /* after the first 429, doubled each time */
#define DELAY_FAILED_NS (100 * NSEC_PER_MSEC)
#define TRIES_BUSY 5
#define TRIES_FAILED 2
#define TRIES_BROKEN 3

/* ---- targets ---- */

static struct host_state *state_of(struct registry *r, struct str host)
{
	struct host_state *s;

	LOCKED(&r->lock);
	s = map_get(&r->states, host);
	if (!s) {
		s = NEW(struct host_state);
		limiter_init(&s->limiter, r->max);
		(void)map_put(&r->states, host, s);
	}
	return s;
}

void reg_target_init(struct reg_target *t, struct registry *r, struct arena *a,
		     const struct endpoint *ep, const struct registry_auth *auth, struct str path,
		     bool push, struct str from)
{
	struct str *merged;
	size_t n = 1;

	*t = (struct reg_target) { .r = r, .ep = ep, .state = state_of(r, ep->host), .path = path };
	t->scopes[0] = str_from(
		arena_printf(a, "repository:%.*s:pull%s", STR_ARG(path), push ? ",push" : ""));
	if (from.len)
		t->scopes[n++] = str_from(arena_printf(a, "repository:%.*s:pull", STR_ARG(from)));
	scope_merge(a, t->scopes, n, &merged, &n);
	t->want = (struct auth_want) { ep, auth, merged, n };
}

struct str reg_url(const struct reg_target *t, struct arena *a, const char *what, struct str rest)
{
	struct str url = str_from(arena_printf(a, "%.*s/%.*s/%s%.*s", STR_ARG(t->ep->base),
					       STR_ARG(t->path), what, STR_ARG(rest)));

	return t->ep->ns.len ? httpc_url_add(a, url, "ns", t->ep->ns) : url;
}

/* ---- one try ---- */

struct attempt {
	const struct reg_target *t;
	struct reg_request *rq;
	const struct httpc_request *orig;
	bool head_seen; /* the answer has begun: no second try from here */
};

static struct err *on_head(void *arg, const struct httpc_response *head)
{
	struct attempt *at = arg;

	if (head->status / 100 == 2)
		at->head_seen = true;
	return at->orig->on_head ? at->orig->on_head(at->orig->arg, head) : NULL;
}

static struct err *on_body(void *arg, const void *p, size_t len)
{
	struct attempt *at = arg;

	return at->orig->on_body(at->orig->arg, p, len);
}

static struct err *open_body(void *arg, struct reader **ret)
{
	struct attempt *at = arg;

	return at->orig->open_body(at->orig->arg, ret);
}

static struct str plain_url(struct arena *a, struct str url)
{
	return str_from(arena_printf(a, "http%.*s", STR_ARG(str_sub(url, 5, url.len))));
}

/* Under the host's limit, in the scheme that it speaks. */
static struct err *exchange(struct attempt *at, struct ctx *ctx, struct arena *a,
			    struct httpc_request *h, struct httpc_response *ret,
			    enum httpc_failure *failure)
{
	struct host_state *s = at->t->state;
	bool may_fall = at->t->ep->try_plain && str_has_prefix(h->url, STR("https:")) &&
			httpc_same_origin(h->url, at->t->ep->base);
	struct str url = h->url;
	struct err *e;
	int slot;

	TRY(limiter_take(&s->limiter, ctx, at->rq->json, &slot));
	if (may_fall && atomic_load(&s->plain)) {
		h->url = plain_url(a, url);
		may_fall = false;
	}
	e = httpc_do(at->t->r->http, ctx, a, h, ret);
	if (e && may_fall && *failure == HTTPC_PLAIN_HTTP) {
		err_free(e);
		atomic_store(&s->plain, true);
		h->url = plain_url(a, url);
		e = httpc_do(at->t->r->http, ctx, a, h, ret);
	}
	limiter_give(&s->limiter, slot);
	h->url = url;
	return e;
}

/* Secrets go to the endpoint only, in either scheme where it may speak both. */
static bool is_ours(const struct reg_target *t, struct arena *a, struct str url)
{
	return httpc_same_origin(url, t->ep->base) ||
	       (t->ep->try_plain && httpc_same_origin(url, plain_url(a, t->ep->base)));
}

static size_t parse_challenges(struct arena *a, const struct httpc_response *r,
			       struct challenge out[CHALLENGES_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < r->n_headers; i++)
		if (str_eq_nocase(r->headers[i].name, STR("WWW-Authenticate")))
			challenge_parse(a, r->headers[i].value, out, &n);
	return n;
}

/* ---- tries ---- */

struct tries {
	int unauthorized, busy, failed, broken;
};

/* How long to wait before the next try, or -1. */
static int64_t delay_of(struct tries *n, const struct httpc_response *r)
{
	int64_t delay, asked;
	bool has_asked = httpc_retry_after(httpc_header_get(r, "Retry-After"), &asked);

	if (r->status == 429) {
		if (++n->busy >= TRIES_BUSY)
			return -1;
		delay = DELAY_BUSY_NS << (n->busy - 1);
	} else {
		if (++n->failed >= TRIES_FAILED)
			return -1;
		delay = DELAY_FAILED_NS;
	}
	if (has_asked)
		delay = asked;
	/* Who asks for more than that has to be asked again by the user. */
	return delay > DELAY_MAX_NS ? -1 : delay;
}

static struct err *try_auth(struct attempt *at, struct auth_entry *entry, struct ctx *ctx,
			    struct arena *a, const struct httpc_response *r, uint64_t serial,
			    int nth, bool *ret_retry)
{
	struct challenge ch[CHALLENGES_MAX];
	size_t n = parse_challenges(a, r, ch);
	struct err *e;

	e = auth_challenged(&at->t->r->auth, entry, &at->t->want, ctx, ch, n, serial, nth,
			    ret_retry);
	if (!e)
		return NULL;
	at->rq->denied = str_has_prefix(str_from(err_text(e)), STR("server message: "));
	return at->rq->denied ? e : err_wrap(e, "failed to authorize");
}

static struct err *run(struct attempt *at, struct auth_entry *entry, struct ctx *ctx,
		       struct arena *a, struct httpc_request *h, struct httpc_response *ret)
{
	struct tries n = { 0 };
	bool ours = is_ours(at->t, a, h->url), retry;
	struct httpc_header *auth = (struct httpc_header *)&h->headers[h->n_headers];
	size_t n_headers = h->n_headers;
	uint64_t serial = 0;
	int64_t delay;
	struct err *e;

	for (;;) {
		enum httpc_failure failure = HTTPC_OTHER;

		if (ours)
			TRYW(auth_header(&at->t->r->auth, entry, &at->t->want, ctx, a, &auth->value,
					 &serial),
			     "failed to authorize");
		h->n_headers = n_headers + (ours && auth->value.len);
		h->failure = &failure;
		e = exchange(at, ctx, a, h, ret, &failure);
		if (e) {
			at->rq->transient = failure == HTTPC_BROKEN || failure == HTTPC_TIMEOUT;
			if (failure != HTTPC_BROKEN || at->head_seen || ++n.broken >= TRIES_BROKEN)
				return failure == HTTPC_OTHER && at->head_seen
					       ? e
					       : err_wrap(e, "failed to do request");
			err_free(e);
			TRY(ctx_sleep(ctx, DELAY_FAILED_NS * n.broken));
			continue;
		}
		/* Another host's challenge must not move us to show what we have for this one. */
		if (ret->status == 401 && ours && is_ours(at->t, a, ret->url)) {
			TRY(try_auth(at, entry, ctx, a, ret, serial, ++n.unauthorized, &retry));
			if (!retry)
				return NULL;
			continue;
		}
		if (ret->status != 429 && ret->status / 100 != 5)
			return NULL;
		delay = delay_of(&n, ret);
		if (delay < 0)
			return NULL;
		TRY(ctx_sleep(ctx, delay));
	}
}

struct err *reg_do(const struct reg_target *t, struct ctx *ctx, struct arena *a,
		   struct reg_request *rq, struct httpc_response *ret)
{
	struct httpc_request h = rq->http;
	struct attempt at = { t, rq, &rq->http, false };
	struct httpc_header *headers = ARENA_NEW_N(a, struct httpc_header, h.n_headers + 1);
	struct auth_entry *entry;
	struct err *e;

	if (h.n_headers)
		memcpy(headers, h.headers, h.n_headers * sizeof(*headers));
	headers[h.n_headers].name = STR("Authorization");
	h.headers = headers;
	h.tls = t->ep->has_tls ? &t->ep->tls : NULL;
	h.arg = &at;
	h.on_head = on_head;
	h.on_body = h.on_body ? on_body : NULL;
	h.open_body = h.open_body ? open_body : NULL;
	rq->transient = rq->denied = false;
	entry = auth_get(&t->r->auth, &t->want);
	e = run(&at, entry, ctx, a, &h, ret);
	auth_put(&t->r->auth, entry);
	return e;
}

/* ---- what answers mean ---- */

struct err *reg_status_error(const struct httpc_response *r)
{
	return err_new(ERR_UNKNOWN, "unexpected status from %s request to %.*s: %.*s", r->method,
		       STR_ARG(r->url), STR_ARG(r->status_text));
}

/* The codes that the original knows by name, with the text that is left out when it is sent. */
static const struct {
	const char *code, *name, *text;
} known_codes[] = {
	{ "UNKNOWN", "unknown", "unknown error" },
	{ "UNSUPPORTED", "unsupported", "The operation is unsupported." },
	{ "UNAUTHORIZED", "unauthorized", "authentication required" },
	{ "DENIED", "denied", "requested access to the resource is denied" },
	{ "UNAVAILABLE", "unavailable", "service unavailable" },
	{ "TOOMANYREQUESTS", "toomanyrequests", "too many requests" },
};

static void add_error(struct buf *b, const json_t *e)
{
	struct str code = json_get_str(e, "code"), text = json_get_str(e, "message");
	size_t k = 0;

	for (size_t i = 0; i < ARRAY_SIZE(known_codes); i++)
		if (str_eq_cstr(code, known_codes[i].code))
			k = i;
	buf_add_cstr(b, known_codes[k].name);
	if (text.len && !str_eq_cstr(text, known_codes[k].text)) {
		buf_add_cstr(b, ": ");
		buf_add_str(b, text);
	}
}

struct str reg_body_errors(struct arena *a, struct str body)
{
	SCOPED_BUF(b, LIMIT_ERROR_TEXT);
	SCOPED_JSON(root);
	SCOPED_ERR(e);
	json_t *list, *item;
	size_t i, n;

	if (!str_has_prefix(str_trim(body), STR("{")))
		return STR_NONE;
	e = json_read(body, "errors", &root);
	if (e)
		return STR_NONE;
	list = json_object_get(root, "errors");
	n = json_array_size(list);
	if (n > 1)
		buf_add_cstr(&b, "errors:\n");
	json_array_foreach(list, i, item)
	{
		add_error(&b, item);
		if (n > 1)
			buf_add_char(&b, '\n');
	}
	return b.overflow ? STR_NONE : str_dup(a, buf_str(&b));
}

/* ---- kinds of content ---- */

bool reg_is_manifest(struct str media_type)
{
	return oci_is_manifest(media_type) || oci_is_index(media_type) ||
	       str_has_prefix(media_type,
			      STR("application/vnd.docker.distribution.manifest.v1+")) ||
	       str_eq_cstr(media_type, "application/vnd.oci.artifact.manifest.v1+json");
}

char *reg_ref_key(struct arena *a, const struct oci_descriptor *d)
{
	struct str t = d->media_type;
	const char *kind = "unknown";

	if (oci_is_index(t))
		kind = "index";
	else if (reg_is_manifest(t))
		kind = "manifest";
	else if (oci_is_layer(t))
		kind = "layer";
	else if (str_eq_cstr(t, OCI_CONFIG) || str_eq_cstr(t, DOCKER_CONFIG))
		kind = "config";
	else if (str_eq_cstr(t, "application/vnd.in-toto+json"))
		kind = "attestation";
	return arena_printf(a, "%s-%s", kind, digest_text(&d->digest, a));
}

char *reg_source_label(struct arena *a, struct str domain)
{
	struct str host = domain;
	ptrdiff_t at = str_rfind(domain, ':');

	if (at >= 0 && str_find(str_sub(domain, (size_t)at, domain.len), ']') < 0)
		host.len = (size_t)at;
	return arena_printf(a, "containerd.io/distribution.source.%.*s", STR_ARG(host));
}
