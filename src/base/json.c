#include "base/json.h"

#include "base/limits.h"

/* jansson's parser recurses: look at the depth first. */
static bool too_deep(struct str s)
{
	bool in_string = false;
	int depth = 0;

	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];

		if (in_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
		} else if (c == '"') {
			in_string = true;
		} else if (c == '{' || c == '[') {
			if (++depth > LIMIT_JSON_DEPTH)
				return true;
		} else if (c == '}' || c == ']') {
			depth--;
		}
	}
	return false;
}

struct err *json_read(struct str text, const char *what, json_t **ret)
{
	json_error_t error;
	json_t *j;

	if (too_deep(text))
		return err_new(ERR_INVALID_ARGUMENT, "failed to parse %s: nested too deeply", what);
	j = json_loadb(text.len ? text.ptr : "", text.len, JSON_DECODE_ANY, &error);
	/* An integer of more than 64 bits: Go takes it for a float, where all numbers are. */
	if (!j && json_error_code(&error) == json_error_numeric_overflow)
		j = json_loadb(text.ptr, text.len, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL,
			       &error);
	if (!j)
		return err_new(ERR_INVALID_ARGUMENT, "failed to parse %s: %s (line %d, column %d)",
			       what, error.text, error.line, error.column);
	*ret = j;
	return NULL;
}

struct str json_get_str(const json_t *obj, const char *key)
{
	const json_t *v = json_object_get(obj, key);

	return json_is_string(v) ? str_make(json_string_value(v), json_string_length(v)) : STR_NONE;
}

int64_t json_get_int(const json_t *obj, const char *key, int64_t otherwise)
{
	const json_t *v = json_object_get(obj, key);

	if (json_is_real(v)) {
		double d = json_real_value(v);

		return d >= -0x1p63 && d < 0x1p63 && d == (double)(int64_t)d ? (int64_t)d
									     : otherwise;
	}
	return json_is_integer(v) ? json_integer_value(v) : otherwise;
}

bool json_get_bool(const json_t *obj, const char *key, bool otherwise)
{
	const json_t *v = json_object_get(obj, key);

	return json_is_boolean(v) ? json_is_true(v) : otherwise;
}

/* ---- base64 ---- */

static const char base64_digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct buf *out, struct str bytes)
{
	const unsigned char *p = (const unsigned char *)bytes.ptr;
	size_t n = bytes.len;
	char *to = buf_reserve(out, (n + 2) / 3 * 4);

	if (!to)
		return;
	out->len += (n + 2) / 3 * 4;
	for (; n >= 3; n -= 3, p += 3) {
		*to++ = base64_digits[p[0] >> 2];
		*to++ = base64_digits[(p[0] & 3) << 4 | p[1] >> 4];
		*to++ = base64_digits[(p[1] & 15) << 2 | p[2] >> 6];
		*to++ = base64_digits[p[2] & 63];
	}
	if (n) {
		unsigned second = n == 2 ? p[1] : 0;

		*to++ = base64_digits[p[0] >> 2];
		*to++ = base64_digits[(p[0] & 3) << 4 | second >> 4];
		*to++ = n == 2 ? base64_digits[(second & 15) << 2] : '=';
		*to++ = '=';
	}
	*to = '\0';
}

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

struct err *base64_decode(struct arena *a, struct str text, struct str *ret)
{
	unsigned char *out = arena_alloc(a, text.len / 4 * 3 + 4);
	uint32_t bits = 0;
	size_t n = 0, digits = 0, pads = 0;

	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		int v = base64_value(c);

		if (c == '\r' || c == '\n')
			continue;
		if (c == '=' && digits % 4 >= 2 && digits % 4 + ++pads <= 4)
			continue;
		if (v < 0 || pads)
			return err_new(ERR_INVALID_ARGUMENT,
				       "illegal base64 data at input byte %zu", i);
		bits = bits << 6 | (uint32_t)v;
		if (++digits % 4 == 0) {
			out[n++] = (unsigned char)(bits >> 16);
			out[n++] = (unsigned char)(bits >> 8);
			out[n++] = (unsigned char)bits;
		}
	}
	if ((digits + pads) % 4)
		return err_new(ERR_INVALID_ARGUMENT, "illegal base64 data at input byte %zu",
			       text.len);
	if (digits % 4 >= 2)
		out[n++] = (unsigned char)(digits % 4 == 2 ? bits >> 4 : bits >> 10);
	if (digits % 4 == 3)
		out[n++] = (unsigned char)(bits >> 2);
	*ret = str_make(out, n);
	return NULL;
}
