#include "remotecache/import.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/vec.h"
#include "remotecache/remotecache.h"
#include "remotecache/source.h"

/* As the original: what is bigger was not made by it. */
#define BLOB_MAX MIB
#define MAX_NESTING 4

struct importing {
	const struct remotecache_origin *o;
	struct ctx *ctx;
	struct arena *arena;
	VEC(struct cache_source *) sources;
	struct map seen; /* digests of manifests */
};

static struct err *read_blob(struct importing *im, const struct oci_descriptor *d, size_t max,
			     struct str *ret)
{
	const struct cache_fetcher *f = &im->o->fetch;
	char text[DIGEST_TEXT_MAX];
	SCOPED_BUF(b, max);

	if (d->size > (int64_t)max)
		return err_new(ERR_UNKNOWN, "blob %s is too large (%lld > %zu)",
			       digest_format(&d->digest, text), (long long)d->size, max);
	TRY(f->fetch(f->arg, im->ctx, d));
	TRY(content_read_blob(cache_content(im->o->cache), im->ctx, &d->digest, max, &b));
	*ret = str_dup(im->arena, buf_str(&b));
	return NULL;
}

/* By its own word, else by what is in it. */
static struct err *type_of(struct arena *a, struct str text, struct str *ret)
{
	SCOPED_JSON(root);
	struct str type;

	TRY(json_read(text, "manifest", &root));
	type = json_get_str(root, "mediaType");
	if (!type.len && json_object_get(root, "manifests"))
		type = STR(OCI_INDEX);
	else if (!type.len && json_object_get(root, "config"))
		type = STR(OCI_MANIFEST);
	if (!oci_is_index(type) && !oci_is_manifest(type))
		return err_new(ERR_UNKNOWN, "unsupported or uninferrable manifest type");
	*ret = str_dup(a, type);
	return NULL;
}

/* ---- caches of their own ---- */

static void add_blob(struct map *blobs, struct arena *a, const struct oci_descriptor *d)
{
	struct import_blob *b = ARENA_NEW(a, struct import_blob);
	struct err *e = import_blob_of(d, b);

	/* Without a diff id it can't be used, like one that is missing. */
	if (!e)
		map_put(blobs, str_from(digest_text(&d->digest, a)), b);
	err_free(e);
}

static struct err *add_config(struct importing *im, const struct oci_descriptor *config,
			      const struct oci_descriptor *layers, size_t n)
{
	struct arena a = ARENA_INIT;
	struct map blobs = MAP_INIT;
	struct import_config c;
	struct str text;
	struct err *e = read_blob(im, config, BLOB_MAX, &text);

	for (size_t i = 0; !e && i < n; i++) {
		struct oci_descriptor d;

		oci_descriptor_dup(&a, &layers[i], &d);
		add_blob(&blobs, &a, &d);
	}
	if (!e)
		e = import_parse(&a, text, &blobs, &c);
	if (!e)
		vec_push(&im->sources, import_source_new(im->o, &a, &c));
	map_fini(&blobs, NULL);
	arena_fini(&a);
	return e;
}

struct err *remotecache_import_config(const struct remotecache_origin *o, struct str text,
				      struct cache_source **ret)
{
	struct arena a = ARENA_INIT;
	struct import_config c;
	struct err *e = import_parse(&a, text, NULL, &c);

	if (!e)
		*ret = import_source_new(o, &a, &c);
	arena_fini(&a);
	return e;
}

/* ---- inline caches ---- */

/* The layers of an image with what its history says of them. */
static struct err *image_layers(const json_t *config, const struct oci_manifest *m, struct arena *a,
				struct import_blob *ret)
{
	const json_t *diffs = json_object_get(json_object_get(config, "rootfs"), "diff_ids");
	const json_t *history = json_object_get(config, "history");
	size_t at = 0;

	for (size_t i = 0; i < m->n_layers; i++) {
		const json_t *d = json_array_get(diffs, i), *h = NULL;
		struct import_blob *b = &ret[i];

		oci_descriptor_dup(a, &m->layers[i], &b->desc);
		TRY(digest_parse(str_make(json_string_value(d), json_string_length(d)),
				 &b->diff_id));
		while (at < json_array_size(history)) {
			h = json_array_get(history, at++);
			if (!json_get_bool(h, "empty_layer", false))
				break;
			h = NULL;
		}
		if (!clock_parse_rfc3339(json_get_str(h, "created"), &b->created_ns))
			b->created_ns = 0;
		b->description = str_dup(a, json_get_str(h, "created_by"));
	}
	return NULL;
}

static struct err *parse_image(struct str config_text, const struct oci_manifest *m,
			       struct arena *a, struct import_config *ret, bool *ret_found)
{
	struct import_blob *layers = ARENA_NEW_N(a, struct import_blob, m->n_layers + 1);
	SCOPED_JSON(config);
	struct str text;

	*ret_found = false;
	TRY(json_read(config_text, "image config", &config));
	text = json_get_str(config, "moby.buildkit.cache.v0");
	if (!text.len || json_array_size(json_object_get(json_object_get(config, "rootfs"),
							 "diff_ids")) != m->n_layers)
		return NULL;
	TRY(base64_decode(a, text, &text));
	TRY(image_layers(config, m, a, layers));
	TRY(import_parse_inline(a, text, layers, m->n_layers, ret));
	*ret_found = true;
	return NULL;
}

static struct err *add_image(struct importing *im, struct str text)
{
	struct arena a = ARENA_INIT;
	struct import_config c;
	struct oci_manifest m;
	struct err *e;
	bool found;

	TRY(oci_parse_manifest(im->arena, text, &m));
	if (!digest_is_set(&m.config.digest) || !m.n_layers)
		return NULL;
	TRY(read_blob(im, &m.config, LIMIT_IMAGE_CONFIG, &text));
	e = parse_image(text, &m, &a, &c, &found);
	if (!e && found)
		vec_push(&im->sources, import_source_new(im->o, &a, &c));
	arena_fini(&a);
	return e;
}

static struct err *add_images(struct importing *im, struct str text, int depth)
{
	struct oci_index ix;
	struct str type;

	TRY(type_of(im->arena, text, &type));
	if (oci_is_manifest(type))
		return add_image(im, text);
	if (depth == MAX_NESTING)
		return err_new(ERR_INVALID_ARGUMENT, "indexes nested too deep");
	TRY(oci_parse_index(im->arena, text, &ix));
	for (size_t i = 0; i < ix.n_manifests; i++) {
		const struct oci_descriptor *d = &ix.manifests[i];
		struct str key = str_make(&d->digest, sizeof(d->digest)), sub;

		if (map_has(&im->seen, key))
			continue;
		map_put(&im->seen, key, im);
		TRY(read_blob(im, d, LIMIT_MANIFEST, &sub));
		TRY(add_images(im, sub, depth + 1));
	}
	return NULL;
}

/* ---- either ---- */

static struct err *add_root(struct importing *im, struct str text, struct str type)
{
	struct oci_manifest m;
	struct oci_index ix;

	if (oci_is_manifest(type)) {
		TRY(oci_parse_manifest(im->arena, text, &m));
		if (str_eq_cstr(m.config.media_type, REMOTECACHE_CONFIG))
			return add_config(im, &m.config, m.layers, m.n_layers);
		return add_images(im, text, 0);
	}
	TRY(oci_parse_index(im->arena, text, &ix));
	for (size_t i = ix.n_manifests; i-- > 0;)
		if (str_eq_cstr(ix.manifests[i].media_type, REMOTECACHE_CONFIG))
			return add_config(im, &ix.manifests[i], ix.manifests, ix.n_manifests);
	return add_images(im, text, 0);
}

struct err *remotecache_import(const struct remotecache_origin *o, struct ctx *ctx, struct arena *a,
			       const struct oci_descriptor *root, struct cache_source ***ret,
			       size_t *ret_n, struct str *ret_progress)
{
	struct importing im = { .o = o, .ctx = ctx, .arena = a };
	struct str text, type;
	struct err *e;

	TRY(read_blob(&im, root, BLOB_MAX, &text));
	TRY(type_of(a, text, &type));
	*ret_progress =
		str_from(arena_printf(a, "inferred cache manifest type: %.*s", STR_ARG(type)));
	e = add_root(&im, text, type);
	if (e) {
		vec_each (&im.sources, s)
			cache_source_unref(*s);
	} else {
		*ret = arena_dup(a, im.sources.items, im.sources.len * sizeof(*im.sources.items));
		*ret_n = im.sources.len;
	}
	vec_fini(&im.sources);
	map_fini(&im.seen, NULL);
	return e;
}
