#include "base/str.h"

#include "base/arena.h"
#include "base/mem.h"

#include <strings.h>

bool str_eq(struct str a, struct str b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool str_eq_cstr(struct str a, const char *b)
{
	return str_eq(a, str_from(b));
}

bool str_eq_nocase(struct str a, struct str b)
{
	return a.len == b.len && (a.len == 0 || strncasecmp(a.ptr, b.ptr, a.len) == 0);
}

int str_cmp(struct str a, struct str b)
{
	size_t n = MIN(a.len, b.len);
	int c = n ? memcmp(a.ptr, b.ptr, n) : 0;

	if (c)
		return c;
	return a.len < b.len ? -1 : a.len > b.len;
}

bool str_has_prefix(struct str s, struct str prefix)
{
	return s.len >= prefix.len && (!prefix.len || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

bool str_has_suffix(struct str s, struct str suffix)
{
	return s.len >= suffix.len &&
	       (!suffix.len || memcmp(s.ptr + s.len - suffix.len, suffix.ptr, suffix.len) == 0);
}

struct str str_trim_prefix(struct str s, struct str prefix)
{
	return str_has_prefix(s, prefix) ? str_sub(s, prefix.len, s.len) : s;
}

struct str str_trim_suffix(struct str s, struct str suffix)
{
	return str_has_suffix(s, suffix) ? str_sub(s, 0, s.len - suffix.len) : s;
}

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

struct str str_trim(struct str s)
{
	while (s.len && is_space(s.ptr[0])) {
		s.ptr++;
		s.len--;
	}
	while (s.len && is_space(s.ptr[s.len - 1]))
		s.len--;
	return s;
}

struct str str_sub(struct str s, size_t from, size_t to)
{
	to = MIN(to, s.len);
	from = MIN(from, to);
	return (struct str) { s.ptr ? s.ptr + from : NULL, to - from };
}

ptrdiff_t str_find(struct str s, char c)
{
	const char *p = s.len ? memchr(s.ptr, c, s.len) : NULL;

	return p ? p - s.ptr : -1;
}

ptrdiff_t str_rfind(struct str s, char c)
{
	const char *p = s.len ? memrchr(s.ptr, c, s.len) : NULL;

	return p ? p - s.ptr : -1;
}

ptrdiff_t str_find_str(struct str s, struct str needle)
{
	const char *p;

	if (!needle.len)
		return 0;
	if (!s.len)
		return -1;
	p = memmem(s.ptr, s.len, needle.ptr, needle.len);
	return p ? p - s.ptr : -1;
}

bool str_cut(struct str s, char sep, struct str *ret_before, struct str *ret_after)
{
	ptrdiff_t i = str_find(s, sep);

	if (i < 0) {
		*ret_before = s;
		*ret_after = STR_NONE;
		return false;
	}
	*ret_before = str_sub(s, 0, (size_t)i);
	*ret_after = str_sub(s, (size_t)i + 1, s.len);
	return true;
}

bool str_next(struct str *rest, char sep, struct str *ret_field)
{
	/* A used-up cursor is the one with an impossible length. */
	if (rest->len == SIZE_MAX)
		return false;
	if (!str_cut(*rest, sep, ret_field, rest))
		*rest = (struct str) { NULL, SIZE_MAX };
	return true;
}

bool str_to_u64(struct str s, uint64_t *ret)
{
	uint64_t v = 0;

	if (!s.len)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] < '0' || s.ptr[i] > '9')
			return false;
		if (__builtin_mul_overflow(v, (uint64_t)10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(s.ptr[i] - '0'), &v))
			return false;
	}
	*ret = v;
	return true;
}

bool str_to_i64(struct str s, int64_t *ret)
{
	bool neg = s.len && s.ptr[0] == '-';
	uint64_t v;

	if (s.len && (s.ptr[0] == '-' || s.ptr[0] == '+'))
		s = str_sub(s, 1, s.len);
	if (!str_to_u64(s, &v))
		return false;
	if (v > (uint64_t)INT64_MAX + neg)
		return false;
	*ret = neg ? (int64_t)(0 - v) : (int64_t)v;
	return true;
}

bool str_to_bool(struct str s, bool *ret)
{
	static const char *const yes[] = { "1", "t", "T", "TRUE", "true", "True" };
	static const char *const no[] = { "0", "f", "F", "FALSE", "false", "False" };

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		if (str_eq_cstr(s, yes[i])) {
			*ret = true;
			return true;
		}
		if (str_eq_cstr(s, no[i])) {
			*ret = false;
			return true;
		}
	}
	return false;
}

size_t str_rune(struct str s, uint32_t *ret_rune)
{
	const unsigned char *p = (const unsigned char *)s.ptr;
	uint32_t cp, min;
	size_t n;

	*ret_rune = 0xfffd;
	if (!s.len)
		return 0;
	if (p[0] < 0x80) {
		*ret_rune = p[0];
		return 1;
	}
	if (p[0] >= 0xc2 && p[0] <= 0xdf) {
		n = 2;
		cp = p[0] & 0x1f;
		min = 0x80;
	} else if ((p[0] & 0xf0) == 0xe0) {
		n = 3;
		cp = p[0] & 0x0f;
		min = 0x800;
	} else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
		n = 4;
		cp = p[0] & 0x07;
		min = 0x10000;
	} else {
		return 1;
	}
	if (s.len < n)
		return 1;
	for (size_t k = 1; k < n; k++) {
		if ((p[k] & 0xc0) != 0x80)
			return 1;
		cp = cp << 6 | (p[k] & 0x3f);
	}
	if (cp < min || cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff))
		return 1;
	*ret_rune = cp;
	return n;
}

size_t str_put_rune(uint32_t rune, char out[4])
{
	if (rune > 0x10ffff || (rune >= 0xd800 && rune <= 0xdfff))
		rune = 0xfffd;
	if (rune < 0x80) {
		out[0] = (char)rune;
		return 1;
	}
	if (rune < 0x800) {
		out[0] = (char)(0xc0 | rune >> 6);
		out[1] = (char)(0x80 | (rune & 0x3f));
		return 2;
	}
	if (rune < 0x10000) {
		out[0] = (char)(0xe0 | rune >> 12);
		out[1] = (char)(0x80 | (rune >> 6 & 0x3f));
		out[2] = (char)(0x80 | (rune & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | rune >> 18);
	out[1] = (char)(0x80 | (rune >> 12 & 0x3f));
	out[2] = (char)(0x80 | (rune >> 6 & 0x3f));
	out[3] = (char)(0x80 | (rune & 0x3f));
	return 4;
}

bool str_is_utf8(struct str s)
{
	while (s.len) {
		uint32_t cp;
		size_t n = str_rune(s, &cp);

		if (n == 1 && cp == 0xfffd)
			return false;
		s = str_sub(s, n, s.len);
	}
	return true;
}

uint64_t str_hash(struct str s)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < s.len; i++)
		h = (h ^ (unsigned char)s.ptr[i]) * 0x100000001b3u;
	h ^= h >> 32;
	h *= 0x9e3779b97f4a7c15u;
	return h ^ (h >> 29);
}

struct str str_dup(struct arena *a, struct str s)
{
	return str_make(arena_dup0(a, s.ptr, s.len), s.len);
}

char *str_cstr(struct arena *a, struct str s)
{
	return arena_dup0(a, s.ptr, s.len);
}

char *str_heap(struct str s)
{
	return mem_strndup(s.ptr, s.len);
}
