/* Amazon S3 and what speaks its REST API. */
#include "remotecache/objstore.h"

#include "base/limits.h"
#include "base/mem.h"
#include "remotecache/sign.h"

#define HEADERS_MAX 8
#define PUT_MAX ((int64_t)5 * 1024 * 1024 * 1024) /* of one request, put or copied */

struct s3 {
	struct objstore base;
	struct sigv4 key;
	struct str token, bucket;
	struct str scheme, host, path; /* path: with the bucket, if it goes there */
	int64_t attempts;
};

static struct s3 *of(struct objstore *s)
{
	return container_of(s, struct s3, base);
}

struct call {
	const char *operation, *method;
	struct str key;
	const struct objbody *body;
	struct str copy_of; /* "bucket/key", or empty */
	struct err *(*on_body)(void *arg, const void *p, size_t len);
	void *arg;
};

static size_t signed_headers(struct s3 *s, struct arena *a, const struct call *c, struct str hash,
			     struct sign_header *h)
{
	size_t n = 0;

	h[n++] = (struct sign_header) { "host", s->host };
	h[n++] = (struct sign_header) { "x-amz-content-sha256", hash };
	if (c->copy_of.len)
		h[n++] = (struct sign_header) { "x-amz-copy-source", sign_path(a, c->copy_of) };
	h[n++] = (struct sign_header) { "x-amz-date", s->key.time };
	if (c->copy_of.len) {
		h[n++] = (struct sign_header) { "x-amz-meta-updated-at", s->key.time };
		h[n++] = (struct sign_header) { "x-amz-metadata-directive", STR("REPLACE") };
	}
	if (s->token.len)
		h[n++] = (struct sign_header) { "x-amz-security-token", s->token };
	return n;
}

static struct err *try_once(struct s3 *store, struct ctx *ctx, struct arena *a,
			    const struct call *c, struct httpc_response *ret)
{
	struct s3 s = *store; /* with this request's time */
	struct digest sum = c->body ? c->body->sha256 : digest_sha256(STR_NONE);
	struct str hash = str_from(digest_hex(&sum, a));
	struct str path = sign_path(
		a, str_from(arena_printf(a, "%.*s/%.*s", STR_ARG(s.path), STR_ARG(c->key))));
	struct sign_header sh[HEADERS_MAX];
	struct httpc_header h[HEADERS_MAX];
	struct httpc_request rq = {
		.method = c->method,
		.url = str_from(arena_printf(a, "%.*s://%.*s%.*s", STR_ARG(s.scheme),
					     STR_ARG(s.host), STR_ARG(path))),
		.headers = h,
		.on_body = c->on_body,
		.arg = c->arg,
	};
	size_t n;

	/* A blob's digest may be of another kind. */
	if (sum.algo != DIGEST_SHA256)
		hash = STR("UNSIGNED-PAYLOAD");
	s.key.time = sigv4_time(a, clock_wall());
	n = signed_headers(&s, a, c, hash, sh);
	h[0] = (struct httpc_header) {
		STR("Authorization"),
		sigv4_authorization(a, &s.key, c->method, path, STR_NONE, sh, n, hash),
	};
	/* The host is the client's to send. */
	for (size_t i = 1; i < n; i++)
		h[i] = (struct httpc_header) { str_from(sh[i].name), sh[i].value };
	rq.n_headers = n;
	if (c->body) {
		rq.open_body = objbody_open;
		rq.body_size = objbody_size(c->body);
		rq.arg = (void *)c->body;
	}
	return httpc_do(store->base.http, ctx, a, &rq, ret);
}

/* Something that may pass. A download that has begun is not repeated. */
static bool may_pass(const struct call *c, const struct err *e, const struct httpc_response *r)
{
	if (e)
		return !c->on_body;
	return r->status >= 500 || r->status == 429;
}

static struct err *do_call(struct s3 *s, struct ctx *ctx, struct arena *a, const struct call *c,
			   struct httpc_response *ret)
{
	int64_t delay = NSEC_PER_SEC / 2;
	struct err *e;

	for (int64_t i = 1;; i++, delay *= 2) {
		*ret = (struct httpc_response) { 0 };
		e = try_once(s, ctx, a, c, ret);
		if (i >= s->attempts || ctx_done(ctx) || !may_pass(c, e, ret))
			break;
		err_free(e);
		TRY(ctx_sleep(ctx, MIN(delay, 20 * NSEC_PER_SEC)));
	}
	return err_wrap(e, "operation error S3: %s, https response error", c->operation);
}

/* <Code>NoSuchKey</Code> */
static struct str element(const struct httpc_response *r, const char *name, struct arena *a)
{
	struct str open = str_from(arena_printf(a, "<%s>", name));
	ptrdiff_t at = str_find_str(r->body, open);
	struct str rest;

	if (at < 0)
		return STR_NONE;
	rest = str_sub(r->body, (size_t)at + open.len, r->body.len);
	at = str_find_str(rest, STR("</"));
	return at < 0 ? STR_NONE : str_sub(rest, 0, (size_t)at);
}

static struct err *refused(const struct call *c, const struct httpc_response *r, struct arena *a)
{
	struct str code = element(r, "Code", a), text = element(r, "Message", a);

	if (!code.len)
		code = r->status_text;
	return err_new(ERR_UNKNOWN,
		       "operation error S3: %s, https response error StatusCode: %d, RequestID: "
		       "%.*s, HostID: , api error %.*s: %.*s",
		       c->operation, r->status, STR_ARG(httpc_header_get(r, "x-amz-request-id")),
		       STR_ARG(code), STR_ARG(text));
}

/* ---- objects ---- */

static struct err *s3_stat(struct objstore *s, struct ctx *ctx, struct str key, struct objstat *ret)
{
	struct call c = { .operation = "HeadObject", .method = "HEAD", .key = key };
	struct httpc_response r;
	SCOPED_ARENA(a);
	int64_t size;

	*ret = (struct objstat) { 0 };
	TRY(do_call(of(s), ctx, &a, &c, &r));
	if (r.status == 404)
		return NULL;
	if (r.status / 100 != 2)
		return refused(&c, &r, &a);
	ret->found = true;
	if (!httpc_date(httpc_header_get(&r, "Last-Modified"), &ret->modified_ns))
		ret->modified_ns = 0;
	if (str_to_i64(httpc_header_get(&r, "Content-Length"), &size))
		ret->size = size;
	return NULL;
}

static struct err *s3_get(struct objstore *s, struct ctx *ctx, struct str key,
			  struct err *(*on_body)(void *arg, const void *p, size_t len), void *arg,
			  bool *ret_found)
{
	struct call c = { .operation = "GetObject",
			  .method = "GET",
			  .key = key,
			  .on_body = on_body,
			  .arg = arg };
	struct httpc_response r;
	SCOPED_ARENA(a);

	TRY(do_call(of(s), ctx, &a, &c, &r));
	*ret_found = r.status != 404;
	if (r.status == 404 && !str_eq_cstr(element(&r, "Code", &a), "NoSuchBucket"))
		return NULL;
	return r.status / 100 == 2 ? NULL : refused(&c, &r, &a);
}

static struct err *s3_put(struct objstore *s, struct ctx *ctx, struct str key,
			  const struct objbody *body, bool fresh)
{
	struct call c = { .operation = "PutObject", .method = "PUT", .key = key, .body = body };
	struct httpc_response r;
	SCOPED_ARENA(a);

	if (objbody_size(body) > PUT_MAX)
		return err_new(ERR_UNIMPLEMENTED,
			       "%.*s: an object of more than 5 GiB is not supported", STR_ARG(key));
	TRY(do_call(of(s), ctx, &a, &c, &r));
	return r.status / 100 == 2 ? NULL : refused(&c, &r, &a);
}

static struct err *s3_touch(struct objstore *s, struct ctx *ctx, struct str key, int64_t size)
{
	struct objbody none = { .sha256 = digest_sha256(STR_NONE) };
	struct call c = { .operation = "CopyObject", .method = "PUT", .key = key, .body = &none };
	struct httpc_response r;
	SCOPED_ARENA(a);

	/* That would take a copy in parts; it only ages. */
	if (size >= PUT_MAX)
		return NULL;
	c.copy_of = str_from(arena_printf(&a, "%.*s/%.*s", STR_ARG(of(s)->bucket), STR_ARG(key)));
	TRY(do_call(of(s), ctx, &a, &c, &r));
	return r.status / 100 == 2 ? NULL : refused(&c, &r, &a);
}

static void s3_free(struct objstore *s)
{
	arena_fini(&s->arena);
	free(of(s));
}

static const struct objstore_ops ops = {
	.stat = s3_stat,
	.get = s3_get,
	.put = s3_put,
	.touch = s3_touch,
	.free = s3_free,
};

/* ---- settings ---- */

static struct err *positive(struct str text, const char *what, int64_t *ret)
{
	if (text.ptr && (!str_to_i64(text, ret) || *ret < 1))
		return err_new(ERR_UNKNOWN, "%s must be a positive integer", what);
	return NULL;
}

static struct err *configure_place(struct s3 *s, const struct objstore_attr *attrs, size_t n)
{
	struct arena *a = &s->base.arena;
	struct str url = objstore_setting(a, attrs, n, "endpoint_url", NULL, "");
	struct str style = objstore_setting(a, attrs, n, "use_path_style", NULL, "");
	bool in_path = false;

	(void)str_to_bool(style, &in_path);
	if (!url.len) {
		in_path = false;
		url = str_from(
			arena_printf(a, "https://s3.%.*s.amazonaws.com%s", STR_ARG(s->key.region),
				     str_has_prefix(s->key.region, STR("cn-")) ? ".cn" : ""));
	}
	TRY(sign_split_url(a, url, &s->scheme, &s->host, &s->path));
	if (in_path)
		s->path = str_from(
			arena_printf(a, "%.*s/%.*s", STR_ARG(s->path), STR_ARG(s->bucket)));
	else
		s->host = str_from(
			arena_printf(a, "%.*s.%.*s", STR_ARG(s->bucket), STR_ARG(s->host)));
	return NULL;
}

static struct err *configure_keys(struct s3 *s, const struct objstore_attr *attrs, size_t n)
{
	struct arena *a = &s->base.arena;

	s->key.key_id = objstore_setting(a, attrs, n, "access_key_id", NULL, "");
	s->key.secret = objstore_setting(a, attrs, n, "secret_access_key", NULL, "");
	s->token = objstore_setting(a, attrs, n, "session_token", NULL, "");
	if (s->key.key_id.len && s->key.secret.len)
		return NULL;
	s->key.key_id = objstore_setting(a, NULL, 0, "", "AWS_ACCESS_KEY_ID", "");
	s->key.secret = objstore_setting(a, NULL, 0, "", "AWS_SECRET_ACCESS_KEY", "");
	s->token = objstore_setting(a, NULL, 0, "", "AWS_SESSION_TOKEN", "");
	if (s->key.key_id.len && s->key.secret.len)
		return NULL;
	return err_new(
		ERR_UNIMPLEMENTED,
		"s3 cache without access_key_id and secret_access_key (or their variables in "
		"the environment) is not supported");
}

static struct err *configure(struct s3 *s, const struct objstore_attr *attrs, size_t n)
{
	struct arena *a = &s->base.arena;
	struct str prefix, mode, age;
	int64_t parallel = 4;

	s->bucket = objstore_setting(a, attrs, n, "bucket", "AWS_BUCKET", NULL);
	if (!s->bucket.ptr)
		return err_new(ERR_UNKNOWN, "bucket ($AWS_BUCKET) not set for s3 cache");
	s->key.region = objstore_setting(a, attrs, n, "region", "AWS_REGION", NULL);
	if (!s->key.region.ptr)
		return err_new(ERR_UNKNOWN, "region ($AWS_REGION) not set for s3 cache");
	prefix = objstore_setting(a, attrs, n, "prefix", NULL, "");
	s->base.manifests = str_from(arena_printf(
		a, "%.*s%.*s", STR_ARG(prefix),
		STR_ARG(objstore_setting(a, attrs, n, "manifests_prefix", NULL, "manifests/"))));
	s->base.blobs = str_from(arena_printf(
		a, "%.*s%.*s", STR_ARG(prefix),
		STR_ARG(objstore_setting(a, attrs, n, "blobs_prefix", NULL, "blobs/"))));
	objstore_names(&s->base, objstore_setting(a, attrs, n, "name", NULL, "buildkit"));
	s->base.touch_age_ns = 24 * 3600 * NSEC_PER_SEC;
	age = objstore_setting(a, attrs, n, "touch_refresh", NULL, "");
	if (age.len)
		(void)clock_parse_duration(age, &s->base.touch_age_ns);
	TRY(positive(objstore_setting(a, attrs, n, "upload_parallelism", NULL, NULL),
		     "upload_parallelism", &parallel));
	s->base.parallel = (size_t)parallel;
	mode = objstore_setting(a, attrs, n, "retry_mode", NULL, NULL);
	if (mode.ptr && !str_eq_cstr(mode, "standard") && !str_eq_cstr(mode, "adaptive"))
		return err_new(ERR_UNKNOWN, "retry_mode must be \"standard\" or \"adaptive\"");
	s->attempts = 3;
	TRY(positive(objstore_setting(a, attrs, n, "retry_max_attempts", NULL, NULL),
		     "retry_max_attempts", &s->attempts));
	TRY(configure_place(s, attrs, n));
	return configure_keys(s, attrs, n);
}

struct err *objstore_s3(struct httpc *http, const struct objstore_attr *attrs, size_t n,
			struct objstore **ret)
{
	struct s3 *s = NEW(struct s3);
	struct err *e;

	objstore_init(&s->base, &ops, http);
	e = configure(s, attrs, n);
	if (e) {
		objstore_unref(&s->base);
		return e;
	}
	*ret = &s->base;
	return NULL;
}
