/* Authorization towards registries: challenges answered with basic credentials or tokens. What
 * was learnt is cached by host, identity and scopes, and forgotten ten minutes after its last
 * use. Thread-safe; requests with the same needs share one token fetch. */
#ifndef REGISTRY_AUTH_H
#define REGISTRY_AUTH_H

#include "base/lock.h"
#include "base/map.h"
#include "registry/challenge.h"
#include "registry/hosts.h"

struct auth_cache {
	struct lock lock;
	struct map entries;
	struct httpc *http;
};

void auth_cache_init(struct auth_cache *c, struct httpc *http);
void auth_cache_fini(struct auth_cache *c);

struct auth_entry;

/* What a caller wants to do at a host. scopes are in normal form; auth NULL is anonymous. */
struct auth_want {
	const struct endpoint *ep;
	const struct registry_auth *auth;
	const struct str *scopes;
	size_t n_scopes;
};

struct auth_entry *auth_get(struct auth_cache *c, const struct auth_want *w);
void auth_put(struct auth_cache *c, struct auth_entry *e);

/* The Authorization header to send, or empty when nothing is known to be needed; may fetch a
 * token. *ret_serial names it for auth_challenged. */
struct err *auth_header(struct auth_cache *c, struct auth_entry *e, const struct auth_want *w,
			struct ctx *ctx, struct arena *a, struct str *ret_header,
			uint64_t *ret_serial) ERR_RESULT;

/* A 401 came. *ret_retry says whether the request is worth another try. sent is the serial of
 * what was sent; nth counts the 401s of this request from 1.
 * UNKNOWN "server message: ...: authorization failed" when the server says why a fresh
 * token won't do. */
struct err *auth_challenged(struct auth_cache *c, struct auth_entry *e, const struct auth_want *w,
			    struct ctx *ctx, const struct challenge *ch, size_t n, uint64_t sent,
			    int nth, bool *ret_retry) ERR_RESULT;

/* A token from the server at realm (used by auth_header; here for tests). */
struct err *auth_fetch_token(struct httpc *http, const struct auth_want *w, struct ctx *ctx,
			     struct arena *a, struct str realm, struct str service,
			     const struct str *scopes, size_t n_scopes, struct str *ret_token,
			     int64_t *ret_expires_s) ERR_RESULT;

#endif
