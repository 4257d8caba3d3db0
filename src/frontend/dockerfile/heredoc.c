#include "frontend/dockerfile/heredoc.h"

#include "base/buf.h"
#include "frontend/dockerfile/shell.h"

static const struct env no_env = { 0 };

/* Digits, <<, an optional -, blanks, and a rest without <. */
static bool split(struct str word, bool *ret_chomp, struct str *ret_rest)
{
	size_t n = 0;

	while (n < word.len && word.ptr[n] >= '0' && word.ptr[n] <= '9')
		n++;
	word = str_sub(word, n, word.len);
	if (!str_has_prefix(word, STR("<<")))
		return false;
	word = str_sub(word, 2, word.len);
	*ret_chomp = str_has_prefix(word, STR("-"));
	word = str_trim_prefix(word, STR("-"));
	while (word.len && strchr(" \t\r\n\f", word.ptr[0]))
		word = str_sub(word, 1, word.len);
	*ret_rest = word;
	return word.len > 0 && str_find(word, '<') < 0;
}

static size_t quotes(struct str s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.len; i++)
		n += s.ptr[i] == '\'' || s.ptr[i] == '"';
	return n;
}

struct err *heredoc_word(struct arena *a, struct str word, bool *ret_is, struct heredoc *ret)
{
	struct shell sh = { .escape = '\\', .skip_unset = true };
	struct strs plain, raw;
	struct str rest;
	bool chomp;

	*ret_is = false;
	if (!split(word, &chomp, &rest))
		return NULL;
	TRY(shell_words(a, &sh, rest, &no_env, &plain));
	if (plain.len != 1)
		return NULL;
	sh.raw_quotes = true;
	TRY(shell_words(a, &sh, rest, &no_env, &raw));
	if (raw.len != 1)
		return err_new(ERR_UNKNOWN,
			       "internal lexing of heredoc produced inconsistent results: %.*s",
			       STR_ARG(rest));
	*ret = (struct heredoc) {
		.name = plain.items[0],
		.expand = quotes(plain.items[0]) == quotes(raw.items[0]),
		.chomp = chomp,
	};
	*ret_is = true;
	return NULL;
}

bool heredoc_is(struct arena *a, struct str word, struct heredoc *ret)
{
	bool is = false;
	struct err *e = heredoc_word(a, word, &is, ret);

	err_free(e);
	return !e && is;
}

struct err *heredoc_line(struct arena *a, struct str line, struct heredoc **ret, size_t *ret_n)
{
	struct shell sh = {
		.escape = '\\', .raw_quotes = true, .raw_escapes = true, .skip_unset = true
	};
	struct strs words;
	struct err *e = shell_words(a, &sh, line, &no_env, &words);

	*ret_n = 0;
	*ret = NULL;
	if (e) { /* quotes that only the shell of the step understands */
		err_free(e);
		return NULL;
	}
	*ret = ARENA_NEW_N(a, struct heredoc, words.len);
	for (size_t i = 0; i < words.len; i++) {
		bool is;

		TRY(heredoc_word(a, words.items[i], &is, *ret + *ret_n));
		*ret_n += is;
	}
	return NULL;
}

struct str heredoc_chomp(struct arena *a, struct str content)
{
	char *out = arena_dup0(a, content.ptr ? content.ptr : "", content.len);
	size_t n = 0;
	bool start = true;

	for (size_t i = 0; i < content.len; i++) {
		if (start && content.ptr[i] == '\t')
			continue;
		out[n++] = content.ptr[i];
		start = content.ptr[i] == '\n';
	}
	out[n] = '\0';
	return str_make(out, n);
}
