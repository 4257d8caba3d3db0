#include "exporter/kinds.h"

#include "base/mem.h"
#include "exporter/treeattrs.h"
#include "exporter/trees.h"
#include "session/filesync.h"

struct local_exporter {
	struct exporter base;
	struct arena arena;
	struct tree_attrs attrs;
};

struct err *tree_attrs_parse(const struct attrs *at, bool local, struct tree_attrs *ret)
{
	struct tree_attrs t = { 0 };
	struct str mode = attrs_get(at, "mode");

	t.src = attrs_get(at, "src");
	TRY(attrs_epoch(at, &t.epoch_s, &t.epoch_set));
	TRY(attrs_bool(at, "platform-split", false, &t.split, &t.split_set));
	if (local && mode.len) {
		t.mode_delete = str_eq_cstr(mode, "delete");
		if (!t.mode_delete && !str_eq_cstr(mode, "copy"))
			return err_new(ERR_UNKNOWN, "invalid local exporter mode \"%.*s\"",
				       STR_ARG(mode));
	}
	*ret = t;
	return NULL;
}

struct report {
	struct vprogress *progress;
	char *id;
	int64_t started;
};

static void on_progress(void *arg, uint64_t bytes, bool done)
{
	struct report *r = arg;

	progress_status(r->progress, &(struct progress_status) {
					     .id = str_from(r->id),
					     .name = STR("transferring"),
					     .current = (int64_t)bytes,
					     .started_ns = r->started,
					     .completed_ns = done ? clock_wall() : 0,
				     });
}

/* One stream for these trees. */
static struct err *send(const struct exporter_env *env, struct session *s, const struct tree *t,
			size_t n, const char *id, bool multi)
{
	struct report r = { env->progress, (char *)id, clock_wall() };
	struct filesync_sink sink = { on_progress, &r };
	SCOPED_ARENA(a);
	struct filesend_tree *trees = ARENA_NEW_N(&a, struct filesend_tree, n);
	struct grpc_md *md;
	size_t n_md, k = 0;
	int64_t epoch = -1;

	for (size_t i = 0; i < n; i++) {
		if (t[i].dirfd >= 0)
			trees[k++] = (struct filesend_tree) { t[i].dirfd, t[i].prefix };
		if (t[i].epoch_s >= 0)
			epoch = t[i].epoch_s * NSEC_PER_SEC;
	}
	md = exporter_metadata(env, &a, &n_md);
	return filesend_trees(s, env->ctx, env->index, trees, k, epoch, multi, md, n_md, &sink);
}

static struct err *local_export(struct exporter *e, const struct exporter_env *env,
				const struct export_input *in)
{
	struct local_exporter *x = container_of(e, struct local_exporter, base);
	bool split = x->attrs.split_set ? x->attrs.split : in->is_map;
	SCOPED_ARENA(a);
	struct session *s;
	struct trees t;
	struct err *er;

	if (!in->is_map && in->n_items > 1)
		return err_new(ERR_UNKNOWN, "unable to export multiple platforms without map");
	TRY(exporter_session(env, &s));
	er = trees_open(env, in, &x->attrs, split, &a, &t);
	if (er) {
		session_unref(s);
		return er;
	}
	if (!split && in->n_items > 1)
		er = trees_check_overlap(&t);
	if (er) {
		/* nothing is sent */
	} else if (!in->is_map || x->attrs.mode_delete) {
		er = send(env, s, t.items, t.n, "copying files", x->attrs.mode_delete);
	} else {
		for (size_t i = 0; i < t.n && !er; i++)
			er = send(env, s, &t.items[i], 1,
				  arena_printf(&a, "copying files %.*s",
					       STR_ARG(t.items[i].item->platform_id)),
				  false);
	}
	trees_close(&t);
	session_unref(s);
	return er;
}

static bool no_finalize(const struct exporter *e)
{
	(void)e;
	return false;
}

static const struct cache_compress *no_compression(const struct exporter *e)
{
	(void)e;
	return NULL;
}

static void local_free(struct exporter *e)
{
	struct local_exporter *x = container_of(e, struct local_exporter, base);

	arena_fini(&x->arena);
	free(x);
}

static const struct exporter_ops local_ops = {
	.export = local_export,
	.needs_finalize = no_finalize,
	.compression = no_compression,
	.free = local_free,
};

struct err *local_exporter_new(const struct exporter_host *h, const struct exporter_kv *attrs,
			       size_t n, struct exporter **ret)
{
	struct attrs at = { attrs, n };
	struct tree_attrs t;
	struct local_exporter *x;

	(void)h;
	TRY(tree_attrs_parse(&at, true, &t));
	x = NEW(struct local_exporter);
	x->base = (struct exporter) { &local_ops, "local", "exporting to client directory" };
	x->attrs = t;
	x->attrs.src = str_dup(&x->arena, t.src);
	*ret = &x->base;
	return NULL;
}
