#include "frontend/dockerfile/subrequest.h"

#include "base/json.h"
#include "base/vec.h"
#include "frontend/dockerfile/table.h"

Pb__SourceInfo *source_info(struct arena *a, const struct df *df)
{
	Pb__SourceInfo *info = ARENA_NEW(a, Pb__SourceInfo);

	pb__source_info__init(info);
	info->filename = llb_text(a, df->map.filename);
	info->language = llb_text(a, df->map.language);
	info->data = proto_from_str(df->map.data);
	info->definition = (Pb__Definition *)df->map.definition;
	return info;
}

static void print_position(struct json_out *j, const char *key, int line)
{
	json_key(j, str_from(key));
	json_obj_begin(j);
	if (line)
		json_kint(j, "line", line);
	json_obj_end(j);
}

static void print_range(struct json_out *j, int start, int end)
{
	json_obj_begin(j);
	print_position(j, "start", start);
	print_position(j, "end", end);
	json_obj_end(j);
}

static int by_number(const void *x, const void *y)
{
	int a = *(const int *)x, b = *(const int *)y;

	return (a > b) - (a < b);
}

/* A range a line; merged: in order, each once. */
void print_ranges(struct json_out *j, const struct loc *locs, size_t n, bool merged)
{
	VEC(int) lines = VEC_INIT;

	for (size_t i = 0; i < n; i++)
		for (int l = locs[i].start; locs[i].set && l <= locs[i].end; l++)
			vec_push(&lines, l);
	if (merged && lines.len)
		qsort(lines.items, lines.len, sizeof(*lines.items), by_number);
	json_arr_begin(j);
	for (size_t i = 0; i < lines.len; i++)
		if (!merged || !i || lines.items[i] != lines.items[i - 1])
			print_range(j, lines.items[i], lines.items[i]);
	json_arr_end(j);
	vec_fini(&lines);
}

void print_location(struct json_out *j, struct loc loc)
{
	json_obj_begin(j);
	if (loc.set) {
		json_key(j, STR("ranges"));
		print_ranges(j, &loc, 1, false);
	}
	json_obj_end(j);
}

/* ---- describe ---- */

static void print_names(struct json_out *j, const char *key, const char *const *names,
			const char *const *descriptions, size_t n, bool null)
{
	json_key(j, str_from(key));
	if (null) {
		json_nil(j);
		return;
	}
	json_arr_begin(j);
	for (size_t i = 0; i < n; i++) {
		json_obj_begin(j);
		json_kstr(j, "name", str_from(names[i]));
		json_kstr(j, "description", str_from(descriptions ? descriptions[i] : ""));
		json_obj_end(j);
	}
	json_arr_end(j);
}

static const struct request {
	const char *name, *description;
	bool has_opts, has_target;
} requests[] = {
	{ "frontend.outline", "List all parameters current build target supports", true, true },
	{ "frontend.targets", "List all targets current build supports", true, false },
	{ "frontend.subrequests.describe", "List available subrequest types", false, false },
};

static struct err *describe(struct frontend_result *ret)
{
	static const char *const opt[] = { "target" }, *const opt_text[] = { "Target build stage" };
	static const char *const metadata[] = { "result.json", "result.txt" };
	SCOPED_ARENA(a);
	SCOPED_BUF(json, SIZE_MAX);
	SCOPED_BUF(text, SIZE_MAX);
	struct strs cells = { 0 };
	struct json_out j;

	strs_add(&a, &cells, STR("NAME"));
	strs_add(&a, &cells, STR("VERSION"));
	strs_add(&a, &cells, STR("DESCRIPTION"));
	json_out_init(&j, &json, "  ");
	json_arr_begin(&j);
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		const struct request *r = &requests[i];

		json_obj_begin(&j);
		json_kstr(&j, "name", str_from(r->name));
		json_kstr(&j, "version", STR("1.0.0"));
		json_kstr(&j, "type", STR("rpc"));
		json_kstr(&j, "description", str_from(r->description));
		print_names(&j, "opts", opt, opt_text, r->has_target, !r->has_opts);
		print_names(&j, "inputs", NULL, NULL, 0, true);
		print_names(&j, "metadata", metadata, NULL, 2, false);
		print_names(&j, "refs", NULL, NULL, 0, true);
		json_obj_end(&j);
		strs_add(&a, &cells, str_trim_prefix(str_from(r->name), STR("frontend.")));
		strs_add(&a, &cells, STR("1.0.0"));
		strs_add(&a, &cells, str_from(r->description));
	}
	json_arr_end(&j);
	table_print(&text, &cells, 3, 1);
	frontend_result_set_meta(ret, STR("result.json"), buf_str(&json));
	frontend_result_set_meta(ret, STR("result.txt"), buf_str(&text));
	frontend_result_set_meta(ret, STR("version"), STR("1.0.0"));
	return NULL;
}

/* ---- which one ---- */

static struct err *unsupported(struct str name)
{
	struct err *e = err_new(ERR_UNKNOWN, "unsupported request %.*s", STR_ARG(name));
	SCOPED_BUF(json, SIZE_MAX);
	struct json_out j;

	json_out_init(&j, &json, NULL);
	json_obj_begin(&j);
	json_kstr(&j, "name", name);
	json_obj_end(&j);
	err_add_detail(e, "github.com/moby/buildkit/errdefs.Subrequest+json", buf_str(&json));
	return e;
}

/* A plan for the first platform, asked for what it is. */
static struct err *with_plan(struct df *df, struct ctx *ctx, lint_warn_fn warn, void *arg,
			     struct err *(*fn)(struct plan *p, struct frontend_result *ret),
			     struct frontend_result *ret)
{
	CLEANUP(plan_fini) struct plan p;

	plan_init(&p, df, ctx, NULL);
	p.lint.warn = warn;
	p.lint.arg = arg;
	return fn(&p, ret);
}

static struct err *run(struct df *df, struct ctx *ctx, struct str id, lint_warn_fn warn, void *arg,
		       struct frontend_result *ret)
{
	if (str_eq(id, STR("frontend.subrequests.describe")))
		return describe(ret);
	if (str_eq(id, STR("frontend.outline")))
		return with_plan(df, ctx, warn, arg, subrequest_outline, ret);
	if (str_eq(id, STR("frontend.targets")))
		return subrequest_targets(df, ret);
	if (str_eq(id, STR("frontend.lint")))
		return with_plan(df, ctx, warn, arg, subrequest_lint, ret);
	if (str_eq(id, STR("frontend.convertllb")))
		return with_plan(df, ctx, warn, arg, subrequest_convert, ret);
	return unsupported(id);
}

struct err *subrequest_run(struct df *df, struct ctx *ctx, lint_warn_fn warn, void *arg,
			   bool *ret_is, struct frontend_result *ret)
{
	struct str id;
	struct err *e;

	*ret_is = env_get(&df->opts.all, STR("requestid"), &id);
	if (!*ret_is)
		return NULL;
	frontend_result_init(ret);
	e = run(df, ctx, id, warn, arg, ret);
	if (e)
		frontend_result_fini(ret);
	return e;
}
