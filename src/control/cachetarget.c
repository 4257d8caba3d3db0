#include "control/cachetarget.h"

#include "base/mem.h"
#include "base/task.h"
#include "source/session_auth.h"

#define PARALLEL 4

/* ---- options ---- */

static struct err *parse_bool(const struct attrs *at, const char *key, bool *ret, bool *ret_set)
{
	struct err *e = attrs_bool(at, key, false, ret, ret_set);

	err_free(e);
	return e ? err_new(ERR_UNKNOWN,
			   "failed to parse %s: strconv.ParseBool: parsing \"%.*s\": "
			   "invalid syntax",
			   key, STR_ARG(attrs_get(at, key)))
		 : NULL;
}

/* What manifests look like. */
static struct err *parse_form(const struct attrs *at, struct cachetarget *t)
{
	bool image = true, oci = true, set;

	TRY(attrs_compression(at, &t->form.compress));
	TRY(parse_bool(at, "oci-mediatypes", &oci, NULL));
	TRY(parse_bool(at, "image-manifest", &image, &set));
	if (!set && !oci)
		image = false;
	t->form.no_image = !image;
	t->form.compress.docker_types = !oci;
	return NULL;
}

static struct err *parse_registry(struct control *c, struct arena *a, const struct attrs *at,
				  struct cachetarget *t)
{
	struct str ref = attrs_get(at, "ref");

	if (!ref.len)
		return err_new(ERR_UNKNOWN, "missing ref");
	TRY(imageref_parse(a, ref, &t->ref));
	t->ref = imageref_with_default_tag(t->ref);
	TRY(parse_form(at, t));
	return parse_bool(at, "registry.insecure", &t->insecure, NULL);
}

static struct err *parse_local(struct control *c, struct arena *a, const struct attrs *at,
			       struct cachetarget *t)
{
	struct str dest = attrs_get(at, "dest");

	if (!dest.len)
		return err_new(ERR_UNKNOWN, "local cache exporter requires dest");
	t->store = arena_printf(a, "local:%.*s", STR_ARG(dest));
	return parse_form(at, t);
}

static struct err *parse_inline(struct control *c, struct arena *a, const struct attrs *at,
				struct cachetarget *t)
{
	return NULL;
}

static const struct object_kind {
	const char *type;
	struct err *(*make)(struct httpc *http, const struct objstore_attr *attrs, size_t n,
			    struct objstore **ret);
} object_kinds[] = {
	{ "s3", objstore_s3 },
	{ "azblob", objstore_azblob },
};

struct err *cachetarget_objects(struct control *c, struct str type, const struct attrs *at,
				struct arena *a, struct objstore **ret)
{
	struct objstore_attr *attrs = ARENA_NEW_N(a, struct objstore_attr, at->n + 1);

	*ret = NULL;
	for (size_t i = 0; i < at->n; i++)
		attrs[i] = (struct objstore_attr) { at->kv[i].key, at->kv[i].value };
	for (size_t i = 0; i < ARRAY_SIZE(object_kinds); i++)
		if (str_eq_cstr(type, object_kinds[i].type))
			return object_kinds[i].make(c->http, attrs, at->n, ret);
	return NULL;
}

static struct err *parse_s3(struct control *c, struct arena *a, const struct attrs *at,
			    struct cachetarget *t)
{
	t->form.annotated = true;
	TRY(attrs_compression(at, &t->form.compress));
	return cachetarget_objects(c, STR("s3"), at, a, &t->objects);
}

static struct err *parse_azblob(struct control *c, struct arena *a, const struct attrs *at,
				struct cachetarget *t)
{
	t->form.annotated = true;
	t->form.compress =
		(struct cache_compress) { .type = COMPRESSION_GZIP, .level = -1, .epoch_s = -1 };
	return cachetarget_objects(c, STR("azblob"), at, a, &t->objects);
}

/* ---- sending ---- */

struct sending {
	struct build *b;
	struct vprogress *v;
	struct content *from, *to;
	const struct oci_descriptor *desc;
	const char *what; /* of the status */
	const char *failed;
};

static char *status_of(struct arena *a, const char *what, const struct oci_descriptor *d)
{
	return arena_printf(a, "writing %s %s", what, digest_text(&d->digest, a));
}

static struct err *send_blob(struct ctx *ctx, void *arg)
{
	struct sending *s = arg;
	SCOPED_ARENA(a);
	struct str id = str_from(status_of(&a, s->what, s->desc));
	int64_t started = progress_status_begin(s->v, id);

	TRYW(content_copy(ctx, s->from, s->to, &s->desc->digest), "error writing %s blob",
	     s->failed);
	progress_status_done(s->v, id, started);
	return NULL;
}

static const char *manifest_name(const struct cachetarget *t)
{
	return t->form.no_image ? "cache manifest" : "cache image manifest";
}

static struct err *copy_all(struct build *b, struct ctx *ctx, struct vprogress *v,
			    const struct cachetarget *t, const struct remotecache_written *w,
			    struct content *to, struct arena *a)
{
	struct content *from = cache_content(b->control->host.cache);
	struct sending *s = ARENA_NEW_N(a, struct sending, w->n_layers + 1), last;
	struct task_group g;

	task_group_init(&g, ctx, PARALLEL);
	for (size_t i = 0; i < w->n_layers; i++) {
		s[i] = (struct sending) { b, v, from, to, &w->layers[i], "layer", "layer" };
		task_group_go(&g, "cache layer", send_blob, &s[i]);
	}
	TRY(task_group_wait(&g));
	last = (struct sending) { b, v, from, to, &w->config, "config", "config" };
	TRY(send_blob(ctx, &last));
	last = (struct sending) { b, v, from, to, &w->root, manifest_name(t), "manifest" };
	return send_blob(ctx, &last);
}

static struct err *send_local(struct build *b, struct ctx *ctx, struct vprogress *v,
			      const struct cachetarget *t, const struct remotecache_written *w,
			      struct arena *a)
{
	struct session *s;
	struct content *to;
	struct err *e;

	if (!b->session_id.len)
		return err_new(ERR_UNKNOWN, "local cache exporter/importer requires session");
	TRY(session_get(b->control->host.sessions, ctx, b->session_id, false, &s));
	e = session_content(s, str_from(t->store), &to);
	if (!e) {
		e = copy_all(b, ctx, v, t, w, to, a);
		content_free(to);
	}
	session_unref(s);
	return e;
}

static void log_push(void *arg, const char *text)
{
	progress_log(arg, 1, str_from(text));
}

static struct err *send_registry(struct build *b, struct ctx *ctx, struct vprogress *v,
				 const struct cachetarget *t, const struct remotecache_written *w,
				 struct arena *a)
{
	struct control *c = b->control;
	struct registry_push_opts po = { .insecure = t->insecure, .log = log_push, .log_arg = v };
	int64_t *started = ARENA_NEW_N(a, int64_t, w->n_layers + 1);
	struct session_auth auth;
	struct str last;

	session_auth_init(
		&auth, c->host.sessions, b->sessions,
		str_from(arena_printf(a, "%.*s::%s::push%s", STR_ARG(b->session_id),
				      imageref_name(a, &t->ref), t->insecure ? ":insecure" : "")));
	for (size_t i = 0; i < w->n_layers; i++)
		started[i] =
			progress_status_begin(v, str_from(status_of(a, "layer", &w->layers[i])));
	TRYW(registry_push(c->host.registry, ctx, &t->ref, &w->root, cache_content(c->host.cache),
			   &auth.auth, &po),
	     "error writing layer blob");
	for (size_t i = 0; i < w->n_layers; i++)
		progress_status_done(v, str_from(status_of(a, "layer", &w->layers[i])), started[i]);
	last = str_from(status_of(a, "config", &w->config));
	progress_status_done(v, last, progress_status_begin(v, last));
	last = str_from(status_of(a, manifest_name(t), &w->root));
	progress_status_done(v, last, progress_status_begin(v, last));
	return NULL;
}

static struct err *send_objects(struct build *b, struct ctx *ctx, struct vprogress *v,
				const struct cachetarget *t, const struct remotecache_written *w,
				struct arena *a)
{
	return objcache_export(t->objects, ctx, cache_content(b->control->host.cache), w, v);
}

/* ---- kinds ---- */

static const struct cachetarget_kind kinds[] = {
	{ "registry", "exporting cache to registry", parse_registry, send_registry },
	{ "local", "exporting cache to client directory", parse_local, send_local },
	{ "s3", "exporting cache to Amazon S3", parse_s3, send_objects },
	{ "azblob", "exporting cache to Azure Blob Storage", parse_azblob, send_objects },
	{ "inline", "exporting inline cache", parse_inline, NULL },
};

static const struct cachetarget_kind *kind_of(const char *type)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(kinds[i].type, type))
			return &kinds[i];
	return NULL;
}

void cachetarget_fini(struct cachetarget *t)
{
	objstore_unref(t->objects);
}

struct err *cachetarget_parse(struct control *c, struct arena *a,
			      const Moby__Buildkit__V1__CacheOptionsEntry *in,
			      struct cachetarget *ret)
{
	struct exporter_kv *kv = ARENA_NEW_N(a, struct exporter_kv, in->n_attrs + 1);
	struct attrs at = { kv, in->n_attrs };
	struct cachetarget t = { .kind = kind_of(in->type) };
	struct err *e;

	if (!t.kind)
		return err_new(ERR_UNKNOWN, "unknown cache exporter: \"%s\"", in->type);
	for (size_t i = 0; i < in->n_attrs; i++)
		kv[i] = (struct exporter_kv) { str_from(in->attrs[i]->key),
					       str_from(in->attrs[i]->value) };
	TRYW(t.kind->parse(c, a, &at, &t), "failed to configure %s cache exporter", in->type);
	t.form.max = str_eq_cstr(attrs_get(&at, "mode"), "max");
	/* A value that is none counts for nothing. */
	e = attrs_bool(&at, "ignore-error", false, &t.ignore_error, NULL);
	err_free(e);
	*ret = t;
	return NULL;
}
