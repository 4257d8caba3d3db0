/* From a tag or digest to a descriptor. */
#include "registry/request.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"

#define SCHEMA1                                                                                    \
	"support Docker Image manifest version 2, schema 1 has been removed. More information "    \
	"at https://docs.docker.com/go/deprecated-image-specs/"

static const struct httpc_header accept = {
	STR("Accept"),
	STR(DOCKER_MANIFEST ", " DOCKER_LIST ", " OCI_MANIFEST ", " OCI_INDEX ", */*"),
};

struct lookup {
	const struct reg_target *t;
	struct ctx *ctx;
	struct arena *a;
	const struct imageref *ref;
	struct str object; /* the tag or digest asked for */
};

static struct err *ask(const struct lookup *l, const char *method, struct httpc_response *ret)
{
	struct reg_request rq = {
		.http = {
			.method = method,
			.url = reg_url(l->t, l->a, "manifests/", l->object),
			.headers = &accept,
			.n_headers = 1,
			.max_body = LIMIT_MANIFEST,
		},
		.json = true,
	};
	struct err *e = reg_do(l->t, l->ctx, l->a, &rq, ret);

	if (e && rq.denied)
		e = err_wrap(e, "pull access denied, repository does not exist or may require "
				"authorization");
	return e;
}

static struct str media_type_of(const struct httpc_response *r)
{
	struct str type, rest;

	(void)str_cut(httpc_header_get(r, "Content-Type"), ';', &type, &rest);
	return str_trim(type);
}

static struct err *digest_of(const struct lookup *l, const struct httpc_response *r,
			     struct digest *ret)
{
	struct str text = httpc_header_get(r, "Docker-Content-Digest");

	*ret = l->ref->digest;
	if (digest_is_set(ret) || !text.len)
		return NULL;
	TRYW(digest_parse(text, ret), "\"%.*s\" in header not a valid digest", STR_ARG(text));
	return NULL;
}

static struct err *reject(const struct lookup *l, uint64_t size)
{
	return err_new(ERR_NOT_FOUND, "rejecting %llu byte manifest for %s: not found",
		       (unsigned long long)size, imageref_format(l->a, l->ref));
}

static struct digest hash(enum digest_algo algo, struct str data)
{
	CLEANUP(hasher_freep) struct hasher *h = NULL;

	if (algo != DIGEST_SHA384 && algo != DIGEST_SHA512)
		return digest_sha256(data);
	h = hasher_new(algo);
	hasher_add_str(h, data);
	return hasher_sum(h);
}

/* From a whole manifest. */
static struct err *describe_body(const struct lookup *l, const struct httpc_response *r,
				 struct oci_descriptor *d)
{
	SCOPED_JSON(root);
	struct digest expected;
	struct str type = media_type_of(r);
	struct err *e;
	uint64_t size;

	if (r->body_cut) {
		if (!str_to_u64(httpc_header_get(r, "Content-Length"), &size))
			size = r->body.len + 1;
		return reject(l, size);
	}
	TRY(digest_of(l, r, &expected));
	d->digest = hash((enum digest_algo)expected.algo, r->body);
	if (digest_is_set(&expected) && !digest_eq(&expected, &d->digest))
		return err_new(ERR_FAILED_PRECONDITION,
			       "manifest of %s has digest %s, expected %s: failed precondition",
			       imageref_format(l->a, l->ref), digest_text(&d->digest, l->a),
			       digest_text(&expected, l->a));
	d->size = (int64_t)r->body.len;
	if (!reg_is_manifest(type)) { /* a server that does not know: the document does */
		e = json_read(r->body, "manifest", &root);
		if (!e && json_get_str(root, "mediaType").len)
			type = json_get_str(root, "mediaType");
		else if (!e)
			type = json_object_get(root, "manifests") ? STR(OCI_INDEX)
			       : json_object_get(root, "layers")  ? STR(OCI_MANIFEST)
								  : type;
		err_free(e);
	}
	d->media_type = str_dup(l->a, type);
	return NULL;
}

/* True when the head alone says all. */
static struct err *describe_head(const struct lookup *l, const struct httpc_response *r,
				 struct oci_descriptor *d, bool *ret_all)
{
	uint64_t size;

	d->media_type = media_type_of(r);
	TRY(digest_of(l, r, &d->digest));
	if (!str_to_u64(httpc_header_get(r, "Content-Length"), &size))
		size = 0;
	d->size = size > INT64_MAX ? INT64_MAX : (int64_t)size;
	*ret_all = digest_is_set(&d->digest) && size && reg_is_manifest(d->media_type);
	if (*ret_all && size > LIMIT_MANIFEST)
		return reject(l, size);
	return NULL;
}

/* *ret_found false: not here, ask the next. */
static struct err *look_up(const struct lookup *l, struct oci_descriptor *ret, bool *ret_found)
{
	struct oci_descriptor d = { 0 };
	struct httpc_response r;
	bool done = false;

	*ret_found = false;
	TRY(ask(l, "HEAD", &r));
	if (r.status / 100 == 2)
		TRY(describe_head(l, &r, &d, &done));
	/* Some servers refuse HEAD only; when it was not that, the first answer is the one told. */
	if (!done && (r.status / 100 == 2 || r.status == 403 || r.status == 405)) {
		struct httpc_response head = r;

		TRY(ask(l, "GET", &r));
		if (r.status / 100 == 2)
			TRY(describe_body(l, &r, &d));
		else if (head.status == 403)
			r = head;
	}
	if (r.status == 404)
		return NULL;
	if (r.status / 100 != 2)
		return reg_status_error(&r);
	if (str_has_prefix(d.media_type, STR("application/vnd.docker.distribution.manifest.v1+")))
		return err_new(ERR_UNKNOWN, "%s", SCHEMA1);
	*ret = d;
	*ret_found = true;
	return NULL;
}

struct err *registry_resolve(struct registry *r, struct ctx *ctx, struct arena *a,
			     const struct imageref *ref, const struct registry_auth *auth,
			     struct oci_descriptor *ret)
{
	struct imageref full = imageref_with_default_tag(*ref);
	struct err *first = NULL, *e;
	struct endpoint *eps;
	size_t n;
	bool found;

	TRY(hosts_endpoints(&r->hosts, a, ref->domain, false, auth && auth->insecure, &eps, &n));
	for (size_t i = 0; i < n; i++) {
		struct reg_target t;
		struct lookup l = { &t, ctx, a, ref,
				    digest_is_set(&ref->digest)
					    ? str_from(digest_text(&ref->digest, a))
					    : full.tag };

		reg_target_init(&t, r, a, &eps[i], auth, ref->path, false, STR_NONE);
		e = look_up(&l, ret, &found);
		if (!e && found) {
			err_free(first);
			return NULL;
		}
		if (e && ctx_done(ctx)) {
			err_free(first);
			return e;
		}
		first = err_first(first, e);
	}
	return first ? first : err_new(ERR_NOT_FOUND, "%s: not found", imageref_format(a, ref));
}
