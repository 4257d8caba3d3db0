/* Go's filepath.Match with '/' as the separator. */
#include "base/glob.h"

static struct err *bad_pattern(void)
{
	return err_new(ERR_INVALID_ARGUMENT, "syntax error in pattern");
}

/* One bound of a range in a class; false when there is none or nothing may follow it. */
static bool take_class_char(struct str *p, uint32_t *ret)
{
	size_t n;

	if (!p->len || p->ptr[0] == '-' || p->ptr[0] == ']')
		return false;
	if (p->ptr[0] == '\\')
		*p = str_sub(*p, 1, p->len);
	n = str_rune(*p, ret);
	if (!n || (n == 1 && *ret == 0xfffd) || n == p->len)
		return false;
	*p = str_sub(*p, n, p->len);
	return true;
}

/* Takes a class, whose '[' is p's first byte, off p. */
static bool take_class(struct str *p, uint32_t rune, bool *ret_match)
{
	bool negated = false, match = false;

	*p = str_sub(*p, 1, p->len);
	if (p->len && p->ptr[0] == '^') {
		negated = true;
		*p = str_sub(*p, 1, p->len);
	}
	for (bool first = true;; first = false) {
		uint32_t lo, hi;

		if (!first && p->len && p->ptr[0] == ']') {
			*p = str_sub(*p, 1, p->len);
			*ret_match = match != negated;
			return true;
		}
		if (!take_class_char(p, &lo))
			return false;
		hi = lo;
		if (p->ptr[0] == '-') {
			*p = str_sub(*p, 1, p->len);
			if (!take_class_char(p, &hi))
				return false;
		}
		match = match || (lo <= rune && rune <= hi);
	}
}

/* Looks at the pattern up to its next star: what lies beyond a star is judged only when the
 * match gets there. */
static bool is_valid(struct str p)
{
	bool unused;

	while (p.len && p.ptr[0] != '*') {
		if (p.ptr[0] == '[') {
			if (!take_class(&p, 0, &unused))
				return false;
			continue;
		}
		if (p.ptr[0] == '\\') {
			if (p.len == 1)
				return false;
			p = str_sub(p, 1, p.len);
		}
		p = str_sub(p, 1, p.len);
	}
	return true;
}

/* Matches the pattern's next piece, which is not a star, at the head of name. */
static bool match_one(struct str *pattern, struct str *name)
{
	struct str p = *pattern, s = *name;
	bool ok;
	uint32_t r;

	switch (p.ptr[0]) {
	case '?':
		if (s.ptr[0] == '/')
			return false;
		*name = str_sub(s, str_rune(s, &r), s.len);
		*pattern = str_sub(p, 1, p.len);
		return true;
	case '[':
		*name = str_sub(s, str_rune(s, &r), s.len);
		return take_class(pattern, r, &ok) && ok;
	case '\\':
		p = str_sub(p, 1, p.len);
		break;
	}
	if (p.ptr[0] != s.ptr[0])
		return false;
	*name = str_sub(s, 1, s.len);
	*pattern = str_sub(p, 1, p.len);
	return true;
}

struct err *glob_match(struct str pattern, struct str name, bool *ret)
{
	/* Where the last star stands and what it has not swallowed yet. It is enough to
	 * go back to that one: an earlier star could do no more than it. */
	struct str after_star = STR_NONE, from = STR_NONE;
	bool star = false;

	if (!is_valid(pattern))
		return bad_pattern();
	for (;;) {
		if (pattern.len && pattern.ptr[0] == '*') {
			pattern = str_sub(pattern, 1, pattern.len);
			star = true;
			after_star = pattern;
			from = name;
			if (!is_valid(pattern))
				return bad_pattern();
			continue;
		}
		if (!pattern.len && !name.len) {
			*ret = true;
			return NULL;
		}
		if (pattern.len && name.len && match_one(&pattern, &name))
			continue;
		if (!star || !from.len || from.ptr[0] == '/') {
			*ret = false;
			return NULL;
		}
		from = str_sub(from, 1, from.len);
		pattern = after_star;
		name = from;
	}
}

bool glob_has_meta(struct str pattern)
{
	for (size_t i = 0; i < pattern.len; i++)
		if (strchr("*?[\\", pattern.ptr[i]) && pattern.ptr[i])
			return true;
	return false;
}
