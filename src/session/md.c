#include "session/internal.h"

#include "base/buf.h"

#include <ctype.h>

static bool is_plain(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] < ' ' || s.ptr[i] > '~') /* bytes over 0x7f are negative */
			return false;
	return true;
}

struct str query_escape(struct arena *a, struct str s)
{
	static const char hex[] = "0123456789ABCDEF";
	char *out = arena_alloc(a, s.len * 3 + 1), *o = out;

	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if (isalnum(c) || c == '-' || c == '_' || c == '.' || c == '~') {
			*o++ = (char)c;
		} else if (c == ' ') {
			*o++ = '+';
		} else {
			*o++ = '%';
			*o++ = hex[c >> 4];
			*o++ = hex[c & 15];
		}
	}
	return str_make(out, (size_t)(o - out));
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

struct str query_unescape(struct arena *a, struct str s)
{
	char *out = arena_alloc(a, s.len + 1), *o = out;

	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '%') {
			int hi = i + 2 < s.len ? hex_digit(s.ptr[i + 1]) : -1;
			int lo = i + 2 < s.len ? hex_digit(s.ptr[i + 2]) : -1;

			if (hi < 0 || lo < 0)
				return str_dup(a, s);
			*o++ = (char)(hi << 4 | lo);
			i += 2;
		} else {
			*o++ = s.ptr[i] == '+' ? ' ' : s.ptr[i];
		}
	}
	return str_make(out, (size_t)(o - out));
}

void md_list_fini(struct md_list *l)
{
	vec_fini(&l->v);
}

void md_add(struct md_list *l, const char *key, struct str value)
{
	vec_push(&l->v, ((struct grpc_md) { str_from(arena_strdup(l->arena, key)), value }));
}

void md_add_list(struct md_list *l, const char *key, const struct str *values, size_t n)
{
	bool encode = false;

	for (size_t i = 0; i < n; i++)
		encode |= !is_plain(values[i]);
	for (size_t i = 0; i < n; i++)
		md_add(l, key, encode ? query_escape(l->arena, values[i]) : values[i]);
	if (encode)
		md_add(l, arena_printf(l->arena, "%s-encoded", key), STR("1"));
}

size_t md_get_list(struct grpc_stream *s, struct arena *a, const char *key, struct str **ret)
{
	const char *encoded_key = arena_printf(a, "%s-encoded", key);
	const struct grpc_md *md;
	bool encoded = false;
	struct str *list;
	size_t n, k = 0;

	/* A server stream has its metadata from the start. */
	err_free(grpc_peer_md(s, grpc_stream_ctx(s), &md, &n));
	(void)str_to_bool(grpc_md_get(s, encoded_key), &encoded);
	list = ARENA_NEW_N(a, struct str, n + 1);
	for (size_t i = 0; i < n; i++)
		if (str_eq_cstr(md[i].key, key))
			list[k++] = encoded ? query_unescape(a, md[i].value) : md[i].value;
	*ret = list;
	return k;
}

struct str md_get(struct grpc_stream *s, struct arena *a, const char *key)
{
	struct str *list;

	return md_get_list(s, a, key, &list) ? list[0] : STR_NONE;
}
