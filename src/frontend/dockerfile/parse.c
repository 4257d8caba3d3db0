#include "frontend/dockerfile/parse.h"

#include "frontend/dockerfile/parse_int.h"
#include "frontend/push.h"

static const struct row {
	struct str name;
	parse_fn parse;
	bool step;
} table[] = {
#define INSTR(name, form, heredoc, step) [INSTR_##name] = { STR(#name), parse_##name, step },
#include "frontend/dockerfile/instr.def"
#undef INSTR
};

#define N_INSTRS (sizeof(table) / sizeof(table[0]))

const char *instr_name(enum instr_kind kind)
{
	return table[kind].name.ptr;
}

bool instr_is_step(enum instr_kind kind)
{
	return table[kind].step;
}

struct err *need_args(const char *name)
{
	return err_new(ERR_UNKNOWN, "%s requires at least one argument", name);
}

struct err *need_one_arg(const struct parsing *p)
{
	if (p->line->args.len == 1)
		return NULL;
	return err_new(ERR_UNKNOWN, "%s requires exactly one argument", instr_name(p->out->kind));
}

struct err *no_flags(const struct parsing *p)
{
	return instr_flags_parse(p->a, &p->line->flags, NULL, 0);
}

struct str doc_comment(const struct strs *comments, struct str name)
{
	for (size_t i = 0; name.len && i < comments->len; i++) {
		struct str c = comments->items[i];

		if (c.len > name.len && str_has_prefix(c, name) && c.ptr[name.len] == ' ')
			return str_sub(c, name.len + 1, c.len);
	}
	return STR("");
}

/* The comment before a declaration should begin with the name of what is declared. */
void check_description(const struct parsing *p, const char *what, const struct strs *names)
{
	const struct strs *comments = &p->line->comments;
	struct str first, rest;

	if (!comments->len || !names->len)
		return;
	str_cut(comments->items[comments->len - 1], ' ', &first, &rest);
	if (strs_has(names, first))
		return;
	lint_run(&p->lint, LINT_INVALID_DEFINITION_DESCRIPTION, p->line->loc, what,
		 names->len > 1 ? "<arg_key>" : text_c(p->a, names->items[0]));
}

struct err *parse_instr(struct arena *a, const struct instr_line *line, const struct lint *lint,
			struct instr *ret)
{
	struct strs names = { 0 };

	for (size_t i = 0; i < N_INSTRS; i++) {
		struct parsing p = { .a = a, .line = line, .out = ret };

		if (!str_eq_nocase(line->name, table[i].name))
			continue;
		p.lint = lint_for(lint, &line->comments);
		*ret = (struct instr) {
			.kind = (enum instr_kind)i,
			.name = line->name,
			.code = str_trim(line->original),
			.loc = line->loc,
			.comments = line->comments,
		};
		return table[i].parse(&p);
	}
	for (size_t i = 0; i < N_INSTRS; i++)
		strs_add(a, &names, table[i].name);
	return text_suggest_err(
		a, err_new(ERR_UNKNOWN, "unknown instruction: %.*s", STR_ARG(line->name)),
		line->name, &names, false);
}

struct err *parse_dockerfile(struct arena *a, const struct instr_lines *lines,
			     const struct lint *lint, struct dockerfile *ret, struct loc *ret_loc)
{
	struct dockerfile f = { .escape = lines->escape };

	for (size_t i = 0; i < lines->len; i++) {
		const struct instr_line *line = &lines->items[i];
		struct instr in;
		struct err *e = parse_instr(a, line, lint, &in);

		*ret_loc = line->loc;
		if (e)
			return err_wrap(e, "dockerfile parse error on line %d", line->loc.start);
		if (in.kind == INSTR_FROM) {
			struct stage_decl s = { .from = in };

			ARENA_PUSH(a, f.stages, f.n_stages, f.cap_stages, s);
		} else if (f.n_stages) {
			struct stage_decl *s = &f.stages[f.n_stages - 1];

			ARENA_PUSH(a, s->instrs, s->n, s->cap, in);
		} else if (in.kind == INSTR_ARG) {
			ARENA_PUSH(a, f.args, f.n_args, f.cap_args, in);
		} else {
			return err_new(ERR_UNKNOWN, "no build stage in current context");
		}
	}
	*ret = f;
	return NULL;
}
