#include "frontend/dockerfile/pattern.h"

#include "base/buf.h"
#include "base/limits.h"
#include "frontend/dockerfile/text.h"

enum token_kind { TOKEN_TEXT, TOKEN_ANY, TOKEN_STAR };

struct token {
	enum token_kind kind;
	struct str text; /* one character */
};

struct pattern {
	struct token *tokens;
	size_t n;
};

static struct err *parse(struct arena *a, struct str text, struct pattern *ret)
{
	struct pattern p = { .tokens = ARENA_NEW_N(a, struct token, text.len), .n = 0 };

	for (size_t i = 0; i < text.len;) {
		size_t len = text_char(text, i);
		struct token t = { TOKEN_TEXT, str_sub(text, i, i + len) };

		i += len;
		if (str_eq(t.text, STR("*"))) {
			t.kind = TOKEN_STAR;
		} else if (str_eq(t.text, STR("?"))) {
			t.kind = TOKEN_ANY;
		} else if (str_eq(t.text, STR("\\"))) {
			/* } and / end the substitution: their escape is not part of it. */
			if (i < text.len && (text.ptr[i] == '}' || text.ptr[i] == '/'))
				continue;
			len = i < text.len ? text_char(text, i) : 0;
			t.text = str_sub(text, i, i + len);
			i += len;
			if (len != 1 || !strchr("*?\\", t.text.ptr[0]))
				return err_new(ERR_UNKNOWN,
					       "invalid pattern (%.*s) in substitution: invalid "
					       "escape '\\%.*s'",
					       STR_ARG(text),
					       STR_ARG(len ? t.text : STR("\xEF\xBF\xBD")));
		}
		p.tokens[p.n++] = t;
	}
	*ret = p;
	return NULL;
}

/* Do the tokens [from, to), without stars, stand at pos? Then *ret_end is behind them. */
static bool segment_at(const struct pattern *p, size_t from, size_t to, struct str v, size_t pos,
		       size_t *ret_end)
{
	for (; from < to; from++) {
		const struct token *t = &p->tokens[from];
		size_t len = pos < v.len ? text_char(v, pos) : 0;

		if (!len)
			return false;
		if (t->kind == TOKEN_ANY ? v.ptr[pos] == '\n'
					 : !str_eq(t->text, str_sub(v, pos, pos + len)))
			return false;
		pos += len;
	}
	*ret_end = pos;
	return true;
}

/* Skips to where the segment stands first, over anything but newlines. */
static bool segment_find(const struct pattern *p, size_t from, size_t to, struct str v, size_t pos,
			 size_t *ret_end)
{
	for (;;) {
		if (segment_at(p, from, to, v, pos, ret_end))
			return true;
		if (pos >= v.len || v.ptr[pos] == '\n')
			return false;
		pos += text_char(v, pos);
	}
}

static bool segment_find_last(const struct pattern *p, size_t from, size_t to, struct str v,
			      size_t pos, size_t *ret_end)
{
	bool found = false;

	for (;;) {
		size_t end;

		if (segment_at(p, from, to, v, pos, &end)) {
			*ret_end = end;
			found = true;
		}
		if (pos >= v.len || v.ptr[pos] == '\n')
			return found;
		pos += text_char(v, pos);
	}
}

/* Matches at pos; every segment but the last may take its first place without loss. */
static bool match_at(const struct pattern *p, struct str v, size_t pos, bool longest,
		     size_t *ret_end)
{
	size_t from = 0, to = 0;

	while (to < p->n && p->tokens[to].kind != TOKEN_STAR)
		to++;
	if (!segment_at(p, from, to, v, pos, &pos))
		return false;
	while (to < p->n) {
		bool last;

		from = to + 1;
		for (to = from; to < p->n && p->tokens[to].kind != TOKEN_STAR;)
			to++;
		last = to == p->n;
		if (!(last && longest ? segment_find_last : segment_find)(p, from, to, v, pos,
									  &pos))
			return false;
	}
	*ret_end = pos;
	return true;
}

struct err *pattern_trim_prefix(struct arena *a, struct str pattern, struct str value, bool longest,
				struct str *ret)
{
	struct pattern p;
	size_t end;

	TRY(parse(a, pattern, &p));
	*ret = value;
	if (match_at(&p, value, 0, longest, &end))
		*ret = str_sub(value, end, value.len);
	return NULL;
}

static struct str reverse(struct arena *a, struct str s)
{
	char *out = arena_dup0(a, s.ptr ? s.ptr : "", s.len);

	for (size_t i = 0; i < s.len;) {
		size_t n = text_char(s, i);

		memcpy(out + s.len - i - n, s.ptr + i, n);
		i += n;
	}
	return str_make(out, s.len);
}

/* The longest or shortest end is the prefix of the value read backwards. */
struct err *pattern_trim_suffix(struct arena *a, struct str pattern, struct str value, bool longest,
				struct str *ret)
{
	struct pattern p;
	struct str back = reverse(a, value);
	size_t end;

	TRY(parse(a, pattern, &p));
	for (size_t i = 0, k = p.n; k > i + 1; i++) {
		struct token t = p.tokens[i];

		k--;
		p.tokens[i] = p.tokens[k];
		p.tokens[k] = t;
	}
	*ret = value;
	if (match_at(&p, back, 0, longest, &end))
		*ret = str_sub(value, 0, value.len - end);
	return NULL;
}

struct err *pattern_replace(struct arena *a, struct str pattern, struct str value,
			    struct str replacement, bool all, struct str *ret)
{
	SCOPED_BUF(out, LIMIT_DOCKERFILE);
	struct pattern p;
	size_t pos = 0, kept = 0;
	ptrdiff_t last_end = -1;

	TRY(parse(a, pattern, &p));
	while (pos <= value.len) {
		size_t end;

		/* An empty match right behind another one does not count. */
		if (match_at(&p, value, pos, true, &end) &&
		    !(end == pos && (ptrdiff_t)pos == last_end)) {
			buf_add_str(&out, str_sub(value, kept, pos));
			buf_add_str(&out, replacement);
			kept = end;
			last_end = (ptrdiff_t)end;
			if (!all)
				break;
			if (end > pos) {
				pos = end;
				continue;
			}
		}
		if (pos == value.len)
			break;
		pos += text_char(value, pos);
	}
	buf_add_str(&out, str_sub(value, kept, value.len));
	TRY(buf_check(&out, "expanded word"));
	*ret = str_dup(a, buf_str(&out));
	return NULL;
}
