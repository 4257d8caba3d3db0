#include "frontend/dockerfile/words.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/limits.h"

enum args_form {
	ARGS_LIST, /* words between blanks */
	ARGS_LIST_OR_JSON,
	ARGS_LINE, /* all of it */
	ARGS_LINE_OR_JSON,
	ARGS_WORDS,       /* words with quotes, which are kept */
	ARGS_PAIRS,       /* K=V ..., or K and the rest of the line */
	ARGS_CHECK,       /* a word, then LINE_OR_JSON */
	ARGS_INSTRUCTION, /* another instruction */
};

static const struct form {
	struct str name;
	enum args_form form;
	bool heredoc;
} forms[] = {
#define INSTR(name, form, heredoc, step) { STR(#name), ARGS_##form, heredoc },
#include "frontend/dockerfile/instr.def"
#undef INSTR
};

static const struct form *find_form(struct str name)
{
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
		if (str_eq_nocase(name, forms[i].name))
			return &forms[i];
	return NULL;
}

/* A newline is not one: it only comes from heredocs in triggers. */
static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\v' || c == '\f' || c == '\r';
}

/* Cuts at the first run of blanks. */
static bool cut_blank(struct str s, struct str *ret_first, struct str *ret_rest)
{
	size_t n = 0, m;

	while (n < s.len && !is_blank(s.ptr[n]))
		n++;
	m = n;
	while (m < s.len && is_blank(s.ptr[m]))
		m++;
	*ret_first = str_sub(s, 0, n);
	*ret_rest = str_sub(s, m, s.len);
	return m > n;
}

/* ---- flags ---- */

/* One flag word at *rest; quotes are removed. Ends behind the word. */
static struct str take_flag(struct arena *a, struct str *rest, char escape, bool *ret_quoted)
{
	SCOPED_BUF(word, LIMIT_DOCKERFILE);
	struct str s = *rest;
	size_t i = 0;
	char quote = 0;

	*ret_quoted = false;
	while (i < s.len) {
		size_t n = text_char(s, i);
		char c = s.ptr[i];

		if (!quote && text_space(s, i))
			break;
		if (quote ? c == quote : c == '\'' || c == '"') {
			quote = quote ? 0 : c;
			*ret_quoted = true;
		} else if (c == escape) {
			i += n;
			n = i < s.len ? text_char(s, i) : 0;
			buf_add_str(&word, str_sub(s, i, i + n));
		} else {
			buf_add_str(&word, str_sub(s, i, i + n));
		}
		i += n;
	}
	*rest = str_sub(s, i, s.len);
	return str_dup(a, buf_str(&word));
}

static struct str take_flags(struct arena *a, struct str rest, char escape, struct strs *flags)
{
	for (;;) {
		struct str word;
		bool quoted;

		while (rest.len && text_space(rest, 0))
			rest = str_sub(rest, text_space(rest, 0), rest.len);
		if (!str_has_prefix(rest, STR("--")))
			return rest;
		word = take_flag(a, &rest, escape, &quoted);
		if (str_eq(word, STR("--")))
			return rest;
		if (word.len || quoted)
			strs_add(a, flags, word);
	}
}

/* ---- arguments ---- */

/* Words with their quotes and escapes left in; an escape at the end goes. */
static void take_words(struct arena *a, struct str s, char escape, struct strs *out)
{
	SCOPED_BUF(word, LIMIT_DOCKERFILE);
	bool blank_ok = false;
	char quote = 0;

	for (size_t i = 0; i <= s.len;) {
		size_t n = i < s.len ? text_char(s, i) : 1;

		if (i == s.len || (!quote && text_space(s, i))) {
			if (word.len || blank_ok)
				strs_add(a, out, str_dup(a, buf_str(&word)));
			buf_clear(&word);
			blank_ok = false;
			i += n;
			continue;
		}
		if (!quote && (s.ptr[i] == '\'' || s.ptr[i] == '"')) {
			quote = s.ptr[i];
			blank_ok = true;
		} else if (s.ptr[i] == quote) {
			quote = 0;
		} else if (s.ptr[i] == escape && quote != '\'') {
			if (i + n == s.len) {
				i += n;
				continue;
			}
			buf_add_str(&word, str_sub(s, i, i + n));
			i += n;
			n = text_char(s, i);
		}
		buf_add_str(&word, str_sub(s, i, i + n));
		i += n;
	}
}

static struct err *take_pairs(struct arena *a, struct str rest, const char *what, char escape,
			      struct strs *out)
{
	struct strs words = { 0 };
	struct str key, value;

	take_words(a, rest, escape, &words);
	if (!words.len)
		return NULL;
	if (str_find(words.items[0], '=') < 0) { /* K V */
		if (!cut_blank(rest, &key, &value))
			return err_new(ERR_UNKNOWN, "%s must have two arguments", what);
		strs_add(a, out, key);
		strs_add(a, out, value);
		strs_add(a, out, STR(""));
		return NULL;
	}
	for (size_t i = 0; i < words.len; i++) {
		if (!str_cut(words.items[i], '=', &key, &value))
			return err_new(ERR_UNKNOWN,
				       "Syntax error - can't find = in %s. Must be of the form: "
				       "name=value",
				       text_quote(a, words.items[i]));
		strs_add(a, out, key);
		strs_add(a, out, value);
		strs_add(a, out, STR("="));
	}
	return NULL;
}

static void take_list(struct arena *a, struct str rest, struct strs *out)
{
	struct str word;
	bool more = rest.len > 0;

	while (more) {
		more = cut_blank(rest, &word, &rest);
		strs_add(a, out, word);
	}
}

/* *ret_is: rest is a JSON array. Its members must be strings then. */
static struct err *take_json(struct arena *a, struct str rest, struct strs *out, bool *ret_is)
{
	SCOPED_JSON(j);
	struct err *e;

	*ret_is = false;
	if (!str_has_prefix(str_trim(rest), STR("[")))
		return NULL;
	e = json_read(rest, "arguments", &j);
	if (e) {
		err_free(e);
		return NULL;
	}
	for (size_t i = 0; i < json_array_size(j); i++) {
		const json_t *v = json_array_get(j, i);

		if (!json_is_string(v))
			return err_new(ERR_UNKNOWN, "when using JSON array syntax, arrays must be "
						    "comprised of strings only");
		strs_add(a, out, str_dup(a, str_make(json_string_value(v), json_string_length(v))));
	}
	*ret_is = true;
	return NULL;
}

static struct err *take_line_or_json(struct arena *a, struct str rest, struct instr_line *ret)
{
	if (!rest.len)
		return NULL;
	TRY(take_json(a, rest, &ret->args, &ret->json));
	if (!ret->json)
		strs_add(a, &ret->args, rest);
	return NULL;
}

static struct err *split_line(struct arena *a, struct str line, char escape, int depth,
			      struct instr_line *ret);

static struct err *take_args(struct arena *a, struct str rest, char escape, int depth,
			     const struct form *f, struct instr_line *ret)
{
	struct instr_line inner = { 0 };
	struct str first;

	switch (f->form) {
	case ARGS_LIST:
		take_list(a, rest, &ret->args);
		break;
	case ARGS_LIST_OR_JSON:
		TRY(take_json(a, rest, &ret->args, &ret->json));
		if (!ret->json)
			take_list(a, rest, &ret->args);
		break;
	case ARGS_LINE:
		if (rest.len)
			strs_add(a, &ret->args, rest);
		break;
	case ARGS_LINE_OR_JSON:
		return take_line_or_json(a, rest, ret);
	case ARGS_WORDS:
		take_words(a, rest, escape, &ret->args);
		break;
	case ARGS_PAIRS:
		return take_pairs(a, rest, f->name.ptr, escape, &ret->args);
	case ARGS_CHECK:
		if (!rest.len)
			break;
		cut_blank(rest, &first, &rest);
		strs_add(a, &ret->args, first);
		return take_line_or_json(a, rest, ret);
	case ARGS_INSTRUCTION:
		if (!rest.len || depth > 1) /* a trigger of a trigger is refused later */
			break;
		TRY(split_line(a, rest, escape, depth + 1, &inner));
		strs_add(a, &ret->args, inner.name);
		break;
	}
	return NULL;
}

static struct err *split_line(struct arena *a, struct str line, char escape, int depth,
			      struct instr_line *ret)
{
	const struct form *f;
	struct str rest;

	ret->original = line;
	cut_blank(str_trim(line), &ret->name, &rest);
	rest = str_trim(take_flags(a, rest, escape, &ret->flags));
	f = find_form(ret->name);
	return f ? take_args(a, rest, escape, depth, f, ret) : NULL;
}

struct err *words_split_line(struct arena *a, struct str line, char escape, struct instr_line *ret)
{
	return split_line(a, line, escape, 0, ret);
}

bool words_take_heredocs(struct arena *a, const struct instr_line *line, char escape)
{
	const struct form *f = find_form(line->name);
	struct instr_line inner = { 0 };
	struct str rest, name;
	struct err *e;

	if (!f)
		return false;
	if (f->form != ARGS_INSTRUCTION)
		return f->heredoc && !line->json;
	cut_blank(str_trim(line->original), &name, &rest);
	rest = str_trim(take_flags(a, rest, escape, &inner.flags));
	e = split_line(a, rest, escape, 1, &inner);
	err_free(e);
	f = find_form(inner.name);
	return !e && f && f->heredoc && !inner.json;
}
