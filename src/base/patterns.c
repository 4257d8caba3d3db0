/* Ignore lists as moby/patternmatcher treats them. A pattern there becomes a regular
 * expression in which only `*`, `?`, `.` and a few others are translated; all else, down to
 * `|` and `{2}`, keeps the meaning it has in Go's regexp. So it goes the same way here. */
#include "base/glob.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/path.h"
#include "base/pattern_re.h"

/* Room for a path of classes and escapes. */
#define PATTERN_MAX (4 * LIMIT_PATH)

enum pattern_kind { EXACT, PREFIX, SUFFIX, REGEXP, BROKEN };

struct pattern {
	enum pattern_kind kind;
	bool exclusion;
	struct str text;    /* cleaned */
	struct str literal; /* up to the first character with a meaning */
	bool all_literal;
	struct pattern_re *re;
};

struct patterns {
	struct pattern *list;
	size_t n;
	bool exclusions;
};

struct match_state {
	size_t n;
	bool matched[];
};

/* ---- pattern to expression ---- */

static struct str trim_unicode_space(struct str s)
{
	static const uint32_t spaces[] = { 0x85,   0xa0,   0x1680, 0x2028, 0x2029,
					   0x202f, 0x205f, 0x3000, 0 };
	struct str out = STR_NONE;
	bool begun = false;

	for (size_t i = 0, n; i < s.len; i += n) {
		uint32_t r;
		bool space;

		n = str_rune(str_sub(s, i, s.len), &r);
		space = r == ' ' || (r >= '\t' && r <= '\r') || (r >= 0x2000 && r <= 0x200a);
		for (const uint32_t *x = spaces; *x && !space; x++)
			space = r == *x;
		if (space)
			continue;
		if (!begun)
			out.ptr = s.ptr + i;
		begun = true;
		out.len = (size_t)(s.ptr + i + n - out.ptr);
	}
	return out;
}

/* A character becomes six at most. */
static enum pattern_kind to_expression(struct str p, struct buf *re)
{
	enum pattern_kind kind = EXACT;
	uint32_t r;
	size_t n;

	if (str_has_prefix(p, STR("\xef\xbb\xbf")))
		p = str_sub(p, 3, p.len);
	for (bool first = true; p.len; first = false) {
		char c = p.ptr[0];
		char utf8[4];

		n = str_rune(p, &r);
		p = str_sub(p, n, p.len);
		if (c == '*' && p.len && p.ptr[0] == '*') {
			p = str_sub(p, 1, p.len);
			p = str_trim_prefix(p, STR("/"));
			if (p.len) {
				buf_add_cstr(re, "(.*/)?");
				kind = REGEXP;
			} else if (kind == EXACT) {
				kind = PREFIX;
			} else {
				buf_add_cstr(re, ".*");
				kind = REGEXP;
			}
			if (first)
				kind = SUFFIX;
		} else if (c == '*') {
			buf_add_cstr(re, "[^/]*");
			kind = REGEXP;
		} else if (c == '?') {
			buf_add_cstr(re, "[^/]");
			kind = REGEXP;
		} else if (c && strchr(".+()$", c)) {
			buf_addf(re, "\\%c", c);
		} else if (c == '\\' && p.len) {
			n = str_rune(p, &r);
			p = str_sub(p, n, p.len);
			buf_add_char(re, '\\');
			buf_add(re, utf8, str_put_rune(r, utf8));
			kind = REGEXP;
		} else {
			if (c == '[' || c == ']')
				kind = REGEXP;
			buf_add(re, utf8, str_put_rune(r, utf8));
		}
	}
	return kind;
}

static void compile(struct arena *a, struct pattern *p)
{
	SCOPED_BUF(re, 8 * p->text.len + 16);

	buf_add_char(&re, '^');
	p->kind = to_expression(p->text, &re);
	if (p->kind != REGEXP)
		return;
	buf_add_char(&re, '$');
	if (!pattern_re_new(a, buf_str(&re), &p->re))
		p->kind = BROKEN;
}

static struct err *match_pattern(const struct pattern *p, struct str path, bool *ret)
{
	struct str rest;

	*ret = false;
	switch (p->kind) {
	case EXACT:
		*ret = str_eq(path, p->text);
		break;
	case PREFIX:
		*ret = str_has_prefix(path, str_sub(p->text, 0, p->text.len - 2));
		break;
	case SUFFIX:
		rest = str_sub(p->text, 2, p->text.len);
		*ret = str_has_suffix(path, rest) ||
		       (rest.ptr[0] == '/' && str_eq(path, str_sub(rest, 1, rest.len)));
		break;
	case REGEXP:
		*ret = str_has_prefix(path, p->literal) && pattern_re_match(p->re, path);
		break;
	case BROKEN:
		return err_new(ERR_INVALID_ARGUMENT, "syntax error in pattern");
	}
	return NULL;
}

/* ---- lists ---- */

/* What a path must begin with to match. */
static void find_literal(struct pattern *p)
{
	size_t n = 0;

	p->all_literal = p->kind == EXACT;
	if (p->kind == REGEXP && (str_find(p->text, '|') >= 0 || str_find(p->text, '{') >= 0))
		return;
	/* A '^' is an assertion and what is no UTF-8 matches more than itself. */
	while (n < p->text.len && (unsigned char)p->text.ptr[n] < 0x80 && p->text.ptr[n] &&
	       (p->all_literal || !strchr("*?[]\\^", p->text.ptr[n])))
		n++;
	p->literal = str_sub(p->text, 0, n);
	p->all_literal = p->all_literal && n == p->text.len;
}

struct err *patterns_new(struct arena *a, const struct str *list, size_t n, struct patterns **ret)
{
	struct patterns *ps = ARENA_NEW(a, struct patterns);

	ps->list = ARENA_NEW_N(a, struct pattern, n);
	for (size_t i = 0; i < n; i++) {
		struct pattern *p = &ps->list[ps->n];
		struct str text = trim_unicode_space(list[i]);
		bool unused;

		if (!text.len)
			continue;
		if (text.len > PATTERN_MAX)
			return err_new(ERR_INVALID_ARGUMENT, "pattern is longer than %zu bytes",
				       (size_t)PATTERN_MAX);
		text = path_clean(a, text);
		if (text.ptr[0] == '!') {
			if (text.len == 1)
				return err_new(ERR_INVALID_ARGUMENT,
					       "illegal exclusion pattern: \"!\"");
			p->exclusion = true;
			ps->exclusions = true;
			text = str_sub(text, 1, text.len);
		}
		TRY(glob_match(text, STR("."), &unused));
		p->text = text;
		compile(a, p);
		find_literal(p);
		ps->n++;
	}
	*ret = ps;
	return NULL;
}

bool patterns_has_exclusions(const struct patterns *p)
{
	return p->exclusions;
}

/* path or one of its parents. A pattern that is broken fails on path itself, before any
 * parent is looked at. */
static struct err *match_with_parents(const struct pattern *p, struct str path, bool *ret)
{
	TRY(match_pattern(p, path, ret));
	for (size_t i = 0; i < path.len && !*ret; i++)
		if (path.ptr[i] == '/')
			TRY(match_pattern(p, str_sub(path, 0, i), ret));
	return NULL;
}

struct err *patterns_match(const struct patterns *ps, struct str path, bool *ret)
{
	bool matched = false;

	for (size_t i = 0; i < ps->n; i++) {
		const struct pattern *p = &ps->list[i];
		bool match;

		if (p->exclusion != matched)
			continue;
		TRY(match_with_parents(p, path, &match));
		if (match)
			matched = !p->exclusion;
	}
	*ret = matched;
	return NULL;
}

struct err *patterns_match_walk(const struct patterns *ps, struct arena *a, struct str path,
				const struct match_state *parent, bool *ret,
				struct match_state **ret_state)
{
	struct match_state *state =
		arena_alloc(a, sizeof(*state) + ps->n * sizeof(state->matched[0]));
	bool matched = false;

	state->n = ps->n;
	for (size_t i = 0; i < ps->n; i++) {
		const struct pattern *p = &ps->list[i];
		bool match = parent && parent->matched[i];

		if (!match) {
			if (p->exclusion != matched)
				continue;
			if (parent)
				TRY(match_pattern(p, path, &match));
			else
				TRY(match_with_parents(p, path, &match));
		}
		state->matched[i] = match;
		if (match)
			matched = !p->exclusion;
	}
	*ret = matched;
	*ret_state = state;
	return NULL;
}

bool patterns_may_match_below(const struct patterns *ps, struct str dir)
{
	if (!dir.len || str_eq(dir, STR(".")))
		return true;
	for (size_t i = 0; i < ps->n; i++) {
		const struct pattern *p = &ps->list[i];

		if (p->exclusion)
			continue;
		/* The pattern goes on below dir, or dir is what it starts with. */
		if (str_has_prefix(p->literal, dir) &&
		    (p->literal.len == dir.len || p->literal.ptr[dir.len] == '/'))
			return true;
		if (str_has_prefix(dir, p->literal) &&
		    (!p->all_literal || dir.ptr[p->literal.len] == '/'))
			return true;
	}
	return false;
}
