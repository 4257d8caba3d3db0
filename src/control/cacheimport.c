#include "control/cacheimport.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/task.h"
#include "exporter/attrs.h"
#include "control/cachetarget.h"
#include "source/imagemeta.h"

/* Changes under build.lock; what it brought stays as it is once done. */
struct cacheimport {
	struct build *build;
	struct arena arena;
	struct str id; /* as its step says */
	struct str type;
	struct attrs attrs;
	bool done;
	struct cache_source **sources;
	size_t n_sources;
};

/* ---- origins ---- */

static struct result *result_of(void *arg, struct cache_ref *take_ref)
{
	return op_result_new(arg, take_ref);
}

static struct err *fetch(void *arg, struct ctx *ctx, const struct oci_descriptor *d)
{
	return image_origin_fetch(arg, ctx, d, NULL);
}

static void origin_ref(void *arg)
{
	(void)image_origin_ref(arg);
}

static void origin_unref(void *arg)
{
	image_origin_unref(arg);
}

static void *for_session(void *arg, void *session)
{
	return image_origin_for(arg, session);
}

static struct err *registry_origin(struct cacheimport *im, struct ctx *ctx,
				   struct image_origin **ret, struct oci_descriptor *ret_root)
{
	struct control *c = im->build->control;
	struct str text = attrs_get(&im->attrs, "ref");
	struct imageref ref;
	bool insecure = false;
	struct err *e;

	if (!text.len)
		return err_new(ERR_UNKNOWN, "missing ref");
	TRY(imageref_parse(&im->arena, text, &ref));
	ref = imageref_with_default_tag(ref);
	TRYW(attrs_bool(&im->attrs, "registry.insecure", false, &insecure, NULL),
	     "failed to parse registry.insecure");
	*ret = image_origin_registry(c->host.registry, c->host.sessions, im->build->sessions,
				     cache_content(c->worker->cache), &ref);
	(*ret)->insecure = insecure;
	e = image_origin_resolve(*ret, ctx, &im->arena, ret_root);
	if (e)
		image_origin_unrefp(ret);
	return e;
}

static struct err *size_in_session(struct cacheimport *im, struct ctx *ctx, const char *store,
				   struct oci_descriptor *d)
{
	struct content_info info;
	struct content *from;
	struct session *s;
	struct err *e;

	TRY(session_get(im->build->control->host.sessions, ctx, im->build->session_id, false, &s));
	e = session_content(s, str_from(store), &from);
	if (!e) {
		e = content_info(from, ctx, &im->arena, &d->digest, &info);
		if (!e)
			d->size = (int64_t)info.size;
		content_free(from);
	}
	session_unref(s);
	return e;
}

static struct err *local_origin(struct cacheimport *im, struct ctx *ctx, struct image_origin **ret,
				struct oci_descriptor *ret_root)
{
	struct control *c = im->build->control;
	struct str digest = attrs_get(&im->attrs, "digest"), src = attrs_get(&im->attrs, "src");
	struct oci_descriptor root = { 0 };
	struct imageref none = { 0 };
	const char *store;

	if (!digest.len)
		return err_new(ERR_UNKNOWN, "local cache importer requires explicit digest");
	if (!src.len)
		return err_new(ERR_UNKNOWN, "local cache importer requires src");
	if (!im->build->session_id.len)
		return err_new(ERR_UNKNOWN, "local cache exporter/importer requires session");
	TRY(digest_parse(digest, &root.digest));
	store = arena_printf(&im->arena, "local:%.*s", STR_ARG(src));
	TRY(size_in_session(im, ctx, store, &root));
	*ret = image_origin_layout(c->host.sessions, im->build->sessions,
				   cache_content(c->worker->cache), &none, im->build->session_id,
				   str_from(store));
	*ret_root = root;
	return NULL;
}

static struct err *read_cache(struct cacheimport *im, struct ctx *ctx, struct vprogress *v)
{
	struct worker *w = im->build->control->worker;
	CLEANUP(image_origin_unrefp) struct image_origin *origin = NULL;
	struct remotecache_origin o = {
		.cache = w->cache,
		.result_of = result_of,
		.arg = w,
		.fetch = { fetch, origin_ref, origin_unref, NULL },
		.for_session = for_session,
	};
	struct oci_descriptor root;
	struct objstore *objects;
	struct str status = STR_NONE;
	struct err *e;

	TRYW(cachetarget_objects(im->build->control, im->type, &im->attrs, &im->arena, &objects),
	     "failed to configure %.*s cache importer", STR_ARG(im->type));
	if (objects) {
		e = objcache_import(objects, w->cache, result_of, w, ctx, &im->arena, &im->sources,
				    &im->n_sources);
		objstore_unref(objects);
		return e;
	}
	if (str_eq_cstr(im->type, "registry")) {
		e = registry_origin(im, ctx, &origin, &root);
	} else if (str_eq_cstr(im->type, "local")) {
		/* The client will be gone. */
		o.eager = true;
		e = local_origin(im, ctx, &origin, &root);
	} else {
		return err_new(ERR_UNKNOWN, "unknown cache importer: %.*s", STR_ARG(im->type));
	}
	TRYW(e, "failed to configure %.*s cache importer", STR_ARG(im->type));
	o.fetch.arg = origin;
	TRY(remotecache_import(&o, ctx, &im->arena, &root, &im->sources, &im->n_sources, &status));
	progress_status_done(v, status, progress_status_begin(v, status));
	return NULL;
}

static struct err *run(struct ctx *ctx, void *arg)
{
	struct cacheimport *im = arg;
	struct build *b = im->build;
	char *name =
		arena_printf(&im->arena, "importing cache manifest from %.*s", STR_ARG(im->id));
	struct vprogress *v = progress_step(job_progress(b->job), str_from(name), name);
	struct err *e = read_cache(im, ctx, v);

	if (e)
		log_debug("error while importing cache manifest from cmId=%.*s: %s",
			  STR_ARG(im->id), err_text(e));
	vprogress_complete(v, false, e);
	vprogress_unref(v);
	err_free(e);
	lock_take(&b->lock);
	im->done = true;
	cond_broadcast(&b->imported);
	lock_drop(&b->lock);
	return NULL;
}

/* ---- of a build ---- */

static int by_key(const void *a, const void *b)
{
	return str_cmp(((const struct exporter_kv *)a)->key, ((const struct exporter_kv *)b)->key);
}

/* A registry's by its reference, others by all that they are told. */
static struct str id_of(const struct cacheimport *im, struct arena *a)
{
	SCOPED_BUF(all, SIZE_MAX);
	struct digest d;
	uint64_t n;

	if (str_eq_cstr(im->type, "registry") && attrs_get(&im->attrs, "ref").len)
		return attrs_get(&im->attrs, "ref");
	for (size_t i = 0; i < im->attrs.n; i++)
		buf_addf(&all, "%zu:%.*s%zu:%.*s", im->attrs.kv[i].key.len,
			 STR_ARG(im->attrs.kv[i].key), im->attrs.kv[i].value.len,
			 STR_ARG(im->attrs.kv[i].value));
	d = digest_sha256(buf_str(&all));
	memcpy(&n, d.bytes, sizeof(n));
	return str_from(arena_printf(a, "%.*s:%llu", STR_ARG(im->type), (unsigned long long)n));
}

static struct cacheimport *import_new(struct build *b,
				      const Moby__Buildkit__V1__Frontend__CacheOptionsEntry *e)
{
	struct cacheimport *im = NEW(struct cacheimport);
	struct exporter_kv *kv = ARENA_NEW_N(&im->arena, struct exporter_kv, e->n_attrs + 1);

	for (size_t i = 0; i < e->n_attrs; i++)
		kv[i] = (struct exporter_kv) {
			str_dup(&im->arena, str_from(e->attrs[i]->key)),
			str_dup(&im->arena, str_from(e->attrs[i]->value)),
		};
	if (e->n_attrs)
		qsort(kv, e->n_attrs, sizeof(*kv), by_key);
	im->build = b;
	im->type = str_dup(&im->arena, str_from(e->type));
	im->attrs = (struct attrs) { kv, e->n_attrs };
	im->id = id_of(im, &im->arena);
	return im;
}

static void import_free(void *arg)
{
	struct cacheimport *im = arg;

	for (size_t i = 0; i < im->n_sources; i++)
		cache_source_unref(im->sources[i]);
	arena_fini(&im->arena);
	free(im);
}

struct cacheimport *cacheimport_start(struct build *b,
				      const Moby__Buildkit__V1__Frontend__CacheOptionsEntry *e)
{
	struct cacheimport *im = import_new(b, e), *have;

	lock_take(&b->lock);
	have = map_get(&b->imports, im->id);
	if (!have)
		(void)map_put(&b->imports, im->id, im);
	lock_drop(&b->lock);
	if (have) {
		import_free(im);
		return have;
	}
	task_go(b->ctx, "cache import", run, im);
	return im;
}

struct err *cacheimport_wait(struct build *b, struct ctx *ctx, struct cacheimport *const *list,
			     size_t n, struct arena *a, struct cache_source ***ret, size_t *ret_n)
{
	size_t total = 0, at = 0;
	struct err *e = NULL;

	lock_take(&b->lock);
	for (size_t i = 0; i < n && !e; i++) {
		while (!list[i]->done && !e)
			e = cond_wait(&b->imported, &b->lock, ctx);
		total += list[i]->n_sources;
	}
	lock_drop(&b->lock);
	if (e)
		return e;
	*ret = ARENA_NEW_N(a, struct cache_source *, total + 1);
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < list[i]->n_sources; k++)
			(*ret)[at++] = list[i]->sources[k];
	*ret_n = total;
	return NULL;
}

void cacheimport_stop(struct build *b)
{
	lock_take(&b->lock);
	for (struct map_entry *e = map_next(&b->imports, NULL); e; e = map_next(&b->imports, e))
		while (!((struct cacheimport *)e->value)->done)
			cond_wait_uninterrupted(&b->imported, &b->lock);
	lock_drop(&b->lock);
	map_fini(&b->imports, import_free);
}
