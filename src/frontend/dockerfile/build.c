/* dockerfile_build(): the built-in frontend dockerfile.v0. */
#include "frontend/bridge.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/task.h"
#include "frontend/dockerfile/directive.h"
#include "frontend/dockerfile/pbjson.h"
#include "frontend/dockerfile/sbom.h"
#include "frontend/dockerfile/subrequest.h"

#define SOURCE_DETAIL "github.com/moby/buildkit/errdefs.Source+json"
#define CAP_DETAIL "github.com/moby/buildkit/errdefs.FrontendCap+json"

/* ---- places in the file, for errors and warnings ---- */

static void add_source(struct df *df, struct err *e, struct loc loc)
{
	SCOPED_BUF(json, SIZE_MAX);
	SCOPED_ARENA(a);
	struct json_out j;

	json_out_init(&j, &json, NULL);
	json_obj_begin(&j);
	json_key(&j, STR("info"));
	pbjson_go(&j, source_info(&a, df));
	if (loc.set) {
		json_key(&j, STR("ranges"));
		print_ranges(&j, &loc, 1, false);
	}
	json_obj_end(&j);
	err_add_detail(e, SOURCE_DETAIL, buf_str(&json));
}

static Pb__Range *line_range(struct arena *a, int line)
{
	Pb__Range *r = ARENA_NEW(a, Pb__Range);

	pb__range__init(r);
	r->start = ARENA_NEW(a, Pb__Position);
	pb__position__init(r->start);
	r->start->line = line;
	r->end = r->start;
	return r;
}

struct warner {
	struct df *df;
	struct ctx *ctx;
};

static void warn(void *arg, const struct lint_rule *rule, const char *text, struct loc loc)
{
	struct warner *w = arg;
	Moby__Buildkit__V1__Frontend__WarnRequest req =
		MOBY__BUILDKIT__V1__FRONTEND__WARN_REQUEST__INIT;
	ProtobufCBinaryData detail = proto_from_str(str_from(rule->description));
	SCOPED_ARENA(a);
	char *message;

	message = loc.set && loc.start > 0
			  ? arena_printf(&a, "%s: %s (line %d)", rule->name, text, loc.start)
			  : arena_printf(&a, "%s: %s", rule->name, text);
	req.digest = llb_text(&a, w->df->load_digest);
	req.level = 1;
	req.short_ = proto_from_str(str_from(message));
	req.n_detail = 1;
	req.detail = &detail;
	req.url = (char *)rule->url;
	req.info = source_info(&a, w->df);
	if (loc.set) {
		req.ranges = ARENA_NEW_N(&a, Pb__Range *, (size_t)(loc.end - loc.start + 1));
		for (int l = loc.start; l <= loc.end; l++)
			req.ranges[req.n_ranges++] = line_range(&a, l);
	}
	/* A warning that can't be shown is no reason to fail. */
	err_free(w->df->bridge->ops->warn(w->df->bridge, w->ctx, &req));
}

/* ---- capabilities, other frontends ---- */

struct err *frontend_missing_cap(struct str name)
{
	SCOPED_BUF(json, SIZE_MAX);
	struct json_out j;
	struct err *e =
		err_new(ERR_UNIMPLEMENTED, "unsupported frontend capability %.*s", STR_ARG(name));

	json_out_init(&j, &json, NULL);
	json_obj_begin(&j);
	json_kstr(&j, "name", name);
	json_obj_end(&j);
	err_add_detail(e, CAP_DETAIL, buf_str(&json));
	return e;
}

static struct err *check_caps(struct df *df, bool *ret_forward)
{
	static const char *const known[] = {
		"moby.buildkit.frontend.inputs",        "moby.buildkit.frontend.subrequests",
		"moby.buildkit.frontend.contexts",      "moby.buildkit.frontend.gitquerystring",
		"moby.buildkit.frontend.contexts.zstd",
	};
	struct str list = opts_get(&df->opts, STR("frontend.caps")), cap;
	struct err *e = NULL;

	*ret_forward = false;
	while (list.len && str_next(&list, ',', &cap)) {
		struct str name, flags;
		bool found = false;

		str_cut(cap, '+', &name, &flags);
		for (size_t i = 0; i < ARRAY_SIZE(known); i++)
			found |= str_eq_cstr(name, known[i]);
		if (found)
			continue;
		err_free(e);
		e = frontend_missing_cap(name);
		*ret_forward = str_find_str(cap, STR("+forward")) >= 0;
		if (!*ret_forward)
			break;
	}
	return e;
}

typedef Moby__Buildkit__V1__Frontend__SolveRequest solve_request;
typedef Moby__Buildkit__V1__Frontend__CacheOptionsEntry cache_entry;
typedef Moby__Buildkit__V1__Frontend__SolveRequest__FrontendOptEntry opt_entry;
typedef Moby__Buildkit__V1__Frontend__SolveRequest__FrontendInputsEntry input_entry;

static struct err *forward(struct df *df, struct ctx *ctx, struct str ref, struct str cmdline,
			   struct frontend_result *ret)
{
	solve_request req = MOBY__BUILDKIT__V1__FRONTEND__SOLVE_REQUEST__INIT;
	const struct bridge_info *info = df->bridge->info;
	struct arena *a = &df->a;
	struct env opts = env_clone(a, &df->opts.all);

	env_set(a, &opts, STR("cmdline"), cmdline);
	env_set(a, &opts, STR("source"), ref);
	req.frontend = arena_strdup(a, "gateway.v0");
	req.frontendopt = ARENA_NEW_N(a, opt_entry *, opts.len);
	for (size_t i = 0; i < opts.len; i++) {
		opt_entry *e = ARENA_NEW(a, opt_entry);

		moby__buildkit__v1__frontend__solve_request__frontend_opt_entry__init(e);
		e->key = llb_text(a, opts.vars[i].key);
		e->value = llb_text(a, opts.vars[i].value);
		req.frontendopt[req.n_frontendopt++] = e;
	}
	req.frontendinputs = ARENA_NEW_N(a, input_entry *, info->n_inputs);
	for (size_t i = 0; i < info->n_inputs; i++) {
		input_entry *e = ARENA_NEW(a, input_entry);

		moby__buildkit__v1__frontend__solve_request__frontend_inputs_entry__init(e);
		e->key = llb_text(a, info->inputs[i].name);
		e->value = (Pb__Definition *)info->inputs[i].def;
		req.frontendinputs[req.n_frontendinputs++] = e;
	}
	return df->bridge->ops->solve(df->bridge, ctx, &req, ret);
}

/* Another frontend, if the file or an argument names one. */
static struct err *forward_syntax(struct df *df, struct ctx *ctx, bool *ret_is,
				  struct frontend_result *ret)
{
	struct str value, ref, rest;
	struct err *e;
	int line;

	*ret_is = !env_get(&df->opts.all, STR("cmdline"), &value);
	if (!*ret_is)
		return NULL;
	if (env_get(&df->opts.all, STR("build-arg:BUILDKIT_SYNTAX"), &value)) {
		str_cut(str_trim(value), ' ', &ref, &rest);
		e = forward(df, ctx, ref, value, ret);
		if (e && !err_has_detail(e, SOURCE_DETAIL))
			e = err_wrap(e, "failed with build-arg:BUILDKIT_SYNTAX = %.*s",
				     STR_ARG(value));
		return e;
	}
	*ret_is = directive_syntax(&df->a, df->data, &ref, &value, &line);
	if (!*ret_is)
		return NULL;
	e = forward(df, ctx, ref, value, ret);
	if (e && !err_has_detail(e, SOURCE_DETAIL))
		add_source(df, e, loc_lines(line, line));
	return e;
}

/* ---- platforms ---- */

struct job { /* one platform */
	struct df *df;
	struct plan plan;
	const struct platform *platform; /* NULL: the default */
	struct warner warner;            /* of the first one */
	struct bridge_ref *ref;
	struct err *err; /* its own failure */
};

static struct err *run_job(struct ctx *ctx, void *arg)
{
	solve_request req = MOBY__BUILDKIT__V1__FRONTEND__SOLVE_REQUEST__INIT;
	struct job *j = arg;
	struct plan *p = &j->plan;
	SCOPED_FRONTEND_RESULT(res);
	struct bridge_ref *ref;

	p->ctx = ctx;
	TRY(plan_run(p));
	TRYW(llb_marshal(&p->a, p->target_ptr->state.out, &p->target, &req.definition, NULL),
	     "failed to marshal LLB definition");
	req.n_cacheimports = j->df->opts.n_cache_imports;
	req.cacheimports = ARENA_NEW_N(&p->a, cache_entry *, req.n_cacheimports);
	for (size_t i = 0; i < req.n_cacheimports; i++)
		req.cacheimports[i] = proto_dup(&p->a, j->df->opts.cache_imports[i]);
	TRY(j->df->bridge->ops->solve(j->df->bridge, ctx, &req, &res));
	TRY(frontend_result_single(&res, &ref));
	j->ref = bridge_ref_get(ref);
	return NULL;
}

/* Errors keep their places, which are known to the job only. */
static struct err *run_job_at(struct ctx *ctx, void *arg)
{
	struct job *j = arg;
	struct err *e = run_job(ctx, arg);

	for (size_t i = j->plan.n_locs; e && i-- > 0;) /* outermost first */
		add_source(j->df, e, j->plan.locs[i]);
	return e;
}

static struct str meta_key(struct arena *a, const struct df *df, const char *key, struct str id)
{
	if (!df->opts.multi_platform)
		return str_from(key);
	return str_from(arena_printf(a, "%s/%.*s", key, STR_ARG(id)));
}

static void print_platform(struct json_out *j, const struct platform *p)
{
	json_obj_begin(j);
	json_kstr(j, "architecture", p->arch);
	json_kstr(j, "os", p->os);
	if (p->os_version.len)
		json_kstr(j, "os.version", p->os_version);
	if (p->n_os_features) {
		json_key(j, STR("os.features"));
		json_arr_begin(j);
		for (size_t i = 0; i < p->n_os_features; i++)
			json_str(j, p->os_features[i]);
		json_arr_end(j);
	}
	if (p->variant.len)
		json_kstr(j, "variant", p->variant);
	json_obj_end(j);
}

/* The platform as exported: Windows images say which version they are for. */
static struct platform export_platform(struct job *j, struct str *ret_id)
{
	struct platform p = platform_normalize(j->platform ? *j->platform : platform_default());
	const struct platform *img = &j->plan.target_ptr->image.platform;

	*ret_id = str_from(platform_format_all(&j->plan.a, p));
	if (!str_eq(p.os, STR("windows")) || !str_eq(img->os, p.os))
		return p;
	if (!p.os_version.len)
		p.os_version = img->os_version;
	if (!p.n_os_features) {
		p.os_features = img->os_features;
		p.n_os_features = img->n_os_features;
	}
	return platform_normalize(p);
}

static void put_image(struct job *j, const char *key, struct str id, const struct image *img,
		      struct frontend_result *ret)
{
	SCOPED_BUF(json, SIZE_MAX);

	image_print(img, &json);
	frontend_result_set_meta(ret, meta_key(&j->plan.a, j->df, key, id), buf_str(&json));
}

static void put_result(struct job *j, struct str id, struct frontend_result *ret)
{
	const struct stage *target = j->plan.target_ptr;
	struct arena *a = &j->plan.a;

	if (j->df->opts.multi_platform)
		frontend_result_add_ref(ret, id, TAKE_PTR(j->ref));
	else
		frontend_result_set_ref(ret, TAKE_PTR(j->ref));
	put_image(j, "containerimage.config", id, &target->image, ret);
	if (target->base_image)
		put_image(j, "containerimage.base.config", id, target->base_image, ret);
	if (j->plan.has_epoch)
		frontend_result_set_meta(
			ret, meta_key(a, j->df, "source.date.epoch", id),
			str_from(arena_printf(a, "%lld", (long long)j->plan.epoch)));
}

static struct err *put_results(struct job *jobs, size_t n, const struct scanner *scanner,
			       struct frontend_result *ret)
{
	SCOPED_BUF(json, SIZE_MAX);
	struct json_out j;

	json_out_init(&j, &json, NULL);
	json_obj_begin(&j);
	json_key(&j, STR("Platforms"));
	json_arr_begin(&j);
	for (size_t i = 0; i < n; i++) {
		struct str id;
		struct platform p = export_platform(&jobs[i], &id);

		json_obj_begin(&j);
		json_kstr(&j, "ID", id);
		json_key(&j, STR("Platform"));
		print_platform(&j, &p);
		json_obj_end(&j);
		put_result(&jobs[i], id, ret);
		if (scanner->ref.len)
			TRY(sbom_scan(&jobs[i].plan, scanner, id, ret));
	}
	json_arr_end(&j);
	json_obj_end(&j);
	frontend_result_set_meta(ret, STR("refs.platforms"), buf_str(&json));
	return NULL;
}

static struct err *run_jobs(struct ctx *ctx, struct job *jobs, size_t n)
{
	struct task_group group;

	if (n == 1)
		return run_job_at(ctx, &jobs[0]);
	task_group_init(&group, ctx, 0);
	for (size_t i = 0; i < n; i++)
		task_group_go(&group, "frontend: platform", run_job_at, &jobs[i]);
	return task_group_wait(&group);
}

static struct err *build_platforms(struct df *df, struct ctx *ctx, struct frontend_result *ret)
{
	size_t n = df->opts.n_targets ? df->opts.n_targets : 1;
	struct job *jobs = mem_calloc(n, sizeof(*jobs));
	struct scanner scanner;
	struct err *e = sbom_init(df, ctx, &scanner);

	for (size_t i = 0; i < n; i++) {
		struct job *j = &jobs[i];

		j->df = df;
		j->platform = df->opts.n_targets ? &df->opts.targets[i] : NULL;
		plan_init(&j->plan, df, ctx, j->platform);
	}
	/* The others would say the same. */
	jobs[0].warner = (struct warner) { df, ctx };
	jobs[0].plan.lint.warn = warn;
	jobs[0].plan.lint.arg = &jobs[0].warner;
	if (!e)
		e = run_jobs(ctx, jobs, n);
	if (!e) {
		frontend_result_init(ret);
		e = put_results(jobs, n, &scanner, ret);
		if (e)
			frontend_result_fini(ret);
	}
	for (size_t i = 0; i < n; i++) {
		bridge_ref_put(jobs[i].ref);
		plan_fini(&jobs[i].plan);
	}
	free(jobs);
	return e;
}

/* ---- the frontend ---- */

void df_init(struct df *df, struct bridge *b)
{
	*df = (struct df) { .bridge = b };
	once_init(&df->ignore_once);
	lock_init(&df->meta_lock, LOCK_FRONTEND);
}

void df_fini(struct df *df)
{
	bridge_ref_put(df->context.http_ref);
	df_meta_fini(df);
	lock_fini(&df->meta_lock);
	once_fini(&df->ignore_once);
	arena_fini(&df->ignore_arena);
	arena_fini(&df->a);
}

static struct err *build(struct df *df, struct ctx *ctx, struct frontend_result *ret)
{
	struct warner warner = { df, ctx };
	SCOPED_ERR(caps);
	bool may_forward, done;

	TRY(opts_parse(&df->a, df->bridge, &df->opts));
	caps = check_caps(df, &may_forward);
	if (caps && !may_forward)
		return TAKE_PTR(caps);
	TRY(context_init(df, ctx));
	TRY(context_load_dockerfile(df, ctx));
	TRY(forward_syntax(df, ctx, &done, ret));
	if (done)
		return NULL;
	if (caps)
		return TAKE_PTR(caps);
	TRY(subrequest_run(df, ctx, warn, &warner, &done, ret));
	if (done)
		return NULL;
	return build_platforms(df, ctx, ret);
}

struct err *dockerfile_build(struct ctx *ctx, struct bridge *b, struct frontend_result *ret)
{
	CLEANUP(df_fini) struct df df;

	df_init(&df, b);
	return build(&df, ctx, ret);
}
