#include "source/imagemeta.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "source/session_auth.h"

/* ---- origins ---- */

static struct image_origin *origin_new(struct session_manager *m, struct session_group *g,
				       struct content *store, const struct imageref *ref)
{
	struct image_origin *o = NEW(struct image_origin);

	ref_init(&o->refs);
	o->sessions = m;
	o->group = g ? session_group_ref(g) : NULL;
	o->store = store;
	o->ref = (struct imageref) {
		.domain = str_dup(&o->arena, ref->domain),
		.path = str_dup(&o->arena, ref->path),
		.tag = str_dup(&o->arena, ref->tag),
		.digest = ref->digest,
	};
	return o;
}

struct image_origin *image_origin_registry(struct registry *r, struct session_manager *m,
					   struct session_group *g, struct content *store,
					   const struct imageref *ref)
{
	struct image_origin *o = origin_new(m, g, store, ref);

	o->registry = r;
	return o;
}

struct image_origin *image_origin_layout(struct session_manager *m, struct session_group *g,
					 struct content *store, const struct imageref *ref,
					 struct str session_id, struct str store_id)
{
	struct image_origin *o = origin_new(m, g, store, ref);

	o->session_id = session_id.len ? str_cstr(&o->arena, session_id) : NULL;
	o->store_id = str_cstr(&o->arena, store_id);
	return o;
}

struct image_origin *image_origin_for(const struct image_origin *o, struct session_group *g)
{
	struct image_origin *n = origin_new(o->sessions, g, o->store, &o->ref);

	n->registry = o->registry;
	n->insecure = o->insecure;
	n->images = o->images;
	n->resolve = o->resolve;
	n->session_id = o->session_id ? arena_strdup(&n->arena, o->session_id) : NULL;
	n->store_id = o->store_id ? arena_strdup(&n->arena, o->store_id) : NULL;
	return n;
}

struct image_origin *image_origin_ref(struct image_origin *o)
{
	ref_get(&o->refs);
	return o;
}

void image_origin_unref(struct image_origin *o)
{
	if (!o || !ref_put(&o->refs))
		return;
	if (o->group)
		session_group_unref(o->group);
	arena_fini(&o->arena);
	free(o);
}

void image_origin_unrefp(struct image_origin **o)
{
	image_origin_unref(*o);
	*o = NULL;
}

struct layout_call {
	struct image_origin *o;
	const struct oci_descriptor *d;
};

static struct err *copy_from_session(struct ctx *ctx, struct session *s, void *arg)
{
	struct layout_call *c = arg;
	struct content *from;
	struct err *e;

	TRY(session_content(s, str_from(c->o->store_id), &from));
	e = content_copy(ctx, from, c->o->store, &c->d->digest);
	content_free(from);
	return e;
}

static struct err *fetch_layout(struct image_origin *o, struct ctx *ctx,
				const struct oci_descriptor *d)
{
	struct layout_call c = { o, d };
	struct session *s;
	struct err *e;

	if (!o->session_id)
		return session_any(o->sessions, ctx, o->group, copy_from_session, &c);
	TRY(session_get(o->sessions, ctx, str_from(o->session_id), false, &s));
	e = copy_from_session(ctx, s, &c);
	session_unref(s);
	return e;
}

static void origin_auth(const struct image_origin *o, struct arena *a, struct session_auth *ret)
{
	session_auth_init(ret, o->sessions, o->group,
			  str_from(arena_printf(a, "%s::pull%s", imageref_name(a, &o->ref),
						o->insecure ? ":insecure" : "")));
	ret->auth.insecure = o->insecure;
}

struct err *image_origin_fetch(struct image_origin *o, struct ctx *ctx,
			       const struct oci_descriptor *d, const struct registry_progress *p)
{
	SCOPED_ARENA(a);
	struct session_auth auth;

	if (content_has(o->store, ctx, &d->digest))
		return NULL;
	if (!o->registry)
		return fetch_layout(o, ctx, d);
	origin_auth(o, &a, &auth);
	return registry_fetch(o->registry, ctx, &o->ref, d, o->store, &auth.auth, p);
}

struct err *image_resolve_parse(struct str text, enum image_resolve *ret)
{
	if (!text.len || str_eq_cstr(text, "default"))
		*ret = IMAGE_RESOLVE_DEFAULT;
	else if (str_eq_cstr(text, "pull"))
		*ret = IMAGE_RESOLVE_PULL;
	else if (str_eq_cstr(text, "local"))
		*ret = IMAGE_RESOLVE_LOCAL;
	else
		return err_new(ERR_INVALID_ARGUMENT, "invalid resolvemode: %.*s", STR_ARG(text));
	return NULL;
}

/* By its whole name; of an image whose content is not there any more nothing is known. */
static struct err *find_own(struct image_origin *o, struct ctx *ctx, struct arena *a,
			    struct oci_descriptor *ret, bool *ret_found)
{
	*ret_found = false;
	if (!o->images || o->resolve == IMAGE_RESOLVE_PULL)
		return NULL;
	TRY(o->images->get(o->images, ctx, a, str_from(imageref_format(a, &o->ref)), ret,
			   ret_found));
	*ret_found = *ret_found && content_has(o->store, ctx, &ret->digest);
	return NULL;
}

struct err *image_origin_resolve(struct image_origin *o, struct ctx *ctx, struct arena *a,
				 struct oci_descriptor *ret)
{
	struct session_auth auth;
	bool found = false;
	struct err *e;

	if (o->resolve == IMAGE_RESOLVE_LOCAL)
		TRY(find_own(o, ctx, a, ret, &found));
	if (found)
		return NULL;
	origin_auth(o, a, &auth);
	e = registry_resolve(o->registry, ctx, a, &o->ref, &auth.auth, ret);
	if (!e || ctx_done(ctx) || o->resolve == IMAGE_RESOLVE_LOCAL)
		return e;
	/* What the registry said is what is told if that does not help either. */
	err_free(find_own(o, ctx, a, ret, &found));
	if (!found)
		return e;
	err_free(e);
	return NULL;
}

/* ---- resolving ---- */

static struct err *read_small(struct image_origin *o, struct ctx *ctx,
			      const struct oci_descriptor *d, size_t max, struct arena *a,
			      struct str *ret)
{
	SCOPED_BUF(b, max);

	TRY(image_origin_fetch(o, ctx, d, NULL));
	TRY(content_read_blob(o->store, ctx, &d->digest, max, &b));
	*ret = str_dup(a, buf_str(&b));
	return NULL;
}

/* The root's media type when the reference has a digest whose blob is there already. */
static struct err *root_from_store(struct image_origin *o, struct ctx *ctx, struct arena *a,
				   struct oci_descriptor *ret, bool *ret_found)
{
	SCOPED_BUF(b, LIMIT_MANIFEST);
	SCOPED_JSON(root);
	struct str type;
	struct err *e;

	*ret_found = false;
	if (!digest_is_set(&o->ref.digest) || !content_has(o->store, ctx, &o->ref.digest))
		return NULL;
	e = content_read_blob(o->store, ctx, &o->ref.digest, LIMIT_MANIFEST, &b);
	if (!e)
		e = json_read(buf_str(&b), "manifest", &root);
	if (e) {
		err_free(e);
		return NULL;
	}
	type = json_get_str(root, "mediaType");
	if (!type.len)
		type = json_object_get(root, "manifests") ? STR(OCI_INDEX) : STR(OCI_MANIFEST);
	*ret = (struct oci_descriptor) { .media_type = str_dup(a, type),
					 .digest = o->ref.digest,
					 .size = (int64_t)b.len };
	*ret_found = true;
	return NULL;
}

static struct err *resolve_root(struct image_origin *o, struct ctx *ctx, struct arena *a,
				struct oci_descriptor *ret)
{
	bool found;

	TRY(root_from_store(o, ctx, a, ret, &found));
	if (found)
		return NULL;
	if (!o->registry) {
		/* A layout is addressed by digest only; fetched whole, then looked at. */
		struct oci_descriptor d = { .digest = o->ref.digest };

		TRY(image_origin_fetch(o, ctx, &d, NULL));
		TRY(root_from_store(o, ctx, a, ret, &found));
		return found ? NULL
			     : err_new(ERR_NOT_FOUND, "%s: not found",
				       digest_text(&o->ref.digest, a));
	}
	return image_origin_resolve(o, ctx, a, ret);
}

static struct err *pick_manifest(struct image_origin *o, struct ctx *ctx, struct platform p,
				 struct arena *a, const struct oci_descriptor *root,
				 struct oci_descriptor *ret)
{
	struct oci_index ix;
	struct str text;
	int best = -1;

	TRY(read_small(o, ctx, root, LIMIT_MANIFEST, a, &text));
	TRY(oci_parse_index(a, text, &ix));
	for (size_t i = 0; i < ix.n_manifests; i++) {
		struct oci_descriptor *d = &ix.manifests[i];
		int rank;

		if (!oci_is_manifest(d->media_type))
			continue;
		rank = d->has_platform ? platform_match_rank(p, platform_normalize(d->platform))
				       : (best < 0 ? INT32_MAX : -1);
		if (rank < 0 || (best >= 0 && rank >= best))
			continue;
		best = rank;
		*ret = *d;
	}
	if (best < 0)
		return err_new(ERR_NOT_FOUND, "no match for platform in manifest: not found");
	return NULL;
}

static struct err *read_diff_ids(struct arena *a, struct imagemeta *m)
{
	SCOPED_JSON(root);
	json_t *list, *it;
	size_t i;

	TRYW(json_read(m->config, "image config", &root), "failed to parse image config");
	list = json_object_get(json_object_get(root, "rootfs"), "diff_ids");
	m->n_diff_ids = json_array_size(list);
	if (m->n_diff_ids != m->manifest.n_layers)
		return err_new(ERR_INVALID_ARGUMENT,
			       "mismatched image rootfs and manifest layers: %zu and %zu",
			       m->n_diff_ids, m->manifest.n_layers);
	m->diff_ids = ARENA_NEW_N(a, struct digest, m->n_diff_ids);
	json_array_foreach(list, i, it)
	{
		TRY(digest_parse(str_make(json_string_value(it), json_string_length(it)),
				 &m->diff_ids[i]));
	}
	return NULL;
}

struct err *imagemeta_resolve(struct image_origin *o, struct ctx *ctx, struct platform p,
			      const struct digest *checksum, struct arena *a, struct imagemeta *ret)
{
	struct imagemeta m = { 0 };
	struct str text;

	TRY(resolve_root(o, ctx, a, &m.root));
	if (checksum && digest_is_set(checksum) && !digest_eq(checksum, &m.root.digest))
		return err_new(ERR_INVALID_ARGUMENT,
			       "image digest %s for %s does not match expected checksum %s",
			       digest_text(&m.root.digest, a), imageref_format(a, &o->ref),
			       digest_text(checksum, a));
	m.manifest_desc = m.root;
	for (int depth = 0; oci_is_index(m.manifest_desc.media_type); depth++) {
		struct oci_descriptor next;

		if (depth > 4)
			return err_new(ERR_INVALID_ARGUMENT, "%s: indexes nested too deep",
				       imageref_format(a, &o->ref));
		TRY(pick_manifest(o, ctx, p, a, &m.manifest_desc, &next));
		m.manifest_desc = next;
	}
	if (!oci_is_manifest(m.manifest_desc.media_type))
		return err_new(ERR_INVALID_ARGUMENT, "unsupported manifest media type %.*s for %s",
			       STR_ARG(m.manifest_desc.media_type), imageref_format(a, &o->ref));
	TRY(read_small(o, ctx, &m.manifest_desc, LIMIT_MANIFEST, a, &text));
	TRY(oci_parse_manifest(a, text, &m.manifest));
	TRY(read_small(o, ctx, &m.manifest.config, LIMIT_IMAGE_CONFIG, a, &m.config));
	TRY(read_diff_ids(a, &m));
	*ret = m;
	return NULL;
}

struct digest image_chain_id(const struct digest *diff_ids, size_t n)
{
	struct digest chain = diff_ids[0];

	for (size_t i = 1; i < n; i++) {
		char x[DIGEST_TEXT_MAX], y[DIGEST_TEXT_MAX], both[2 * DIGEST_TEXT_MAX + 1];
		int len = snprintf(both, sizeof(both), "%s %s", digest_format(&chain, x),
				   digest_format(&diff_ids[i], y));

		chain = digest_sha256(str_make(both, (size_t)len));
	}
	return chain;
}
