#include "control/cacheexport.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/task.h"
#include "control/cachetarget.h"

typedef Moby__Buildkit__V1__CacheOptionsEntry cache_entry;

/* ---- the request ---- */

/* Two are the same when they would write to the same place. */
static bool same_export(const cache_entry *x, const cache_entry *y)
{
	const char *rx = PROTO_MAP_GET(x->n_attrs, x->attrs, "ref");
	const char *ry = PROTO_MAP_GET(y->n_attrs, y->attrs, "ref");
	bool registry = !strcmp(x->type, "registry");

	if (strcmp(x->type, y->type) != 0)
		return false;
	if (registry && rx && *rx)
		return ry && !strcmp(rx, ry);
	if (x->n_attrs != y->n_attrs)
		return false;
	for (size_t i = 0; i < x->n_attrs; i++) {
		const char *v = PROTO_MAP_GET(y->n_attrs, y->attrs, x->attrs[i]->key);

		if (!v || strcmp(v, x->attrs[i]->value) != 0)
			return false;
	}
	return true;
}

static struct err *check_duplicates(const Moby__Buildkit__V1__CacheOptions *o)
{
	SCOPED_BUF(types, LIMIT_ERROR_TEXT);

	for (size_t i = 0; i < o->n_exports; i++) {
		size_t n = 0;

		/* Each group once, at its first. */
		for (size_t k = 0; k < i && !n; k++)
			n += same_export(o->exports[k], o->exports[i]);
		if (n || !strcmp(o->exports[i]->type, "inline"))
			continue;
		for (size_t k = i + 1; k < o->n_exports && !n; k++)
			n += same_export(o->exports[k], o->exports[i]);
		if (n)
			buf_addf(&types, "%s%s", types.len ? " " : "", o->exports[i]->type);
	}
	return types.len ? err_new(ERR_UNKNOWN, "duplicate cache exports [%s]", buf_cstr(&types))
			 : NULL;
}

struct err *cacheexport_check(struct control *c, const Moby__Buildkit__V1__SolveRequest *req)
{
	SCOPED_ARENA(a);
	struct cachetarget t;

	if (!req->cache)
		return NULL;
	TRY(check_duplicates(req->cache));
	for (size_t i = 0; i < req->cache->n_exports; i++) {
		TRY(cachetarget_parse(c, &a, req->cache->exports[i], &t));
		cachetarget_fini(&t);
	}
	return NULL;
}

/* ---- the export ---- */

struct cache_export {
	struct build *build;
	const cache_entry *entry;
	size_t index;
	const struct remotecache_item *items;
	size_t n_items;
	struct str manifest; /* descriptor JSON, heap; empty: nothing was exported */
};

static struct err *write_cache(struct cache_export *x, struct ctx *ctx, struct vprogress *v,
			       const struct cachetarget *t, struct arena *a,
			       struct remotecache_written *ret, bool *ret_found)
{
	struct worker *w = x->build->control->worker;
	struct remotecache_results results = { .ref_of = op_result_ref };
	struct str status = STR("preparing build cache for export");
	int64_t started = progress_status_begin(v, status);
	struct result_ops ops;

	op_result_ops_init(&ops, w);
	results.unref = ops.unref;
	TRY(remotecache_write(ctx, &results, x->items, x->n_items, &t->form,
			      cache_content(x->build->control->host.cache), a, ret, ret_found));
	progress_status_done(v, status, started);
	return NULL;
}

static struct err *write_and_send(struct cache_export *x, struct ctx *ctx, struct vprogress *v,
				  const struct cachetarget *t, struct arena *a)
{
	struct str status = STR("sending cache export");
	struct remotecache_written w;
	SCOPED_BUF(json, MIB);
	int64_t started;
	bool found;

	TRY(write_cache(x, ctx, v, t, a, &w, &found));
	if (!found) {
		status = STR("skipping cache export for empty result");
		progress_status_done(v, status, progress_status_begin(v, status));
		return NULL;
	}
	started = progress_status_begin(v, status);
	TRY(t->kind->send(x->build, ctx, v, t, &w, a));
	progress_status_done(v, status, started);
	if (!digest_is_set(&w.root.digest))
		return NULL;
	oci_print_descriptor(&w.root, &json);
	TRY(buf_check(&json, "cache manifest descriptor"));
	x->manifest = str_from(str_heap(buf_str(&json)));
	return NULL;
}

static struct err *export_one(struct ctx *ctx, void *arg)
{
	struct cache_export *x = arg;
	struct build *b = x->build;
	SCOPED_ARENA(a);
	struct cachetarget t;
	struct vprogress *v;
	struct err *e;

	TRY(cachetarget_parse(b->control, &a, x->entry, &t));
	v = progress_step(
		job_progress(b->job),
		str_from(arena_printf(&a, "%.*s-cache-%zu", STR_ARG(b->session_id), x->index)),
		t.kind->step_name);
	e = write_and_send(x, ctx, v, &t, &a);
	vprogress_complete(v, false, e);
	vprogress_unref(v);
	cachetarget_fini(&t);
	if (e && t.ignore_error && !ctx_done(ctx)) {
		err_free(e);
		return NULL;
	}
	return e;
}

struct err *cacheexport_run(struct build *b, struct ctx *ctx, const struct export_input *in,
			    struct cache_key *const *keys, struct map *response)
{
	const Moby__Buildkit__V1__CacheOptions *o = b->req->cache;
	size_t n = o ? o->n_exports : 0, n_used = 0;
	SCOPED_ARENA(a);
	struct remotecache_item *items = ARENA_NEW_N(&a, struct remotecache_item, in->n_items + 1);
	struct cache_export *all = ARENA_NEW_N(&a, struct cache_export, n + 1);
	struct task_group g;
	struct err *e;

	for (size_t i = 0; i < in->n_items; i++)
		items[i] = (struct remotecache_item) { keys[i], in->items[i].ref };
	task_group_init(&g, ctx, 0);
	for (size_t i = 0; i < n; i++) {
		/* That one is the exporters'. */
		if (!strcmp(o->exports[i]->type, "inline"))
			continue;
		all[n_used] = (struct cache_export) {
			.build = b,
			.entry = o->exports[i],
			.index = n_used,
			.items = items,
			.n_items = in->n_items,
		};
		task_group_go(&g, "cache export", export_one, &all[n_used++]);
	}
	e = task_group_wait(&g);
	for (size_t i = 0; i < n_used; i++) {
		if (all[i].manifest.len && !e)
			free(map_put(response, STR("cache.manifest"), (void *)all[i].manifest.ptr));
		else
			free((void *)all[i].manifest.ptr);
	}
	return e;
}
