/* FROM, ARG, and the instructions that only set metadata. */
#include "frontend/dockerfile/parse_int.h"

#include "base/buf.h"
#include "base/limits.h"

static bool valid_stage_name(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];
		bool letter = c >= 'a' && c <= 'z';

		if (!letter && !(i && ((c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.')))
			return false;
	}
	return s.len > 0;
}

/* How FROM and its AS are written. */
static void check_from_casing(const struct parsing *p)
{
	const struct strs *args = &p->line->args;
	struct str from = p->line->name, as;
	bool lower = str_eq(from, text_lower(p->a, from));

	if (args->len == 3 && !str_eq(args->items[2], text_lower(p->a, args->items[2])))
		lint_run(&p->lint, LINT_STAGE_NAME_CASING, p->line->loc,
			 text_c(p->a, args->items[2]));
	if (args->len < 3 || (!lower && !str_eq(from, text_upper(p->a, from))))
		return;
	as = args->items[1];
	if (!str_eq(as, lower ? text_lower(p->a, as) : text_upper(p->a, as)))
		lint_run(&p->lint, LINT_FROM_AS_CASING, p->line->loc, text_c(p->a, as),
			 text_c(p->a, from));
}

struct err *parse_FROM(struct parsing *p)
{
	struct flag platform = { "platform", FLAG_TEXT };
	const struct strs *args = &p->line->args;
	struct strs names = { 0 };

	check_from_casing(p);
	p->out->stage_name = STR("");
	if (args->len == 3 && str_eq_nocase(args->items[1], STR("as"))) {
		p->out->stage_name = text_lower(p->a, args->items[2]);
		if (!valid_stage_name(p->out->stage_name))
			return err_new(ERR_UNKNOWN,
				       "invalid name for build stage: %s, name can't start with a "
				       "number or contain symbols",
				       text_quote(p->a, args->items[2]));
	} else if (args->len != 1) {
		return err_new(ERR_UNKNOWN, "FROM requires either one or three arguments");
	}
	TRY(instr_flags_parse(p->a, &p->line->flags, &platform, 1));
	p->out->platform = platform.text;
	strs_add(p->a, &p->out->args, args->items[0]);
	p->out->doc = doc_comment(&p->line->comments, p->out->stage_name);
	if (p->out->stage_name.len) {
		strs_add(p->a, &names, p->out->stage_name);
		check_description(p, "FROM", &names);
	}
	return NULL;
}

static struct err *blank_name(const char *what)
{
	return err_new(ERR_UNKNOWN, "%s names can not be blank", what);
}

struct err *parse_ARG(struct parsing *p)
{
	const struct strs *args = &p->line->args;
	struct strs names = { 0 };

	if (!args->len)
		return need_args("ARG");
	p->out->pairs = ARENA_NEW_N(p->a, struct pair, args->len);
	p->out->n_pairs = args->len;
	for (size_t i = 0; i < args->len; i++) {
		struct pair *v = &p->out->pairs[i];

		v->has_value = str_cut(args->items[i], '=', &v->key, &v->value);
		if (v->has_value && !v->key.len)
			return blank_name("ARG");
		v->doc = doc_comment(&p->line->comments, v->key);
		strs_add(p->a, &names, v->key);
	}
	check_description(p, "ARG", &names);
	return NULL;
}

static struct err *parse_pairs(struct parsing *p)
{
	const struct strs *args = &p->line->args;
	const char *name = instr_name(p->out->kind);

	TRY(no_flags(p));
	if (!args->len)
		return need_args(name);
	p->out->n_pairs = args->len / 3;
	p->out->pairs = ARENA_NEW_N(p->a, struct pair, p->out->n_pairs);
	for (size_t i = 0; i < p->out->n_pairs; i++) {
		const struct str *three = &args->items[i * 3];

		if (!three[0].len)
			return blank_name(name);
		p->out->pairs[i] = (struct pair) {
			.key = three[0],
			.value = three[1],
			.has_value = true,
			.legacy = !three[2].len,
		};
	}
	return NULL;
}

struct err *parse_ENV(struct parsing *p)
{
	return parse_pairs(p);
}

struct err *parse_LABEL(struct parsing *p)
{
	return parse_pairs(p);
}

struct err *parse_EXPOSE(struct parsing *p)
{
	if (!p->line->args.len)
		return need_args("EXPOSE");
	TRY(no_flags(p));
	p->out->args = strs_clone(p->a, &p->line->args);
	strs_sort(&p->out->args);
	return NULL;
}

struct err *parse_VOLUME(struct parsing *p)
{
	if (!p->line->args.len)
		return need_args("VOLUME");
	TRY(no_flags(p));
	for (size_t i = 0; i < p->line->args.len; i++) {
		struct str v = str_trim(p->line->args.items[i]);

		if (!v.len)
			return err_new(ERR_UNKNOWN, "VOLUME specified can not be an empty string");
		strs_add(p->a, &p->out->args, v);
	}
	return NULL;
}

static struct err *parse_one(struct parsing *p)
{
	TRY(need_one_arg(p));
	TRY(no_flags(p));
	p->out->args = p->line->args;
	return NULL;
}

struct err *parse_USER(struct parsing *p)
{
	return parse_one(p);
}

struct err *parse_WORKDIR(struct parsing *p)
{
	return parse_one(p);
}

struct err *parse_MAINTAINER(struct parsing *p)
{
	lint_run(&p->lint, LINT_MAINTAINER_DEPRECATED, p->line->loc);
	return parse_one(p);
}

struct err *parse_STOPSIGNAL(struct parsing *p)
{
	TRY(need_one_arg(p));
	p->out->args = p->line->args;
	return NULL;
}

/* The trigger is kept as text, heredocs included, and parsed again by who builds on this image. */
struct err *parse_ONBUILD(struct parsing *p)
{
	SCOPED_BUF(text, LIMIT_DOCKERFILE);
	struct str trigger, rest;

	if (!p->line->args.len)
		return need_args("ONBUILD");
	TRY(no_flags(p));
	trigger = text_upper(p->a, str_trim(p->line->args.items[0]));
	if (str_eq(trigger, STR("ONBUILD")))
		return err_new(ERR_UNKNOWN, "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
	if (str_eq(trigger, STR("MAINTAINER")) || str_eq(trigger, STR("FROM")))
		return err_new(ERR_UNKNOWN, "%.*s isn't allowed as an ONBUILD trigger",
			       STR_ARG(trigger));
	rest = p->out->code; /* without blanks in front, so the keyword is the first word */
	rest = str_sub(rest, strlen("ONBUILD"), rest.len);
	while (rest.len && strchr(" \t\n\f\r", rest.ptr[0]))
		rest = str_sub(rest, 1, rest.len);
	/* what stood behind the instruction stays */
	rest.len = (size_t)(p->line->original.ptr + p->line->original.len - rest.ptr);
	buf_add_str(&text, rest);
	for (size_t i = 0; i < p->line->n_heredocs; i++) {
		buf_add_char(&text, '\n');
		buf_add_str(&text, p->line->heredocs[i].content);
		buf_add_str(&text, p->line->heredocs[i].name);
	}
	TRY(buf_check(&text, "trigger"));
	strs_add(p->a, &p->out->args, str_dup(p->a, buf_str(&text)));
	return NULL;
}
