#include "frontend/dockerfile/url.h"

#include "base/buf.h"
#include "frontend/dockerfile/text.h"

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool decode(struct arena *a, struct str s, bool plus, struct str *ret)
{
	char *out = arena_dup0(a, s.ptr ? s.ptr : "", s.len);
	size_t n = 0;

	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];

		if (c == '%') {
			if (i + 2 >= s.len || hex(s.ptr[i + 1]) < 0 || hex(s.ptr[i + 2]) < 0)
				return false;
			c = (char)(hex(s.ptr[i + 1]) << 4 | hex(s.ptr[i + 2]));
			i += 2;
		} else if (c == '+' && plus) {
			c = ' ';
		}
		out[n++] = c;
	}
	out[n] = '\0';
	*ret = str_make(out, n);
	return true;
}

static struct str escape(struct arena *a, struct str s)
{
	SCOPED_BUF(out, SIZE_MAX);

	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if (c <= ' ' || c >= 0x7f || strchr("\"<>\\^`{|}", c))
			buf_addf(&out, "%%%02X", c);
		else
			buf_add_char(&out, (char)c);
	}
	return str_dup(a, buf_str(&out));
}

static bool valid_host(struct str h)
{
	ptrdiff_t colon = str_rfind(h, ':'), bracket = str_rfind(h, ']');

	for (size_t i = 0; i < h.len; i++)
		if ((unsigned char)h.ptr[i] <= ' ' || strchr("<>\"%\\^`{|}", h.ptr[i]))
			return false;
	if (colon < 0 || colon < bracket)
		return true;
	for (size_t i = (size_t)colon + 1; i < h.len; i++)
		if (h.ptr[i] < '0' || h.ptr[i] > '9')
			return false;
	return bracket >= 0 || str_find(h, ':') == colon;
}

static bool take_scheme(struct arena *a, struct str *rest, struct str *ret)
{
	size_t n = 0;

	while (n < rest->len) {
		char c = rest->ptr[n], l = c | 0x20;

		if (!(l >= 'a' && l <= 'z') &&
		    !(n && ((c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.')))
			break;
		n++;
	}
	*ret = STR("");
	if (n && n < rest->len && rest->ptr[n] == ':') {
		*ret = text_lower(a, str_sub(*rest, 0, n));
		*rest = str_sub(*rest, n + 1, rest->len);
	}
	return !(rest->len && rest->ptr[0] == ':' && !ret->len);
}

bool url_parse(struct arena *a, struct str text, struct url *ret)
{
	struct url u = { 0 };
	struct str rest, authority = STR("");
	bool slashes;

	for (size_t i = 0; i < text.len; i++)
		if ((unsigned char)text.ptr[i] < ' ' || text.ptr[i] == 0x7f)
			return false;
	str_cut(text, '#', &rest, &u.fragment);
	if (!decode(a, u.fragment, false, &u.fragment))
		return false;
	str_cut(rest, '?', &rest, &u.query);
	if (!take_scheme(a, &rest, &u.scheme))
		return false;
	slashes = str_has_prefix(rest, STR("//"));
	if (slashes) {
		ptrdiff_t slash;

		rest = str_sub(rest, 2, rest.len);
		slash = str_find(rest, '/');
		authority = slash < 0 ? rest : str_sub(rest, 0, (size_t)slash);
		rest = str_sub(rest, authority.len, rest.len);
		u.host = authority;
		if (str_rfind(authority, '@') >= 0) {
			size_t at = (size_t)str_rfind(authority, '@');

			u.user = str_sub(authority, 0, at);
			u.host = str_sub(authority, at + 1, authority.len);
		}
		if (!valid_host(u.host))
			return false;
	}
	if (!decode(a, rest, false, &u.path))
		return false;
	rest = escape(a, rest);
	u.base = str_from(arena_printf(a, "%.*s%s%s%.*s%.*s", STR_ARG(u.scheme),
				       u.scheme.len ? ":" : "", slashes ? "//" : "",
				       STR_ARG(authority), STR_ARG(rest)));
	*ret = u;
	return true;
}

bool url_query(struct arena *a, struct str query, struct env_var **ret, size_t *ret_n)
{
	struct str pair;
	size_t n = 1;

	for (size_t i = 0; i < query.len; i++)
		n += query.ptr[i] == '&';
	*ret = ARENA_NEW_N(a, struct env_var, n);
	*ret_n = 0;
	while (str_next(&query, '&', &pair)) {
		struct env_var *v = &(*ret)[*ret_n];
		struct str key, value;

		if (!pair.len)
			continue;
		str_cut(pair, '=', &key, &value);
		if (str_find(pair, ';') >= 0 || !decode(a, key, true, &v->key) ||
		    !decode(a, value, true, &v->value))
			return false;
		++*ret_n;
	}
	return true;
}
