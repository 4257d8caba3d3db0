#include "registry/hosts.h"

#include "base/mem.h"

#define HUB "registry-1.docker.io"

static const struct str *copy_list(struct arena *a, const struct str *from, size_t n)
{
	struct str *to = ARENA_NEW_N(a, struct str, n);

	for (size_t i = 0; i < n; i++)
		to[i] = str_dup(a, from[i]);
	return to;
}

void hosts_init(struct hosts *h, const struct registry_host_config *configs, size_t n)
{
	struct arena *a = &h->arena;

	arena_init(a);
	h->configs = ARENA_NEW_N(a, struct registry_host_config, n);
	h->n = n;
	for (size_t i = 0; i < n; i++) {
		struct registry_host_config *c = &h->configs[i];

		*c = configs[i];
		c->host = str_dup(a, c->host);
		c->mirrors = copy_list(a, c->mirrors, c->n_mirrors);
		c->ca_files = copy_list(a, c->ca_files, c->n_ca_files);
		c->key_files = copy_list(a, c->key_files, c->n_keypairs);
		c->cert_files = copy_list(a, c->cert_files, c->n_keypairs);
		c->tls_config_dirs = copy_list(a, c->tls_config_dirs, c->n_tls_config_dirs);
	}
}

void hosts_fini(struct hosts *h)
{
	arena_fini(&h->arena);
}

static const struct registry_host_config *find(const struct hosts *h, struct str host)
{
	for (size_t i = 0; i < h->n; i++)
		if (str_eq(h->configs[i].host, host))
			return &h->configs[i];
	return NULL;
}

/* path: "" or "/..." after /v2. */
static struct err *make_endpoint(struct arena *a, struct str host, struct str path,
				 const struct registry_host_config *c, struct endpoint *e)
{
	int http = c ? c->http : -1;
	bool insecure = c && c->insecure == 1;
	bool plain = http < 0 ? httpc_is_loopback(host) : http == 1;

	*e = (struct endpoint) { .host = str_dup(a, host) };
	if (c && (insecure || !plain)) {
		e->has_tls = true;
		TRY(httpc_tls_load(a, c->ca_files, c->n_ca_files, c->cert_files, c->key_files,
				   c->n_keypairs, c->tls_config_dirs, c->n_tls_config_dirs,
				   insecure, &e->tls));
	}
	e->try_plain = insecure && plain;
	e->base =
		str_from(arena_printf(a, "%s://%.*s/v2%.*s", plain && !insecure ? "http" : "https",
				      STR_ARG(host), STR_ARG(path)));
	return NULL;
}

/* host[:port][/path], a scheme in front is tolerated. */
static struct err *make_mirror(const struct hosts *h, struct arena *a, struct str text,
			       struct str domain, struct endpoint *e)
{
	ptrdiff_t at = str_find_str(text, STR("://"));
	struct str host, path;

	if (at >= 0)
		text = str_sub(text, (size_t)at + 3, text.len);
	if (str_cut(text, '/', &host, &path)) {
		while (str_has_suffix(path, STR("/")))
			path.len--;
		if (path.len)
			path = str_from(arena_printf(a, "/%.*s", STR_ARG(path)));
	} else {
		path = STR_NONE;
	}
	TRY(make_endpoint(a, host, path, find(h, host), e));
	if (!str_eq(host, domain) && !(str_eq_cstr(host, HUB) && str_eq_cstr(domain, "docker.io")))
		e->ns = str_dup(a, domain);
	return NULL;
}

struct err *hosts_endpoints(const struct hosts *h, struct arena *a, struct str domain, bool push,
			    bool insecure, struct endpoint **ret, size_t *ret_n)
{
	static const struct registry_host_config anything = { .http = 1, .insecure = 1 };
	const struct registry_host_config *c = insecure ? &anything : find(h, domain);
	size_t n_mirrors = c && !push ? MIN(c->n_mirrors, ENDPOINTS_MAX - 1) : 0;
	struct endpoint *list = ARENA_NEW_N(a, struct endpoint, n_mirrors + 1);

	for (size_t i = 0; i < n_mirrors; i++)
		TRY(make_mirror(h, a, c->mirrors[i], domain, &list[i]));
	TRY(make_endpoint(a, str_eq_cstr(domain, "docker.io") ? STR(HUB) : domain, STR_NONE, c,
			  &list[n_mirrors]));
	*ret = list;
	*ret_n = n_mirrors + 1;
	return NULL;
}
