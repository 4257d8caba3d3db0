#include "control/build.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/task.h"
#include "control/cacheexport.h"
#include "remotecache/remotecache.h"

/* ---- the frontend's result as exporters want it ---- */

static struct str meta_of(const struct frontend_result *r, struct arena *a, const char *key,
			  struct str platform_id)
{
	struct str v = STR_NONE;

	if (platform_id.len &&
	    frontend_result_meta(r, str_from(arena_printf(a, "%s/%.*s", key, STR_ARG(platform_id))),
				 &v))
		return v;
	if (frontend_result_meta(r, str_from(key), &v))
		return v;
	return STR_NONE;
}

struct mapping {
	struct str id;
	struct platform platform;
};

static struct err *read_platform(const json_t *it, struct arena *a, struct mapping *ret)
{
	const json_t *p = json_object_get(it, "Platform");
	struct mapping m = {
		.id = str_dup(a, json_get_str(it, "ID")),
		.platform = {
			.os = str_dup(a, json_get_str(p, "os")),
			.arch = str_dup(a, json_get_str(p, "architecture")),
			.variant = str_dup(a, json_get_str(p, "variant")),
			.os_version = str_dup(a, json_get_str(p, "os.version")),
		},
	};

	if (!m.id.len)
		return err_new(ERR_UNKNOWN, "invalid empty platform key for exporter");
	/* Printed as Go prints the struct. */
	if (!m.platform.os.len || !m.platform.arch.len)
		return err_new(ERR_UNKNOWN,
			       "invalid platform value {%.*s %.*s %.*s [] %.*s} for exporter",
			       STR_ARG(m.platform.arch), STR_ARG(m.platform.os),
			       STR_ARG(m.platform.os_version), STR_ARG(m.platform.variant));
	m.platform = platform_normalize(m.platform);
	*ret = m;
	return NULL;
}

/* refs.platforms: which ref is for which platform. */
static struct err *read_mapping(const struct frontend_result *r, struct arena *a,
				struct mapping **ret, size_t *ret_n, bool *ret_found)
{
	SCOPED_JSON(root);
	json_t *list;
	struct str text;

	*ret_n = 0;
	*ret_found = frontend_result_meta(r, STR("refs.platforms"), &text);
	if (!*ret_found)
		return NULL;
	if (text.len)
		TRYW(json_read(text, "refs.platforms", &root),
		     "failed to parse platforms passed to provenance processor");
	list = json_object_get(root, "Platforms");
	if (!json_array_size(list))
		return err_new(ERR_UNKNOWN, "invalid empty platforms index for exporter");
	*ret = ARENA_NEW_N(a, struct mapping, json_array_size(list));
	for (size_t i = 0; i < json_array_size(list); i++)
		TRY(read_platform(json_array_get(list, i), a, &(*ret)[i]));
	*ret_n = json_array_size(list);
	return NULL;
}

/* Without a mapping the config says what the platform is: all of it or nothing. */
static struct err *check_config(const struct frontend_result *r)
{
	SCOPED_JSON(root);
	struct str text;

	if (!frontend_result_meta(r, STR("containerimage.config"), &text))
		return NULL;
	TRY(json_read(text, "image config", &root));
	if (!json_get_str(root, "os").len != !json_get_str(root, "architecture").len)
		return err_new(ERR_UNKNOWN, "invalid image config: os and architecture must be "
					    "specified together");
	return NULL;
}

static struct err *add_item(struct build *b, const struct frontend_result *r, struct arena *a,
			    struct bridge_ref *ref, const struct mapping *m,
			    struct export_item *ret, struct cache_key **ret_key)
{
	struct str id = m ? m->id : STR_NONE;

	*ret = (struct export_item) {
		.platform_id = id,
		.has_platform = m != NULL,
		.config = meta_of(r, a, "containerimage.config", id),
		.base_config = meta_of(r, a, "containerimage.base.config", id),
		.epoch = meta_of(r, a, "source.date.epoch", id),
	};
	if (m)
		ret->platform = m->platform;
	TRY(lazyref_cache_ref(ref, b->ctx, &ret->ref));
	*ret_key = lazyref_key(ref);
	return NULL;
}

struct evaluation {
	struct build *b;
	struct bridge_ref *ref;
};

static struct err *evaluate(struct ctx *ctx, void *arg)
{
	struct evaluation *ev = arg;
	struct cache_ref *c;

	return lazyref_cache_ref(ev->ref, ctx, &c);
}

/* Platforms of a result are built at the same time. */
static struct err *evaluate_all(struct build *b, const struct frontend_result *r, struct arena *a)
{
	struct evaluation *ev = ARENA_NEW_N(a, struct evaluation, r->n_refs);
	struct task_group g;

	task_group_init(&g, b->ctx, 0);
	for (size_t i = 0; i < r->n_refs; i++) {
		ev[i] = (struct evaluation) { b, r->refs[i].ref };
		task_group_go(&g, "evaluate", evaluate, &ev[i]);
	}
	return task_group_wait(&g);
}

/* What has a platform of its own, in the order of the mapping. */
static struct err *add_mapped(struct build *b, const struct frontend_result *r, struct arena *a,
			      const struct mapping *map, size_t n, struct export_input *in,
			      struct cache_key **keys)
{
	if (n != r->n_refs)
		return err_new(ERR_UNKNOWN, "number of platforms does not match references %zu %zu",
			       n, r->n_refs);
	for (size_t i = 0; i < n; i++) {
		struct bridge_ref *ref = NULL;
		bool have = false;

		for (size_t k = 0; k < r->n_refs; k++) {
			if (!str_eq(r->refs[k].key, map[i].id))
				continue;
			ref = r->refs[k].ref;
			have = true;
		}
		if (!have)
			return err_new(ERR_UNKNOWN, "failed to find ref for ID %.*s",
				       STR_ARG(map[i].id));
		TRY(add_item(b, r, a, ref, &map[i], &in->items[i], &keys[i]));
	}
	return NULL;
}

/* keys: of the items' results, borrowed from their refs; NULL for an empty tree. Platforms only
 * matter to exporters; caches are of whatever there is. */
static struct err *make_input(struct build *b, const struct frontend_result *r, bool exported,
			      struct arena *a, struct export_input *ret,
			      struct cache_key ***ret_keys)
{
	size_t n_items = r->is_map ? r->n_refs : 1, n = 0;
	struct exporter_kv *meta = ARENA_NEW_N(a, struct exporter_kv, r->n_metadata + 1);
	struct export_input in = {
		.is_map = r->is_map,
		.metadata = meta,
		.n_metadata = r->n_metadata,
		.items = ARENA_NEW_N(a, struct export_item, n_items + 1),
		.n_items = n_items,
	};
	struct cache_key **keys = ARENA_NEW_N(a, struct cache_key *, n_items + 1);
	struct mapping *map = NULL;
	bool found = false;

	for (size_t i = 0; i < r->n_metadata; i++)
		meta[i] = (struct exporter_kv) { r->metadata[i].key, r->metadata[i].value };
	TRY(evaluate_all(b, r, a));
	*ret_keys = keys;
	if (exported)
		TRY(read_mapping(r, a, &map, &n, &found));
	if (!r->is_map) {
		if (n > 1)
			return err_new(ERR_UNKNOWN,
				       "number of platforms does not match references %zu 1", n);
		TRY(add_item(b, r, a, r->ref, n ? &map[0] : NULL, &in.items[0], &keys[0]));
		if (exported && !found)
			TRY(check_config(r));
	} else if (exported) {
		if (!found)
			return err_new(ERR_UNKNOWN, "unable to export multiple refs, missing "
						    "platforms mapping");
		TRY(add_mapped(b, r, a, map, n, &in, keys));
	} else {
		for (size_t i = 0; i < n_items; i++)
			TRY(add_item(b, r, a, r->refs[i].ref, NULL, &in.items[i], &keys[i]));
	}
	*ret = in;
	return NULL;
}

/* ---- inline cache ---- */

static bool wants_inline_cache(const struct build *b)
{
	const Moby__Buildkit__V1__CacheOptions *o = b->req->cache;

	for (size_t i = 0; o && i < o->n_exports; i++)
		if (!strcmp(o->exports[i]->type, "inline"))
			return true;
	return false;
}

/* The input with the cache of each image in it; the layers are those that this exporter makes. */
static struct err *add_inline_cache(struct build *b, struct ctx *ctx, struct vprogress *v,
				    const struct cache_compress *compress,
				    struct cache_key *const *keys, struct arena *a,
				    struct export_input *in)
{
	struct export_item *items = ARENA_NEW_N(a, struct export_item, in->n_items + 1);
	int64_t started = progress_status_begin(v, STR("preparing layers for inline cache"));
	struct remotecache_results results = { .ref_of = op_result_ref };
	struct result_ops ops;

	op_result_ops_init(&ops, b->control->worker);
	results.unref = ops.unref;
	for (size_t i = 0; i < in->n_items; i++) {
		struct export_item *it = &items[i];

		*it = in->items[i];
		if (keys[i])
			TRY(remotecache_inline(ctx, &results, keys[i], it->ref, compress, a,
					       &it->inline_cache));
	}
	progress_status_done(v, STR("preparing layers for inline cache"), started);
	in->items = items;
	return NULL;
}

/* ---- running exporters ---- */

struct export_run {
	struct build *b;
	struct exporter *e;
	const struct export_input *in;
	struct cache_key *const *keys; /* of the items */
	int index;
	bool finalize;
	struct map response; /* of this exporter */
	struct lock lock;
};

static struct err *export_one(struct export_run *r, struct exporter_env *env, struct arena *a)
{
	struct exporter *e = r->e;
	struct export_input in = *r->in;

	const struct cache_compress *compress = e->ops->compression ? e->ops->compression(e) : NULL;

	if (compress && wants_inline_cache(r->b))
		TRY(add_inline_cache(r->b, env->ctx, env->progress, compress, r->keys, a, &in));
	return e->ops->export(e, env, &in);
}

static struct err *run_one(struct ctx *ctx, void *arg)
{
	struct export_run *r = arg;
	SCOPED_ARENA(a);
	char *id = arena_printf(&a, "%.*s-export-%d", STR_ARG(r->b->session_id), r->index);
	struct vprogress *v = progress_step(job_progress(r->b->job), str_from(id), r->e->step_name);
	struct exporter_env env = {
		.ctx = ctx,
		.host = &r->b->control->host,
		.sessions = r->b->sessions,
		.session_id = r->b->session_id,
		.progress = v,
		.index = r->index,
		.response = &r->response,
		.response_lock = &r->lock,
	};
	struct err *e;

	e = r->finalize ? r->e->ops->finalize(r->e, &env) : export_one(r, &env, &a);
	vprogress_complete(v, false, e);
	vprogress_unref(v);
	return e;
}

static struct err *run_exporters(struct export_run *runs, size_t n, struct ctx *ctx, bool finalize)
{
	struct task_group g;

	task_group_init(&g, ctx, 0);
	for (size_t i = 0; i < n; i++) {
		if (finalize && !runs[i].e->ops->needs_finalize(runs[i].e))
			continue;
		runs[i].finalize = finalize;
		task_group_go(&g, "export", run_one, &runs[i]);
	}
	return task_group_wait(&g);
}

/* One flat map: of equal keys the last exporter's stays. */
static void merge_response(struct map *to, struct map *from)
{
	for (struct map_entry *e = map_next(from, NULL); e; e = map_next(from, e)) {
		free(map_put(to, map_key(e), e->value));
		e->value = NULL;
	}
}

/* Pushes and cache exports go together: both only send. */
struct sending {
	struct build *b;
	const struct export_input *in;
	struct cache_key *const *keys;
	struct export_run *runs;
	size_t n;
	struct map *response; /* the cache exports' */
};

static struct err *send_caches(struct ctx *ctx, void *arg)
{
	struct sending *s = arg;

	return cacheexport_run(s->b, ctx, s->in, s->keys, s->response);
}

static struct err *send_results(struct ctx *ctx, void *arg)
{
	struct sending *s = arg;

	return run_exporters(s->runs, s->n, ctx, true);
}

static struct err *send_all(struct sending *s)
{
	struct task_group g;

	task_group_init(&g, s->b->ctx, 0);
	task_group_go(&g, "cache exports", send_caches, s);
	task_group_go(&g, "finalize", send_results, s);
	return task_group_wait(&g);
}

struct err *build_export(struct build *b, struct frontend_result *result,
			 struct exporter **exporters, size_t n, struct map *response)
{
	SCOPED_ARENA(a);
	struct export_run *runs = ARENA_NEW_N(&a, struct export_run, n);
	struct export_input in;
	struct cache_key **keys;
	struct err *e;

	build_record_result(b, result);
	if (n && result->n_attestations)
		return err_new(ERR_UNIMPLEMENTED, "exporting attestations is not supported");
	/* Everything is built, also when nobody takes it away. */
	TRY(make_input(b, result, n > 0, &a, &in, &keys));
	for (size_t i = 0; i < result->n_metadata; i++)
		if (str_has_prefix(result->metadata[i].key, STR("frontend.")))
			free(map_put(response, result->metadata[i].key,
				     str_heap(result->metadata[i].value)));
	for (size_t i = 0; i < n; i++) {
		runs[i] = (struct export_run) {
			.b = b, .e = exporters[i], .in = &in, .keys = keys, .index = (int)i
		};
		lock_init(&runs[i].lock, LOCK_EXPORTER);
	}
	e = run_exporters(runs, n, b->ctx, false);
	if (!e) {
		struct sending s = { b, &in, keys, runs, n, response };

		e = send_all(&s);
	}
	for (size_t i = 0; i < n; i++) {
		build_record_export(b, (int)i, &runs[i].response);
		merge_response(response, &runs[i].response);
		map_fini(&runs[i].response, free);
		lock_fini(&runs[i].lock);
	}
	return e;
}
