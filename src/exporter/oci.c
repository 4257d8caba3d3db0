#include "exporter/kinds.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "codec/tar.h"
#include "exporter/imagewriter.h"
#include "session/filesync.h"

/* type=oci and type=docker: the image as an OCI layout, in one tar or blob by blob into the
 * client's content store. Entries are sorted by name and have no times, so the archive
 * depends on the image only. */

struct oci_exporter {
	struct exporter base;
	struct arena arena;
	struct imagewriter_opts opts;
	struct str name;
	bool docker, tar;
};

static struct err *put_entry(struct tar_writer *t, const char *name, char type, uint32_t mode,
			     struct str data)
{
	struct tar_header h = {
		.type = type, .name = str_from(name), .mode = mode, .size = data.len
	};

	TRY(tar_write_header(t, &h));
	return data.len ? tar_write(t, data.ptr, data.len) : NULL;
}

static struct err *put_blob(struct tar_writer *t, struct content *c, struct ctx *ctx,
			    const struct oci_descriptor *d)
{
	CLEANUP(content_reader_closep) struct content_reader *r = NULL;
	CLEANUP_FREE char *chunk = mem_alloc(MIB);
	SCOPED_ARENA(a);
	struct tar_header h = { .type = '0', .mode = 0444 };
	uint64_t at = 0;

	TRY(content_open(c, ctx, &d->digest, &r));
	h.name = str_from(arena_printf(&a, "blobs/sha256/%s", digest_hex(&d->digest, &a)));
	h.size = r->size;
	TRY(tar_write_header(t, &h));
	while (at < r->size) {
		size_t n = 0;

		TRY(ctx_err(ctx));
		TRY(r->read_at(r, chunk, MIB, at, &n));
		if (!n)
			return err_new(ERR_DATA_LOSS, "blob %s: unexpected EOF",
				       digest_text(&d->digest, &a));
		TRY(tar_write(t, chunk, n));
		at += n;
	}
	return NULL;
}

/* ---- index.json, manifest.json ---- */

static int by_key(const void *a, const void *b)
{
	return str_cmp(((const struct oci_kv *)a)->key, ((const struct oci_kv *)b)->key);
}

static void print_index(const struct image *img, const struct imageref *refs, size_t n,
			struct arena *a, struct buf *out)
{
	size_t total = MAX(n, (size_t)1);
	struct oci_index ix = { .media_type = STR(OCI_INDEX), .n_manifests = total };
	struct json_out j;

	json_out_init(&j, out, NULL);
	json_obj_begin(&j);
	json_kint(&j, "schemaVersion", 2);
	json_kstr(&j, "mediaType", ix.media_type);
	json_key(&j, STR("manifests"));
	json_arr_begin(&j);
	for (size_t i = 0; i < total; i++) {
		struct oci_descriptor d = img->root;
		struct oci_kv *kv = ARENA_NEW_N(a, struct oci_kv, d.n_annotations + 3);
		SCOPED_BUF(text, MIB);
		size_t k = d.n_annotations;

		if (k)
			memcpy(kv, d.annotations, k * sizeof(*kv));
		if (n) {
			kv[k++] = (struct oci_kv) { STR("io.containerd.image.name"),
						    str_from(imageref_format(a, &refs[i])) };
			kv[k++] = (struct oci_kv) { STR("org.opencontainers.image.ref.name"),
						    refs[i].tag };
		}
		qsort(kv, k, sizeof(*kv), by_key);
		d.annotations = kv;
		d.n_annotations = k;
		oci_print_descriptor(&d, &text);
		json_raw(&j, buf_str(&text));
	}
	json_arr_end(&j);
	json_obj_end(&j);
}

/* What `docker load` reads. */
static void print_docker_manifest(const struct image *img, const struct imageref *refs, size_t n,
				  struct arena *a, struct buf *out)
{
	struct json_out j;

	json_out_init(&j, out, NULL);
	json_arr_begin(&j);
	json_obj_begin(&j);
	json_kstr(&j, "Config",
		  str_from(arena_printf(a, "blobs/sha256/%s",
					digest_hex(&img->manifest.config.digest, a))));
	json_key(&j, STR("RepoTags"));
	if (n) {
		json_arr_begin(&j);
		for (size_t i = 0; i < n; i++)
			json_str(&j, str_from(imageref_familiar(a, &refs[i])));
		json_arr_end(&j);
	} else {
		json_nil(&j);
	}
	json_key(&j, STR("Layers"));
	json_arr_begin(&j);
	for (size_t i = 0; i < img->manifest.n_layers; i++)
		json_str(&j,
			 str_from(arena_printf(a, "blobs/sha256/%s",
					       digest_hex(&img->manifest.layers[i].digest, a))));
	json_arr_end(&j);
	json_obj_end(&j);
	json_arr_end(&j);
}

static struct err *write_archive(struct oci_exporter *x, const struct exporter_env *env,
				 const struct image *img, const struct imageref *refs, size_t n,
				 struct writer *out)
{
	struct content *c = cache_content(env->host->cache);
	CLEANUP(tar_writer_freep) struct tar_writer *t = tar_writer_new(out);
	SCOPED_BUF(text, LIMIT_MANIFEST);
	SCOPED_ARENA(a);

	TRY(put_entry(t, "blobs/", '5', 0755, STR_NONE));
	TRY(put_entry(t, "blobs/sha256/", '5', 0755, STR_NONE));
	for (size_t i = 0; i < img->n_blobs; i++)
		TRY(put_blob(t, c, env->ctx, &img->blobs[i]));
	print_index(img, refs, n, &a, &text);
	TRY(put_entry(t, "index.json", '0', 0644, buf_str(&text)));
	if (x->docker) {
		buf_clear(&text);
		print_docker_manifest(img, refs, n, &a, &text);
		TRY(put_entry(t, "manifest.json", '0', 0644, buf_str(&text)));
	}
	TRY(put_entry(t, "oci-layout", '0', 0444, STR("{\"imageLayoutVersion\":\"1.0.0\"}")));
	return tar_finish(t);
}

static struct err *send_archive(struct oci_exporter *x, const struct exporter_env *env,
				const struct image *img, const struct imageref *refs, size_t n)
{
	CLEANUP(writer_closep) struct writer *w = NULL;
	struct session *s;
	SCOPED_ARENA(a);
	struct grpc_md *md;
	size_t n_md;
	struct err *e;

	TRY(exporter_session(env, &s));
	md = exporter_metadata(env, &a, &n_md);
	e = filesend_stream(s, env->ctx, env->index, md, n_md, &w);
	if (!e)
		e = write_archive(x, env, img, refs, n, w);
	if (!e)
		e = writer_finish(w);
	session_unref(s);
	if (err_is(e, ERR_ALREADY_EXISTS)) {
		/* The client has it already. */
		err_free(e);
		e = NULL;
	}
	return e;
}

static struct err *send_blobs(const struct exporter_env *env, const struct image *img)
{
	struct content *from = cache_content(env->host->cache), *to = NULL;
	struct session *s;
	struct err *e;

	TRY(exporter_session(env, &s));
	e = session_content(s, STR("export"), &to);
	for (size_t i = 0; i < img->n_blobs && !e; i++)
		e = content_copy(env->ctx, from, to, &img->blobs[i].digest);
	if (to)
		content_free(to);
	session_unref(s);
	return e;
}

static struct err *parse_names(struct oci_exporter *x, const struct export_input *in,
			       struct arena *a, struct imageref **ret, size_t *ret_n,
			       struct buf *names)
{
	struct str rest = x->name, one;
	struct imageref *refs;
	size_t max = 1, n = 0;

	if (str_eq_cstr(rest, "*")) {
		rest = STR_NONE;
		for (size_t i = 0; i < in->n_metadata; i++)
			if (str_eq_cstr(in->metadata[i].key, "image.name"))
				rest = in->metadata[i].value;
	}
	for (size_t i = 0; i < rest.len; i++)
		max += rest.ptr[i] == ',';
	refs = ARENA_NEW_N(a, struct imageref, max);
	while (rest.len && rest.len != SIZE_MAX && str_next(&rest, ',', &one)) {
		if (!one.len)
			continue;
		TRYW(imageref_parse(a, one, &refs[n]), "failed to parse reference %.*s",
		     STR_ARG(one));
		refs[n] = imageref_with_default_tag(refs[n]);
		buf_addf(names, "%s%s", n ? "," : "", imageref_format(a, &refs[n]));
		n++;
	}
	*ret = refs;
	*ret_n = n;
	return buf_check(names, "image names");
}

static void add_created(struct image *img, struct arena *a)
{
	struct oci_kv *kv = ARENA_NEW_N(a, struct oci_kv, img->root.n_annotations + 1);
	size_t n = img->root.n_annotations;
	int64_t t = img->created_ns;

	if (n)
		memcpy(kv, img->root.annotations, n * sizeof(*kv));
	for (size_t i = 0; i < n; i++)
		if (str_eq_cstr(kv[i].key, "org.opencontainers.image.created"))
			return; /* the user's own */
	if (!t)
		t = clock_wall();
	kv[n++] = (struct oci_kv) { STR("org.opencontainers.image.created"),
				    str_from(clock_rfc3339(a, t - t % NSEC_PER_SEC)) };
	qsort(kv, n, sizeof(*kv), by_key);
	img->root.annotations = kv;
	img->root.n_annotations = n;
}

static struct err *oci_export(struct exporter *e, const struct exporter_env *env,
			      const struct export_input *in)
{
	struct oci_exporter *x = container_of(e, struct oci_exporter, base);
	SCOPED_ARENA(a);
	SCOPED_BUF(names, LIMIT_ERROR_TEXT);
	struct imageref *refs = NULL;
	struct image img;
	int64_t started;
	size_t n = 0;

	if (x->docker && in->is_map && in->n_items > 1)
		return err_new(
			ERR_UNKNOWN,
			"docker exporter does not currently support exporting manifest lists");
	TRY(imagewriter_write(env, in, &x->opts, &a, &img));
	TRY(parse_names(x, in, &a, &refs, &n, &names));
	add_created(&img, &a);
	image_respond(env, &img, buf_str(&names));
	if (x->tar) {
		started = progress_status_begin(env->progress, STR("sending tarball"));
		TRY(send_archive(x, env, &img, refs, n));
		progress_status_done(env->progress, STR("sending tarball"), started);
		return NULL;
	}
	return send_blobs(env, &img);
}

static bool no_finalize(const struct exporter *e)
{
	(void)e;
	return false;
}

static const struct cache_compress *oci_compression(const struct exporter *e)
{
	return &container_of(e, const struct oci_exporter, base)->opts.compression;
}

static void oci_free(struct exporter *e)
{
	struct oci_exporter *x = container_of(e, struct oci_exporter, base);

	arena_fini(&x->arena);
	free(x);
}

static const struct exporter_ops oci_ops = {
	.export = oci_export,
	.needs_finalize = no_finalize,
	.compression = oci_compression,
	.free = oci_free,
};

struct err *oci_exporter_new(const struct exporter_host *host, bool docker,
			     const struct exporter_kv *attrs, size_t n, struct exporter **ret)
{
	struct oci_exporter *x = NEW(struct oci_exporter);
	struct attrs at = { exporter_dup_attrs(&x->arena, attrs, n), n };
	struct err *e;

	(void)host;
	x->base = (struct exporter) { &oci_ops, docker ? "docker" : "oci",
				      docker ? "exporting to docker image format"
					     : "exporting to oci image format" };
	x->docker = docker;
	x->tar = true;
	e = imagewriter_parse(&at, &x->opts);
	if (!e)
		e = attrs_bool(&at, "tar", false, &x->tar, NULL);
	x->name = attrs_get(&at, "name");
	if (e) {
		oci_free(&x->base);
		return e;
	}
	*ret = &x->base;
	return NULL;
}
