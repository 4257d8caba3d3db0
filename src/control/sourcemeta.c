#include "control/sourcemeta.h"

#include "base/mem.h"
#include "source/imagemeta.h"

typedef Moby__Buildkit__V1__Frontend__ResolveSourceMetaRequest meta_request;
typedef Moby__Buildkit__V1__Frontend__ResolveSourceMetaResponse meta_response;

static struct platform platform_of(const Pb__Platform *p, const struct worker *w)
{
	if (!p || !*p->os)
		return w->platforms[0];
	return platform_normalize((struct platform) {
		.os = str_from(p->os),
		.arch = str_from(p->architecture),
		.variant = str_from(p->variant),
		.os_version = str_from(p->osversion),
	});
}

static struct image_origin *origin_of(const struct sourcemeta_env *env, const Pb__SourceOp *op,
				      bool layout, const struct imageref *ref,
				      enum image_resolve mode, struct arena *a)
{
	struct control *c = env->control;
	struct content *store = cache_content(c->worker->cache);
	struct session_manager *m = c->worker->sessions;
	const char *session, *id;

	if (!layout) {
		struct image_origin *o =
			image_origin_registry(c->host.registry, m, env->sessions, store, ref);

		o->images = c->host.images;
		o->resolve = mode;
		return o;
	}
	session = PROTO_MAP_GET(op->n_attrs, op->attrs, "oci.session");
	id = PROTO_MAP_GET(op->n_attrs, op->attrs, "oci.store");
	if (!id || !*id)
		id = imageref_name(a, ref);
	return image_origin_layout(m, env->sessions, store, ref, str_from(session),
				   str_from(arena_printf(a, "oci:%s", id)));
}

static struct err *resolve_image(const struct sourcemeta_env *env, struct ctx *ctx,
				 const Pb__SourceOp *op, bool layout,
				 const Pb__Platform *pb_platform, const char *mode, struct arena *a,
				 struct imagemeta *ret)
{
	enum image_resolve resolve;
	struct str id = str_from(op->identifier);
	struct imageref ref;
	CLEANUP(image_origin_unrefp) struct image_origin *o = NULL;

	id = str_trim_prefix(id, layout ? STR("oci-layout://") : STR("docker-image://"));
	TRYW(imageref_parse(a, id, &ref), "failed to parse image reference \"%.*s\"", STR_ARG(id));
	TRY(image_resolve_parse(str_from(mode), &resolve));
	o = origin_of(env, op, layout, &ref, resolve, a);
	TRYW(imagemeta_resolve(o, ctx, platform_of(pb_platform, env->control->worker), NULL, a,
			       ret),
	     "%s", imageref_format(a, &ref));
	return NULL;
}

static struct err *image_response(const struct sourcemeta_env *env, struct ctx *ctx,
				  const meta_request *req, bool layout, struct arena *a,
				  Moby__Buildkit__V1__Frontend__ResolveSourceImageResponse **ret)
{
	Moby__Buildkit__V1__Frontend__ResolveSourceImageResponse *img;
	struct imagemeta meta;

	TRY(resolve_image(env, ctx, req->source, layout, req->platform, req->resolvemode, a,
			  &meta));
	img = ARENA_NEW(a, Moby__Buildkit__V1__Frontend__ResolveSourceImageResponse);
	moby__buildkit__v1__frontend__resolve_source_image_response__init(img);
	img->digest = digest_text(&meta.root.digest, a);
	if (!req->image || !req->image->noconfig)
		img->config = proto_from_str(meta.config);
	*ret = img;
	return NULL;
}

/* ---- other sources ---- */

static void git_response(const struct source_meta *m, struct arena *a, meta_response *out)
{
	Moby__Buildkit__V1__Frontend__ResolveSourceGitResponse *g =
		ARENA_NEW(a, Moby__Buildkit__V1__Frontend__ResolveSourceGitResponse);

	moby__buildkit__v1__frontend__resolve_source_git_response__init(g);
	g->checksum = str_cstr(a, m->checksum);
	g->ref = str_cstr(a, m->ref);
	g->commitchecksum = str_cstr(a, m->commit_checksum);
	g->commitobject = proto_from_str(m->commit_object);
	g->tagobject = proto_from_str(m->tag_object);
	out->git = g;
}

static void http_response(const struct source_meta *m, const struct source_meta_opts *o,
			  struct arena *a, meta_response *out)
{
	Moby__Buildkit__V1__Frontend__ResolveSourceHTTPResponse *h =
		ARENA_NEW(a, Moby__Buildkit__V1__Frontend__ResolveSourceHTTPResponse);

	moby__buildkit__v1__frontend__resolve_source_httpresponse__init(h);
	h->checksum = digest_text(&m->digest, a);
	h->filename = str_cstr(a, m->filename);
	h->lastmodified = proto_timestamp(a, m->last_modified_ns);
	if (o->checksum_algo) {
		Moby__Buildkit__V1__Frontend__ChecksumResponse *c =
			ARENA_NEW(a, Moby__Buildkit__V1__Frontend__ChecksumResponse);

		moby__buildkit__v1__frontend__checksum_response__init(c);
		c->digest = digest_text(&m->suffixed, a);
		c->suffix = proto_from_str(o->checksum_suffix);
		h->checksumresponse = c;
	}
	out->http = h;
}

static struct err *read_opts(const meta_request *req, struct source_meta_opts *ret)
{
	static const enum digest_algo algos[] = { DIGEST_SHA256, DIGEST_SHA384, DIGEST_SHA512 };
	const Moby__Buildkit__V1__Frontend__ChecksumRequest *c =
		req->http ? req->http->checksumrequest : NULL;

	*ret = (struct source_meta_opts) { .git_objects = req->git && req->git->returnobject };
	if (!c)
		return NULL;
	if (c->algo < 0 || (size_t)c->algo >= ARRAY_SIZE(algos))
		return err_new(ERR_UNKNOWN, "unsupported checksum algorithm %d", (int)c->algo);
	ret->checksum_algo = algos[c->algo];
	ret->checksum_suffix = proto_bytes(c->suffix);
	return NULL;
}

static struct err *other_response(const struct sourcemeta_env *env, struct ctx *ctx,
				  const meta_request *req, struct arena *a, meta_response *out)
{
	const Pb__SourceOp *op = req->source;
	struct worker *w = env->control->worker;
	struct source_attr *attrs = ARENA_NEW_N(a, struct source_attr, op->n_attrs + 1);
	struct source_env senv = { .ctx = ctx, .sessions = env->sessions };
	struct source_meta m = { 0 };
	struct source_meta_opts o;
	struct source_instance *i;
	struct err *e = NULL;

	TRY(read_opts(req, &o));
	for (size_t k = 0; k < op->n_attrs; k++)
		attrs[k] = (struct source_attr) { str_from(op->attrs[k]->key),
						  str_from(op->attrs[k]->value) };
	TRY(source_identify(w->sources, str_from(op->identifier), attrs, op->n_attrs,
			    platform_of(req->platform, w), &i));
	if (i->ops->metadata)
		e = i->ops->metadata(i, &senv, &o, a, &m);
	source_instance_free(i);
	TRY(e);
	if (digest_is_set(&m.digest))
		http_response(&m, &o, a, out);
	else if (m.checksum.len)
		git_response(&m, a, out);
	return NULL;
}

struct err *sourcemeta_resolve(const struct sourcemeta_env *env, struct ctx *ctx,
			       const meta_request *req, struct arena *a, meta_response **ret)
{
	struct str id = str_from(req->source->identifier);
	bool layout = str_has_prefix(id, STR("oci-layout://"));
	meta_response *out = ARENA_NEW(a, meta_response);

	moby__buildkit__v1__frontend__resolve_source_meta_response__init(out);
	out->source = proto_dup(a, req->source);
	if (layout || str_has_prefix(id, STR("docker-image://")))
		TRY(image_response(env, ctx, req, layout, a, &out->image));
	else
		TRY(other_response(env, ctx, req, a, out));
	*ret = out;
	return NULL;
}
