#include "exporter/kinds.h"

#include "base/mem.h"
#include "base/json.h"
#include "base/limits.h"
#include "exporter/imagewriter.h"
#include "exporter/store.h"
#include "source/session_auth.h"

struct image_exporter {
	struct exporter base;
	struct arena arena; /* of the attributes and what was written */
	const struct exporter_host *host;
	struct imagewriter_opts opts;
	struct str name;
	bool push, push_by_digest, insecure, name_canonical, store, unpack, incomplete;
	struct str dangling_prefix;
	bool dangling_empty_only;
	struct imageref *refs; /* to push to */
	size_t n_refs;
	struct image image;
};

/* ---- names ---- */

static struct err *add_names(struct image_exporter *x, const struct export_input *in,
			     struct buf *names)
{
	struct str rest = x->name, one;
	char *digest = digest_text(&x->image.root.digest, &x->arena);
	size_t max = 2;

	if (str_eq_cstr(rest, "*")) {
		rest = STR_NONE;
		for (size_t i = 0; i < in->n_metadata; i++)
			if (str_eq_cstr(in->metadata[i].key, "image.name"))
				rest = in->metadata[i].value;
	}
	for (size_t i = 0; i < rest.len; i++)
		max += rest.ptr[i] == ',';
	x->refs = ARENA_NEW_N(&x->arena, struct imageref, max);
	while (rest.len && str_next(&rest, ',', &one)) {
		struct imageref r;

		if (!one.len)
			continue;
		TRYW(imageref_parse(&x->arena, one, &r), "failed to parse %.*s", STR_ARG(one));
		if (x->push_by_digest && r.tag.len)
			return err_new(ERR_UNKNOWN, "can't push tagged ref %.*s by digest",
				       STR_ARG(one));
		if (!x->push_by_digest)
			r = imageref_with_default_tag(r);
		x->refs[x->n_refs++] = r;
		buf_addf(names, "%s%s", names->len ? "," : "", imageref_format(&x->arena, &r));
		if (x->name_canonical)
			buf_addf(names, ",%s@%s", imageref_name(&x->arena, &r), digest);
		if (rest.len == SIZE_MAX)
			break;
	}
	if (x->dangling_prefix.len && (!x->dangling_empty_only || !x->n_refs))
		buf_addf(names, "%s%.*s@%s", names->len ? "," : "", STR_ARG(x->dangling_prefix),
			 digest);
	return NULL;
}

/* ---- the calls ---- */

static struct err *image_export(struct exporter *e, const struct exporter_env *env,
				const struct export_input *in)
{
	struct image_exporter *x = container_of(e, struct image_exporter, base);
	SCOPED_BUF(names, LIMIT_ERROR_TEXT);
	SCOPED_ARENA(a);

	struct imagewriter_opts o = x->opts;
	bool store = x->store && env->host->images;

	/* What is named there is complete. */
	o.compression.lazy_ok = store && x->incomplete;
	TRY(imagewriter_write(env, in, &o, &x->arena, &x->image));
	TRY(add_names(x, in, &names));
	TRY(buf_check(&names, "image names"));
	if (store)
		TRY(image_store_add(env, &x->image, x->refs, x->n_refs, x->unpack));
	image_respond(env, &x->image, buf_str(&names));
	return NULL;
}

void image_respond(const struct exporter_env *env, const struct image *img, struct str names)
{
	SCOPED_ARENA(a);
	SCOPED_BUF(json, MIB);
	SCOPED_BUF(b64, 2 * MIB);

	exporter_respond(env, "containerimage.digest",
			 str_from(digest_text(&img->root.digest, &a)));
	if (!img->is_index)
		exporter_respond(env, "containerimage.config.digest",
				 str_from(digest_text(&img->config_digest, &a)));
	oci_print_descriptor(&img->root, &json);
	base64_encode(&b64, buf_str(&json));
	exporter_respond(env, "containerimage.descriptor", buf_str(&b64));
	if (names.len)
		exporter_respond(env, "image.name", names);
}

static bool image_needs_finalize(const struct exporter *e)
{
	const struct image_exporter *x = container_of(e, struct image_exporter, base);

	return x->push && x->n_refs;
}

struct push_report {
	struct vprogress *progress;
};

static void push_log(void *arg, const char *text)
{
	struct push_report *r = arg;
	SCOPED_ARENA(a);
	char *line = arena_printf(&a, "%s\n", text);

	progress_log(r->progress, 1, str_from(line));
}

static struct err *push_one(struct image_exporter *x, const struct exporter_env *env,
			    const struct imageref *ref)
{
	SCOPED_ARENA(a);
	struct session_auth auth;
	struct push_report report = { env->progress };
	struct registry_push_opts po = {
		.insecure = x->insecure,
		.by_digest = x->push_by_digest,
		.log = push_log,
		.log_arg = &report,
	};
	char *name = imageref_format(&a, ref);
	char *digest = digest_text(&x->image.root.digest, &a);
	char *id = arena_printf(&a, "pushing manifest for %s@%s", name, digest);
	int64_t t_layers = progress_status_begin(env->progress, STR("pushing layers"));
	int64_t t_manifest;
	struct err *e;

	session_auth_init(
		&auth, env->host->sessions, env->sessions,
		str_from(arena_printf(&a, "%.*s::%s::push%s", STR_ARG(env->session_id),
				      imageref_name(&a, ref), x->insecure ? ":insecure" : "")));
	e = registry_push(x->host->registry, env->ctx, ref, &x->image.root,
			  cache_content(env->host->cache), &auth.auth, &po);
	progress_status_done(env->progress, STR("pushing layers"), t_layers);
	if (e)
		return err_wrap(e, "failed to push %s",
				x->push_by_digest ? imageref_name(&a, ref) : name);
	t_manifest = progress_status_begin(env->progress, str_from(id));
	progress_status_done(env->progress, str_from(id), t_manifest);
	return NULL;
}

static struct err *image_finalize(struct exporter *e, const struct exporter_env *env)
{
	struct image_exporter *x = container_of(e, struct image_exporter, base);

	for (size_t i = 0; i < x->n_refs; i++)
		TRY(push_one(x, env, &x->refs[i]));
	return NULL;
}

static const struct cache_compress *image_compression(const struct exporter *e)
{
	return &container_of(e, const struct image_exporter, base)->opts.compression;
}

static void image_free(struct exporter *e)
{
	struct image_exporter *x = container_of(e, struct image_exporter, base);

	arena_fini(&x->arena);
	free(x);
}

static const struct exporter_ops image_ops = {
	.export = image_export,
	.needs_finalize = image_needs_finalize,
	.finalize = image_finalize,
	.compression = image_compression,
	.free = image_free,
};

static struct err *parse(struct image_exporter *x, const struct attrs *at)
{
	TRY(imagewriter_parse(at, &x->opts));
	x->name = attrs_get(at, "name");
	x->store = true;
	TRY(attrs_bool(at, "push", true, &x->push, NULL));
	TRY(attrs_bool(at, "push-by-digest", true, &x->push_by_digest, NULL));
	TRY(attrs_bool(at, "registry.insecure", true, &x->insecure, NULL));
	TRY(attrs_bool(at, "name-canonical", true, &x->name_canonical, NULL));
	TRY(attrs_bool(at, "store", true, &x->store, NULL));
	TRY(attrs_bool(at, "unpack", true, &x->unpack, NULL));
	TRY(attrs_bool(at, "unsafe-internal-store-allow-incomplete", true, &x->incomplete, NULL));
	TRY(attrs_bool(at, "danging-name-empty-only", true, &x->dangling_empty_only, NULL));
	x->dangling_prefix = attrs_get(at, "dangling-name-prefix");
	if (x->unpack && x->opts.rewrite_timestamp)
		return err_new(ERR_UNKNOWN,
			       "exporter option \"rewrite-timestamp\" conflicts with \"unpack\"");
	return NULL;
}

struct err *image_exporter_new(const struct exporter_host *host, const struct exporter_kv *attrs,
			       size_t n, struct exporter **ret)
{
	struct image_exporter *x = NEW(struct image_exporter);
	struct attrs at = { exporter_dup_attrs(&x->arena, attrs, n), n };
	struct err *e;

	x->base = (struct exporter) { &image_ops, "image", "exporting to image" };
	x->host = host;
	e = parse(x, &at);
	if (e) {
		image_free(&x->base);
		return e;
	}
	*ret = &x->base;
	return NULL;
}
