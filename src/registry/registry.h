/* Registries: resolve, fetch and push, over libcurl, with hosts, mirrors and auth. Source: OCI
 * distribution spec. Thread-safe. */
#ifndef REGISTRY_REGISTRY_H
#define REGISTRY_REGISTRY_H

#include "base/ctx.h"
#include "codec/imageref.h"
#include "codec/oci.h"
#include "content/content.h"

struct registry; /* all hosts, auth caches, limits: one a daemon */

struct registry_host_config { /* [registry."HOST"] of the toml */
	struct str host;
	const struct str *mirrors;
	size_t n_mirrors;
	int http, insecure; /* -1 unset, 0, 1 */
	const struct str *ca_files;
	size_t n_ca_files;
	const struct str *key_files, *cert_files; /* pairs */
	size_t n_keypairs;
	const struct str *tls_config_dirs;
	size_t n_tls_config_dirs;
};
/* Configs are copied. max_concurrency a host (plus one for JSON); 0 is 4. */
struct err *registry_new(const struct registry_host_config *hosts, size_t n, int max_concurrency,
			 const char *user_agent, struct registry **ret) ERR_RESULT;
void registry_free(struct registry *r);

/* Where credentials come from (the session, or nothing for anonymous). Answers live in the arena.
 * key names the identity for the caches: pulls share tokens by repository, pushes only within one
 * key. */
struct registry_auth {
	/* Credentials for a host; empty user and secret: anonymous. */
	struct err *(*credentials)(void *arg, struct ctx *ctx, struct arena *a, struct str host,
				   struct str *ret_user, struct str *ret_secret);
	/* A bearer token fetched by the client; *ret_supported false: use credentials. May be NULL.
	 */
	struct err *(*token)(void *arg, struct ctx *ctx, struct arena *a, struct str host,
			     struct str realm, struct str service, const struct str *scopes,
			     size_t n, struct str *ret_token, int64_t *ret_expires_s,
			     bool *ret_supported);
	struct str key;
	void *arg;
	/* Pulls: nothing is verified, http will do, whatever the configuration says. */
	bool insecure;
};

/* Tag (or digest) to descriptor: HEAD, GET when the answer lacks what is needed. NOT_FOUND "<ref>:
 * not found". Refusals in containerd's words ("pull access denied, repository does not exist or
 * may require authorization: ..."), UNKNOWN as the original sends them: clients print any other
 * code in front. */
struct err *registry_resolve(struct registry *r, struct ctx *ctx, struct arena *a,
			     const struct imageref *ref, const struct registry_auth *auth,
			     struct oci_descriptor *ret) ERR_RESULT;
/* Fetches desc into store (mirrors first, then origin; resumes; verified). Nothing when there.
 * progress may be NULL. */
struct registry_progress {
	void (*report)(void *arg, const struct oci_descriptor *desc, int64_t current,
		       int64_t total);
	void *arg;
};
struct err *registry_fetch(struct registry *r, struct ctx *ctx, const struct imageref *ref,
			   const struct oci_descriptor *desc, struct content *store,
			   const struct registry_auth *auth,
			   const struct registry_progress *p) ERR_RESULT;
/* Pushes root and all that it refers to from store, under ref's tag (or by digest when by_digest).
 * Children first, blobs in parallel, HEAD first, cross-repo mount by
 * "containerd.io/distribution.source.<host>" labels. Retries transient failures (1 s, doubled, up
 * to 8 s). The callbacks are called from several threads. */
struct registry_push_opts {
	bool insecure, by_digest;
	const struct registry_progress *progress;
	void (*log)(void *arg, const char *text); /* "error: ...", "retrying in 1s" */
	void *log_arg;
	/* Makes a lazily known blob available in store before it is pushed; may be NULL. */
	struct err *(*need_blob)(void *arg, struct ctx *ctx, const struct oci_descriptor *desc);
	void *need_arg;
};
struct err *registry_push(struct registry *r, struct ctx *ctx, const struct imageref *ref,
			  const struct oci_descriptor *root, struct content *store,
			  const struct registry_auth *auth,
			  const struct registry_push_opts *o) ERR_RESULT;

#endif
