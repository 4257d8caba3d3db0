/* Fetching tokens: by the client where it can, else from the token server with GET (docker) or
 * POST (OAuth 2). */
#include "registry/auth.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "registry/request.h"
#include "registry/scope.h"

#define CLIENT_ID "buildkit-client"
#define EXPIRES_DEFAULT_S 60
#define TOKEN_ANSWER_MAX MIB

struct token_call {
	struct httpc *http;
	const struct auth_want *w;
	struct ctx *ctx;
	struct arena *a;
	struct str realm, service, user, secret;
	const struct str *scopes;
	size_t n_scopes;
};

static struct err *read_token(struct arena *a, const struct httpc_response *r, struct str *ret,
			      int64_t *ret_expires_s)
{
	SCOPED_JSON(root);
	struct err *e = json_read(r->body, "token", &root);
	struct str t;

	if (!e && r->body_cut)
		e = err_new(ERR_INVALID_ARGUMENT, "too large");
	if (e)
		return err_wrap(e, "unable to decode token response");
	t = json_get_str(root, "access_token");
	if (!t.len)
		t = json_get_str(root, "token");
	if (!t.len)
		return err_new(ERR_UNKNOWN,
			       "authorization server did not include a token in the response");
	*ret = str_dup(a, t);
	*ret_expires_s = json_get_int(root, "expires_in", 0);
	return NULL;
}

static void basic(struct token_call *t, struct buf *out)
{
	struct str both =
		str_from(arena_printf(t->a, "%.*s:%.*s", STR_ARG(t->user), STR_ARG(t->secret)));

	buf_add_cstr(out, "Basic ");
	base64_encode(out, both);
}

static const struct httpc_tls *tls_of(const struct token_call *t)
{
	return t->w->ep->has_tls ? &t->w->ep->tls : NULL;
}

static struct err *run(struct token_call *t, const struct httpc_request *rq, struct str *ret,
		       int64_t *ret_expires_s, int *ret_status)
{
	struct httpc_response r;

	*ret_status = 0;
	TRY(httpc_do(t->http, t->ctx, t->a, rq, &r));
	*ret_status = r.status;
	if (r.status < 200 || r.status >= 400)
		return reg_status_error(&r);
	return read_token(t->a, &r, ret, ret_expires_s);
}

static struct err *by_get(struct token_call *t, struct str *ret, int64_t *ret_expires_s,
			  int *ret_status)
{
	SCOPED_BUF(auth, MIB);
	struct httpc_header h;
	struct httpc_request rq = { .url = t->realm,
				    .tls = tls_of(t),
				    .max_body = TOKEN_ANSWER_MAX };

	for (size_t i = 0; i < t->n_scopes; i++)
		rq.url = httpc_url_add(t->a, rq.url, "scope", t->scopes[i]);
	if (t->service.len)
		rq.url = httpc_url_add(t->a, rq.url, "service", t->service);
	if (t->secret.len) {
		basic(t, &auth);
		TRY(buf_check(&auth, "credentials"));
		h = (struct httpc_header) { STR("Authorization"), buf_str(&auth) };
		rq.headers = &h;
		rq.n_headers = 1;
	}
	return run(t, &rq, ret, ret_expires_s, ret_status);
}

static void field(struct buf *b, const char *key, struct str value)
{
	if (b->len)
		buf_add_char(b, '&');
	buf_add_cstr(b, key);
	buf_add_char(b, '=');
	httpc_query_escape(b, value);
}

static struct err *by_post(struct token_call *t, struct str *ret, int64_t *ret_expires_s,
			   int *ret_status)
{
	static const struct httpc_header type = {
		STR("Content-Type"), STR("application/x-www-form-urlencoded; charset=utf-8")
	};
	SCOPED_BUF(form, 4 * MIB);
	struct httpc_request rq = { .method = "POST",
				    .url = t->realm,
				    .tls = tls_of(t),
				    .headers = &type,
				    .n_headers = 1,
				    .max_body = TOKEN_ANSWER_MAX };

	field(&form, "client_id", STR(CLIENT_ID));
	if (t->user.len) {
		field(&form, "grant_type", STR("password"));
		field(&form, "password", t->secret);
		field(&form, "username", t->user);
	} else {
		field(&form, "grant_type", STR("refresh_token"));
		field(&form, "refresh_token", t->secret);
	}
	if (t->n_scopes)
		field(&form, "scope", scope_join(t->a, t->scopes, t->n_scopes));
	field(&form, "service", t->service);
	TRY(buf_check(&form, "credentials"));
	rq.body = buf_str(&form);
	return run(t, &rq, ret, ret_expires_s, ret_status);
}

/* Docker's own server knows GET only, others POST only: the other way is tried when the first
 * is refused as such. */
static struct err *with_credentials(struct token_call *t, struct str *ret, int64_t *ret_expires_s)
{
	bool post_first = !t->user.len;
	struct err *e, *e2;
	int status;

	e = post_first ? by_post(t, ret, ret_expires_s, &status)
		       : by_get(t, ret, ret_expires_s, &status);
	if (e && (status == 401 || status == 404 || status == 405)) {
		e2 = post_first ? by_get(t, ret, ret_expires_s, &status)
				: by_post(t, ret, ret_expires_s, &status);
		err_free(e);
		e = e2;
	}
	return err_wrap(e, "failed to fetch oauth token");
}

struct err *auth_fetch_token(struct httpc *http, const struct auth_want *w, struct ctx *ctx,
			     struct arena *a, struct str realm, struct str service,
			     const struct str *scopes, size_t n_scopes, struct str *ret_token,
			     int64_t *ret_expires_s)
{
	struct token_call t = { http,    w,        ctx,      a,      realm,
				service, STR_NONE, STR_NONE, scopes, n_scopes };
	const struct registry_auth *auth = w->auth;
	bool supported = false;
	int status;

	*ret_expires_s = 0;
	if (auth && auth->token)
		TRY(auth->token(auth->arg, ctx, a, w->ep->host, realm, service, scopes, n_scopes,
				ret_token, ret_expires_s, &supported));
	if (!supported) {
		if (auth && auth->credentials)
			TRY(auth->credentials(auth->arg, ctx, a, w->ep->host, &t.user, &t.secret));
		if (!realm.len)
			return err_new(ERR_UNKNOWN, "no realm specified for token auth challenge");
		if (t.secret.len)
			TRY(with_credentials(&t, ret_token, ret_expires_s));
		else
			TRYW(by_get(&t, ret_token, ret_expires_s, &status),
			     "failed to fetch anonymous token");
	}
	if (*ret_expires_s <= 0)
		*ret_expires_s = EXPIRES_DEFAULT_S;
	*ret_expires_s = MIN(*ret_expires_s, (int64_t)86400 * 365);
	return NULL;
}
