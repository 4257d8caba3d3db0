#include "frontend/dockerfile/text.h"

#include "base/json.h"
#include "base/mem.h"
#include "frontend/push.h"

#include <stdlib.h>

/* ---- lists ---- */

void strs_add(struct arena *a, struct strs *l, struct str s)
{
	ARENA_PUSH(a, l->items, l->len, l->cap, s);
}

bool strs_has(const struct strs *l, struct str s)
{
	for (size_t i = 0; i < l->len; i++)
		if (str_eq(l->items[i], s))
			return true;
	return false;
}

void strs_add_new(struct arena *a, struct strs *l, struct str s)
{
	if (!strs_has(l, s))
		strs_add(a, l, s);
}

void strs_del(struct strs *l, struct str s)
{
	size_t k = 0;

	for (size_t i = 0; i < l->len; i++)
		if (!str_eq(l->items[i], s))
			l->items[k++] = l->items[i];
	l->len = k;
}

static int by_bytes(const void *x, const void *y)
{
	return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

void strs_sort(struct strs *l)
{
	if (l->len)
		qsort(l->items, l->len, sizeof(*l->items), by_bytes);
}

void strs_unique(struct strs *l)
{
	size_t n = 0;

	for (size_t i = 0; i < l->len; i++)
		if (!n || !str_eq(l->items[n - 1], l->items[i]))
			l->items[n++] = l->items[i];
	l->len = n;
}

struct strs strs_clone(struct arena *a, const struct strs *l)
{
	struct strs c = { .len = l->len, .cap = l->len };

	c.items = ARENA_NEW_N(a, struct str, l->len);
	if (l->len)
		memcpy(c.items, l->items, l->len * sizeof(*c.items));
	return c;
}

struct str strs_join(struct arena *a, const struct strs *l, struct str sep)
{
	SCOPED_BUF(b, SIZE_MAX);

	for (size_t i = 0; i < l->len; i++) {
		if (i)
			buf_add_str(&b, sep);
		buf_add_str(&b, l->items[i]);
	}
	return str_dup(a, buf_str(&b));
}

/* ---- characters ---- */

/* The code point at pos, 0xFFFD for broken UTF-8; *ret_len is its length. */
static uint32_t decode(struct str s, size_t pos, size_t *ret_len)
{
	const unsigned char *p = (const unsigned char *)s.ptr + pos;
	size_t left = s.len - pos, n;
	uint32_t c = p[0];

	*ret_len = 1;
	if (c < 0x80)
		return c;
	n = c >= 0xf0 && c < 0xf5 ? 4 : c >= 0xe0 ? 3 : c >= 0xc2 ? 2 : 0;
	if (!n || c >= 0xf5 || n > left)
		return 0xFFFD;
	c &= 0xffu >> (n + 1);
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0xFFFD;
		c = c << 6 | (p[i] & 0x3f);
	}
	*ret_len = n;
	return c;
}

size_t text_char(struct str s, size_t pos)
{
	size_t n;

	decode(s, pos, &n);
	return n;
}

size_t text_space(struct str s, size_t pos)
{
	size_t n;
	uint32_t c = decode(s, pos, &n);
	bool space = c == ' ' || (c >= '\t' && c <= '\r') || c == 0x85 || c == 0xa0 ||
		     c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
		     c == 0x202f || c == 0x205f || c == 0x3000;

	return space ? n : 0;
}

bool text_is_letter(struct str s, size_t pos)
{
	size_t n;
	uint32_t c = decode(s, pos, &n);

	if (c < 0x80)
		return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
	if (c == 0xFFFD || c == 0xd7 || c == 0xf7 || (c >= 0x2000 && c < 0x2c00) ||
	    (c >= 0x3000 && c < 0x3005) || (c >= 0x1f000 && c < 0x20000) || c >= 0xe0000)
		return false;
	return c >= 0xc0 || c == 0xaa || c == 0xb5 || c == 0xba;
}

static struct str map_case(struct arena *a, struct str s, char from, char to)
{
	char *p = arena_dup0(a, s.ptr ? s.ptr : "", s.len);

	for (size_t i = 0; i < s.len; i++)
		if (p[i] >= from && p[i] <= to)
			p[i] ^= 0x20;
	return str_make(p, s.len);
}

struct str text_lower(struct arena *a, struct str s)
{
	return map_case(a, s, 'A', 'Z');
}

struct str text_upper(struct arena *a, struct str s)
{
	return map_case(a, s, 'a', 'z');
}

const char *text_quote(struct arena *a, struct str s)
{
	SCOPED_BUF(b, SIZE_MAX);

	go_quote(&b, s);
	return arena_strdup(a, buf_cstr(&b));
}

const char *text_c(struct arena *a, struct str s)
{
	return arena_dup0(a, s.ptr ? s.ptr : "", s.len);
}

/* ---- did you mean ---- */

#define FAR 3

/* Levenshtein distance, FAR when it is that or more: only the diagonal band is computed. */
static int distance(struct str x, struct str y)
{
	int row[2 * FAR + 1], next[2 * FAR + 1];

	if (x.len + FAR <= y.len || y.len + FAR <= x.len)
		return FAR;
	/* row[d] is the distance of x[0..i] and y[0..i + d - FAR] */
	for (int d = 0; d <= 2 * FAR; d++)
		row[d] = d < FAR ? FAR : d - FAR;
	for (size_t i = 1; i <= x.len; i++) {
		for (int d = 0; d <= 2 * FAR; d++) {
			ptrdiff_t j = (ptrdiff_t)i + d - FAR;
			int best = FAR;

			if (j < 0 || j > (ptrdiff_t)y.len) {
				next[d] = FAR;
				continue;
			}
			if (j == 0) {
				next[d] = (int)MIN(i, (size_t)FAR);
				continue;
			}
			best = row[d] + (x.ptr[i - 1] != y.ptr[j - 1]);
			if (d > 0)
				best = MIN(best, next[d - 1] + 1);
			if (d < 2 * FAR)
				best = MIN(best, row[d + 1] + 1);
			next[d] = MIN(best, FAR);
		}
		memcpy(row, next, sizeof(row));
	}
	return row[FAR + (ptrdiff_t)y.len - (ptrdiff_t)x.len];
}

struct str text_suggest(struct arena *a, struct str val, const struct strs *options,
			bool case_sensitive)
{
	struct str want = case_sensitive ? val : text_lower(a, val), match = STR_NONE;
	int nearest = FAR;

	for (size_t i = 0; i < options->len; i++) {
		struct str opt = options->items[i];
		int d;

		if (!case_sensitive)
			opt = text_lower(a, opt);
		if (str_eq(opt, want))
			return STR_NONE;
		d = distance(want, opt);
		if (d < nearest) {
			nearest = d;
			match = opt;
		}
	}
	if (case_sensitive || !match.len)
		return match;
	if (str_eq(val, text_lower(a, val)))
		return match;
	return str_eq(val, text_upper(a, val)) ? text_upper(a, match) : match;
}

struct err *text_suggest_err(struct arena *a, struct err *take_e, struct str val,
			     const struct strs *options, bool case_sensitive)
{
	struct str match = text_suggest(a, val, options, case_sensitive);
	struct err *e;

	if (!match.len)
		return take_e;
	e = err_new(err_code(take_e), "%s (did you mean %.*s?)", err_text(take_e), STR_ARG(match));
	for (size_t i = 0; i < err_detail_count(take_e); i++) {
		struct str value;
		const char *url = err_detail(take_e, i, &value);

		err_add_detail(e, url, value);
	}
	err_free(take_e);
	return e;
}

struct err *text_plain_err(struct err *take_e)
{
	if (take_e)
		err_set_code(take_e, ERR_UNKNOWN);
	return take_e;
}

/* ---- comma-separated values ---- */

static struct err *csv_error(struct str all, struct str rest, ptrdiff_t off, const char *what)
{
	return err_new(ERR_UNKNOWN, "parse error on line 1, column %td: %s",
		       (rest.ptr - all.ptr) + off + 1, what);
}

/* The quoted field at *rest, which begins behind the opening quote. *ret_more: a comma followed. */
static struct err *csv_quoted(struct arena *a, struct str all, struct str *rest, struct str *ret,
			      bool *ret_more)
{
	SCOPED_BUF(field, SIZE_MAX);

	for (;;) {
		ptrdiff_t i = str_find(*rest, '"');

		if (i < 0)
			return csv_error(all, *rest, 0, "extraneous or missing \" in quoted-field");
		buf_add(&field, rest->ptr, (size_t)i);
		*rest = str_make(rest->ptr + i + 1, rest->len - (size_t)i - 1);
		if (!rest->len || rest->ptr[0] == ',')
			break;
		if (rest->ptr[0] != '"')
			return csv_error(all, *rest, -1,
					 "extraneous or missing \" in quoted-field");
		buf_add_char(&field, '"');
		*rest = str_make(rest->ptr + 1, rest->len - 1);
	}
	*ret_more = rest->len > 0;
	if (*ret_more)
		*rest = str_make(rest->ptr + 1, rest->len - 1);
	*ret = str_dup(a, buf_str(&field));
	return NULL;
}

struct err *text_csv(struct arena *a, struct str line, struct strs *ret)
{
	struct strs out = { 0 };
	struct str rest;
	bool more = true;

	if (str_has_suffix(line, STR("\n")))
		line = str_trim_suffix(str_trim_suffix(line, STR("\n")), STR("\r"));
	if (!line.len)
		return err_new(ERR_UNKNOWN, "EOF");
	rest = line;
	while (more) {
		struct str field;

		if (rest.len && rest.ptr[0] == '"') {
			rest = str_make(rest.ptr + 1, rest.len - 1);
			TRY(csv_quoted(a, line, &rest, &field, &more));
		} else {
			ptrdiff_t i = str_find(rest, ','), quote;

			field = i < 0 ? rest : str_sub(rest, 0, (size_t)i);
			quote = str_find(field, '"');
			if (quote >= 0)
				return csv_error(line, rest, quote, "bare \" in non-quoted field");
			more = i >= 0;
			if (more)
				rest = str_make(rest.ptr + i + 1, rest.len - (size_t)i - 1);
		}
		strs_add(a, &out, field);
	}
	*ret = out;
	return NULL;
}
