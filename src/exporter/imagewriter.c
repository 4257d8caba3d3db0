#include "exporter/imagewriter.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/vec.h"
#include "exporter/imageconfig.h"

typedef VEC(struct oci_descriptor) descriptor_vec;

struct err *imagewriter_parse(const struct attrs *attrs, struct imagewriter_opts *ret)
{
	struct imagewriter_opts o = { .attrs = attrs->kv, .n_attrs = attrs->n };
	bool oci = true, artifact = false, artifact_set = false;

	TRY(attrs_compression(attrs, &o.compression));
	TRY(attrs_bool(attrs, "oci-mediatypes", false, &oci, NULL));
	TRY(attrs_bool(attrs, "oci-artifact", false, &artifact, &artifact_set));
	TRY(attrs_bool(attrs, "prefer-nondist-layers", false, &o.compression.prefer_nondist, NULL));
	TRY(attrs_bool(attrs, "rewrite-timestamp", false, &o.rewrite_timestamp, NULL));
	TRY(attrs_epoch(attrs, &o.epoch_s, &o.epoch_set));
	o.docker_types = !oci;
	if (!oci && o.compression.type == COMPRESSION_ESTARGZ)
		return err_new(ERR_UNKNOWN, "exporter option \"compression=estargz\" "
					    "conflicts with \"oci-mediatypes=false\"");
	if (!oci && artifact && artifact_set)
		return err_new(ERR_UNKNOWN, "exporter option \"oci-artifact=true\" "
					    "conflicts with \"oci-mediatypes=false\"");
	o.compression.docker_types = o.docker_types;
	*ret = o;
	return NULL;
}

/* Annotations that are the store's own business. */
static bool is_internal(struct str key)
{
	return str_eq_cstr(key, "containerd.io/uncompressed") ||
	       str_eq_cstr(key, "buildkit/createdat") ||
	       str_has_prefix(key, STR("containerd.io/distribution.source."));
}

static void clean_layer(struct oci_descriptor *d, bool docker_types)
{
	size_t n = 0;

	for (size_t i = 0; i < d->n_annotations; i++)
		if (!docker_types && !is_internal(d->annotations[i].key))
			d->annotations[n++] = d->annotations[i];
	d->n_annotations = n;
	d->has_platform = false;
}

static void note_rewritten(struct arena *a, struct oci_descriptor *d, int64_t epoch_s)
{
	const struct oci_kv note = {
		STR("buildkit/rewritten-timestamp"),
		str_from(arena_printf(a, "%lld", (long long)epoch_s)),
	};
	struct oci_kv *more = ARENA_NEW_N(a, struct oci_kv, d->n_annotations + 1);
	size_t at = 0;

	while (at < d->n_annotations && str_cmp(d->annotations[at].key, note.key) < 0)
		at++;
	memcpy(more, d->annotations, at * sizeof(*more));
	more[at] = note;
	memcpy(more + at + 1, d->annotations + at, (d->n_annotations - at) * sizeof(*more));
	d->annotations = more;
	d->n_annotations++;
}

/* Writes a small blob and reports it as "exporting <what> <digest>". */
static struct err *put_blob(const struct exporter_env *env, struct arena *a, struct str data,
			    const char *media_type, const char *what, struct oci_descriptor *ret)
{
	struct content *c = cache_content(env->host->cache);
	struct digest d = digest_sha256(data);
	char *id = arena_printf(a, "exporting %s %s", what, digest_text(&d, a));
	int64_t started = progress_status_begin(env->progress, str_from(id));
	struct err *e = content_write_blob(c, env->ctx, data, NULL, 0, &d);

	if (e && !err_is(e, ERR_ALREADY_EXISTS))
		return err_wrap(e, "error writing %s blob %s", what, digest_text(&d, a));
	err_free(e);
	progress_status_done(env->progress, str_from(id), started);
	*ret = (struct oci_descriptor) { .media_type = str_from(media_type),
					 .digest = d,
					 .size = (int64_t)data.len };
	return NULL;
}

struct one {
	struct oci_manifest manifest;
	struct oci_descriptor desc;
	int64_t created_ns;
};

static struct err *write_one(const struct exporter_env *env, const struct export_item *it,
			     const struct imagewriter_opts *o, const struct annotations *an,
			     const struct cache_layer *layers, size_t n, int64_t epoch_s,
			     struct arena *a, descriptor_vec *blobs, struct one *ret)
{
	struct imageconfig_layer *cl = ARENA_NEW_N(a, struct imageconfig_layer, n);
	struct oci_manifest m = { 0 };
	SCOPED_BUF(config, LIMIT_IMAGE_CONFIG);
	SCOPED_BUF(text, LIMIT_MANIFEST);
	SCOPED_JSON(parsed);
	struct platform p;

	m.layers = ARENA_NEW_N(a, struct oci_descriptor, n);
	m.n_layers = n;
	for (size_t i = 0; i < n; i++) {
		cl[i] = (struct imageconfig_layer) { layers[i].diff_id, layers[i].description,
						     layers[i].created_ns };
		oci_descriptor_dup(a, &layers[i].desc, &m.layers[i]);
		clean_layer(&m.layers[i], o->docker_types);
		if (layers[i].epoch_s >= 0 && !o->docker_types)
			note_rewritten(a, &m.layers[i], layers[i].epoch_s);
		vec_push(blobs, m.layers[i]);
	}
	TRY(imageconfig_patch(it->config, it->base_config,
			      it->has_platform ? it->platform : env->host->platform, cl, n, epoch_s,
			      it->inline_cache, &config));
	TRY(imageconfig_platform(buf_str(&config), a, &p));
	m.media_type = o->docker_types ? STR(DOCKER_MANIFEST) : STR(OCI_MANIFEST);
	m.config = (struct oci_descriptor) {
		.media_type = o->docker_types ? STR(DOCKER_CONFIG) : STR(OCI_CONFIG),
		.digest = digest_sha256(buf_str(&config)),
		.size = (int64_t)config.len,
	};
	annotations_select(a, an, ANNOTATION_MANIFEST, it->platform_id, &m.annotations,
			   &m.n_annotations);
	oci_print_manifest(&m, &text);
	TRY(buf_check(&text, "image manifest"));
	TRY(put_blob(env, a, buf_str(&text), o->docker_types ? DOCKER_MANIFEST : OCI_MANIFEST,
		     "manifest", &ret->desc));
	TRY(put_blob(env, a, buf_str(&config), m.config.media_type.ptr, "config", &m.config));
	vec_push(blobs, m.config);
	vec_push(blobs, ret->desc);
	ret->manifest = m;
	ret->desc.has_platform = true;
	ret->desc.platform = it->has_platform ? it->platform : p;
	annotations_select(a, an, ANNOTATION_MANIFEST_DESCRIPTOR, it->platform_id,
			   &ret->desc.annotations, &ret->desc.n_annotations);
	TRY(json_read(buf_str(&config), "image config", &parsed));
	if (!clock_parse_rfc3339(json_get_str(parsed, "created"), &ret->created_ns))
		ret->created_ns = 0;
	return NULL;
}

static struct err *get_layers(const struct exporter_env *env, const struct export_input *in,
			      const struct imagewriter_opts *o, struct arena *a,
			      struct cache_layer **layers, size_t *n, int64_t *epochs)
{
	int64_t started = progress_status_begin(env->progress, STR("exporting layers"));

	for (size_t i = 0; i < in->n_items; i++) {
		struct cache_compress c = o->compression;

		TRY(attrs_item_epoch(o->epoch_s, o->epoch_set, &in->items[i], &epochs[i]));
		if (o->rewrite_timestamp)
			c.epoch_s = epochs[i];
		layers[i] = NULL;
		n[i] = 0;
		if (in->items[i].ref)
			TRY(cache_ref_layers(in->items[i].ref, env->ctx, a, &c, &layers[i], &n[i]));
	}
	progress_status_done(env->progress, STR("exporting layers"), started);
	return NULL;
}

static struct err *write_index(const struct exporter_env *env, const struct export_input *in,
			       const struct imagewriter_opts *o, const struct annotations *an,
			       const struct one *ones, struct arena *a, descriptor_vec *blobs,
			       struct image *img)
{
	struct oci_index ix = { .media_type = o->docker_types ? STR(DOCKER_LIST) : STR(OCI_INDEX),
				.n_manifests = in->n_items };
	SCOPED_BUF(text, LIMIT_MANIFEST);

	ix.manifests = ARENA_NEW_N(a, struct oci_descriptor, in->n_items);
	for (size_t i = 0; i < in->n_items; i++)
		ix.manifests[i] = ones[i].desc;
	annotations_select(a, an, ANNOTATION_INDEX, STR_NONE, &ix.annotations, &ix.n_annotations);
	oci_print_index(&ix, &text);
	TRY(buf_check(&text, "image index"));
	TRY(put_blob(env, a, buf_str(&text), o->docker_types ? DOCKER_LIST : OCI_INDEX,
		     "manifest list", &img->root));
	annotations_select(a, an, ANNOTATION_INDEX_DESCRIPTOR, STR_NONE, &img->root.annotations,
			   &img->root.n_annotations);
	vec_push(blobs, img->root);
	img->is_index = true;
	return NULL;
}

static void keep_parts(struct arena *a, const struct one *ones, struct cache_layer *const *layers,
		       size_t n, struct image *img)
{
	img->parts = ARENA_NEW_N(a, struct image_part, n + 1);
	img->n_parts = n;
	for (size_t i = 0; i < n; i++) {
		struct image_part *p = &img->parts[i];

		p->desc = ones[i].desc;
		p->manifest = ones[i].manifest;
		p->diff_ids = ARENA_NEW_N(a, struct digest, p->manifest.n_layers + 1);
		for (size_t k = 0; k < p->manifest.n_layers; k++)
			p->diff_ids[k] = layers[i][k].diff_id;
	}
}

static int by_digest(const void *a, const void *b)
{
	return digest_cmp(&((const struct oci_descriptor *)a)->digest,
			  &((const struct oci_descriptor *)b)->digest);
}

static void keep_blobs(struct arena *a, descriptor_vec *blobs, struct image *img)
{
	size_t n = 0;

	qsort(blobs->items, blobs->len, sizeof(*blobs->items), by_digest);
	for (size_t i = 0; i < blobs->len; i++)
		if (!n || !digest_eq(&blobs->items[i].digest, &blobs->items[n - 1].digest))
			blobs->items[n++] = blobs->items[i];
	img->blobs = arena_dup(a, blobs->items, n * sizeof(*blobs->items));
	img->n_blobs = n;
}

static struct err *check_annotations(const struct annotations *an, const struct export_input *in,
				     bool docker_types)
{
	for (size_t i = 0; i < an->n; i++) {
		const struct annotation *x = &an->items[i];
		bool found = !x->platform_id.len;

		if (docker_types)
			return err_new(ERR_UNKNOWN,
				       "cannot export annotations with \"oci-mediatypes=false\"");
		if ((x->type == ANNOTATION_INDEX || x->type == ANNOTATION_INDEX_DESCRIPTOR) &&
		    !in->is_map)
			return err_new(
				ERR_UNKNOWN,
				"index annotations not supported for single platform export");
		for (size_t k = 0; k < in->n_items; k++)
			found |= str_eq(x->platform_id, in->items[k].platform_id);
		if (!found)
			return err_new(ERR_UNKNOWN,
				       "invalid annotation: no platform %.*s found in source",
				       STR_ARG(x->platform_id));
	}
	return NULL;
}

struct err *imagewriter_write(const struct exporter_env *env, const struct export_input *in,
			      const struct imagewriter_opts *o, struct arena *a, struct image *ret)
{
	struct one *ones = ARENA_NEW_N(a, struct one, in->n_items);
	struct cache_layer **layers = ARENA_NEW_N(a, struct cache_layer *, in->n_items);
	size_t *n = ARENA_NEW_N(a, size_t, in->n_items);
	int64_t *epochs = ARENA_NEW_N(a, int64_t, in->n_items);
	descriptor_vec blobs = VEC_INIT;
	struct annotations an;
	struct image img = { 0 };
	struct err *e;

	if (!in->is_map && in->n_items != 1)
		return err_new(ERR_UNKNOWN,
			       "cannot export multiple platforms without multi-platform enabled");
	TRY(annotations_collect(a, o->attrs, o->n_attrs, in->metadata, in->n_metadata, &an));
	TRY(check_annotations(&an, in, o->docker_types));
	e = get_layers(env, in, o, a, layers, n, epochs);
	for (size_t i = 0; i < in->n_items && !e; i++)
		e = write_one(env, &in->items[i], o, &an, layers[i], n[i], epochs[i], a, &blobs,
			      &ones[i]);
	if (!e && in->is_map) {
		e = write_index(env, in, o, &an, ones, a, &blobs, &img);
	} else if (!e) {
		img.root = ones[0].desc;
		img.config_digest = ones[0].manifest.config.digest;
	}
	if (!e) {
		img.created_ns = ones[0].created_ns;
		img.manifest = ones[0].manifest;
		keep_parts(a, ones, layers, in->n_items, &img);
		keep_blobs(a, &blobs, &img);
		*ret = img;
	}
	vec_fini(&blobs);
	return e;
}
