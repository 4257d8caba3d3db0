#include "source/image.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/lock.h"
#include "base/mem.h"
#include "source/imagefetch.h"
#include "source/imagemeta.h"

struct image_source {
	struct source base;
	struct cache *cache;
	struct registry *registry;
	struct session_manager *sessions;
	struct image_store *images; /* or NULL */
};

struct image_instance {
	struct source_instance base;
	struct image_source *src;
	struct arena arena;
	struct imageref ref;
	struct platform platform;
	struct digest checksum;
	const char *record_type; /* NULL: regular */
	int64_t layer_limit;     /* 0: none */
	bool layout;
	enum image_resolve resolve;
	struct str session_id, store_id;
	/* Once resolved. */
	bool resolved;
	struct image_origin *origin;
	struct imagemeta meta;
};

/* ---- identifying ---- */

static struct err *parse_record_type(struct str v, const char **ret)
{
	*ret = NULL;
	if (!v.len || str_eq_cstr(v, "regular"))
		return NULL;
	if (str_eq_cstr(v, "internal"))
		*ret = CACHE_TYPE_INTERNAL;
	else if (str_eq_cstr(v, "frontend"))
		*ret = CACHE_TYPE_FRONTEND;
	else
		return err_new(ERR_INVALID_ARGUMENT, "invalid record type %.*s", STR_ARG(v));
	return NULL;
}

static struct err *parse_limit(struct str v, int64_t *ret)
{
	if (v.len && (!str_to_i64(v, ret) || *ret <= 0))
		return err_new(ERR_INVALID_ARGUMENT, "invalid layer limit %.*s", STR_ARG(v));
	return NULL;
}

static struct platform platform_dup(struct arena *a, struct platform p)
{
	struct platform out = p;

	out.os = str_dup(a, p.os);
	out.arch = str_dup(a, p.arch);
	out.variant = str_dup(a, p.variant);
	out.os_version = str_dup(a, p.os_version);
	out.os_features = ARENA_NEW_N(a, struct str, p.n_os_features);
	for (size_t i = 0; i < p.n_os_features; i++)
		out.os_features[i] = str_dup(a, p.os_features[i]);
	return out;
}

static struct err *fill(struct image_instance *i, const struct source_request *r)
{
	struct str sum = source_attr_get(r, "image.checksum");

	i->platform = platform_dup(&i->arena, r->platform);
	i->layout = str_has_prefix(r->identifier, STR("oci-layout://"));
	TRYW(imageref_parse(&i->arena, str_dup(&i->arena, r->ref), &i->ref), "%.*s",
	     STR_ARG(r->ref));
	if (i->layout) {
		i->session_id = str_dup(&i->arena, source_attr_get(r, "oci.session"));
		i->store_id = source_attr_get(r, "oci.store");
		if (!i->store_id.len)
			i->store_id = str_from(imageref_name(&i->arena, &i->ref));
		i->store_id = str_from(arena_printf(
			&i->arena, "%s%.*s", str_has_prefix(i->store_id, STR("oci:")) ? "" : "oci:",
			STR_ARG(i->store_id)));
		if (!digest_is_set(&i->ref.digest))
			return err_new(ERR_INVALID_ARGUMENT,
				       "oci-layout reference \"%.*s\" has no digest",
				       STR_ARG(r->ref));
		TRY(parse_limit(source_attr_get(r, "oci.layerlimit"), &i->layer_limit));
		return NULL;
	}
	if (!i->ref.tag.len && !digest_is_set(&i->ref.digest))
		return err_new(ERR_INVALID_ARGUMENT, "%.*s: object required", STR_ARG(r->ref));
	TRY(image_resolve_parse(source_attr_get(r, "image.resolvemode"), &i->resolve));
	TRY(parse_record_type(source_attr_get(r, "image.recordtype"), &i->record_type));
	TRY(parse_limit(source_attr_get(r, "image.layerlimit"), &i->layer_limit));
	if (sum.len)
		TRYW(digest_parse(sum, &i->checksum), "invalid image checksum %.*s", STR_ARG(sum));
	return NULL;
}

static void instance_free(struct source_instance *si)
{
	struct image_instance *i = container_of(si, struct image_instance, base);

	image_origin_unref(i->origin);
	arena_fini(&i->arena);
	free(i);
}

/* ---- resolving ---- */

static struct err *resolve(struct image_instance *i, const struct source_env *env)
{
	struct image_source *s = i->src;
	struct imageref ref = i->ref;
	struct image_origin *o;
	struct err *e;
	char *id;

	if (i->resolved)
		return NULL;
	id = arena_printf(&i->arena, "resolve %s", imageref_format(&i->arena, &i->ref));
	source_status(env->progress, id, "", 0, 0, false);
	if (i->layout)
		o = image_origin_layout(s->sessions, env->sessions, cache_content(s->cache), &ref,
					i->session_id, i->store_id);
	else
		o = image_origin_registry(s->registry, s->sessions, env->sessions,
					  cache_content(s->cache), &ref);
	o->images = i->layout ? NULL : s->images;
	o->resolve = i->resolve;
	e = imagemeta_resolve(o, env->ctx, i->platform, &i->checksum, &i->arena, &i->meta);
	source_status(env->progress, id, "", 0, 0, true);
	if (e) {
		image_origin_unref(o);
		return err_wrap(e, "%s", imageref_format(&i->arena, &i->ref));
	}
	i->origin = o;
	i->resolved = true;
	if (i->layer_limit > (int64_t)i->meta.manifest.n_layers)
		return err_new(
			ERR_INVALID_ARGUMENT,
			"layer limit %lld is greater than the number of layers in the image %zu",
			(long long)i->layer_limit, i->meta.manifest.n_layers);
	return NULL;
}

static size_t n_layers(const struct image_instance *i)
{
	return i->layer_limit ? (size_t)i->layer_limit : i->meta.manifest.n_layers;
}

static void put_platform(struct json_out *j, struct platform p)
{
	json_kstr(j, "OS", p.os);
	json_kstr(j, "Arch", p.arch);
	if (p.variant.len)
		json_kstr(j, "Variant", p.variant);
	if (p.os_version.len)
		json_kstr(j, "OSVersion", p.os_version);
	if (p.n_os_features) {
		json_key(j, STR("OSFeatures"));
		json_arr_begin(j);
		for (size_t k = 0; k < p.n_os_features; k++)
			json_str(j, p.os_features[k]);
		json_arr_end(j);
	}
}

/* Of what the reference names and the platform. Not of the layers' diff ids: those are the config's
 * word until the layers are unpacked, and a lie in one image must not be found by another. */
static struct err *cache_key(struct source_instance *si, const struct source_env *env,
			     unsigned index, struct arena *a, struct source_key *ret)
{
	struct image_instance *i = container_of(si, struct image_instance, base);
	SCOPED_BUF(b, 64 * KIB);
	struct json_out j;
	struct digest d;

	TRY(resolve(i, env));
	ret->pin = str_from(digest_text(&i->meta.root.digest, a));
	json_out_init(&j, &b, NULL);
	json_obj_begin(&j);
	json_kstr(&j, "Digest", ret->pin);
	put_platform(&j, i->platform);
	if (i->layer_limit)
		json_kint(&j, "Limit", i->layer_limit);
	json_obj_end(&j);
	TRY(buf_check(&b, "image key"));
	d = digest_sha256(buf_str(&b));
	ret->key = str_from(digest_text(&d, a));
	ret->done = true;
	return NULL;
}

/* ---- the tree ---- */

static int64_t created_of(struct str config)
{
	SCOPED_JSON(root);
	struct err *e = json_read(config, "image config", &root);
	int64_t ns = 0;

	err_free(e);
	if (root && !clock_parse_rfc3339(json_get_str(root, "created"), &ns))
		ns = 0;
	return ns;
}

static struct err *make_layers(struct image_instance *i, const struct source_env *env,
			       const struct cache_fetcher *f, struct cache_ref **ret)
{
	struct cache_ref *parent = NULL;
	SCOPED_ARENA(a);
	struct cache_opts o = { .type = i->record_type };
	int64_t created;

	created = created_of(i->meta.config);
	o.description = str_from(arena_printf(&a, "pulled from %s", imageref_format(&a, &i->ref)));
	o.created_ns = created;
	for (size_t k = 0; k < n_layers(i); k++) {
		struct cache_blob b = { .desc = i->meta.manifest.layers[k],
					.diff_id = i->meta.diff_ids[k],
					.chain_id = image_chain_id(i->meta.diff_ids, k + 1) };
		struct cache_ref *next;
		struct err *e =
			cache_get_by_blob(i->src->cache, env->ctx, parent, &b, f, &o, &next);

		cache_ref_release(parent);
		if (e)
			return e;
		parent = next;
	}
	*ret = parent;
	return NULL;
}

static struct err *snapshot(struct source_instance *si, const struct source_env *env,
			    struct cache_ref **ret)
{
	struct image_instance *i = container_of(si, struct image_instance, base);
	struct source_tracker *t;
	struct cache_fetcher f;
	struct err *e;

	TRY(resolve(i, env));
	t = env->progress && env->progress->track ? env->progress->track(env->progress->arg) : NULL;
	f = imagefetch_new(i->origin, t);
	if (t)
		t->unref(t);
	e = make_layers(i, env, &f, ret);
	f.unref(f.arg);
	return e;
}

static const struct source_instance_ops instance_ops = {
	.cache_key = cache_key,
	.snapshot = snapshot,
	.free = instance_free,
};

static struct err *identify(struct source *s, const struct source_request *r,
			    struct source_instance **ret)
{
	struct image_instance *i = NEW(struct image_instance);
	struct err *e;

	i->base.ops = &instance_ops;
	i->src = container_of(s, struct image_source, base);
	e = fill(i, r);
	if (e) {
		instance_free(&i->base);
		return e;
	}
	*ret = &i->base;
	return NULL;
}

static void source_free(struct source *s)
{
	free(container_of(s, struct image_source, base));
}

static const struct source_ops image_ops = { .identify = identify, .free = source_free };

struct source *image_source_new(struct cache *c, struct registry *r, struct session_manager *m,
				struct image_store *images)
{
	struct image_source *s = NEW(struct image_source);

	s->base.ops = &image_ops;
	s->cache = c;
	s->registry = r;
	s->sessions = m;
	s->images = images;
	return &s->base;
}
