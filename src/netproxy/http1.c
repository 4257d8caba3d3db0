#include "netproxy/http1.h"

#include "base/limits.h"

#include <string.h>

static struct err *invalid(const char *what)
{
	return err_new(ERR_INVALID_ARGUMENT, "malformed HTTP request: %s", what);
}

size_t http1_head_len(struct str data)
{
	ptrdiff_t at = str_find_str(data, STR("\r\n\r\n"));

	return at < 0 ? 0 : (size_t)at + 4;
}

/* RFC 9110, 5.6.2 */
static bool is_token(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];
		bool alnum =
			(c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

		if (!alnum && (c == '\0' || !strchr("!#$%&'*+-.^_`|~", c)))
			return false;
	}
	return s.len > 0;
}

static bool is_visible(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] <= ' ' || s.ptr[i] == 0x7f)
			return false;
	return s.len > 0;
}

static bool is_value(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (((unsigned char)s.ptr[i] < ' ' && s.ptr[i] != '\t') || s.ptr[i] == 0x7f)
			return false;
	return true;
}

static bool next_line(struct str *rest, struct str *line)
{
	ptrdiff_t at = str_find_str(*rest, STR("\r\n"));

	if (at < 0)
		return false;
	*line = str_sub(*rest, 0, (size_t)at);
	*rest = str_sub(*rest, (size_t)at + 2, rest->len);
	return true;
}

static struct err *parse_first(struct str line, struct http1_request *r)
{
	struct str version, rest;

	if (!str_cut(line, ' ', &r->method, &rest) || !str_cut(rest, ' ', &r->target, &version) ||
	    !is_token(r->method) || !is_visible(r->target) || r->target.len > LIMIT_URL)
		return invalid("request line");
	if (str_eq_cstr(version, "HTTP/1.1"))
		r->minor = 1;
	else if (str_eq_cstr(version, "HTTP/1.0"))
		r->minor = 0;
	else
		return invalid("version");
	return NULL;
}

static bool has_word(struct str list, const char *word)
{
	struct str one;

	while (list.len && str_next(&list, ',', &one))
		if (str_eq_nocase(str_trim(one), str_from(word)))
			return true;
	return false;
}

static struct err *note_framing(struct http1_request *r, struct str name, struct str value,
				bool *length_set)
{
	uint64_t n;

	if (str_eq_nocase(name, STR("Transfer-Encoding"))) {
		if (!str_eq_nocase(value, STR("chunked")) || r->chunked || !r->minor)
			return invalid("transfer encoding");
		r->chunked = true;
	} else if (str_eq_nocase(name, STR("Content-Length"))) {
		if (*length_set || !value.len || value.ptr[0] == '+' || !str_to_u64(value, &n) ||
		    n > INT64_MAX)
			return invalid("content length");
		*length_set = true;
		r->length = (int64_t)n;
	} else if (str_eq_nocase(name, STR("Connection")) ||
		   str_eq_nocase(name, STR("Proxy-Connection"))) {
		if (has_word(value, "close"))
			r->close = true;
		else if (has_word(value, "keep-alive") && !r->minor)
			r->close = false;
	}
	return NULL;
}

struct err *http1_parse(struct str head, struct arena *a, struct http1_request *ret)
{
	struct http1_request r = { 0 };
	struct str rest = head, line, name, value;
	bool length_set = false;

	if (!next_line(&rest, &line))
		return invalid("no request line");
	TRY(parse_first(line, &r));
	r.close = !r.minor;
	r.headers = ARENA_NEW_N(a, struct httpc_header, HTTP1_MAX_HEADERS);
	while (next_line(&rest, &line) && line.len) {
		/* A line that goes on with a space, or a space before the colon: read differently
		 * by different programs. */
		if (!str_cut(line, ':', &name, &value) || !is_token(name))
			return invalid("header line");
		value = str_trim(value);
		if (!is_value(value))
			return invalid("header value");
		if (r.n_headers == HTTP1_MAX_HEADERS)
			return invalid("too many headers");
		r.headers[r.n_headers++] = (struct httpc_header) { name, value };
		TRY(note_framing(&r, name, value, &length_set));
	}
	if (r.chunked && length_set)
		return invalid("both a length and chunks");
	if (r.chunked)
		r.length = -1;
	*ret = r;
	return NULL;
}

struct str http1_header(const struct http1_request *r, const char *name)
{
	for (size_t i = 0; i < r->n_headers; i++)
		if (str_eq_nocase(r->headers[i].name, str_from(name)))
			return r->headers[i].value;
	return STR_NONE;
}

bool http1_is_hop_by_hop(struct str name)
{
	static const char *const names[] = {
		"Connection",
		"Keep-Alive",
		"Proxy-Authenticate",
		"Proxy-Authorization",
		"Proxy-Connection",
		"Te",
		"Trailer",
		"Transfer-Encoding",
		"Upgrade",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (str_eq_nocase(name, str_from(names[i])))
			return true;
	return false;
}

struct err *http1_chunk_size(struct str line, uint64_t *ret)
{
	struct str digits = line, ext;
	uint64_t n = 0;

	/* Extensions say nothing that we need. */
	(void)str_cut(line, ';', &digits, &ext);
	digits = str_trim(digits);
	if (!digits.len || digits.len > 15)
		return invalid("chunk size");
	for (size_t i = 0; i < digits.len; i++) {
		char c = digits.ptr[i];

		if (c >= '0' && c <= '9')
			n = n * 16 + (uint64_t)(c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			n = n * 16 + (uint64_t)((c | 0x20) - 'a' + 10);
		else
			return invalid("chunk size");
	}
	*ret = n;
	return NULL;
}

/* ---- URLs ---- */

struct str http1_host(struct str authority)
{
	ptrdiff_t end;

	if (authority.len && authority.ptr[0] == '[') {
		end = str_find(authority, ']');
		return end < 0 ? STR_NONE : str_sub(authority, 1, (size_t)end);
	}
	end = str_rfind(authority, ':');
	return end < 0 ? authority : str_sub(authority, 0, (size_t)end);
}

static bool is_authority(struct str s)
{
	return is_visible(s) && s.len < 300 && str_find(s, '/') < 0 && str_find(s, '@') < 0 &&
	       str_find(s, '?') < 0 && str_find(s, '#') < 0 && str_find(s, '\\') < 0 &&
	       http1_host(s).len;
}

struct err *http1_url(const struct http1_request *r, struct str scheme, struct str authority,
		      struct arena *a, struct str *ret)
{
	struct str host = http1_header(r, "Host");

	if (str_has_prefix(r->target, STR("http://")) ||
	    str_has_prefix(r->target, STR("https://"))) {
		*ret = r->target;
		return NULL;
	}
	if (!authority.len)
		authority = host;
	if (r->target.ptr[0] != '/' || !is_authority(authority))
		return invalid("target");
	*ret = str_from(arena_printf(a, "%.*s://%.*s%.*s", STR_ARG(scheme), STR_ARG(authority),
				     STR_ARG(r->target)));
	return NULL;
}

/* "scheme://", "user@" or nothing, "host:port", and the rest. */
struct parts {
	struct str scheme, user, authority, rest;
};

static bool split(struct str url, struct parts *p)
{
	ptrdiff_t at = str_find_str(url, STR("://"));
	size_t end;

	if (at <= 0)
		return false;
	p->scheme = str_sub(url, 0, (size_t)at + 3);
	url = str_sub(url, (size_t)at + 3, url.len);
	for (end = 0; end < url.len && !strchr("/?#", url.ptr[end]); end++)
		;
	p->authority = str_sub(url, 0, end);
	p->rest = str_sub(url, end, url.len);
	at = str_rfind(p->authority, '@');
	p->user = at < 0 ? STR_NONE : str_sub(p->authority, 0, (size_t)at);
	if (at >= 0)
		p->authority = str_sub(p->authority, (size_t)at + 1, p->authority.len);
	return true;
}

static struct str join(const struct parts *p, struct arena *a)
{
	const char *user = "";

	if (p->user.len)
		user = str_find(p->user, ':') < 0 ? "xxxxx@" : "xxxxx:xxxxx@";
	return str_from(arena_printf(a, "%.*s%s%.*s%.*s", STR_ARG(p->scheme), user,
				     STR_ARG(p->authority), STR_ARG(p->rest)));
}

struct str http1_redacted_url(struct str url, struct arena *a)
{
	struct parts p;

	return split(url, &p) ? join(&p, a) : url;
}

struct str http1_shown_url(struct str url, struct arena *a)
{
	struct parts p;

	if (!split(url, &p))
		return url;
	if (str_eq_cstr(p.scheme, "http://"))
		p.authority = str_trim_suffix(p.authority, STR(":80"));
	else if (str_eq_cstr(p.scheme, "https://"))
		p.authority = str_trim_suffix(p.authority, STR(":443"));
	return join(&p, a);
}

/* ---- answers ---- */

const char *http1_status_text(int status)
{
	static const struct {
		int status;
		const char *text;
	} all[] = {
		{ 200, "OK" },
		{ 201, "Created" },
		{ 202, "Accepted" },
		{ 204, "No Content" },
		{ 206, "Partial Content" },
		{ 301, "Moved Permanently" },
		{ 302, "Found" },
		{ 303, "See Other" },
		{ 304, "Not Modified" },
		{ 307, "Temporary Redirect" },
		{ 308, "Permanent Redirect" },
		{ 400, "Bad Request" },
		{ 401, "Unauthorized" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 500, "Internal Server Error" },
		{ 502, "Bad Gateway" },
		{ 503, "Service Unavailable" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (all[i].status == status)
			return all[i].text;
	return "Status";
}
