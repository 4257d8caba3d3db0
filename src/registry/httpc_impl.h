/* Inside of the HTTP client: a conduit is a curl handle with its own connections; an exchange is
 * one request and its answer, without redirects. */
#ifndef REGISTRY_HTTPC_IMPL_H
#define REGISTRY_HTTPC_IMPL_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/lock.h"
#include "registry/httpc.h"

#include "registry/curl.h"
#include <sys/socket.h>

#define HTTPC_SHARED 16 /* more than curl has kinds of shared data */

struct httpc {
	char *user_agent;
	CURLSH *share; /* names and TLS sessions; by httpc_share() */
	pthread_mutex_t share_locks[HTTPC_SHARED];
	int (*dial)(void *arg, int family, int type, int protocol);
	void *dial_arg;
	char *ca_file, *ca_dir; /* the system's roots; NULL: curl's own */
	struct lock lock;
	struct list idle; /* of conduits, most recently used first */
	size_t n_idle;
};

struct httpc_conduit {
	struct list link;
	CURL *easy;
	CURLM *multi;
	char *key; /* what peer, with what settings */
	int64_t idle_since;
};

/* A conduit for the peer, with its connections if one was idle, options reset. */
struct httpc_conduit *httpc_conduit_get(struct httpc *c, const char *key);
/* reusable false closes its connections. */
void httpc_conduit_put(struct httpc *c, struct httpc_conduit *cd, bool reusable);
/* Proxy settings for a host, as Go reads the environment. */
void httpc_set_proxy(CURL *easy, struct str url);

struct httpc_exchange {
	struct httpc *c;
	struct ctx *ctx;
	struct arena *a;
	const struct httpc_request *rq;
	const char *method;
	struct str url;
	bool same_origin; /* secrets may be sent */
	bool with_body;   /* lost on the way in a redirect */
	bool following;   /* redirects still may be followed */
	size_t keypair;   /* which of them to offer */

	/* in flight */
	struct httpc_conduit *cd;
	struct reader *body;
	size_t body_at; /* of rq->body */
	int64_t started, connected, active;
	struct sockaddr_storage peer; /* first one dialled */
	bool have_peer, sent_all;
	struct err *err; /* of a callback */
	bool own_error;  /* there was one: passed on as it is */

	/* answer */
	struct httpc_response resp;
	size_t cap_headers, header_bytes, skipped;
	bool in_head, head_done, skip_body;
	bool enough; /* what is kept is full: the rest is not waited for */
	struct buf kept;
	struct str location; /* of a redirect to be followed */
};

struct err *httpc_exchange_run(struct httpc_exchange *x, enum httpc_failure *failure) ERR_RESULT;
/* What curl reports, in Go's words, without `Get "URL"` in front. */
struct err *httpc_curl_error(struct httpc_exchange *x, CURLcode code, const char *text,
			     enum httpc_failure *failure) ERR_RESULT;
bool httpc_is_redirect(int status);

CURLSH *httpc_share(struct httpc *c);

#endif
