#include "codec/imageref.h"

#define PATH_MAX_LEN 255
#define TAG_MAX_LEN 128

static bool is_lower(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(char c)
{
	return is_lower(c) || (c >= 'A' && c <= 'Z');
}

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Runs of lower-case letters and digits, with '.', '_', '__' or dashes between them. */
static bool is_path_component(struct str s)
{
	size_t i = 0;

	for (;;) {
		size_t start = i, sep;

		while (i < s.len && is_lower(s.ptr[i]))
			i++;
		if (i == start)
			return false;
		if (i == s.len)
			return true;
		sep = i;
		if (s.ptr[i] == '-')
			while (i < s.len && s.ptr[i] == '-')
				i++;
		else if (s.ptr[i] == '.' || s.ptr[i] == '_')
			i++;
		if (s.ptr[sep] == '_' && i < s.len && s.ptr[i] == '_')
			i++;
		if (i == sep)
			return false;
	}
}

static bool is_path(struct str s)
{
	struct str part;

	while (str_next(&s, '/', &part))
		if (!is_path_component(part))
			return false;
	return true;
}

static bool is_host_label(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!is_alnum(s.ptr[i]) && (s.ptr[i] != '-' || i == 0 || i == s.len - 1))
			return false;
	return s.len > 0;
}

/* host or [ipv6], with an optional port. */
static bool is_domain(struct str s)
{
	struct str port = STR_NONE, label;
	bool has_port;

	if (str_has_prefix(s, STR("["))) {
		ptrdiff_t end = str_find(s, ']');

		if (end < 2)
			return false;
		for (ptrdiff_t i = 1; i < end; i++)
			if (!is_hex(s.ptr[i]) && s.ptr[i] != ':')
				return false;
		port = str_sub(s, (size_t)end + 1, s.len);
		has_port = port.len > 0;
		if (has_port && port.ptr[0] != ':')
			return false;
		port = str_trim_prefix(port, STR(":"));
	} else {
		struct str host;

		has_port = str_cut(s, ':', &host, &port);
		while (str_next(&host, '.', &label))
			if (!is_host_label(label))
				return false;
	}
	for (size_t i = 0; i < port.len; i++)
		if (port.ptr[i] < '0' || port.ptr[i] > '9')
			return false;
	return !has_port || port.len > 0;
}

static bool is_tag(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!is_alnum(s.ptr[i]) && s.ptr[i] != '_' &&
		    (i == 0 || (s.ptr[i] != '.' && s.ptr[i] != '-')))
			return false;
	return s.len > 0 && s.len <= TAG_MAX_LEN;
}

/* The grammar's digest: more is checked by digest_parse(). */
static bool is_digest(struct str s)
{
	bool start = true; /* of a component of the algorithm */
	struct str algo, hex;

	if (!str_cut(s, ':', &algo, &hex) || hex.len < 32)
		return false;
	for (size_t i = 0; i < hex.len; i++)
		if (!is_hex(hex.ptr[i]))
			return false;
	for (size_t i = 0; i < algo.len; i++) {
		char c = algo.ptr[i];

		if (start ? !(is_alnum(c) && !(c >= '0' && c <= '9'))
			  : !(is_alnum(c) || c == '-' || c == '_' || c == '+' || c == '.'))
			return false;
		start = !is_alnum(c);
	}
	return !start;
}

static bool is_identifier(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!is_hex(s.ptr[i]) || (s.ptr[i] >= 'A' && s.ptr[i] <= 'F'))
			return false;
	return s.len == 64;
}

static bool has_upper(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] >= 'A' && s.ptr[i] <= 'Z')
			return true;
	return false;
}

/* What Docker takes for a domain, and the rest with "library/" put in where it is implied. */
static void split_domain(struct arena *a, struct str text, struct str *ret_domain,
			 struct str *ret_rest)
{
	static const struct str hub = STR("docker.io");
	struct str domain, rest;

	if (!str_cut(text, '/', &domain, &rest)) {
		domain = hub;
		rest = text;
	} else if (str_eq(domain, STR("index.docker.io"))) {
		domain = hub;
	} else if (!str_eq(domain, STR("localhost")) && str_find(domain, '.') < 0 &&
		   str_find(domain, ':') < 0 && !has_upper(domain)) {
		domain = hub;
		rest = text;
	}
	if (str_eq(domain, hub) && str_find(rest, '/') < 0)
		rest = str_from(arena_printf(a, "library/%.*s", STR_ARG(rest)));
	*ret_domain = domain;
	*ret_rest = rest;
}

static struct err *invalid(void)
{
	return err_new(ERR_INVALID_ARGUMENT, "invalid reference format");
}

struct err *imageref_parse(struct arena *a, struct str text, struct imageref *ret)
{
	struct imageref r = { 0 };
	struct str domain, rest, name, digest, tag;
	bool has_digest, has_tag;

	/* The longest there can be: 255 for the path, 255 for a host, a port, tag, digest. */
	if (text.len > 4096 || str_find(text, '\0') >= 0)
		return invalid();
	if (is_identifier(text))
		return err_new(ERR_INVALID_ARGUMENT,
			       "invalid repository name (%.*s), cannot specify 64-byte hexadecimal "
			       "strings",
			       STR_ARG(text));
	text = str_dup(a, text);
	split_domain(a, text, &domain, &rest);
	(void)str_cut(rest, ':', &name, &tag);
	if (has_upper(name))
		return err_new(ERR_INVALID_ARGUMENT,
			       "invalid reference format: repository name (%.*s) must be lowercase",
			       STR_ARG(name));
	has_digest = str_cut(rest, '@', &name, &digest);
	has_tag = str_cut(name, ':', &name, &tag);
	if ((has_tag && !is_tag(tag)) || (has_digest && !is_digest(digest)) || !is_path(name))
		return invalid();
	if (is_domain(domain)) {
		r.domain = domain;
		r.path = name;
	} else if (is_path_component(domain)) {
		/* Looks like a domain to Docker, but can only be part of the path. */
		r.path = str_from(arena_printf(a, "%.*s/%.*s", STR_ARG(domain), STR_ARG(name)));
	} else {
		return invalid();
	}
	if (r.path.len > PATH_MAX_LEN)
		return err_new(ERR_INVALID_ARGUMENT,
			       "repository name must not be more than %d characters", PATH_MAX_LEN);
	if (has_digest)
		TRY(digest_parse(digest, &r.digest));
	if (has_tag)
		r.tag = tag;
	*ret = r;
	return NULL;
}

struct imageref imageref_with_default_tag(struct imageref r)
{
	if (!r.tag.len && !digest_is_set(&r.digest))
		r.tag = STR("latest");
	return r;
}

static char *format(struct arena *a, const char *name, const struct imageref *r)
{
	char digest[DIGEST_TEXT_MAX];

	return arena_printf(a, "%s%s%.*s%s%s", name, r->tag.len ? ":" : "", STR_ARG(r->tag),
			    digest_is_set(&r->digest) ? "@" : "",
			    digest_format(&r->digest, digest));
}

char *imageref_name(struct arena *a, const struct imageref *r)
{
	return arena_printf(a, "%.*s%s%.*s", STR_ARG(r->domain), r->domain.len ? "/" : "",
			    STR_ARG(r->path));
}

char *imageref_format(struct arena *a, const struct imageref *r)
{
	return format(a, imageref_name(a, r), r);
}

char *imageref_familiar(struct arena *a, const struct imageref *r)
{
	struct str path = r->path, short_path = str_trim_prefix(path, STR("library/"));

	if (!str_eq(r->domain, STR("docker.io")))
		return imageref_format(a, r);
	if (str_find(short_path, '/') < 0)
		path = short_path;
	return format(a, str_cstr(a, path), r);
}
