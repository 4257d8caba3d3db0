/* Where an image's registry is: its mirrors and itself, with scheme, path and TLS settings, from
 * the daemon's configuration. */
#ifndef REGISTRY_HOSTS_H
#define REGISTRY_HOSTS_H

#include "base/map.h"
#include "registry/httpc.h"
#include "registry/registry.h"

/* The configuration, copied; read-only after that. */
struct hosts {
	struct arena arena;
	struct registry_host_config *configs;
	size_t n;
};

void hosts_init(struct hosts *h, const struct registry_host_config *configs, size_t n);
void hosts_fini(struct hosts *h);

/* One place to ask. */
struct endpoint {
	struct str host; /* host[:port]: whom credentials are for */
	struct str base; /* "https://host/v2" and a mirror's own path, no slash at the end */
	struct str ns;   /* of a mirror: the registry that is mirrored, sent along as ?ns= */
	struct httpc_tls tls;
	bool has_tls;
	bool try_plain; /* https first; http when that is what the port speaks */
};

#define ENDPOINTS_MAX 64

/* In the order to ask. push leaves mirrors out; insecure stands above the configuration:
 * nothing is verified, http is tried. Strings live in the arena; TLS files are read now. */
struct err *hosts_endpoints(const struct hosts *h, struct arena *a, struct str domain, bool push,
			    bool insecure, struct endpoint **ret, size_t *ret_n) ERR_RESULT;

#endif
