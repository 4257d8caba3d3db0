#include "control/gwfrontend.h"

#include "base/mem.h"
#include "control/cacheimport.h"
#include "control/caps.h"
#include "control/policy.h"
#include "control/sourcemeta.h"

/* The bridge of one frontend run inside a build: its own options and inputs, everything
 * else is the build's. */
struct run {
	struct bridge base;
	struct bridge_info info;
	struct build *build;
	struct arena arena;
};

static struct err *run_solve(struct bridge *b, struct ctx *ctx,
			     const Moby__Buildkit__V1__Frontend__SolveRequest *req,
			     struct frontend_result *ret)
{
	return build_solve(container_of(b, struct run, base)->build, ctx, req, ret);
}

static struct err *run_resolve_source_meta(
	struct bridge *b, struct ctx *ctx,
	const Moby__Buildkit__V1__Frontend__ResolveSourceMetaRequest *req, struct arena *a,
	Moby__Buildkit__V1__Frontend__ResolveSourceMetaResponse **ret)
{
	return build_resolve_source_meta(container_of(b, struct run, base)->build, ctx, req, a,
					 ret);
}

static struct err *run_warn(struct bridge *b, struct ctx *ctx,
			    const Moby__Buildkit__V1__Frontend__WarnRequest *req)
{
	(void)ctx;
	return build_warn(container_of(b, struct run, base)->build, req);
}

static const struct bridge_ops run_ops = {
	.solve = run_solve,
	.resolve_source_meta = run_resolve_source_meta,
	.warn = run_warn,
};

static int by_kv_key(const void *a, const void *b)
{
	return str_cmp(((const struct frontend_kv *)a)->key, ((const struct frontend_kv *)b)->key);
}

static void fill_info(struct run *r, const Moby__Buildkit__V1__Frontend__SolveRequest *req)
{
	struct frontend_kv *opts = ARENA_NEW_N(&r->arena, struct frontend_kv, req->n_frontendopt);
	struct bridge_input *inputs =
		ARENA_NEW_N(&r->arena, struct bridge_input, req->n_frontendinputs);

	for (size_t i = 0; i < req->n_frontendopt; i++)
		opts[i] = (struct frontend_kv) { str_from(req->frontendopt[i]->key),
						 str_from(req->frontendopt[i]->value) };
	if (req->n_frontendopt)
		qsort(opts, req->n_frontendopt, sizeof(*opts), by_kv_key);
	for (size_t i = 0; i < req->n_frontendinputs; i++)
		inputs[i] = (struct bridge_input) { str_from(req->frontendinputs[i]->key),
						    req->frontendinputs[i]->value };
	r->info = (struct bridge_info) {
		.opts = opts,
		.n_opts = req->n_frontendopt,
		.session_id = r->build->session_id,
		.product = STR("buildkit"),
		.workers = r->build->workers,
		.n_workers = r->build->n_workers,
		.inputs = inputs,
		.n_inputs = req->n_frontendinputs,
		.frontend_cap = bridge_frontend_cap,
		.llb_cap = op_cap,
	};
}

/* ---- definitions ---- */

static struct err *solve_definition(struct build *b, struct ctx *ctx,
				    const Moby__Buildkit__V1__Frontend__SolveRequest *req,
				    struct frontend_result *ret)
{
	const Pb__Definition *def = req->definition;
	CLEANUP(policy_unrefp) struct policy *policy = NULL;
	struct op_load_opts o = {
		.worker = b->control->worker,
		.entitlements = b->entitlements,
		.devices = &b->devices,
		.proxy_network = b->proxy_network,
		.cgroup_parent = b->control->cgroup_parent,
	};
	struct bridge_ref *r = NULL;
	struct cacheimport **imports;
	uint32_t vertex, output;
	SCOPED_ARENA(a);
	struct graph *g;
	struct err *e = NULL;

	TRY(policy_with(b->policy, b->control, b->sessions, req->sourcepolicies,
			req->n_sourcepolicies, &policy));
	o.policy = policy_for_ops(policy);
	if (def->n_def) {
		imports = ARENA_NEW_N(&a, struct cacheimport *, req->n_cacheimports + 1);
		for (size_t i = 0; i < req->n_cacheimports; i++)
			imports[i] = cacheimport_start(b, req->cacheimports[i]);
		TRYW(op_load_definition(ctx, def, &o, &g, &vertex, &output), "failed to load LLB");
		r = lazyref_new(b, g, vertex, output, def, imports, req->n_cacheimports);
	}
	if (r && req->evaluate)
		e = r->ops->evaluate(r, ctx);
	if (e) {
		bridge_ref_put(r);
		return e;
	}
	frontend_result_init(ret);
	frontend_result_set_ref(ret, r);
	return NULL;
}

/* ---- frontends ---- */

static struct str opt_of(const Moby__Buildkit__V1__Frontend__SolveRequest *req, const char *key)
{
	const char *v = PROTO_MAP_GET(req->n_frontendopt, req->frontendopt, key);

	return str_from(v);
}

static struct err *solve_frontend(struct build *b, struct ctx *ctx,
				  const Moby__Buildkit__V1__Frontend__SolveRequest *req,
				  struct frontend_result *ret)
{
	struct control *c = b->control;
	struct str name = str_from(req->frontend);
	struct run r = { .build = b };
	struct err *e;

	bool gateway = str_eq_cstr(name, "gateway.v0") && c->frontend_gateway;

	if (!gateway && !(str_eq_cstr(name, "dockerfile.v0") && c->frontend_dockerfile))
		return err_new(ERR_UNKNOWN, "frontend %s not found", req->frontend);
	r.base.ops = &run_ops;
	r.base.info = &r.info;
	fill_info(&r, req);
	/* "gateway.v0" with the name of a built-in one is that one. */
	if (gateway && str_eq_cstr(opt_of(req, "source"), "dockerfile.v0") &&
	    !opt_of(req, "context:dockerfile.v0").ptr)
		gateway = !c->frontend_dockerfile;
	e = gateway ? gwfrontend_build(b, ctx, &r.base, ret) : dockerfile_build(ctx, &r.base, ret);
	arena_fini(&r.arena);
	return e;
}

static struct err *evaluate_all(struct frontend_result *r, struct ctx *ctx)
{
	if (r->ref)
		TRY(r->ref->ops->evaluate(r->ref, ctx));
	for (size_t i = 0; i < r->n_refs; i++)
		if (r->refs[i].ref)
			TRY(r->refs[i].ref->ops->evaluate(r->refs[i].ref, ctx));
	return NULL;
}

struct err *build_solve(struct build *b, struct ctx *ctx,
			const Moby__Buildkit__V1__Frontend__SolveRequest *req,
			struct frontend_result *ret)
{
	struct err *e;

	if (req->definition && req->definition->n_def && *req->frontend)
		return err_new(ERR_UNKNOWN,
			       "cannot solve with both Definition and Frontend specified");
	if (*req->frontend) {
		TRY(solve_frontend(b, ctx, req, ret));
		e = req->evaluate ? evaluate_all(ret, ctx) : NULL;
		if (e)
			frontend_result_fini(ret);
		return e;
	}
	if (req->definition)
		return solve_definition(b, ctx, req, ret);
	frontend_result_init(ret);
	return NULL;
}

/* ---- metadata of sources ---- */

struct err *build_resolve_source_meta(
	struct build *b, struct ctx *ctx,
	const Moby__Buildkit__V1__Frontend__ResolveSourceMetaRequest *in, struct arena *a,
	Moby__Buildkit__V1__Frontend__ResolveSourceMetaResponse **ret)
{
	Moby__Buildkit__V1__Frontend__ResolveSourceMetaRequest req = *in;
	struct sourcemeta_env env = { .control = b->control, .sessions = b->sessions };
	CLEANUP(policy_unrefp) struct policy *policy = NULL;
	struct vprogress *step;
	struct err *e;
	bool changed;

	if (!in->source)
		return err_new(ERR_INVALID_ARGUMENT, "source is required");
	req.source = proto_dup(a, in->source);
	if (!*req.logname)
		req.logname =
			arena_printf(a, "resolve image config for %s", in->source->identifier);
	TRY(policy_with(b->policy, b->control, b->sessions, req.sourcepolicies,
			req.n_sourcepolicies, &policy));
	TRYW(policy_apply(policy, ctx, a, req.source, req.platform, &changed),
	     "could not resolve image due to policy");
	step = progress_step(job_progress(b->job), str_from(req.logname), req.logname);
	e = sourcemeta_resolve(&env, ctx, &req, a, ret);
	vprogress_complete(step, false, e);
	vprogress_unref(step);
	return e;
}

/* ---- warnings ---- */

struct err *build_warn(struct build *b, const Moby__Buildkit__V1__Frontend__WarnRequest *req)
{
	SCOPED_ARENA(a);
	struct str *detail = ARENA_NEW_N(&a, struct str, req->n_detail);
	struct progress_warning w = {
		.level = (int)req->level,
		.short_text = proto_bytes(req->short_),
		.detail = detail,
		.n_detail = req->n_detail,
		.url = str_from(req->url),
		.info = req->info,
		.ranges = req->ranges,
		.n_ranges = req->n_ranges,
	};
	struct digest d = { 0 };

	for (size_t i = 0; i < req->n_detail; i++)
		detail[i] = proto_bytes(req->detail[i]);
	if (*req->digest)
		TRY(digest_parse(str_from(req->digest), &d));
	progress_warn_digest(job_progress(b->job), &d, &w);
	return NULL;
}
