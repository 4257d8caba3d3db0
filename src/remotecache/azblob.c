/* Azure Blob Storage (its REST API, "Blob service"), with a shared key. */
#include "remotecache/objstore.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/lock.h"
#include "base/mem.h"
#include "remotecache/sign.h"

#define API_VERSION "2021-12-02"
#define HEADERS_MAX 8

struct azblob {
	struct objstore base;
	struct str account, key, container;
	struct str scheme, host, path; /* of the account's URL */
	struct lock lock;
	bool container_ready;
};

static struct azblob *of(struct objstore *s)
{
	return container_of(s, struct azblob, base);
}

struct call {
	const char *method;
	struct str blob; /* "": the container */
	const struct objbody *body;
	bool fresh;
	struct err *(*on_body)(void *arg, const void *p, size_t len);
	void *arg;
};

static struct err *do_call(struct azblob *z, struct ctx *ctx, struct arena *a, const struct call *c,
			   struct httpc_response *ret)
{
	const struct sign_header query[] = { { "restype", STR("container") } };
	struct sign_header ms[3];
	struct httpc_header h[HEADERS_MAX];
	size_t n_ms = 0, n = 0;
	struct str path =
		str_from(arena_printf(a, "%.*s/%.*s%s%.*s", STR_ARG(z->path), STR_ARG(z->container),
				      c->blob.len ? "/" : "", STR_ARG(c->blob)));
	struct azure_request sign = {
		.method = c->method,
		.account = z->account,
		.key = z->key,
		.path = sign_path(a, path),
		.query = query,
		.n_query = !c->blob.len,
		.headers = ms,
		.length = c->body ? objbody_size(c->body) : 0,
		.if_none_match = c->fresh ? STR("*") : STR_NONE,
	};
	struct httpc_request rq = {
		.method = c->method,
		.url = str_from(arena_printf(a, "%.*s://%.*s%.*s%s", STR_ARG(z->scheme),
					     STR_ARG(z->host), STR_ARG(sign.path),
					     c->blob.len ? "" : "?restype=container")),
		.headers = h,
		.on_body = c->on_body,
		.arg = c->arg,
	};

	if (c->body && c->blob.len)
		ms[n_ms++] = (struct sign_header) { "x-ms-blob-type", STR("BlockBlob") };
	ms[n_ms++] = (struct sign_header) { "x-ms-date", azure_time(a, clock_wall()) };
	ms[n_ms++] = (struct sign_header) { "x-ms-version", STR(API_VERSION) };
	sign.n_headers = n_ms;
	for (size_t i = 0; i < n_ms; i++)
		h[n++] = (struct httpc_header) { str_from(ms[i].name), ms[i].value };
	if (c->fresh)
		h[n++] = (struct httpc_header) { STR("If-None-Match"), STR("*") };
	h[n++] = (struct httpc_header) { STR("Authorization"), azure_authorization(a, &sign) };
	rq.n_headers = n;
	if (c->body) {
		rq.open_body = objbody_open;
		rq.body_size = objbody_size(c->body);
		rq.arg = (void *)c->body;
	}
	return httpc_do(z->base.http, ctx, a, &rq, ret);
}

static struct str code_of(const struct httpc_response *r)
{
	return httpc_header_get(r, "x-ms-error-code");
}

static struct err *refused(const struct httpc_response *r)
{
	struct str code = code_of(r);

	return err_new(ERR_UNKNOWN, "%s %.*s: RESPONSE %d: %.*s, ERROR CODE: %.*s", r->method,
		       STR_ARG(r->url), r->status, STR_ARG(r->status_text), STR_ARG(code));
}

/* ---- the container ---- */

static struct err *make_container(struct azblob *z, struct ctx *ctx)
{
	struct objbody none = { .text = STR_NONE };
	struct call get = { .method = "GET" }, put = { .method = "PUT", .body = &none };
	struct httpc_response r;
	SCOPED_ARENA(a);

	TRYW(do_call(z, ctx, &a, &get, &r), "failed to get properties of cache container %.*s",
	     STR_ARG(z->container));
	if (r.status / 100 == 2)
		return NULL;
	if (r.status != 404)
		return err_wrap(refused(&r), "failed to get properties of cache container %.*s",
				STR_ARG(z->container));
	TRYW(do_call(z, ctx, &a, &put, &r), "failed to create cache container %.*s",
	     STR_ARG(z->container));
	/* Somebody else may be quicker. */
	if (r.status / 100 == 2 || str_eq_cstr(code_of(&r), "ContainerAlreadyExists"))
		return NULL;
	return err_wrap(refused(&r), "failed to create cache container %.*s",
			STR_ARG(z->container));
}

static struct err *ready(struct azblob *z, struct ctx *ctx)
{
	bool is;

	lock_take(&z->lock);
	is = z->container_ready;
	lock_drop(&z->lock);
	if (is)
		return NULL;
	TRYW(make_container(z, ctx), "failed to create container client");
	lock_take(&z->lock);
	z->container_ready = true;
	lock_drop(&z->lock);
	return NULL;
}

/* ---- objects ---- */

static struct err *az_stat(struct objstore *s, struct ctx *ctx, struct str key, struct objstat *ret)
{
	struct call c = { .method = "HEAD", .blob = key };
	struct httpc_response r;
	SCOPED_ARENA(a);

	*ret = (struct objstat) { 0 };
	TRY(ready(of(s), ctx));
	TRYW(do_call(of(s), ctx, &a, &c, &r), "failed to check blob %.*s existence", STR_ARG(key));
	if (r.status / 100 != 2 && r.status != 404)
		return err_wrap(refused(&r), "failed to check blob %.*s existence", STR_ARG(key));
	ret->found = r.status != 404;
	return NULL;
}

static struct err *az_get(struct objstore *s, struct ctx *ctx, struct str key,
			  struct err *(*on_body)(void *arg, const void *p, size_t len), void *arg,
			  bool *ret_found)
{
	struct call c = { .method = "GET", .blob = key, .on_body = on_body, .arg = arg };
	struct httpc_response r;
	SCOPED_ARENA(a);

	TRY(ready(of(s), ctx));
	TRY(do_call(of(s), ctx, &a, &c, &r));
	if (r.status / 100 != 2 && r.status != 404)
		return refused(&r);
	*ret_found = r.status != 404;
	return NULL;
}

static struct err *az_put(struct objstore *s, struct ctx *ctx, struct str key,
			  const struct objbody *body, bool fresh)
{
	struct call c = { .method = "PUT", .blob = key, .body = body, .fresh = fresh };
	struct httpc_response r;
	SCOPED_ARENA(a);

	TRY(ready(of(s), ctx));
	TRYW(do_call(of(s), ctx, &a, &c, &r), "failed to upload blob %.*s", STR_ARG(key));
	if (r.status / 100 == 2 || (fresh && str_eq_cstr(code_of(&r), "BlobAlreadyExists")))
		return NULL;
	return err_wrap(refused(&r), "failed to upload blob %.*s", STR_ARG(key));
}

static void az_free(struct objstore *s)
{
	struct azblob *z = of(s);

	lock_fini(&z->lock);
	arena_fini(&s->arena);
	free(z);
}

static const struct objstore_ops ops = {
	.stat = az_stat,
	.get = az_get,
	.put = az_put,
	.free = az_free,
};

/* ---- settings ---- */

static struct err *configure(struct azblob *z, const struct objstore_attr *attrs, size_t n)
{
	struct arena *a = &z->base.arena;
	struct str rest, prefix, secret;
	struct str url = objstore_setting(a, attrs, n, "account_url",
					  "BUILDKIT_AZURE_STORAGE_ACCOUNT_URL", NULL);

	if (!url.ptr)
		return err_new(ERR_UNKNOWN,
			       "either ${BUILDKIT_AZURE_STORAGE_ACCOUNT_URL} or account_url "
			       "attribute is required for azblob cache");
	TRYW(sign_split_url(a, url, &z->scheme, &z->host, &z->path),
	     "azure storage account url provided is not a valid url");
	z->account = objstore_setting(a, attrs, n, "account_name",
				      "BUILDKIT_AZURE_STORAGE_ACCOUNT_NAME", NULL);
	if (!z->account.ptr) {
		(void)str_cut(z->host, '.', &z->account, &rest);
		(void)str_cut(z->account, ':', &z->account, &rest);
	}
	if (!z->account.len)
		return err_new(ERR_UNKNOWN,
			       "unable to retrieve account name from account url or "
			       "${BUILDKIT_AZURE_STORAGE_ACCOUNT_NAME} or account_name attribute "
			       "for azblob cache");
	z->container = objstore_setting(a, attrs, n, "container",
					"BUILDKIT_AZURE_STORAGE_CONTAINER", "buildkit-cache");
	prefix = objstore_setting(a, attrs, n, "prefix", "BUILDKIT_AZURE_STORAGE_PREFIX", "");
	z->base.manifests = str_from(arena_printf(
		a, "%.*s%s%.*s/", STR_ARG(prefix), prefix.len ? "/" : "",
		STR_ARG(objstore_setting(a, attrs, n, "manifests_prefix", NULL, "manifests"))));
	z->base.blobs = str_from(arena_printf(
		a, "%.*s%s%.*s/", STR_ARG(prefix), prefix.len ? "/" : "",
		STR_ARG(objstore_setting(a, attrs, n, "blobs_prefix", NULL, "blobs"))));
	objstore_names(&z->base, objstore_setting(a, attrs, n, "name", NULL, "buildkit"));
	secret = objstore_setting(a, attrs, n, "secret_access_key", NULL, "");
	if (!secret.len)
		return err_new(ERR_UNIMPLEMENTED,
			       "azblob cache without secret_access_key is not supported");
	TRYW(base64_decode(a, secret, &z->key), "failed to create shared key");
	return NULL;
}

struct err *objstore_azblob(struct httpc *http, const struct objstore_attr *attrs, size_t n,
			    struct objstore **ret)
{
	struct azblob *z = NEW(struct azblob);
	struct err *e;

	objstore_init(&z->base, &ops, http);
	lock_init(&z->lock, LOCK_REMOTECACHE);
	z->base.read_all = true;
	z->base.clean_keys = true;
	e = configure(z, attrs, n);
	if (e) {
		objstore_unref(&z->base);
		return err_wrap(e, "failed to create azblob config");
	}
	*ret = &z->base;
	return NULL;
}
