#include "frontend/dockerfile/plan.h"

#include "base/mem.h"
#include "frontend/dockerfile/directive.h"

void plan_init(struct plan *p, struct df *df, struct ctx *ctx, const struct platform *platform)
{
	*p = (struct plan) {
		.df = df,
		.ctx = ctx,
		.has_target = platform != NULL,
		.target = platform ? *platform : *df->opts.build_platform,
	};
	p->map = df->map;
	p->map.definition = proto_dup(&p->a, df->map.definition);
	p->lint.a = &p->a;
	p->lint.called = ARENA_NEW(&p->a, struct strs);
}

void plan_fini(struct plan *p)
{
	for (size_t i = 0; i < p->n_arenas; i++) {
		arena_fini(p->arenas[i]);
		free(p->arenas[i]);
	}
	arena_fini(&p->a);
}

struct err *plan_at(struct plan *p, struct err *e, struct loc loc)
{
	if (e)
		ARENA_PUSH(&p->a, p->locs, p->n_locs, p->cap_locs, loc);
	return e;
}

struct err *plan_only_at(struct plan *p, struct err *e, struct loc loc)
{
	if (e)
		p->n_locs = 0;
	return plan_at(p, e, loc);
}

/* ---- the steps of a plan ---- */

static struct err *set_up_lint(struct plan *p)
{
	struct str text = STR("");

	if (p->df->opts.has_lint) {
		p->lint.config = p->df->opts.lint;
		return NULL;
	}
	directive_find(p->df->data, STR("check"), &text, NULL);
	return err_wrap(lint_parse_config(&p->a, text, &p->lint.config),
			"failed to parse check options");
}

static struct err *parse(struct plan *p)
{
	struct instr_lines lines;
	struct loc loc = { 0 };

	TRY(plan_at(p, lex_file(&p->a, p->df->data, &lines, &loc), loc));
	for (size_t i = 0; i < lines.n_empty_continuations; i++) {
		int line = lines.empty_continuations[i];

		lint_run(&p->lint, LINT_NO_EMPTY_CONTINUATION, loc_lines(line, line));
	}
	TRY(plan_at(p, parse_dockerfile(&p->a, &lines, &p->lint, &p->file, &loc), loc));
	if (!p->file.n_stages)
		return err_new(ERR_UNKNOWN, "dockerfile contains no stages to build");
	p->shell = (struct shell) { .escape = p->file.escape };
	check_stage_names(p);
	check_casing(p);
	return NULL;
}

static struct err *find_target(struct plan *p)
{
	struct str name = p->df->opts.target;
	struct strs labels;

	if (!name.len) {
		p->target_ptr = p->stages[p->n_stages - 1];
		return NULL;
	}
	p->target_ptr = stage_find(p, name);
	if (p->target_ptr)
		return NULL;
	labels = stage_labels(p);
	return text_suggest_err(
		&p->a,
		err_new(ERR_UNKNOWN, "target stage %s could not be found", text_quote(&p->a, name)),
		name, &labels, true);
}

static struct err *build_graph(struct plan *p)
{
	size_t n = p->n_stages; /* images that are only used come behind */

	for (size_t i = 0; i < n; i++) {
		struct stage *s = p->stages[i];

		for (size_t k = 0; k < s->n_steps; k++) {
			struct instr in = s->steps[k].in;

			TRY(step_init(p, s, &in, &s->steps[k]));
		}
	}
	TRY(check_circles(p));
	if (p->n_stages == 1)
		p->stages[0]->label = STR("");
	return NULL;
}

/* Triggers of the base image and of the base stage, in front of the stage's own instructions. */
static struct err *add_triggers(struct plan *p, struct stage *s, const struct strs *triggers,
				bool *ret_new_deps)
{
	struct step *steps = ARENA_NEW_N(&p->a, struct step, triggers->len + s->n_steps);
	static const struct lint no_lint = { 0 };

	for (size_t i = 0; i < triggers->len; i++) {
		struct instr_lines lines;
		struct instr in;
		struct loc loc;

		TRY(lex_file(&p->a, triggers->items[i], &lines, &loc));
		if (lines.len != 1)
			return err_new(ERR_UNKNOWN,
				       "onbuild trigger should be a single expression");
		lines.items[0].loc = s->from.loc;
		TRY(parse_instr(&p->a, &lines.items[0], &no_lint, &in));
		if (in.kind == INSTR_FROM)
			return err_new(ERR_UNKNOWN, "FROM is not a command type");
		TRY(step_init(p, s, &in, &steps[i]));
		steps[i].on_build = true;
		*ret_new_deps |= steps[i].n_sources > 0;
	}
	if (s->n_steps)
		memcpy(steps + triggers->len, s->steps, s->n_steps * sizeof(*steps));
	s->steps = steps;
	s->n_steps += triggers->len;
	s->cap_steps = s->n_steps;
	s->n_counted += (int)triggers->len;
	return NULL;
}

static struct err *take_triggers(struct plan *p, struct stage *s, bool *ret_new_deps)
{
	struct strs triggers;

	if (s->unregistered) /* nothing is built on it */
		return NULL;
	stage_inherit(p, s);
	triggers = strs_clone(&p->a, &s->image.on_build);
	if (s->base && !s->on_build_known) {
		for (size_t i = 0; i < s->base->n_steps; i++)
			if (s->base->steps[i].in.kind == INSTR_ONBUILD)
				strs_add(&p->a, &triggers, s->base->steps[i].in.args.items[0]);
		s->on_build_known = true;
	}
	if (!triggers.len)
		return NULL;
	s->image.on_build = (struct strs) { 0 };
	return plan_only_at(p, add_triggers(p, s, &triggers, ret_new_deps), s->from.loc);
}

/* Base images bring triggers, which may need further images. */
static struct err *resolve_all(struct plan *p)
{
	struct stage **reach;
	bool again = true;
	size_t n;

	while (again) {
		again = false;
		stages_reachable(p, p->target_ptr, &reach, &n);
		TRY(stages_resolve(p));
		for (size_t i = 0; i < n; i++)
			TRY(take_triggers(p, reach[i], &again));
	}
	return NULL;
}

static struct err *load_ignore(struct plan *p)
{
	const struct strs *list;

	TRY(context_ignore(p->df, p->ctx, &list));
	if (!list->len)
		return NULL;
	return text_plain_err(patterns_new(&p->a, list->items, list->len, &p->ignore));
}

static struct err *dispatch_all(struct plan *p)
{
	TRY(load_ignore(p));
	for (size_t i = 0; i < p->n_stages; i++) {
		struct stage *s = p->stages[i];

		if (p->all_stages || (stage_needed(p, s) && !s->dispatched))
			TRY(stage_dispatch(p, s));
	}
	/* All of the result is used: it was not known before whether others would need less. */
	strs_add(&p->a, p->target_ptr->paths, STR("/"));
	return NULL;
}

static void finish_platform(struct plan *p, struct image *img)
{
	struct platform *have = &img->platform;
	const struct platform *want = &p->target;
	bool same = str_eq(have->os, want->os) && str_eq(have->arch, want->arch);

	if (p->has_target) {
		have->os = want->os;
		have->arch = want->arch;
		if (want->variant.len || !same)
			have->variant = want->variant;
		if (want->os_version.len || !same)
			have->os_version = want->os_version;
		if (want->n_os_features) {
			have->os_features = want->os_features;
			have->n_os_features = want->n_os_features;
		}
	}
	*have = platform_normalize(*have);
}

static struct err *finish(struct plan *p)
{
	struct image *img = &p->target_ptr->image;
	struct strs used = { 0 }, follow;
	struct llb_out context;

	for (size_t i = 0; i < p->df->opts.labels.len; i++)
		image_set_label(&p->a, img, p->df->opts.labels.vars[i].key,
				p->df->opts.labels.vars[i].value);
	TRY(lint_error(&p->lint));
	for (size_t i = 0; i < p->n_stages; i++) {
		const struct stage *s = p->stages[i];

		if (s->local)
			named_finish(&p->a, s->local, s->paths);
		if (p->all_stages || stage_needed(p, s))
			for (size_t k = 0; k < s->context_paths.len; k++)
				strs_add(&p->a, &used, s->context_paths.items[k]);
	}
	follow = follow_paths(&p->a, &used);
	TRY(context_main(p->df, p->ctx, &p->a, &follow, &context));
	llb_alias_set(p->context, context);
	finish_platform(p, img);
	return NULL;
}

struct err *plan_run(struct plan *p)
{
	if (!p->df->data.len)
		return err_new(ERR_UNKNOWN, "the Dockerfile cannot be empty");
	p->context = llb_alias(&p->a);
	p->build_args = env_clone(&p->a, &p->df->opts.build_args);
	TRY(set_up_lint(p));
	TRY(parse(p));
	p->target_stage = p->df->opts.target;
	if (!p->target_stage.len)
		p->target_stage = p->file.stages[p->file.n_stages - 1].from.stage_name;
	TRY(args_globals(p));
	TRY(epoch_resolve(p));
	TRY(stages_build(p));
	TRY(find_target(p));
	TRY(build_graph(p));
	TRY(resolve_all(p));
	TRY(dispatch_all(p));
	return finish(p);
}
