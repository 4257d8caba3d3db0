/* Carrying out the instructions of a stage. */
#include "frontend/dockerfile/plan.h"

#include "base/limits.h"
#include "frontend/dockerfile/paths.h"

const struct platform *stage_os(const struct plan *p, const struct stage *s)
{
	return s->has_platform ? &s->platform : &p->target;
}

/* ---- names ---- */

/* The platform a stage builds for, as far as it declared the arguments. */
static bool declared_target(struct arena *a, const struct env *env, struct platform *ret)
{
	struct platform t = { 0 };
	bool any = false;

	for (size_t i = 0; i < env->len; i++) {
		struct str key = env->vars[i].key, value = env->vars[i].value;
		struct err *e;

		if (str_eq(key, STR("TARGETPLATFORM"))) {
			e = platform_parse(a, value, ret);
			if (!e)
				return true;
			err_free(e);
			continue;
		}
		if (str_eq(key, STR("TARGETOS")))
			t.os = value;
		else if (str_eq(key, STR("TARGETARCH")))
			t.arch = value;
		else if (str_eq(key, STR("TARGETVARIANT")))
			t.variant = value;
		else
			continue;
		any = true;
	}
	*ret = t;
	return any;
}

/* "->arm64/v8", when a stage that runs on one platform builds for another. */
static const char *cross(struct arena *a, const struct platform *os, const struct env *env)
{
	struct platform t;

	if (!declared_target(a, env, &t))
		return "";
	if (!t.os.len)
		t.os = os->os;
	if (!t.arch.len)
		t.arch = os->arch;
	t = platform_normalize(t);
	if (!str_eq(t.os, os->os))
		return arena_printf(a, "->%s", platform_format_all(a, t));
	if (str_eq(t.arch, os->arch))
		return "";
	return arena_printf(a, "->%.*s%s%.*s", STR_ARG(t.arch), t.variant.len ? "/" : "",
			    STR_ARG(t.variant));
}

struct str step_name(struct plan *p, struct stage *s, struct str text, const struct platform *os,
		     const struct env *env)
{
	struct arena *a = &p->a;
	const char *platform = "";
	int width = 1;

	if (!s->n_counted)
		return text;
	if (p->df->opts.multi_platform && os)
		platform = arena_printf(a, "%s%s ", platform_format_all(a, *os), cross(a, os, env));
	for (int n = s->n_counted; n >= 10; n /= 10)
		width++;
	return str_from(arena_printf(a, "[%s%.*s%s%*d/%d] %s%.*s", platform, STR_ARG(s->label),
				     s->label.len ? " " : "", width, ++s->step, s->n_counted,
				     s->on_build ? "ONBUILD " : "", STR_ARG(text)));
}

struct str step_text(struct plan *p, const struct shell *sh, struct str text, const struct env *env)
{
	struct str word, rest;
	bool more;
	struct err *e = shell_word(&p->a, sh, text, env, NULL, &word);

	if (e)
		word = text;
	err_free(e);
	more = str_cut(word, ' ', &word, &rest);
	return str_from(arena_printf(&p->a, "%.*s%s%.*s", STR_ARG(text_upper(&p->a, word)),
				     more ? " " : "", STR_ARG(rest)));
}

void stage_history(struct plan *p, struct stage *s, struct str created_by, bool layer)
{
	image_add_history(&p->a, &s->image, created_by, !layer, p->created);
}

struct str shell_join(struct arena *a, const struct image *img, const struct strs *args,
		      struct strs *ret)
{
	struct strs out = strs_clone(a, &img->shell);
	struct str command = strs_join(a, args, STR(" "));

	if (!out.len && str_eq(img->platform.os, STR("windows"))) {
		strs_add(a, &out, STR("cmd"));
		strs_add(a, &out, STR("/S"));
		strs_add(a, &out, STR("/C"));
	} else if (!out.len) {
		strs_add(a, &out, STR("/bin/sh"));
		strs_add(a, &out, STR("-c"));
	}
	strs_add(a, &out, command);
	*ret = out;
	return command;
}

/* ---- expansion ---- */

struct err *expand(struct doing *d, struct str word, struct str *ret)
{
	struct shell_names names;
	struct err *e = shell_word(&d->p->a, &d->p->shell, word, &d->s->state.env, &names, ret);

	check_unset(d, &names);
	return e;
}

static struct err *expand_list(struct doing *d, struct strs *list)
{
	for (size_t i = 0; i < list->len; i++)
		TRY(expand(d, list->items[i], &list->items[i]));
	return NULL;
}

static struct err *expand_copy(struct doing *d)
{
	const struct shell raw = { .escape = '\\', .skip_quotes = true };
	struct copy_instr *c = d->in->copy;

	TRY(expand(d, c->chown, &c->chown));
	TRY(expand(d, c->chmod, &c->chmod));
	TRY(expand(d, c->checksum, &c->checksum));
	TRY(expand_list(d, &c->sources));
	TRY(expand(d, c->dest, &c->dest));
	for (size_t i = 0; i < c->n_contents; i++) {
		struct shell_names names;
		struct heredoc *h = &c->contents[i];
		struct err *e;

		if (!h->expand)
			continue;
		e = shell_word(&d->p->a, &raw, h->content, &d->s->state.env, &names, &h->content);
		check_unset(d, &names);
		TRY(e);
	}
	return NULL;
}

static struct err *expand_value(void *arg, struct str value, struct str *ret)
{
	return expand(arg, value, ret);
}

static struct err *expand_mounts(struct doing *d)
{
	struct run_instr *r = d->in->run;
	const struct mount_expander x = { expand_value, d };

	for (size_t i = 0; i < r->mount_texts.len; i++)
		TRY(run_mount_parse(&d->p->a, r->mount_texts.items[i], &x, &r->mounts[i]));
	return NULL;
}

static struct err *expand_instr(struct doing *d)
{
	switch (d->in->kind) {
	case INSTR_ENV:
	case INSTR_LABEL:
		for (size_t i = 0; i < d->in->n_pairs; i++) {
			TRY(expand(d, d->in->pairs[i].key, &d->in->pairs[i].key));
			TRY(expand(d, d->in->pairs[i].value, &d->in->pairs[i].value));
		}
		return NULL;
	case INSTR_ADD:
	case INSTR_COPY:
		return expand_copy(d);
	case INSTR_RUN:
		return expand_mounts(d);
	case INSTR_USER:
	case INSTR_VOLUME:
	case INSTR_WORKDIR:
	case INSTR_STOPSIGNAL:
		return expand_list(d, &d->in->args);
	default: /* ARG and EXPOSE do it themselves, commands are for the shell of the step */
		return NULL;
	}
}

/* ---- a stage ---- */

static struct err *do_instr(struct doing *d)
{
	TRY(expand_instr(d));
	switch (d->in->kind) {
	case INSTR_RUN:
		return do_run(d);
	case INSTR_ADD:
	case INSTR_COPY:
		return do_copy(d);
	case INSTR_ENV:
		return do_env(d);
	case INSTR_LABEL:
		return do_label(d);
	case INSTR_ARG:
		return do_arg(d);
	case INSTR_WORKDIR:
		return do_workdir(d);
	case INSTR_EXPOSE:
		return do_expose(d);
	default:
		return do_metadata(d);
	}
}

static bool scan_wanted(struct str label, struct str value)
{
	struct str one;
	bool on;

	if (str_to_bool(value, &on))
		return on;
	while (str_next(&value, ',', &one))
		if (str_eq(one, label))
			return true;
	return false;
}

static bool scan_flag(const struct plan *p, const struct stage *s, struct str name)
{
	struct str value;
	bool on = env_get(&p->globals, name, &value) && scan_wanted(s->label, value);

	for (size_t i = 0; i < s->n_args; i++)
		if (str_eq(s->args[i].key, name) && s->args[i].has_value)
			on = scan_wanted(s->label, s->args[i].value);
	return on;
}

/* What the base image says of environment, directory and user. */
static struct err *use_base(struct plan *p, struct stage *s)
{
	const struct platform *os = stage_os(p, s);
	struct str value, wd;
	bool has_path = false;

	for (size_t i = 0; i < s->image.env.len; i++) {
		str_cut(s->image.env.items[i], '=', &value, &wd);
		has_path |= str_eq(value, STR("PATH"));
	}
	if (!has_path && !str_eq(os->os, STR("windows")))
		strs_add(&p->a, &s->image.env,
			 str_from(arena_printf(&p->a, "PATH=%s", image_default_path(os))));
	state_use_env(&p->a, &s->state, &s->image.env);
	if (s->image.working_dir.len)
		TRY(set_workdir(p, s, s->image.working_dir, &wd));
	if (s->image.user.len)
		s->state.user = s->image.user;
	return NULL;
}

struct err *stage_dispatch(struct plan *p, struct stage *s)
{
	stage_inherit(p, s);
	s->dispatched = true;
	if (!s->has_platform) {
		s->has_platform = true;
		s->platform = p->target;
	}
	TRY(plan_at(p, use_base(p, s), s->from.loc));
	for (size_t i = 0; i < s->n_steps; i++) {
		struct doing d = { .p = p, .s = s, .step = &s->steps[i], .in = &s->steps[i].in };

		if (p->a.used > LIMIT_DOCKERFILE_MEMORY)
			return err_new(ERR_RESOURCE_EXHAUSTED,
				       "Dockerfile takes more than %zu bytes of memory",
				       LIMIT_DOCKERFILE_MEMORY);
		TRY(ctx_err(p->ctx));
		d.lint = lint_for(&p->lint, &d.in->comments);
		s->on_build = d.step->on_build;
		TRY(plan_at(p, do_instr(&d), d.in->loc));
	}
	s->scan_context = scan_flag(p, s, STR("BUILDKIT_SBOM_SCAN_CONTEXT"));
	s->scan_stage = scan_flag(p, s, STR("BUILDKIT_SBOM_SCAN_STAGE"));
	return NULL;
}
