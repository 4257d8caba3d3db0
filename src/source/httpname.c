#include "source/http.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/path.h"

struct str http_safe_name(struct arena *a, struct str name)
{
	struct str base = str_trim(path_base(name));

	if (!base.len || base.len > LIMIT_FILE_NAME || str_eq_cstr(base, ".") ||
	    str_eq_cstr(base, "..") || str_eq_cstr(base, "/"))
		return STR("download");
	for (size_t i = 0; i < base.len; i++)
		if ((unsigned char)base.ptr[i] < 0x20 || base.ptr[i] == 0x7f)
			return STR("download");
	return str_dup(a, base);
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static struct str percent_decode(struct arena *a, struct str s)
{
	char *out = arena_alloc(a, s.len + 1);
	size_t n = 0;

	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '%' && i + 2 < s.len && hex(s.ptr[i + 1]) >= 0 &&
		    hex(s.ptr[i + 2]) >= 0) {
			out[n++] = (char)(hex(s.ptr[i + 1]) << 4 | hex(s.ptr[i + 2]));
			i += 2;
		} else {
			out[n++] = s.ptr[i];
		}
	}
	return str_make(out, n);
}

static struct str unquote(struct arena *a, struct str s)
{
	char *out;
	size_t n = 0;

	if (s.len < 2 || s.ptr[0] != '"' || s.ptr[s.len - 1] != '"')
		return s;
	out = arena_alloc(a, s.len);
	for (size_t i = 1; i + 1 < s.len; i++) {
		if (s.ptr[i] == '\\' && i + 2 < s.len)
			i++;
		out[n++] = s.ptr[i];
	}
	return str_make(out, n);
}

/* Source: RFC 6266 and RFC 5987. The extended form wins. */
struct str http_disposition_name(struct arena *a, struct str header)
{
	struct str plain = STR_NONE, extended = STR_NONE, rest = header;

	while (rest.len) {
		struct str param, key, value;
		bool quoted = false;
		size_t end = 0;

		for (; end < rest.len && (quoted || rest.ptr[end] != ';'); end++)
			if (rest.ptr[end] == '"' && (!end || rest.ptr[end - 1] != '\\'))
				quoted = !quoted;
		param = str_trim(str_sub(rest, 0, end));
		rest = str_sub(rest, end + 1, rest.len);
		if (!str_cut(param, '=', &key, &value))
			continue;
		key = str_trim(key);
		value = str_trim(value);
		if (str_eq_nocase(key, STR("filename"))) {
			plain = unquote(a, value);
		} else if (str_eq_nocase(key, STR("filename*"))) {
			struct str charset, lang;

			if (str_cut(value, '\'', &charset, &value) &&
			    str_cut(value, '\'', &lang, &value))
				extended = percent_decode(a, value);
		}
	}
	return extended.len ? extended : plain;
}
