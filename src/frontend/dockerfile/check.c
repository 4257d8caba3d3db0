/* Lint rules that look at more than one line, and the order of stages. */
#include "frontend/dockerfile/plan.h"

#include "base/mem.h"
#include "base/path.h"
#include "codec/imageref.h"

void check_stage_names(struct plan *p)
{
	struct strs seen = { 0 };

	for (size_t i = 0; i < p->file.n_stages; i++) {
		const struct instr *from = &p->file.stages[i].from;
		struct str name = from->stage_name;

		if (!name.len)
			continue;
		if (str_eq(name, STR("context")) || str_eq(name, STR("scratch")))
			lint_run(&p->lint, LINT_RESERVED_STAGE_NAME, from->loc,
				 text_quote(&p->a, name));
		if (strs_has(&seen, name))
			lint_run(&p->lint, LINT_DUPLICATE_STAGE_NAME, from->loc,
				 text_quote(&p->a, name));
		strs_add(&p->a, &seen, name);
	}
}

/* ---- upper or lower case ---- */

static bool is_lower(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] >= 'A' && s.ptr[i] <= 'Z')
			return false;
	return true;
}

static bool is_upper(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] >= 'a' && s.ptr[i] <= 'z')
			return false;
	return true;
}

static void check_case(struct plan *p, const struct instr *in, bool want_lower)
{
	if (!(want_lower ? is_lower(in->name) : is_upper(in->name)))
		lint_run(&p->lint, LINT_CONSISTENT_INSTRUCTION_CASING, in->loc,
			 text_c(&p->a, in->name), want_lower ? "lowercase" : "uppercase");
}

void check_casing(struct plan *p)
{
	size_t lower = 0, upper = 0;

	if (!p->lint.warn)
		return;
	for (size_t i = 0; i < p->file.n_stages; i++) {
		const struct stage_decl *s = &p->file.stages[i];

		for (size_t k = 0; k <= s->n; k++) {
			struct str name = k ? s->instrs[k - 1].name : s->from.name;

			lower += is_lower(name);
			upper += !is_lower(name) && is_upper(name);
		}
	}
	for (size_t i = 0; i < p->file.n_stages; i++) {
		const struct stage_decl *s = &p->file.stages[i];

		for (size_t k = 0; k <= s->n; k++)
			check_case(p, k ? &s->instrs[k - 1] : &s->from, lower > upper);
	}
}

/* ---- FROM ---- */

/* With the globals as they are without build arguments. */
void check_default_bases(struct plan *p)
{
	for (size_t i = 0; i < p->file.n_stages; i++) {
		const struct instr *from = &p->file.stages[i].from;
		struct str base = from->args.items[0], word;
		struct imageref ref;
		struct err *e = shell_word(&p->a, &p->shell, base, &p->globals, NULL, &word);

		if (e) {
			err_free(e);
			return;
		}
		e = imageref_parse(&p->a, word, &ref);
		if (e)
			lint_run(&p->lint, LINT_INVALID_DEFAULT_ARG_IN_FROM, from->loc,
				 text_c(&p->a, base));
		err_free(e);
	}
}

static const char *did_you_mean(struct arena *a, const char *sign, struct str name,
				const struct strs *options)
{
	struct str s = text_suggest(a, name, options, true);

	return s.len ? arena_printf(a, " (did you mean %s%.*s?)", sign, STR_ARG(s)) : "";
}

void check_from_args(struct plan *p, const struct lint *l, const struct stage *s,
		     const struct shell_names *names)
{
	struct strs known = { 0 };

	for (size_t i = 0; i < p->global_outline.n_args; i++)
		strs_add_new(&p->a, &known, p->global_outline.args[i].name);
	for (size_t i = 0; i < p->globals.len; i++)
		strs_add_new(&p->a, &known, p->globals.vars[i].key);
	for (size_t i = 0; i < names->unmatched.len; i++) {
		struct str name = names->unmatched.items[i];

		if (!strs_has(&known, name))
			lint_run(l, LINT_UNDEFINED_ARG_IN_FROM, s->from.loc, text_c(&p->a, name),
				 did_you_mean(&p->a, "", name, &known));
	}
}

void check_from_platform(struct plan *p, const struct lint *l, const struct stage *s,
			 struct str expanded, const struct shell_names *names)
{
	struct str target;
	struct platform os;
	struct err *e;

	if (names->matched.len == 1 && !names->unmatched.len &&
	    str_eq(names->matched.items[0], STR("TARGETPLATFORM")) &&
	    env_get(&p->globals, STR("TARGETPLATFORM"), &target) && str_eq(expanded, target))
		lint_run(l, LINT_REDUNDANT_TARGET_PLATFORM, s->from.loc,
			 text_c(&p->a, s->from.platform));
	if (names->matched.len || names->unmatched.len)
		return;
	e = platform_parse(&p->a, expanded, &os);
	if (e) {
		err_free(e);
		return;
	}
	if (str_find_str(s->name, os.os) < 0 && str_find_str(s->name, os.arch) < 0)
		lint_run(l, LINT_FROM_PLATFORM_FLAG_CONST_DISALLOWED, s->from.loc,
			 text_quote(&p->a, expanded));
}

static const char *quote_platform(struct plan *p, const struct platform *os)
{
	return text_quote(&p->a, str_from(platform_format_all(&p->a, platform_normalize(*os))));
}

void check_base_platform(struct plan *p, const struct stage *s, struct str name,
			 const struct platform *want, const struct platform *have)
{
	if (!str_eq(want->os, have->os) || !str_eq(want->arch, have->arch))
		lint_run(&p->lint, LINT_INVALID_BASE_IMAGE_PLATFORM, s->from.loc,
			 text_c(&p->a, name), quote_platform(p, have), quote_platform(p, want));
}

/* ---- instructions ---- */

void check_unset(struct doing *d, const struct shell_names *names)
{
	struct strs options = { 0 };

	if (!names->unmatched.len || !d->lint.warn)
		return;
	for (size_t i = 0; i < d->s->state.env.len; i++)
		strs_add(&d->p->a, &options, d->s->state.env.vars[i].key);
	for (size_t i = 0; i < names->unmatched.len; i++) {
		struct str name = names->unmatched.items[i];
		bool declared = str_eq(name, STR("BUILDKIT_SBOM_SCAN_CONTEXT")) ||
				str_eq(name, STR("BUILDKIT_SBOM_SCAN_STAGE"));

		for (size_t k = 0; k < d->s->n_args && !declared; k++)
			declared = str_eq(d->s->args[k].key, name);
		if (!declared)
			lint_run(&d->lint, LINT_UNDEFINED_VAR, d->in->loc, text_c(&d->p->a, name),
				 did_you_mean(&d->p->a, "$", name, &options));
	}
}

static bool has_word(struct str key, const struct str *words, size_t n)
{
	struct str part;

	while (str_next(&key, '_', &part))
		for (size_t i = 0; i < n; i++)
			if (str_eq_nocase(part, words[i]))
				return true;
	return false;
}

void check_secret(struct doing *d, const char *what, struct str key)
{
	static const struct str secret[] = {
		STR("apikey"),   STR("auth"),  STR("credential"), STR("credentials"), STR("key"),
		STR("password"), STR("pword"), STR("passwd"),     STR("secret"),      STR("token"),
	};
	static const struct str harmless[] = { STR("public"), STR("file"), STR("version") };

	if (has_word(key, secret, ARRAY_SIZE(secret)) &&
	    !has_word(key, harmless, ARRAY_SIZE(harmless)))
		lint_run(&d->lint, LINT_SECRETS_USED_IN_ARG_OR_ENV, d->in->loc, what,
			 text_quote(&d->p->a, key));
}

/* The earlier one is reported: it has no effect. */
void check_once(struct doing *d, struct tracker *t)
{
	if (t->set)
		lint_run(&d->lint, LINT_MULTIPLE_INSTRUCTIONS_DISALLOWED, t->loc,
			 text_c(&d->p->a, d->in->name));
	t->set = true;
	t->loc = d->in->loc;
}

static bool all_ignored(const struct strs *patterns)
{
	for (size_t i = 0; i < patterns->len; i++)
		if (str_eq(patterns->items[i], STR("*")) || str_eq(patterns->items[i], STR("**")) ||
		    str_eq(patterns->items[i], STR("**/*")))
			return true;
	return false;
}

/* Not with negated patterns: what they let through can't be told from here. */
void check_copy_source(struct doing *d, struct str src)
{
	const char *what = d->in->kind == INSTR_ADD ? "Add" : "Copy";
	bool ignored;
	struct err *e;

	if (!d->p->ignore || !d->lint.warn || patterns_has_exclusions(d->p->ignore) ||
	    d->step->n_sources)
		return;
	src = path_clean(&d->p->a, src);
	if ((str_eq(src, STR(".")) || str_eq(src, STR("/"))) && !all_ignored(&d->p->df->ignore))
		return;
	e = patterns_match(d->p->ignore, src, &ignored);
	if (!e && ignored)
		lint_run(&d->lint, LINT_COPY_IGNORED_FILE, d->in->loc, what,
			 text_quote(&d->p->a, src));
	err_free(e);
}

/* ---- circles ---- */

struct visit {
	struct stage *stage;
	size_t next;
};

static struct err *circle(struct plan *p, const struct stage *top, const struct visit *path,
			  size_t depth)
{
	struct err *e = err_new(ERR_UNKNOWN, "circular dependency detected on stage: %.*s",
				STR_ARG(top->label));

	for (size_t i = 0; i < depth; i++) /* each dependency on the way */
		e = plan_at(p, e, path[i].stage->deps[path[i].next - 1].loc);
	return e;
}

struct err *check_circles(struct plan *p)
{
	enum { UNSEEN, ON_PATH, DONE };
	struct visit *path = NULL;
	size_t depth = 0, cap = 0;

	for (size_t i = 0; i < p->n_stages; i++) {
		if (p->stages[i]->color != UNSEEN)
			continue;
		ARENA_PUSH(&p->a, path, depth, cap, ((struct visit) { p->stages[i], 0 }));
		p->stages[i]->color = ON_PATH;
		while (depth) {
			struct visit *v = &path[depth - 1];
			struct stage *dep;

			if (v->next == v->stage->n_deps) {
				v->stage->color = DONE;
				depth--;
				continue;
			}
			dep = v->stage->deps[v->next++].stage;
			if (dep->color == ON_PATH)
				return circle(p, p->stages[i], path, depth);
			if (dep->color == DONE)
				continue;
			dep->color = ON_PATH;
			ARENA_PUSH(&p->a, path, depth, cap, ((struct visit) { dep, 0 }));
		}
	}
	return NULL;
}
