/* Requests to one repository at one endpoint: with authorization, within the host's limit, tried
 * again when that helps. And what struct registry is made of. */
#ifndef REGISTRY_REQUEST_H
#define REGISTRY_REQUEST_H

#include "registry/auth.h"
#include "registry/hosts.h"
#include "registry/limiter.h"
#include "registry/registry.h"

#include <stdatomic.h>

struct registry {
	struct httpc *http;
	struct hosts hosts;
	struct auth_cache auth;
	int max;
	struct lock lock;
	struct map states;   /* by host: struct host_state */
	struct map fetching; /* by store and digest: struct fetching (fetch.c) */
	struct cond fetched;
};

struct host_state {
	struct limiter limiter;
	atomic_bool plain; /* the https port was found to speak http */
};

/* What an operation wants of one endpoint; made by reg_target_init, on the stack. */
struct reg_target {
	struct registry *r;
	const struct endpoint *ep;
	struct host_state *state;
	struct auth_want want;
	struct str scopes[2];
	struct str path; /* the repository */
};

/* from: a repository that is to be mounted from, or empty. */
void reg_target_init(struct reg_target *t, struct registry *r, struct arena *a,
		     const struct endpoint *ep, const struct registry_auth *auth, struct str path,
		     bool push, struct str from);
/* <base>/<path>/<what><rest>, with ?ns= for mirrors. */
struct str reg_url(const struct reg_target *t, struct arena *a, const char *what, struct str rest);

/* A request; what httpc.h says of such fields. */
struct reg_request {
	struct httpc_request http; /* tls, failure and Authorization are set by reg_do */
	bool json;                 /* may use the extra slot */
	/* out */
	bool transient; /* on an error: trying again later may help */
	bool denied;    /* on an error: the server refuses with a reason */
};

/* 401, 429 and 5xx are answered by further tries, a few and with bounded delays; what the last
 * one says is in ret. Errors: "failed to do request: ...", "failed to authorize: ...", and
 * "server message: ..." when denied. */
struct err *reg_do(const struct reg_target *t, struct ctx *ctx, struct arena *a,
		   struct reg_request *rq, struct httpc_response *ret) ERR_RESULT;

/* "unexpected status from GET request to URL: 403 Forbidden". */
struct err *reg_status_error(const struct httpc_response *r) ERR_RESULT;
/* What the body's "errors" say, "denied: requested access ..."; empty when it says nothing. */
struct str reg_body_errors(struct arena *a, struct str body);

/* manifests/ or blobs/? */
bool reg_is_manifest(struct str media_type);
/* Name of the ingest of a blob: "layer-sha256:...". */
char *reg_ref_key(struct arena *a, const struct oci_descriptor *d);
/* Key of the label that says where a blob came from; domain without its port. */
char *reg_source_label(struct arena *a, struct str domain);

#endif
