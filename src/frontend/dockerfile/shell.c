#include "frontend/dockerfile/shell.h"

#include "base/buf.h"
#include "base/limits.h"
#include "frontend/dockerfile/pattern.h"

/* Nesting of ${a:-${b:-...}}. */
#define MAX_DEPTH 64
#define NO_STOP (-1)

struct scan {
	struct arena *a;
	const struct shell *sh;
	const struct env *env;
	struct shell_names *names;
	struct str src;
	size_t pos;
	bool raw_escapes;
	int depth;
};

/* Words as they come together. An empty word never counts, even a quoted one. */
struct words {
	struct arena *a;
	struct buf cur;
	struct strs done;
	bool in_word;
};

static struct err *until(struct scan *s, int stop, bool raw_escapes, bool keep_escapes,
			 struct buf *out, struct words *words);

static int peek(const struct scan *s)
{
	return s->pos < s->src.len ? (unsigned char)s->src.ptr[s->pos] : -1;
}

/* The character as a whole; empty at the end. */
static struct str next(struct scan *s)
{
	size_t n = s->pos < s->src.len ? text_char(s->src, s->pos) : 0;
	struct str c = str_sub(s->src, s->pos, s->pos + n);

	s->pos += n;
	return c;
}

static void words_raw(struct words *w, struct str s)
{
	if (!w)
		return;
	buf_add_str(&w->cur, s);
	w->in_word = true;
}

static void words_end(struct words *w)
{
	if (!w->cur.len)
		return;
	strs_add(w->a, &w->done, str_dup(w->a, buf_str(&w->cur)));
	buf_clear(&w->cur);
	w->in_word = false;
}

static void words_split(struct words *w, struct str s)
{
	for (size_t i = 0; w && i < s.len;) {
		size_t n = text_char(s, i);

		if (!text_space(s, i))
			words_raw(w, str_sub(s, i, i + n));
		else if (w->in_word)
			words_end(w);
		i += n;
	}
}

static bool lookup(struct scan *s, struct str name, struct str *ret)
{
	bool found = env_get(s->env, name, ret);

	if (!found)
		*ret = STR("");
	if (s->names)
		strs_add_new(s->a, found ? &s->names->matched : &s->names->unmatched,
			     str_dup(s->a, name));
	return found;
}

static struct str take_name(struct scan *s)
{
	size_t from = s->pos;
	int c = peek(s);

	if (c >= '0' && c <= '9') {
		while (peek(s) >= '0' && peek(s) <= '9')
			s->pos++;
	} else if (c > 0 && strchr("@*#?-$!", c)) {
		s->pos++;
	} else {
		while (s->pos < s->src.len) {
			c = peek(s);
			if (!text_is_letter(s->src, s->pos) && !(c >= '0' && c <= '9') && c != '_')
				break;
			next(s);
		}
	}
	return str_sub(s->src, from, s->pos);
}

static struct err *single_quoted(struct scan *s, bool keep_escapes, struct buf *out)
{
	s->pos++;
	if (s->sh->raw_quotes)
		buf_add_char(out, '\'');
	for (;;) {
		struct str c = next(s);

		if (!c.len)
			return err_new(ERR_UNKNOWN, "unexpected end of statement while looking for "
						    "matching single-quote");
		if (c.ptr[0] == '\'')
			break;
		if (keep_escapes && c.ptr[0] == s->sh->escape)
			buf_add_str(out, c);
		buf_add_str(out, c);
	}
	if (s->sh->raw_quotes)
		buf_add_char(out, '\'');
	return NULL;
}

static struct err *dollar(struct scan *s, struct buf *out);

static struct err *double_quoted(struct scan *s, bool keep_escapes, struct buf *out)
{
	s->pos++;
	if (s->sh->raw_quotes)
		buf_add_char(out, '"');
	for (;;) {
		struct str c;
		int after;

		if (peek(s) == '$') {
			TRY(dollar(s, out));
			continue;
		}
		c = next(s);
		if (!c.len)
			return err_new(ERR_UNKNOWN, "unexpected end of statement while looking for "
						    "matching double-quote");
		if (c.ptr[0] == '"')
			break;
		if (c.ptr[0] != s->sh->escape) {
			buf_add_str(out, c);
			continue;
		}
		/* An escape works on quote, dollar and itself only. */
		after = peek(s);
		if (after < 0)
			continue;
		if (after == '"' || after == '$' || after == (unsigned char)s->sh->escape) {
			if (s->raw_escapes)
				buf_add_str(out, c);
			c = next(s);
		} else if (s->raw_escapes && (!s->sh->raw_quotes || keep_escapes)) {
			buf_add_str(out, c);
		}
		buf_add_str(out, c);
	}
	if (s->sh->raw_quotes)
		buf_add_char(out, '"');
	return NULL;
}

/* ---- ${...} ---- */

static struct err *bad_modifier(struct str m)
{
	return err_new(ERR_UNKNOWN, "unsupported modifier (%.*s) in substitution", STR_ARG(m));
}

/* The operand of a substitution, up to stop; at the end of the text the substitution is open. */
static struct err *operand(struct scan *s, char stop, bool raw, bool keep, struct str *ret)
{
	SCOPED_BUF(out, LIMIT_DOCKERFILE);
	struct err *e;

	if (s->depth >= MAX_DEPTH)
		return err_new(ERR_UNKNOWN, "syntax error: substitutions nest too deeply");
	s->depth++;
	e = until(s, stop, raw, keep, &out, NULL);
	s->depth--;
	if (e) {
		if (peek(s) >= 0)
			return e;
		err_free(e);
		if (stop == '/')
			return err_new(ERR_UNKNOWN, "syntax error: missing '/' in ${}");
		return err_new(ERR_UNKNOWN, "syntax error: missing '}'");
	}
	*ret = str_dup(s->a, buf_str(&out));
	return NULL;
}

static struct err *require(struct str name, struct str word, bool set, bool null_is_unset,
			   struct str value)
{
	if (set && !(null_is_unset && !value.len))
		return NULL;
	if (!word.len)
		word = set ? STR("is not allowed to be empty") : STR("is not allowed to be unset");
	return err_new(ERR_UNKNOWN, "%.*s: %.*s", STR_ARG(name), STR_ARG(word));
}

static struct err *replace(struct scan *s, struct str name, struct buf *out)
{
	struct str pattern, replacement, value;
	bool all = peek(s) == '/';

	if (all)
		s->pos++;
	TRY(operand(s, '/', true, true, &pattern));
	TRY(operand(s, '}', true, false, &replacement));
	if (!lookup(s, name, &value) && s->sh->skip_unset) {
		buf_addf(out, "${%.*s/%.*s/%.*s}", STR_ARG(name), STR_ARG(pattern),
			 STR_ARG(replacement));
		return NULL;
	}
	TRY(pattern_replace(s->a, pattern, value, replacement, all, &value));
	buf_add_str(out, value);
	return NULL;
}

static struct err *modified(struct scan *s, struct str name, struct str modifier, struct buf *out)
{
	bool null_is_unset = modifier.ptr[0] == ':', set, present;
	struct str op = null_is_unset ? str_sub(modifier, 1, modifier.len) : modifier, word, value;
	bool trim = str_eq(op, STR("#")) || str_eq(op, STR("%"));

	if (null_is_unset && trim)
		return bad_modifier(modifier);
	TRY(operand(s, '}', trim, trim, &word));
	set = lookup(s, name, &value);
	present = set && !(null_is_unset && !value.len);
	if (s->sh->skip_unset && !set) {
		buf_addf(out, "${%.*s%.*s%.*s}", STR_ARG(name), STR_ARG(modifier), STR_ARG(word));
		return NULL;
	}
	if (str_eq(op, STR("-"))) {
		value = present ? value : word;
	} else if (str_eq(op, STR("+"))) {
		value = present ? word : STR("");
	} else if (str_eq(op, STR("?"))) {
		TRY(require(name, word, set, null_is_unset, value));
	} else if (trim) {
		bool longest = word.len && word.ptr[0] == op.ptr[0];

		if (longest)
			word = str_sub(word, 1, word.len);
		TRY((op.ptr[0] == '%' ? pattern_trim_suffix
				      : pattern_trim_prefix)(s->a, word, value, longest, &value));
	} else {
		return bad_modifier(modifier);
	}
	buf_add_str(out, value);
	return NULL;
}

static struct err *braced(struct scan *s, struct buf *out)
{
	struct str name, c, value, modifier;
	int first = peek(s);
	size_t from;

	if (first < 0)
		return err_new(ERR_UNKNOWN, "syntax error: missing '}'");
	if (first == '{' || first == '}' || first == ':')
		return err_new(ERR_UNKNOWN, "syntax error: bad substitution");
	name = take_name(s);
	from = s->pos;
	c = next(s);
	if (!c.len)
		return bad_modifier(STR("\xEF\xBF\xBD"));
	if (c.ptr[0] == '}') {
		if (!lookup(s, name, &value) && s->sh->skip_unset)
			buf_addf(out, "${%.*s}", STR_ARG(name));
		else
			buf_add_str(out, value);
		return NULL;
	}
	if (c.ptr[0] == '/')
		return replace(s, name, out);
	if (!strchr(":+-?#%", c.ptr[0]))
		return bad_modifier(c);
	if (c.ptr[0] == ':' && !next(s).len)
		return err_new(ERR_UNKNOWN, "syntax error: missing '}'");
	modifier = str_sub(s->src, from, s->pos);
	return modified(s, name, modifier, out);
}

static struct err *dollar(struct scan *s, struct buf *out)
{
	struct str name, value;

	s->pos++;
	if (peek(s) == '{') {
		s->pos++;
		return braced(s, out);
	}
	name = take_name(s);
	if (!name.len)
		buf_add_char(out, '$');
	else if (!lookup(s, name, &value) && s->sh->skip_unset)
		buf_addf(out, "$%.*s", STR_ARG(name));
	else
		buf_add_str(out, value);
	return NULL;
}

/* ---- the whole text ---- */

/* "<<" and the blanks behind it: they do not end a word. */
static void heredoc_sign(struct scan *s, struct buf *out)
{
	size_t from = s->pos++;

	if (peek(s) == '<') {
		s->pos++;
		while (peek(s) == ' ' || peek(s) == '\t' || peek(s) == '\r')
			s->pos++;
	}
	buf_add_str(out, str_sub(s->src, from, s->pos));
}

static struct err *special(struct scan *s, bool keep_escapes, struct buf *out, struct words *words,
			   bool *ret_was)
{
	int c = peek(s);
	size_t from = out->len;

	*ret_was = true;
	if (c == '$') {
		TRY(dollar(s, out));
		words_split(words, str_sub(buf_str(out), from, out->len));
		return NULL;
	}
	if (c == '<')
		heredoc_sign(s, out);
	else if (c == '\'' && !s->sh->skip_quotes)
		TRY(single_quoted(s, keep_escapes, out));
	else if (c == '"' && !s->sh->skip_quotes)
		TRY(double_quoted(s, keep_escapes, out));
	else
		*ret_was = false;
	if (*ret_was)
		words_raw(words, str_sub(buf_str(out), from, out->len));
	return NULL;
}

static struct err *scan_all(struct scan *s, int stop, bool keep_escapes, struct buf *out,
			    struct words *words)
{
	while (s->pos < s->src.len) {
		struct str c;
		bool was;

		if (peek(s) == stop) {
			s->pos++;
			return NULL;
		}
		TRY(special(s, keep_escapes, out, words, &was));
		if (was)
			continue;
		c = next(s);
		if (c.ptr[0] != s->sh->escape) {
			buf_add_str(out, c);
			words_split(words, c);
			continue;
		}
		if (s->raw_escapes) {
			buf_add_str(out, c);
			words_raw(words, c);
		}
		c = next(s); /* none at the end of the text */
		buf_add_str(out, c);
		if (c.len)
			words_raw(words, c);
	}
	if (stop != NO_STOP)
		return err_new(ERR_UNKNOWN,
			       "unexpected end of statement while looking for matching %c", stop);
	return NULL;
}

static struct err *until(struct scan *s, int stop, bool raw_escapes, bool keep_escapes,
			 struct buf *out, struct words *words)
{
	bool outer = s->raw_escapes;
	struct err *e;

	s->raw_escapes = raw_escapes;
	e = scan_all(s, stop, keep_escapes, out, words);
	s->raw_escapes = outer;
	return e;
}

static struct err *process(struct arena *a, const struct shell *sh, struct str word,
			   const struct env *env, struct shell_names *names, struct buf *out,
			   struct words *words)
{
	struct scan s = { .a = a, .sh = sh, .env = env, .names = names, .src = word };
	struct err *e;

	/* Variables that contain themselves double with every instruction. */
	if (a->used > LIMIT_DOCKERFILE_MEMORY)
		return err_new(ERR_RESOURCE_EXHAUSTED, "Dockerfile expands to more than %zu bytes",
			       LIMIT_DOCKERFILE_MEMORY);
	e = until(&s, NO_STOP, sh->raw_escapes, false, out, words);
	if (!e)
		e = buf_check(out, "expanded word");
	if (e)
		return err_wrap(e, "failed to process %s", text_quote(a, word));
	return NULL;
}

struct err *shell_word(struct arena *a, const struct shell *sh, struct str word,
		       const struct env *env, struct shell_names *names, struct str *ret)
{
	SCOPED_BUF(out, LIMIT_DOCKERFILE);

	if (names)
		*names = (struct shell_names) { 0 };
	TRY(process(a, sh, word, env, names, &out, NULL));
	*ret = str_dup(a, buf_str(&out));
	return NULL;
}

static void words_fini(struct words *w)
{
	buf_fini(&w->cur);
}

struct err *shell_words(struct arena *a, const struct shell *sh, struct str word,
			const struct env *env, struct strs *ret)
{
	SCOPED_BUF(out, LIMIT_DOCKERFILE);
	CLEANUP(words_fini) struct words w = { .a = a, .cur = BUF_INIT(LIMIT_DOCKERFILE) };

	TRY(process(a, sh, word, env, NULL, &out, &w));
	words_end(&w);
	*ret = w.done;
	return NULL;
}
