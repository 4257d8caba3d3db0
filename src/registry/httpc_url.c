/* URLs and the header values that go with them. */
#include "registry/httpc.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include "registry/curl.h"
#include <netinet/in.h>

static void url_cleanup(CURLU **u)
{
	curl_url_cleanup(*u);
}

static struct err *parse(CURLU *u, struct arena *a, struct str text)
{
	char *s = str_cstr(a, text);
	CURLUcode code;

	if (!u)
		abort();
	if (!text.len || text.len > LIMIT_URL || strlen(s) != text.len)
		return err_new(ERR_INVALID_ARGUMENT, "invalid URL \"%.*s\"",
			       (int)MIN(text.len, (size_t)200), text.ptr);
	code = curl_url_set(u, CURLUPART_URL, s, CURLU_NON_SUPPORT_SCHEME);
	if (code != CURLUE_OK)
		return err_new(ERR_INVALID_ARGUMENT, "parse \"%s\": %s", s,
			       curl_url_strerror(code));
	return NULL;
}

static char *part(CURLU *u, CURLUPart what, struct arena *a)
{
	char *s = NULL, *copy;

	if (curl_url_get(u, what, &s, what == CURLUPART_PORT ? CURLU_DEFAULT_PORT : 0) != CURLUE_OK)
		return NULL;
	copy = arena_strdup(a, s);
	curl_free(s);
	return copy;
}

struct err *httpc_url_resolve(struct arena *a, struct str base, struct str ref, struct str *ret)
{
	CLEANUP(url_cleanup) CURLU *u = curl_url();
	const char *scheme;
	char *url;

	TRY(parse(u, a, base));
	if (ref.len)
		TRY(parse(u, a, ref));
	(void)curl_url_set(u, CURLUPART_FRAGMENT, NULL, 0);
	scheme = part(u, CURLUPART_SCHEME, a);
	url = part(u, CURLUPART_URL, a);
	if (!scheme || !url)
		return err_new(ERR_INVALID_ARGUMENT, "invalid URL \"%.*s\"", STR_ARG(base));
	if (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0)
		return err_new(ERR_INVALID_ARGUMENT, "unsupported protocol scheme \"%s\"", scheme);
	*ret = str_from(url);
	return NULL;
}

static bool same(CURLU *u, CURLU *v, CURLUPart what, struct arena *a)
{
	const char *x = part(u, what, a), *y = part(v, what, a);

	return x && y && strcasecmp(x, y) == 0;
}

bool httpc_same_origin(struct str url_a, struct str url_b)
{
	SCOPED_ARENA(a);
	SCOPED_ERR(e);
	CLEANUP(url_cleanup) CURLU *u = curl_url();
	CLEANUP(url_cleanup) CURLU *v = curl_url();

	e = parse(u, &a, url_a);
	if (!e)
		e = parse(v, &a, url_b);
	return !e && same(u, v, CURLUPART_SCHEME, &a) && same(u, v, CURLUPART_HOST, &a) &&
	       same(u, v, CURLUPART_PORT, &a);
}

void httpc_query_escape(struct buf *out, struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		    strchr("-_.~", c))
			buf_add_char(out, (char)c);
		else if (c == ' ')
			buf_add_char(out, '+');
		else
			buf_addf(out, "%%%02X", c);
	}
}

struct str httpc_url_add(struct arena *a, struct str url, const char *key, struct str value)
{
	SCOPED_BUF(b, 4 * LIMIT_URL);

	buf_add_str(&b, url);
	buf_add_char(&b, str_find(url, '?') >= 0 ? '&' : '?');
	httpc_query_escape(&b, str_from(key));
	buf_add_char(&b, '=');
	httpc_query_escape(&b, value);
	return str_dup(a, buf_str(&b));
}

bool httpc_content_range(struct str value, uint64_t *ret_from, uint64_t *ret_to, int64_t *ret_size)
{
	struct str range, size, from, to;
	uint64_t f, t, s;

	value = str_trim(value);
	if (!str_has_prefix(value, STR("bytes ")))
		return false;
	if (!str_cut(str_sub(value, 6, value.len), '/', &range, &size) ||
	    !str_cut(range, '-', &from, &to))
		return false;
	if (!str_to_u64(str_trim(from), &f) || !str_to_u64(str_trim(to), &t) || t < f)
		return false;
	if (str_eq_cstr(size, "*")) {
		*ret_size = -1;
	} else {
		if (!str_to_u64(size, &s) || s > INT64_MAX || t >= s)
			return false;
		*ret_size = (int64_t)s;
	}
	*ret_from = f;
	*ret_to = t;
	return true;
}

bool httpc_date(struct str value, int64_t *ret_ns)
{
	SCOPED_ARENA(a);
	time_t when;

	if (!value.len || value.len > 64)
		return false;
	when = curl_getdate(str_cstr(&a, value), NULL);
	*ret_ns = (int64_t)when * NSEC_PER_SEC;
	return when >= 0;
}

bool httpc_retry_after(struct str value, int64_t *ret_ns)
{
	SCOPED_ARENA(a);
	uint64_t s;
	time_t when;

	value = str_trim(value);
	if (!value.len || value.len > 64)
		return false;
	if (str_to_u64(value, &s)) {
		*ret_ns = (int64_t)MIN(s, (uint64_t)86400) * NSEC_PER_SEC;
		return true;
	}
	when = curl_getdate(str_cstr(&a, value), NULL);
	if (when < 0)
		return false;
	*ret_ns = MAX((int64_t)when - clock_wall() / NSEC_PER_SEC, 0);
	*ret_ns = MIN(*ret_ns, 86400) * NSEC_PER_SEC;
	return true;
}

bool httpc_is_loopback(struct str host_port)
{
	struct in6_addr in6;
	struct in_addr in;
	char host[INET6_ADDRSTRLEN + 1];
	ptrdiff_t end;

	if (host_port.len && host_port.ptr[0] == '[') {
		end = str_find(host_port, ']');
		host_port = str_sub(host_port, 1, end < 0 ? host_port.len : (size_t)end);
	} else if ((end = str_find(host_port, ':')) >= 0) {
		host_port.len = (size_t)end;
	}
	if (str_eq_nocase(host_port, STR("localhost")))
		return true;
	if (host_port.len >= sizeof(host))
		return false;
	(void)snprintf(host, sizeof(host), "%.*s", STR_ARG(host_port));
	if (inet_pton(AF_INET, host, &in) == 1)
		return (ntohl(in.s_addr) >> 24) == 127;
	return inet_pton(AF_INET6, host, &in6) == 1 && IN6_IS_ADDR_LOOPBACK(&in6);
}
