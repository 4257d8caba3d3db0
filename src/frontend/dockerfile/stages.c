/* The stages of a file, and what they take from each other. */
#include "frontend/dockerfile/plan.h"

/* ---- outline data ---- */

struct outline outline_clone(struct arena *a, const struct outline *o)
{
	struct outline c = *o;

	c.args = arena_dup(a, o->args, o->n_args * sizeof(*o->args));
	c.cap_args = o->n_args;
	c.used = strs_clone(a, &o->used);
	c.secrets = arena_dup(a, o->secrets, o->n_secrets * sizeof(*o->secrets));
	c.cap_secrets = o->n_secrets;
	c.ssh = arena_dup(a, o->ssh, o->n_ssh * sizeof(*o->ssh));
	c.cap_ssh = o->n_ssh;
	return c;
}

void outline_set_arg(struct arena *a, struct outline *o, const struct arg_info *info)
{
	for (size_t i = 0; i < o->n_args; i++)
		if (str_eq(o->args[i].name, info->name)) {
			o->args[i] = *info;
			return;
		}
	ARENA_PUSH(a, o->args, o->n_args, o->cap_args, *info);
}

/* ---- the list ---- */

struct stage *stage_find(struct plan *p, struct str name)
{
	struct str lower = text_lower(&p->a, name);

	for (size_t i = p->n_stages; i-- > 0;) /* of equal names the last one counts */
		if (p->stages[i]->name.len && str_eq(p->stages[i]->name, lower))
			return p->stages[i];
	return NULL;
}

struct strs stage_labels(struct plan *p)
{
	struct strs out = { 0 };

	for (size_t i = 0; i < p->n_stages; i++)
		if (p->stages[i]->label.len)
			strs_add(&p->a, &out, p->stages[i]->label);
	return out;
}

void stage_add(struct plan *p, struct stage *s)
{
	for (size_t i = p->n_stages; i-- > 0 && !s->base;)
		if (p->stages[i]->name.len && str_eq(p->stages[i]->name, s->base_name)) {
			s->base = p->stages[i];
			s->outline = outline_clone(&p->a, &s->base->outline);
		}
	s->listed = true;
	ARENA_PUSH(&p->a, p->stages, p->n_stages, p->cap_stages, s);
}

static struct stage *stage_new(struct plan *p)
{
	struct stage *s = ARENA_NEW(&p->a, struct stage);

	s->paths = ARENA_NEW(&p->a, struct strs);
	s->state = state_new(LLB_SCRATCH);
	s->name = s->label = STR("");
	return s;
}

/* ---- FROM ---- */

static struct err *expand_platform(struct plan *p, struct stage *s, const struct lint *l,
				   struct strs *used)
{
	struct str text = s->from.platform, word = STR("");
	struct shell_names names;
	struct strs keys = { 0 };
	struct platform parsed;
	struct err *e;

	e = shell_word(&p->a, &p->shell, text, &p->globals, &names, &word);
	check_from_args(p, l, s, &names);
	if (!e)
		check_from_platform(p, l, s, word, &names);
	if (e)
		return err_wrap(e, "failed to process arguments for platform %.*s", STR_ARG(word));
	for (size_t i = 0; i < p->globals.len; i++)
		strs_add(&p->a, &keys, p->globals.vars[i].key);
	if (!word.len)
		e = err_new(ERR_UNKNOWN, "empty platform value from expression %.*s",
			    STR_ARG(text));
	else
		e = text_plain_err(platform_parse(&p->a, word, &parsed));
	for (size_t i = 0; e && i < names.unmatched.len; i++) {
		struct str u = names.unmatched.items[i];

		if (text_suggest(&p->a, u, &keys, true).len) {
			e = text_suggest_err(&p->a, e, u, &keys, true);
			break;
		}
	}
	if (e)
		return word.len ? err_wrap(e, "failed to parse platform %.*s", STR_ARG(text)) : e;
	for (size_t i = 0; i < names.matched.len; i++)
		strs_add_new(&p->a, used, names.matched.items[i]);
	s->has_platform = true;
	s->platform = parsed;
	return NULL;
}

static void count_steps(struct stage *s)
{
	s->n_counted = !str_eq(s->base_name, STR("scratch")) && !s->base;
	for (size_t i = 0; i < s->n_steps; i++)
		s->n_counted += instr_is_step(s->steps[i].in.kind);
}

static struct err *build_stage(struct plan *p, const struct stage_decl *decl, size_t index)
{
	struct stage *s = stage_new(p);
	struct lint l = lint_for(&p->lint, &decl->from.comments);
	struct shell_names names;
	struct strs used;
	const struct platform *os;
	struct err *e;

	s->from = decl->from;
	s->name = s->label = decl->from.stage_name;
	s->outline = outline_clone(&p->a, &p->global_outline);
	e = shell_word(&p->a, &p->shell, decl->from.args.items[0], &p->globals, &names,
		       &s->base_name);
	check_from_args(p, &l, s, &names);
	TRY(e);
	if (!s->base_name.len)
		return err_new(ERR_UNKNOWN, "base name (%.*s) should not be blank",
			       STR_ARG(decl->from.args.items[0]));
	used = names.matched;
	if (decl->from.platform.len)
		TRY(expand_platform(p, s, &l, &used));
	s->n_steps = s->cap_steps = decl->n;
	s->steps = ARENA_NEW_N(&p->a, struct step, decl->n);
	for (size_t i = 0; i < decl->n; i++)
		s->steps[i].in = decl->instrs[i];
	if (s->name.len) {
		os = s->has_platform ? &s->platform : p->has_target ? &p->target : NULL;
		TRY(named_find(p->df, &p->a, s->name, os, &s->has_named, &s->named));
	}
	if (s->has_named) {
		stage_add(p, s);
		s->base = NULL;
		return NULL;
	}
	if (!s->name.len)
		s->label = str_from(arena_printf(&p->a, "stage-%zu", index));
	stage_add(p, s);
	for (size_t i = 0; i < used.len; i++)
		strs_add_new(&p->a, &s->outline.used, used.items[i]);
	count_steps(s);
	s->ignore_cache = opts_no_cache(&p->df->opts, s->name);
	return NULL;
}

struct err *stages_build(struct plan *p)
{
	for (size_t i = 0; i < p->file.n_stages; i++)
		TRY(plan_at(p, build_stage(p, &p->file.stages[i], i), p->file.stages[i].from.loc));
	return NULL;
}

/* ---- who needs whom ---- */

static void add_dep(struct plan *p, struct stage *s, struct stage *on, struct loc loc)
{
	if (on->unregistered && !on->listed)
		stage_add(p, on);
	for (size_t i = 0; i < s->n_deps; i++)
		if (s->deps[i].stage == on) {
			s->deps[i].loc = loc;
			return;
		}
	ARENA_PUSH(&p->a, s->deps, s->n_deps, s->cap_deps, ((struct dep) { on, loc }));
}

static struct stage *image_stage(struct plan *p, struct str ref, struct loc loc)
{
	struct stage *s = stage_new(p);

	s->base_name = ref;
	s->from.loc = loc;
	s->unregistered = true;
	return s;
}

static struct err *copy_source(struct plan *p, const struct instr *in, struct stage **ret)
{
	static const struct env no_env = { 0 };
	struct str from = in->copy->from, word, number;
	int64_t index;

	TRY(shell_word(&p->a, &p->shell, from, &no_env, NULL, &word));
	if (!str_eq(word, from))
		return err_new(ERR_UNKNOWN,
			       "variable expansion is not supported for --from, define a new stage "
			       "with FROM using ARG from global scope as a workaround");
	number = str_trim_prefix(from, STR("+"));
	if (str_to_i64(number, &index)) {
		if (index < 0 || (uint64_t)index >= p->n_stages)
			return err_new(ERR_UNKNOWN, "invalid stage index %lld", (long long)index);
		*ret = p->stages[index];
		return NULL;
	}
	*ret = stage_find(p, from);
	if (!*ret)
		*ret = image_stage(p, from, in->loc);
	return NULL;
}

struct err *step_init(struct plan *p, struct stage *s, const struct instr *in, struct step *ret)
{
	struct step step = { .in = *in };

	if (in->kind == INSTR_COPY && in->copy->from.len) {
		step.n_sources = 1;
		step.sources = ARENA_NEW_N(&p->a, struct stage *, 1);
		TRY(copy_source(p, in, step.sources));
	} else if (in->kind == INSTR_RUN) {
		step.n_sources = in->run->mount_texts.len;
		step.sources = ARENA_NEW_N(&p->a, struct stage *, step.n_sources);
		for (size_t i = 0; i < step.n_sources; i++) {
			struct str from = in->run->mounts[i].from;

			if (!from.len)
				from = STR("scratch");
			step.sources[i] = stage_find(p, from);
			if (!step.sources[i])
				step.sources[i] = image_stage(p, from, (struct loc) { 0 });
		}
	}
	for (size_t i = 0; i < step.n_sources; i++)
		add_dep(p, s, step.sources[i], in->loc);
	*ret = step;
	return NULL;
}

/* The stage first, then its base and what that needs, then what it copies from. */
void stages_reachable(struct plan *p, struct stage *top, struct stage ***ret, size_t *ret_n)
{
	struct stage **out = ARENA_NEW_N(&p->a, struct stage *, p->n_stages), **stack = NULL;
	size_t n = 0, depth = 0, cap = 0;

	p->reach_run++;
	ARENA_PUSH(&p->a, stack, depth, cap, top);
	while (depth) {
		struct stage *s = stack[--depth];

		if (s->reach == p->reach_run)
			continue;
		s->reach = p->reach_run;
		out[n++] = s;
		for (size_t i = s->n_deps; i-- > 0;)
			ARENA_PUSH(&p->a, stack, depth, cap, s->deps[i].stage);
		if (s->base)
			ARENA_PUSH(&p->a, stack, depth, cap, s->base);
	}
	*ret = out;
	*ret_n = n;
}

void stage_inherit(struct plan *p, struct stage *s)
{
	const struct stage *b = s->base;

	if (!b)
		return;
	s->state = b->state;
	s->state.env = env_clone(&p->a, &b->state.env);
	s->has_platform = b->has_platform;
	s->platform = b->platform;
	s->image = image_clone(&p->a, &b->image);
	s->image.on_build = (struct strs) { 0 };
	s->base_image = b->base_image;
	s->paths = b->paths; /* what is used of it is used of the base */
	s->workdir_set = b->workdir_set;
	for (size_t i = 0; i < b->n_args; i++)
		ARENA_PUSH(&p->a, s->args, s->n_args, s->cap_args, b->args[i]);
}
