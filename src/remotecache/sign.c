#include "remotecache/sign.h"

#include "base/clock.h"
#include "base/json.h"

#include <time.h>

struct str sign_path(struct arena *a, struct str path)
{
	static const char hex[] = "0123456789ABCDEF";
	SCOPED_BUF(b, SIZE_MAX);

	for (size_t i = 0; i < path.len; i++) {
		unsigned char c = (unsigned char)path.ptr[i];

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		    (c && strchr("-_.~/", c))) {
			buf_add_char(&b, (char)c);
			continue;
		}
		buf_add_char(&b, '%');
		buf_add_char(&b, hex[c >> 4]);
		buf_add_char(&b, hex[c & 15]);
	}
	return str_dup(a, buf_str(&b));
}

struct err *sign_split_url(struct arena *a, struct str url, struct str *ret_scheme,
			   struct str *ret_host, struct str *ret_path)
{
	bool tls = str_has_prefix(url, STR("https://"));
	struct str rest, host = STR_NONE;
	size_t at = 0;

	if (!tls && !str_has_prefix(url, STR("http://")))
		return err_new(ERR_INVALID_ARGUMENT, "invalid URL \"%.*s\"", STR_ARG(url));
	rest = str_sub(url, tls ? 8 : 7, url.len);
	while (at < rest.len && rest.ptr[at] != '/')
		at++;
	host = str_sub(rest, 0, at);
	for (size_t i = 0; i < rest.len; i++)
		if (strchr("?#@ ", rest.ptr[i]) || (unsigned char)rest.ptr[i] < 0x20)
			host = STR_NONE;
	if (!host.len)
		return err_new(ERR_INVALID_ARGUMENT, "invalid URL \"%.*s\"", STR_ARG(url));
	rest = str_sub(rest, at, rest.len);
	while (rest.len && rest.ptr[rest.len - 1] == '/')
		rest.len--;
	*ret_scheme = tls ? STR("https") : STR("http");
	*ret_host = str_dup(a, str_trim_suffix(host, tls ? STR(":443") : STR(":80")));
	*ret_path = str_dup(a, rest);
	return NULL;
}

/* ---- AWS ---- */

static struct str raw(const struct digest *d)
{
	return str_make(d->bytes, 32);
}

struct str sigv4_time(struct arena *a, int64_t wall_ns)
{
	time_t t = (time_t)(wall_ns / NSEC_PER_SEC);
	char text[32];
	struct tm tm;

	gmtime_r(&t, &tm);
	return str_dup(a, str_make(text, strftime(text, sizeof(text), "%Y%m%dT%H%M%SZ", &tm)));
}

struct str sigv4_authorization(struct arena *a, const struct sigv4 *k, const char *method,
			       struct str path, struct str query, const struct sign_header *headers,
			       size_t n, struct str payload)
{
	struct str day = str_sub(k->time, 0, 8);
	SCOPED_BUF(canon, SIZE_MAX);
	SCOPED_BUF(names, SIZE_MAX);
	SCOPED_BUF(to_sign, SIZE_MAX);
	struct digest d;
	const char *scope =
		arena_printf(a, "%.*s/%.*s/s3/aws4_request", STR_ARG(day), STR_ARG(k->region));

	buf_addf(&canon, "%s\n%.*s\n%.*s\n", method, STR_ARG(path), STR_ARG(query));
	for (size_t i = 0; i < n; i++) {
		buf_addf(&canon, "%s:%.*s\n", headers[i].name, STR_ARG(headers[i].value));
		buf_addf(&names, "%s%s", i ? ";" : "", headers[i].name);
	}
	buf_addf(&canon, "\n%s\n%.*s", buf_cstr(&names), STR_ARG(payload));
	d = digest_sha256(buf_str(&canon));
	buf_addf(&to_sign, "AWS4-HMAC-SHA256\n%.*s\n%s\n%s", STR_ARG(k->time), scope,
		 digest_hex(&d, a));
	d = digest_hmac_sha256(str_from(arena_printf(a, "AWS4%.*s", STR_ARG(k->secret))), day);
	d = digest_hmac_sha256(raw(&d), k->region);
	d = digest_hmac_sha256(raw(&d), STR("s3"));
	d = digest_hmac_sha256(raw(&d), STR("aws4_request"));
	d = digest_hmac_sha256(raw(&d), buf_str(&to_sign));
	return str_from(arena_printf(a,
				     "AWS4-HMAC-SHA256 Credential=%.*s/%s, SignedHeaders=%s, "
				     "Signature=%s",
				     STR_ARG(k->key_id), scope, buf_cstr(&names),
				     digest_hex(&d, a)));
}

/* ---- Azure ---- */

struct str azure_time(struct arena *a, int64_t wall_ns)
{
	static const char *const days[] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
					      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	time_t t = (time_t)(wall_ns / NSEC_PER_SEC);
	struct tm tm;

	gmtime_r(&t, &tm);
	return str_from(arena_printf(a, "%s, %02d %s %d %02d:%02d:%02d GMT", days[tm.tm_wday],
				     tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour,
				     tm.tm_min, tm.tm_sec));
}

struct str azure_authorization(struct arena *a, const struct azure_request *rq)
{
	SCOPED_BUF(b, SIZE_MAX);
	SCOPED_BUF(out, SIZE_MAX);
	struct digest d;

	/* Encoding and language; length; MD5, type, date, since, match; none-match; since, range.
	 */
	buf_addf(&b, "%s\n\n\n", rq->method);
	if (rq->length)
		buf_addf(&b, "%lld", (long long)rq->length);
	buf_addf(&b, "\n\n\n\n\n\n%.*s\n\n\n", STR_ARG(rq->if_none_match));
	for (size_t i = 0; i < rq->n_headers; i++)
		buf_addf(&b, "%s:%.*s\n", rq->headers[i].name, STR_ARG(rq->headers[i].value));
	buf_addf(&b, "/%.*s%.*s", STR_ARG(rq->account), STR_ARG(rq->path));
	for (size_t i = 0; i < rq->n_query; i++)
		buf_addf(&b, "\n%s:%.*s", rq->query[i].name, STR_ARG(rq->query[i].value));
	d = digest_hmac_sha256(rq->key, buf_str(&b));
	buf_addf(&out, "SharedKey %.*s:", STR_ARG(rq->account));
	base64_encode(&out, raw(&d));
	return str_dup(a, buf_str(&out));
}
