/* gRPC over HTTP/2 as the protocol document has it: status, timeouts, metadata. */
#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "grpc/internal.h"
#include "proto/proto.h"

/* With more, the text alone must do. */
#define MAX_DETAILS (LIMIT_GRPC_HEADERS / 2)

struct str header_get(const struct h2_header *h, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq_cstr(h[i].name, name))
			return h[i].value;
	return STR_NONE;
}

bool is_grpc_content(struct str type)
{
	struct str rest = str_trim_prefix(type, STR("application/grpc"));

	return rest.len != type.len && (!rest.len || rest.ptr[0] == '+' || rest.ptr[0] == ';');
}

/* ---- base64: written with padding, read with or without ---- */

static struct str bin_encode(struct arena *a, struct str bytes)
{
	SCOPED_BUF(b, SIZE_MAX / 2);

	base64_encode(&b, bytes);
	return str_dup(a, buf_str(&b));
}

static bool bin_decode(struct arena *a, struct str text, struct str *ret)
{
	SCOPED_BUF(b, LIMIT_GRPC_HEADERS + 4);
	struct err *e;

	buf_add_str(&b, text);
	while (b.len % 4)
		buf_add_char(&b, '=');
	e = base64_decode(a, buf_str(&b), ret);
	err_free(e);
	return !e;
}

/* ---- percent encoding of grpc-message ---- */

static struct str percent_encode(struct arena *a, struct str s)
{
	static const char hex[] = "0123456789ABCDEF";
	char *out = arena_alloc(a, s.len * 3 + 1), *o = out;

	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if (c >= ' ' && c <= '~' && c != '%') {
			*o++ = (char)c;
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

static const char *percent_decode(struct arena *a, struct str s)
{
	char *out = arena_alloc(a, s.len + 1), *o = out;

	for (size_t i = 0; i < s.len; i++) {
		int hi = -1, lo = -1;

		if (s.ptr[i] == '%' && i + 2 < s.len) {
			hi = hex_digit(s.ptr[i + 1]);
			lo = hex_digit(s.ptr[i + 2]);
		}
		if (hi >= 0 && lo >= 0 && (hi || lo)) {
			*o++ = (char)(hi << 4 | lo);
			i += 2;
		} else {
			*o++ = s.ptr[i];
		}
	}
	*o = '\0';
	return out;
}

/* ---- status ---- */

size_t status_encode(struct arena *a, const struct err *e, struct h2_header out[STATUS_HEADERS])
{
	struct str text = str_sub(str_from(err_text(e)), 0, LIMIT_ERROR_TEXT);
	size_t n = 0;

	out[n++] = (struct h2_header) { STR("grpc-status"),
					str_from(arena_printf(a, "%d", (int)err_code(e))) };
	if (!e)
		return n;
	out[n++] = (struct h2_header) { STR("grpc-message"), percent_encode(a, text) };
	if (err_detail_count(e)) {
		struct str bytes = proto_pack_arena(proto_status_from_err(a, e), a);

		if (bytes.len / 3 * 4 < MAX_DETAILS)
			out[n++] = (struct h2_header) { STR("grpc-status-details-bin"),
							bin_encode(a, bytes) };
	}
	return n;
}

bool status_decode(const struct h2_header *h, size_t n, struct err **ret)
{
	struct str code = header_get(h, n, "grpc-status");
	struct str details = header_get(h, n, "grpc-status-details-bin"), bytes;
	SCOPED_ARENA(a);
	uint64_t num;

	if (!code.len)
		return false;
	if (!str_to_u64(code, &num)) {
		*ret = err_new(ERR_INTERNAL, "transport: malformed grpc-status: %.*s",
			       STR_ARG(code));
		return true;
	}
	*ret = NULL;
	if (num == 0)
		return true;
	if (details.len && bin_decode(&a, details, &bytes)) {
		Google__Rpc__Status *st;
		struct err *e = PROTO_UNPACK(&a, google__rpc__status, bytes, &st);

		if (!e && st->code == (int64_t)num)
			*ret = proto_err_from_status(st);
		err_free(e);
	}
	if (!*ret)
		*ret = err_new(num <= 16 ? (enum err_code)num : ERR_UNKNOWN, "%s",
			       percent_decode(&a, header_get(h, n, "grpc-message")));
	return true;
}

struct err *status_from_http(struct str status, struct str type)
{
	enum err_code code = ERR_UNKNOWN;

	if (str_eq_cstr(status, "200"))
		return err_new(ERR_UNKNOWN,
			       "unexpected HTTP status code received from server: 200 (OK); "
			       "transport: received unexpected content-type \"%.*s\"",
			       STR_ARG(type));
	if (str_eq_cstr(status, "400"))
		code = ERR_INTERNAL;
	else if (str_eq_cstr(status, "401"))
		code = ERR_UNAUTHENTICATED;
	else if (str_eq_cstr(status, "403"))
		code = ERR_PERMISSION_DENIED;
	else if (str_eq_cstr(status, "404"))
		code = ERR_UNIMPLEMENTED;
	else if (str_eq_cstr(status, "429") || str_eq_cstr(status, "502") ||
		 str_eq_cstr(status, "503") || str_eq_cstr(status, "504"))
		code = ERR_UNAVAILABLE;
	return err_new(code, "unexpected HTTP status code received from server: %.*s",
		       STR_ARG(status));
}

struct err *status_from_reset(uint32_t code)
{
	enum err_code c = ERR_INTERNAL;

	switch (code) {
	case H2_REFUSED_STREAM:
		c = ERR_UNAVAILABLE;
		break;
	case H2_CANCEL:
		c = ERR_CANCELED;
		break;
	case H2_ENHANCE_YOUR_CALM:
		c = ERR_RESOURCE_EXHAUSTED;
		break;
	case H2_INADEQUATE_SECURITY:
		c = ERR_PERMISSION_DENIED;
		break;
	default:
		break;
	}
	return err_new(c, "stream terminated by RST_STREAM with error code: %s",
		       h2_code_name(code));
}

/* ---- metadata ---- */

static bool is_reserved(struct str name)
{
	static const char *const reserved[] = { "content-type",  "grpc-message-type",
						"grpc-encoding", "grpc-message",
						"grpc-status",   "grpc-status-details-bin",
						"grpc-timeout",  "te" };

	if (name.len && name.ptr[0] == ':')
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
		if (str_eq_cstr(name, reserved[i]))
			return true;
	return false;
}

struct grpc_md *md_decode(struct arena *a, const struct h2_header *h, size_t n, size_t *ret_n)
{
	struct grpc_md *md = ARENA_NEW_N(a, struct grpc_md, n + 1);
	size_t k = 0;

	for (size_t i = 0; i < n; i++) {
		struct str value = h[i].value;

		if (is_reserved(h[i].name))
			continue;
		if (str_has_suffix(h[i].name, STR("-bin"))) {
			if (!bin_decode(a, value, &value))
				continue;
		} else {
			value = str_dup(a, value);
		}
		md[k++] = (struct grpc_md) { str_dup(a, h[i].name), value };
	}
	*ret_n = k;
	return md;
}

struct h2_header md_encode(struct arena *a, const struct grpc_md *md)
{
	struct str name = str_dup(a, md->key);

	if (str_has_suffix(name, STR("-bin")))
		return (struct h2_header) { name, bin_encode(a, md->value) };
	return (struct h2_header) { name, str_dup(a, md->value) };
}

/* ---- grpc-timeout: at most 8 digits and a unit ---- */

static const struct {
	char unit;
	int64_t ns;
} units[] = {
	{ 'n', 1 },
	{ 'u', 1000 },
	{ 'm', NSEC_PER_MSEC },
	{ 'S', NSEC_PER_SEC },
	{ 'M', 60 * NSEC_PER_SEC },
	{ 'H', 3600 * NSEC_PER_SEC },
};

struct str timeout_encode(struct arena *a, int64_t ns)
{
	ns = MAX(ns, INT64_C(0));
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		int64_t v = ns / units[i].ns + (ns % units[i].ns != 0);

		if (v < 100000000 || i + 1 == ARRAY_SIZE(units))
			return str_from(arena_printf(a, "%lld%c", (long long)v, units[i].unit));
	}
	return STR_NONE;
}

bool timeout_decode(struct str s, int64_t *ret_ns)
{
	uint64_t v;

	if (s.len < 2 || s.len > 9 || !str_to_u64(str_sub(s, 0, s.len - 1), &v))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (s.ptr[s.len - 1] == units[i].unit) {
			if (__builtin_mul_overflow((int64_t)v, units[i].ns, ret_ns))
				*ret_ns = INT64_MAX / 2;
			return true;
		}
	return false;
}
