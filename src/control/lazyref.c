#include "control/build.h"

#include "base/limits.h"
#include "base/mem.h"
#include "control/cacheimport.h"
#include "control/files.h"
#include "op/workers.h"

/* A definition's result, made when somebody looks. */
struct lazyref {
	struct bridge_ref base;
	struct build *build; /* outlives its refs */
	struct graph *graph;
	uint32_t vertex, output;
	struct arena arena;
	const Pb__Definition *def;
	struct cacheimport **imports;
	size_t n_imports;
	struct lock lock;
	bool built;
	struct build_result result;
	bool brought;
	struct cache_ref *here; /* the result on the default worker, once it was wanted there */
};

static struct lazyref *of(struct bridge_ref *r)
{
	return container_of(r, struct lazyref, base);
}

static struct err *evaluate(struct bridge_ref *r, struct ctx *ctx)
{
	struct lazyref *l = of(r);
	struct build_request req = { .graph = l->graph, .vertex = l->vertex, .output = l->output };
	struct failure *failure = NULL;
	struct cache_source **sources;
	struct build_result got;
	SCOPED_ARENA(a);
	struct err *e;
	bool built;

	lock_take(&l->lock);
	built = l->built;
	lock_drop(&l->lock);
	if (built)
		return NULL;
	TRY(cacheimport_wait(l->build, ctx, l->imports, l->n_imports, &a, &sources,
			     &req.n_sources));
	req.sources = sources;
	/* Two callers at once share the work in the solver. */
	e = solver_build(job_builder(l->build->job), ctx, &req, &got, &failure);
	if (e) {
		op_add_source_details(l->graph, e);
		if (failure)
			build_note_failure(l->build, op_failure_of(failure), e);
		failure_unref(failure);
		return e;
	}
	failure_unref(failure);
	lock_take(&l->lock);
	if (!l->built) {
		l->result = got;
		l->built = true;
		got = (struct build_result) { 0 };
	}
	lock_drop(&l->lock);
	if (got.result)
		build_result_fini(l->build->control->solver, &got);
	return NULL;
}

/* On the worker that made it: good for a look. */
static struct err *cache_ref_there(struct bridge_ref *r, struct ctx *ctx, struct cache_ref **ret)
{
	TRY(evaluate(r, ctx));
	*ret = op_result_ref(of(r)->result.result);
	return NULL;
}

struct err *lazyref_cache_ref(struct bridge_ref *r, struct ctx *ctx, struct cache_ref **ret)
{
	struct lazyref *l = r ? of(r) : NULL;
	struct cache_ref *here;

	if (!l) {
		*ret = NULL;
		return NULL;
	}
	TRY(evaluate(r, ctx));
	/* Two callers at once get the same record. */
	TRY(worker_bring(l->build->control->worker, ctx, l->result.result, &here));
	lock_take(&l->lock);
	if (!l->brought) {
		l->here = here;
		l->brought = true;
		here = NULL;
	}
	*ret = l->here;
	lock_drop(&l->lock);
	cache_ref_release(here);
	return NULL;
}

struct cache_key *lazyref_key(struct bridge_ref *r)
{
	struct lazyref *l = r ? of(r) : NULL;

	if (!l)
		return NULL;
	LOCKED(&l->lock);
	return l->result.key;
}

static struct err *read_file(struct bridge_ref *r, struct ctx *ctx, struct str path, int64_t offset,
			     int64_t length, struct buf *out)
{
	struct cache_ref *c;

	TRY(cache_ref_there(r, ctx, &c));
	return files_read(of(r)->build->control, ctx, c, path, offset, length, out);
}

static struct err *stat_file(struct bridge_ref *r, struct ctx *ctx, struct str path,
			     struct arena *a, Fsutil__Types__Stat **ret)
{
	struct cache_ref *c;

	TRY(cache_ref_there(r, ctx, &c));
	return files_stat(of(r)->build->control, ctx, c, path, a, ret);
}

static struct err *read_dir(struct bridge_ref *r, struct ctx *ctx, struct str path,
			    struct str include, struct arena *a, Fsutil__Types__Stat ***ret,
			    size_t *ret_n)
{
	struct cache_ref *c;

	TRY(cache_ref_there(r, ctx, &c));
	return files_list(of(r)->build->control, ctx, c, path, include, a, ret, ret_n);
}

static const Pb__Definition *definition(struct bridge_ref *r)
{
	return of(r)->def;
}

static void lazyref_free(struct bridge_ref *r)
{
	struct lazyref *l = of(r);

	cache_ref_release(l->here);
	if (l->built)
		build_result_fini(l->build->control->solver, &l->result);
	graph_unref(l->graph);
	arena_fini(&l->arena);
	lock_fini(&l->lock);
	free(l);
}

static const struct bridge_ref_ops lazyref_ops = {
	.evaluate = evaluate,
	.read_file = read_file,
	.stat_file = stat_file,
	.read_dir = read_dir,
	.definition = definition,
	.free = lazyref_free,
};

struct bridge_ref *lazyref_new(struct build *b, struct graph *graph, uint32_t vertex,
			       uint32_t output, const Pb__Definition *def,
			       struct cacheimport *const *imports, size_t n)
{
	struct lazyref *l = NEW(struct lazyref);

	bridge_ref_init(&l->base, &lazyref_ops);
	l->build = b;
	l->graph = graph;
	l->vertex = vertex;
	l->output = output;
	l->def = proto_dup(&l->arena, def);
	l->imports = arena_dup(&l->arena, imports, n * sizeof(*imports));
	l->n_imports = n;
	lock_init(&l->lock, LOCK_BRIDGE);
	return &l->base;
}
