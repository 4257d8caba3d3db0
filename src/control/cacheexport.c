#include "control/cacheexport.h"

#include "base/limits.h"
#include "base/mem.h"
#include "exporter/attrs.h"
#include "remotecache/remotecache.h"
#include "source/session_auth.h"

typedef Moby__Buildkit__V1__CacheOptionsEntry cache_entry;

/* ---- options ---- */

struct options {
	struct remotecache_form form;
	struct imageref ref;
	bool insecure, ignore_error;
};

static struct attrs attrs_of(const cache_entry *in, struct arena *a)
{
	struct exporter_kv *kv = ARENA_NEW_N(a, struct exporter_kv, in->n_attrs + 1);

	for (size_t i = 0; i < in->n_attrs; i++)
		kv[i] = (struct exporter_kv) { str_from(in->attrs[i]->key),
					       str_from(in->attrs[i]->value) };
	return (struct attrs) { kv, in->n_attrs };
}

static struct err *parse_registry(const cache_entry *in, struct arena *a, struct options *ret)
{
	struct attrs at = attrs_of(in, a);
	struct options o = { 0 };
	bool image = true, oci = true;
	struct str ref = attrs_get(&at, "ref");

	if (!ref.len)
		return err_new(ERR_INVALID_ARGUMENT, "registry cache exporter requires ref");
	TRYW(imageref_parse(a, ref, &o.ref), "failed to parse cache reference \"%.*s\"",
	     STR_ARG(ref));
	TRY(attrs_compression(&at, &o.form.compress));
	TRY(attrs_bool(&at, "image-manifest", false, &image, NULL));
	TRY(attrs_bool(&at, "oci-mediatypes", false, &oci, NULL));
	TRY(attrs_bool(&at, "registry.insecure", false, &o.insecure, NULL));
	TRY(attrs_bool(&at, "ignore-error", false, &o.ignore_error, NULL));
	o.form.max = str_eq_cstr(attrs_get(&at, "mode"), "max");
	o.form.no_image = !image;
	o.form.compress.docker_types = !oci;
	if (image && !oci)
		return err_new(ERR_INVALID_ARGUMENT,
			       "invalid configuration for remote cache, OCI mediatypes are "
			       "required for image-manifest cache format");
	*ret = o;
	return NULL;
}

struct err *cacheexport_check(const Moby__Buildkit__V1__SolveRequest *req)
{
	SCOPED_ARENA(a);
	struct options o;

	if (!req->cache)
		return NULL;
	if (*req->cache->exportrefdeprecated)
		return err_new(ERR_UNIMPLEMENTED, "cache export is not supported");
	for (size_t i = 0; i < req->cache->n_exports; i++) {
		const cache_entry *in = req->cache->exports[i];

		if (!strcmp(in->type, "inline"))
			continue;
		if (strcmp(in->type, "registry") != 0)
			return err_new(ERR_UNIMPLEMENTED, "cache exporter \"%s\" is not supported",
				       in->type);
		TRY(parse_registry(in, &a, &o));
	}
	return NULL;
}

/* ---- the export ---- */

static struct err *push(struct build *b, struct ctx *ctx, const struct options *o,
			const struct oci_descriptor *root, struct arena *a)
{
	struct control *c = b->control;
	struct registry_push_opts po = { .insecure = o->insecure };
	struct session_auth auth;

	session_auth_init(
		&auth, c->host.sessions, b->sessions,
		str_from(arena_printf(a, "%.*s::%s::push%s", STR_ARG(b->session_id),
				      imageref_name(a, &o->ref), o->insecure ? ":insecure" : "")));
	TRYW(registry_push(c->host.registry, ctx, &o->ref, root, cache_content(c->host.cache),
			   &auth.auth, &po),
	     "failed to push %s", imageref_format(a, &o->ref));
	return NULL;
}

static struct err *write_and_push(struct build *b, struct ctx *ctx, struct vprogress *v,
				  const struct options *o, const struct remotecache_item *items,
				  size_t n, struct map *response, struct arena *a)
{
	struct remotecache_results results = { .ref_of = op_result_ref };
	struct str preparing = STR("preparing build cache for export");
	int64_t t = progress_status_begin(v, preparing), *started;
	struct remotecache_written w;
	SCOPED_BUF(json, MIB);
	struct result_ops ops;
	char *last;
	bool found;

	op_result_ops_init(&ops, b->control->worker);
	results.unref = ops.unref;
	TRY(remotecache_write(ctx, &results, items, n, &o->form,
			      cache_content(b->control->host.cache), a, &w, &found));
	progress_status_done(v, preparing, t);
	if (!found) {
		struct str skip = STR("skipping cache export for empty result");

		progress_status_done(v, skip, progress_status_begin(v, skip));
		return NULL;
	}
	started = ARENA_NEW_N(a, int64_t, w.n_layers + 1);
	for (size_t i = 0; i < w.n_layers; i++)
		started[i] = progress_status_begin(
			v, str_from(arena_printf(a, "writing layer %s",
						 digest_text(&w.layers[i].digest, a))));
	TRY(push(b, ctx, o, &w.root, a));
	for (size_t i = 0; i < w.n_layers; i++)
		progress_status_done(v,
				     str_from(arena_printf(a, "writing layer %s",
							   digest_text(&w.layers[i].digest, a))),
				     started[i]);
	last = arena_printf(a, "writing config %s", digest_text(&w.config.digest, a));
	progress_status_done(v, str_from(last), progress_status_begin(v, str_from(last)));
	last = arena_printf(a, "writing cache %smanifest %s", o->form.no_image ? "" : "image ",
			    digest_text(&w.root.digest, a));
	progress_status_done(v, str_from(last), progress_status_begin(v, str_from(last)));
	oci_print_descriptor(&w.root, &json);
	TRY(buf_check(&json, "cache manifest descriptor"));
	free(map_put(response, STR("cache.manifest"), str_heap(buf_str(&json))));
	return NULL;
}

static struct err *export_one(struct build *b, const cache_entry *in, size_t index,
			      const struct remotecache_item *items, size_t n, struct map *response)
{
	SCOPED_ARENA(a);
	struct options o;
	struct vprogress *v;
	struct err *e;

	TRY(parse_registry(in, &a, &o));
	v = progress_step(
		job_progress(b->job),
		str_from(arena_printf(&a, "%.*s-cache-%zu", STR_ARG(b->session_id), index)),
		"exporting cache to registry");
	e = write_and_push(b, b->ctx, v, &o, items, n, response, &a);
	vprogress_complete(v, false, e);
	vprogress_unref(v);
	if (e && o.ignore_error && !ctx_done(b->ctx)) {
		err_free(e);
		return NULL;
	}
	return e;
}

struct err *cacheexport_run(struct build *b, const struct export_input *in,
			    struct cache_key *const *keys, struct map *response)
{
	const Moby__Buildkit__V1__CacheOptions *o = b->req->cache;
	SCOPED_ARENA(a);
	struct remotecache_item *items = ARENA_NEW_N(&a, struct remotecache_item, in->n_items + 1);

	for (size_t i = 0; i < in->n_items; i++)
		items[i] = (struct remotecache_item) { keys[i], in->items[i].ref };
	for (size_t i = 0; o && i < o->n_exports; i++)
		if (!strcmp(o->exports[i]->type, "registry"))
			TRY(export_one(b, o->exports[i], i, items, in->n_items, response));
	return NULL;
}
