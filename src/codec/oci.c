#include "codec/oci.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"

/* ---- media types ---- */

static bool is_one_of(struct str s, const char *const *names)
{
	for (; *names; names++)
		if (str_eq_cstr(s, *names))
			return true;
	return false;
}

bool oci_is_index(struct str media_type)
{
	static const char *const types[] = { OCI_INDEX, DOCKER_LIST, NULL };

	return is_one_of(media_type, types);
}

bool oci_is_manifest(struct str media_type)
{
	static const char *const types[] = { OCI_MANIFEST, DOCKER_MANIFEST, NULL };

	return is_one_of(media_type, types);
}

bool oci_is_layer(struct str media_type)
{
	return str_has_prefix(media_type, STR("application/vnd.oci.image.layer.")) ||
	       str_has_prefix(media_type, STR(DOCKER_LAYER)) ||
	       str_has_prefix(media_type, STR("application/vnd.docker.image.rootfs.foreign.diff"));
}

bool oci_is_nondistributable(struct str media_type)
{
	return str_has_prefix(media_type,
			      STR("application/vnd.oci.image.layer.nondistributable.")) ||
	       str_has_prefix(media_type, STR("application/vnd.docker.image.rootfs.foreign.diff"));
}

/* ---- parsing ---- */

static struct err *bad_field(const char *field, const char *expected)
{
	return err_new(ERR_INVALID_ARGUMENT, "invalid field %s: expected %s", field, expected);
}

/* An absent or null field leaves its value alone, as in Go. */
static json_t *get(const json_t *obj, const char *key)
{
	json_t *v = json_object_get(obj, key);

	return json_is_null(v) ? NULL : v;
}

static struct err *get_str(struct arena *a, const json_t *obj, const char *key, struct str *ret)
{
	const json_t *v = get(obj, key);

	*ret = STR_NONE;
	if (!v)
		return NULL;
	if (!json_is_string(v))
		return bad_field(key, "a string");
	if (json_string_length(v))
		*ret = str_dup(a, str_make(json_string_value(v), json_string_length(v)));
	return NULL;
}

static struct err *get_strs(struct arena *a, const json_t *obj, const char *key, struct str **ret,
			    size_t *ret_n)
{
	const json_t *v = get(obj, key), *item;
	size_t i;

	*ret = NULL;
	*ret_n = 0;
	if (!v)
		return NULL;
	if (!json_is_array(v))
		return bad_field(key, "an array");
	*ret = ARENA_NEW_N(a, struct str, json_array_size(v));
	*ret_n = json_array_size(v);
	json_array_foreach(v, i, item)
	{
		if (!json_is_string(item))
			return bad_field(key, "an array of strings");
		(*ret)[i] = str_dup(a, str_make(json_string_value(item), json_string_length(item)));
	}
	return NULL;
}

static int by_key(const void *a, const void *b)
{
	return str_cmp(((const struct oci_kv *)a)->key, ((const struct oci_kv *)b)->key);
}

static struct err *get_annotations(struct arena *a, const json_t *obj, struct oci_kv **ret,
				   size_t *ret_n)
{
	json_t *v = get(obj, "annotations"), *item;
	const char *key;
	size_t n = 0;

	*ret = NULL;
	*ret_n = 0;
	if (!v)
		return NULL;
	if (!json_is_object(v))
		return bad_field("annotations", "an object");
	*ret = ARENA_NEW_N(a, struct oci_kv, json_object_size(v));
	json_object_foreach(v, key, item)
	{
		struct oci_kv *kv = &(*ret)[n++];

		if (!json_is_string(item) && !json_is_null(item))
			return bad_field("annotations", "strings");
		kv->key = str_dup(a, str_from(key));
		if (json_is_string(item))
			kv->value = str_dup(
				a, str_make(json_string_value(item), json_string_length(item)));
	}
	if (n)
		qsort(*ret, n, sizeof(**ret), by_key);
	*ret_n = n;
	return NULL;
}

static struct err *get_platform(struct arena *a, const json_t *obj, struct oci_descriptor *d)
{
	const json_t *v = get(obj, "platform");
	struct platform *p = &d->platform;

	if (!v)
		return NULL;
	if (!json_is_object(v))
		return bad_field("platform", "an object");
	d->has_platform = true;
	TRY(get_str(a, v, "architecture", &p->arch));
	TRY(get_str(a, v, "os", &p->os));
	TRY(get_str(a, v, "os.version", &p->os_version));
	TRY(get_str(a, v, "variant", &p->variant));
	return get_strs(a, v, "os.features", &p->os_features, &p->n_os_features);
}

static struct err *parse_descriptor(struct arena *a, const json_t *obj, struct oci_descriptor *d)
{
	struct str digest, data;
	const json_t *size = get(obj, "size");

	*d = (struct oci_descriptor) { 0 };
	if (!json_is_object(obj))
		return err_new(ERR_INVALID_ARGUMENT, "invalid descriptor: expected an object");
	TRY(get_str(a, obj, "mediaType", &d->media_type));
	TRY(get_str(a, obj, "digest", &digest));
	if (digest.len)
		TRYW(digest_parse(digest, &d->digest), "invalid digest %.*s", STR_ARG(digest));
	if (size && (!json_is_integer(size) || json_integer_value(size) < 0))
		return bad_field("size", "a size");
	d->size = size ? json_integer_value(size) : 0;
	TRY(get_strs(a, obj, "urls", &d->urls, &d->n_urls));
	TRY(get_annotations(a, obj, &d->annotations, &d->n_annotations));
	TRY(get_platform(a, obj, d));
	TRY(get_str(a, obj, "artifactType", &d->artifact_type));
	TRY(get_str(a, obj, "data", &data));
	if (data.len)
		TRY(base64_decode(a, data, &d->data));
	return NULL;
}

static struct err *parse_list(struct arena *a, const json_t *doc, const char *key,
			      struct oci_descriptor **ret, size_t *ret_n)
{
	const json_t *v = get(doc, key), *item;
	size_t i;

	*ret = NULL;
	*ret_n = 0;
	if (!v)
		return NULL;
	if (!json_is_array(v))
		return bad_field(key, "an array");
	if (json_array_size(v) > LIMIT_DESCRIPTORS)
		return err_new(ERR_INVALID_ARGUMENT, "more than %d %s", LIMIT_DESCRIPTORS, key);
	*ret = ARENA_NEW_N(a, struct oci_descriptor, json_array_size(v));
	*ret_n = json_array_size(v);
	json_array_foreach(v, i, item)
		TRYW(parse_descriptor(a, item, &(*ret)[i]), "%s[%zu]", key, i);
	return NULL;
}

static struct err *read_document(struct str text, const char *what, json_t **ret)
{
	SCOPED_JSON(doc);

	if (text.len > LIMIT_MANIFEST)
		return err_new(ERR_INVALID_ARGUMENT, "%s is larger than %zu bytes", what,
			       LIMIT_MANIFEST);
	TRY(json_read(text, what, &doc));
	if (!json_is_object(doc))
		return err_new(ERR_INVALID_ARGUMENT, "failed to parse %s: expected an object",
			       what);
	if (json_object_get(doc, "fsLayers"))
		return err_new(ERR_INVALID_ARGUMENT, "media-type: schema 1 not supported");
	*ret = TAKE_PTR(doc);
	return NULL;
}

struct err *oci_parse_manifest(struct arena *a, struct str text, struct oci_manifest *ret)
{
	struct oci_manifest m = { 0 };
	const json_t *config, *subject;
	SCOPED_JSON(doc);

	TRY(read_document(text, "manifest", &doc));
	TRY(get_str(a, doc, "mediaType", &m.media_type));
	if (json_object_get(doc, "manifests") || oci_is_index(m.media_type))
		return err_new(ERR_INVALID_ARGUMENT,
			       "media-type: expected manifest but found index (%s)",
			       str_has_prefix(m.media_type, STR("application/vnd.docker."))
				       ? DOCKER_MANIFEST
				       : OCI_MANIFEST);
	TRY(get_str(a, doc, "artifactType", &m.artifact_type));
	config = get(doc, "config");
	if (config)
		TRYW(parse_descriptor(a, config, &m.config), "config");
	TRY(parse_list(a, doc, "layers", &m.layers, &m.n_layers));
	subject = get(doc, "subject");
	m.has_subject = subject != NULL;
	if (subject)
		TRYW(parse_descriptor(a, subject, &m.subject), "subject");
	TRY(get_annotations(a, doc, &m.annotations, &m.n_annotations));
	*ret = m;
	return NULL;
}

struct err *oci_parse_index(struct arena *a, struct str text, struct oci_index *ret)
{
	struct oci_index ix = { 0 };
	const json_t *subject;
	SCOPED_JSON(doc);

	TRY(read_document(text, "index", &doc));
	TRY(get_str(a, doc, "mediaType", &ix.media_type));
	if (json_object_get(doc, "config") || json_object_get(doc, "layers") ||
	    oci_is_manifest(ix.media_type))
		return err_new(
			ERR_INVALID_ARGUMENT, "media-type: expected index but found manifest (%s)",
			str_has_prefix(ix.media_type, STR("application/vnd.docker.")) ? DOCKER_LIST
										      : OCI_INDEX);
	TRY(get_str(a, doc, "artifactType", &ix.artifact_type));
	TRY(parse_list(a, doc, "manifests", &ix.manifests, &ix.n_manifests));
	subject = get(doc, "subject");
	ix.has_subject = subject != NULL;
	if (subject)
		TRYW(parse_descriptor(a, subject, &ix.subject), "subject");
	TRY(get_annotations(a, doc, &ix.annotations, &ix.n_annotations));
	*ret = ix;
	return NULL;
}

struct err *oci_parse_descriptor(struct arena *a, struct str text, struct oci_descriptor *ret)
{
	struct oci_descriptor d;
	SCOPED_JSON(doc);

	TRY(json_read(text, "descriptor", &doc));
	TRY(parse_descriptor(a, doc, &d));
	*ret = d;
	return NULL;
}

/* ---- printing ---- */

static void print_str(struct json_out *j, const char *key, struct str value)
{
	json_key(j, str_from(key));
	json_str(j, value);
}

static void print_str_if(struct json_out *j, const char *key, struct str value)
{
	if (value.len)
		print_str(j, key, value);
}

static void print_strs_if(struct json_out *j, const char *key, const struct str *items, size_t n)
{
	if (!n)
		return;
	json_key(j, str_from(key));
	json_arr_begin(j);
	for (size_t i = 0; i < n; i++)
		json_str(j, items[i]);
	json_arr_end(j);
}

static void print_annotations_if(struct json_out *j, const struct oci_kv *items, size_t n)
{
	if (!n)
		return;
	json_key(j, STR("annotations"));
	json_obj_begin(j);
	for (size_t i = 0; i < n; i++) {
		json_key(j, items[i].key);
		json_str(j, items[i].value);
	}
	json_obj_end(j);
}

static void print_platform(struct json_out *j, const struct platform *p)
{
	json_key(j, STR("platform"));
	json_obj_begin(j);
	print_str(j, "architecture", p->arch);
	print_str(j, "os", p->os);
	print_str_if(j, "os.version", p->os_version);
	print_strs_if(j, "os.features", p->os_features, p->n_os_features);
	print_str_if(j, "variant", p->variant);
	json_obj_end(j);
}

static void print_descriptor(struct json_out *j, const struct oci_descriptor *d)
{
	char digest[DIGEST_TEXT_MAX];

	json_obj_begin(j);
	print_str(j, "mediaType", d->media_type);
	print_str(j, "digest", str_from(digest_format(&d->digest, digest)));
	json_kint(j, "size", d->size);
	print_strs_if(j, "urls", d->urls, d->n_urls);
	print_annotations_if(j, d->annotations, d->n_annotations);
	if (d->data.len) {
		json_key(j, STR("data"));
		json_base64(j, d->data);
	}
	if (d->has_platform)
		print_platform(j, &d->platform);
	print_str_if(j, "artifactType", d->artifact_type);
	json_obj_end(j);
}

static void print_list(struct json_out *j, const char *key, const struct oci_descriptor *items,
		       size_t n)
{
	json_key(j, str_from(key));
	if (!items) {
		json_nil(j);
		return;
	}
	json_arr_begin(j);
	for (size_t i = 0; i < n; i++)
		print_descriptor(j, &items[i]);
	json_arr_end(j);
}

static void print_subject_if(struct json_out *j, bool has, const struct oci_descriptor *subject)
{
	if (!has)
		return;
	json_key(j, STR("subject"));
	print_descriptor(j, subject);
}

void oci_print_manifest(const struct oci_manifest *m, struct buf *out)
{
	struct json_out j;

	json_out_init(&j, out, "  ");
	json_obj_begin(&j);
	json_kint(&j, "schemaVersion", 2);
	print_str_if(&j, "mediaType", m->media_type);
	print_str_if(&j, "artifactType", m->artifact_type);
	json_key(&j, STR("config"));
	print_descriptor(&j, &m->config);
	print_list(&j, "layers", m->layers, m->n_layers);
	print_subject_if(&j, m->has_subject, &m->subject);
	print_annotations_if(&j, m->annotations, m->n_annotations);
	json_obj_end(&j);
}

void oci_print_index(const struct oci_index *ix, struct buf *out)
{
	struct json_out j;

	json_out_init(&j, out, "  ");
	json_obj_begin(&j);
	json_kint(&j, "schemaVersion", 2);
	print_str_if(&j, "mediaType", ix->media_type);
	print_str_if(&j, "artifactType", ix->artifact_type);
	print_list(&j, "manifests", ix->manifests, ix->n_manifests);
	print_subject_if(&j, ix->has_subject, &ix->subject);
	print_annotations_if(&j, ix->annotations, ix->n_annotations);
	json_obj_end(&j);
}

void oci_print_descriptor(const struct oci_descriptor *d, struct buf *out)
{
	struct json_out j;

	json_out_init(&j, out, NULL);
	print_descriptor(&j, d);
}

struct str oci_annotation(const struct oci_descriptor *d, const char *key)
{
	for (size_t i = 0; i < d->n_annotations; i++)
		if (str_eq_cstr(d->annotations[i].key, key))
			return d->annotations[i].value;
	return STR_NONE;
}

static struct str *dup_strs(struct arena *a, const struct str *items, size_t n)
{
	struct str *out = items ? ARENA_NEW_N(a, struct str, n) : NULL;

	for (size_t i = 0; i < n; i++)
		out[i] = str_dup(a, items[i]);
	return out;
}

void oci_descriptor_dup(struct arena *a, const struct oci_descriptor *d, struct oci_descriptor *ret)
{
	struct oci_descriptor c = *d;

	c.media_type = str_dup(a, d->media_type);
	c.artifact_type = str_dup(a, d->artifact_type);
	c.data = str_dup(a, d->data);
	c.urls = dup_strs(a, d->urls, d->n_urls);
	c.annotations = d->annotations ? ARENA_NEW_N(a, struct oci_kv, d->n_annotations) : NULL;
	for (size_t i = 0; i < d->n_annotations; i++)
		c.annotations[i] = (struct oci_kv) {
			.key = str_dup(a, d->annotations[i].key),
			.value = str_dup(a, d->annotations[i].value),
		};
	c.platform.os = str_dup(a, d->platform.os);
	c.platform.arch = str_dup(a, d->platform.arch);
	c.platform.variant = str_dup(a, d->platform.variant);
	c.platform.os_version = str_dup(a, d->platform.os_version);
	c.platform.os_features = dup_strs(a, d->platform.os_features, d->platform.n_os_features);
	*ret = c;
}
