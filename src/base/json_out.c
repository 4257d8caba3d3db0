/* The JSON writer. */
#include "base/json.h"

#include <math.h>
#include <stdio.h>

void json_out_init(struct json_out *j, struct buf *out, const char *indent)
{
	*j = (struct json_out) { .out = out, .indent = indent, .empty = true };
}

static void newline(struct json_out *j)
{
	if (!j->indent)
		return;
	buf_add_char(j->out, '\n');
	for (int i = 0; i < j->depth; i++)
		buf_add_cstr(j->out, j->indent);
}

/* What stands between the value before and the one to come. */
static void lead(struct json_out *j)
{
	if (j->after_key) {
		j->after_key = false;
		return;
	}
	if (j->need_comma)
		buf_add_char(j->out, ',');
	if (j->depth)
		newline(j);
}

static void ended(struct json_out *j)
{
	j->need_comma = true;
	j->empty = false;
}

static void begin(struct json_out *j, char c)
{
	lead(j);
	buf_add_char(j->out, c);
	j->depth++;
	j->need_comma = false;
	j->empty = true;
}

static void end(struct json_out *j, char c)
{
	j->depth--;
	if (!j->empty)
		newline(j);
	buf_add_char(j->out, c);
	ended(j);
}

void json_obj_begin(struct json_out *j)
{
	begin(j, '{');
}

void json_obj_end(struct json_out *j)
{
	end(j, '}');
}

void json_arr_begin(struct json_out *j)
{
	begin(j, '[');
}

void json_arr_end(struct json_out *j)
{
	end(j, ']');
}

static bool is_plain(const struct json_out *j, unsigned char c)
{
	if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\')
		return false;
	return j->no_html_escape || (c != '<' && c != '>' && c != '&');
}

static void add_escaped(struct json_out *j, uint32_t r)
{
	switch (r) {
	case '"':
		buf_add_cstr(j->out, "\\\"");
		break;
	case '\\':
		buf_add_cstr(j->out, "\\\\");
		break;
	case '\b':
		buf_add_cstr(j->out, "\\b");
		break;
	case '\f':
		buf_add_cstr(j->out, "\\f");
		break;
	case '\n':
		buf_add_cstr(j->out, "\\n");
		break;
	case '\r':
		buf_add_cstr(j->out, "\\r");
		break;
	case '\t':
		buf_add_cstr(j->out, "\\t");
		break;
	default:
		buf_addf(j->out, "\\u%04x", r);
	}
}

static void add_string(struct json_out *j, struct str s)
{
	buf_add_char(j->out, '"');
	while (s.len) {
		size_t n = 0;
		uint32_t r;

		while (n < s.len && is_plain(j, (unsigned char)s.ptr[n]))
			n++;
		if (n) {
			buf_add(j->out, s.ptr, n);
			s = str_sub(s, n, s.len);
			continue;
		}
		n = str_rune(s, &r);
		if (r < 0x80 || r == 0x2028 || r == 0x2029 || (r == 0xfffd && n == 1))
			add_escaped(j, r);
		else
			buf_add(j->out, s.ptr, n);
		s = str_sub(s, n, s.len);
	}
	buf_add_char(j->out, '"');
}

void json_key(struct json_out *j, struct str key)
{
	lead(j);
	add_string(j, key);
	buf_add_cstr(j->out, j->indent ? ": " : ":");
	j->after_key = true;
}

void json_str(struct json_out *j, struct str value)
{
	lead(j);
	add_string(j, value);
	ended(j);
}

void json_int(struct json_out *j, int64_t v)
{
	lead(j);
	buf_addf(j->out, "%lld", (long long)v);
	ended(j);
}

void json_uint(struct json_out *j, uint64_t v)
{
	lead(j);
	buf_addf(j->out, "%llu", (unsigned long long)v);
	ended(j);
}

void json_bool(struct json_out *j, bool v)
{
	lead(j);
	buf_add_cstr(j->out, v ? "true" : "false");
	ended(j);
}

void json_nil(struct json_out *j)
{
	lead(j);
	buf_add_cstr(j->out, "null");
	ended(j);
}

void json_base64(struct json_out *j, struct str bytes)
{
	lead(j);
	buf_add_char(j->out, '"');
	base64_encode(j->out, bytes);
	buf_add_char(j->out, '"');
	ended(j);
}

/* The shortest digits that read back as the same number; plain notation for
 * 1e-6 <= |v| < 1e21. */
static void add_real(struct buf *out, double v)
{
	double size = fabs(v);
	char digits[32], *e;
	int prec = 0, exp;

	do {
		(void)snprintf(digits, sizeof(digits), "%.*e", prec, v);
	} while (strtod(digits, NULL) != v && ++prec < 17);
	e = strchr(digits, 'e');
	exp = (int)strtol(e + 1, NULL, 10);
	if (v != 0 && (size < 1e-6 || size >= 1e21)) {
		buf_add(out, digits, (size_t)(e - digits));
		buf_addf(out, "e%c%d", exp < 0 ? '-' : '+', abs(exp));
		return;
	}
	if (exp <= prec) {
		buf_addf(out, "%.*f", prec - exp, v);
		return;
	}
	/* Zeros behind the digits that count, where %f would print what the double is. */
	for (const char *p = digits; p < e; p++)
		if (*p != '.')
			buf_add_char(out, *p);
	for (int i = prec; i < exp; i++)
		buf_add_char(out, '0');
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void add_value(struct json_out *j, const json_t *v)
{
	const char *key;
	json_t *item;
	size_t i;

	switch (json_typeof(v)) {
	case JSON_OBJECT: {
		SCOPED_ARENA(a);
		const char **keys = ARENA_NEW_N(&a, const char *, json_object_size(v) + 1);
		size_t n = 0;

		json_object_foreach((json_t *)v, key, item) keys[n++] = key;
		qsort(keys, n, sizeof(*keys), by_name);
		json_obj_begin(j);
		for (i = 0; i < n; i++) {
			json_key(j, str_from(keys[i]));
			add_value(j, json_object_get(v, keys[i]));
		}
		json_obj_end(j);
		break;
	}
	case JSON_ARRAY:
		json_arr_begin(j);
		json_array_foreach(v, i, item) add_value(j, item);
		json_arr_end(j);
		break;
	case JSON_STRING:
		json_str(j, str_make(json_string_value(v), json_string_length(v)));
		break;
	case JSON_INTEGER:
		json_int(j, json_integer_value(v));
		break;
	case JSON_REAL:
		lead(j);
		add_real(j->out, json_real_value(v));
		ended(j);
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		json_bool(j, json_is_true(v));
		break;
	case JSON_NULL:
		json_nil(j);
		break;
	}
}

void json_value(struct json_out *j, const json_t *v)
{
	if (v)
		add_value(j, v);
	else
		json_nil(j);
}

/* A string literal of raw text, escapes left as they are. */
static size_t copy_raw_string(struct json_out *j, struct str s)
{
	size_t i = 1;

	buf_add_char(j->out, '"');
	while (i < s.len) {
		unsigned char c = (unsigned char)s.ptr[i];
		uint32_t r;
		size_t n = 1;

		if (c == '\\' && i + 1 < s.len) {
			buf_add(j->out, s.ptr + i, 2);
			i += 2;
			continue;
		}
		if (c >= 0x80)
			n = str_rune(str_sub(s, i, s.len), &r);
		else
			r = c;
		if (!j->no_html_escape &&
		    (r == '<' || r == '>' || r == '&' || r == 0x2028 || r == 0x2029))
			buf_addf(j->out, "\\u%04x", r);
		else
			buf_add(j->out, s.ptr + i, n);
		i += n;
		if (c == '"')
			break;
	}
	return i;
}

void json_raw(struct json_out *j, struct str text)
{
	size_t i = 0;

	while (i < text.len) {
		char c = text.ptr[i];
		size_t n;

		switch (c) {
		case ' ':
		case '\t':
		case '\r':
		case '\n':
		case ',':
			i++;
			break;
		case '{':
		case '[':
			begin(j, c);
			i++;
			break;
		case '}':
		case ']':
			end(j, c);
			i++;
			break;
		case ':':
			buf_add_cstr(j->out, j->indent ? ": " : ":");
			j->after_key = true;
			i++;
			break;
		case '"':
			lead(j);
			i += copy_raw_string(j, str_sub(text, i, text.len));
			ended(j);
			break;
		default:
			for (n = 0;
			     i + n < text.len && !strchr(" \t\r\n,{}[]:\"", text.ptr[i + n]);)
				n++;
			if (!n)
				n = 1; /* a NUL, which is no JSON */
			lead(j);
			buf_add(j->out, text.ptr + i, n);
			ended(j);
			i += n;
		}
	}
}
