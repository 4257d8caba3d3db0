/* A small HTTP client over libcurl: streamed bodies both ways, redirects, deadlines. Used by
 * the registry and by the http source.
 *
 * Thread-safe: each call runs on its caller's thread with a connection of its own, taken from
 * a pool by peer and given back for the next. No wait is without a bound: dialling 30 s, TLS
 * 10 s, and a transfer on which no byte moves for a minute (five while an upload is
 * answered) fails. The end of ctx aborts at once. SIGPIPE must be blocked or ignored, as it is on
 * tasks.
 *
 * Proxies come from the environment as Go programs read it: HTTP_PROXY, HTTPS_PROXY,
 * NO_PROXY in either case, never for loopback. So do the system's roots: SSL_CERT_FILE and
 * SSL_CERT_DIR go first.
 *
 * Error texts are those of Go's net/http, `Get "URL": dial tcp 127.0.0.1:1: connect:
 * connection refused`, without a password that is in the URL; the end of ctx keeps its code, the
 * rest is UNKNOWN. */
#ifndef REGISTRY_HTTPC_H
#define REGISTRY_HTTPC_H

#include "base/arena.h"
#include "base/ctx.h"
#include "base/err.h"
#include "codec/io.h"

struct httpc;

struct httpc *httpc_new(const char *user_agent);
/* No call may be under way. NULL is fine. */
void httpc_free(struct httpc *c);

/* Sockets are made by dial from now on, for a network that is not ours: as socket(2). Before the
 * first call. */
void httpc_set_dial(struct httpc *c, int (*dial)(void *arg, int family, int type, int protocol),
		    void *arg);

/* ---- TLS ---- */

struct httpc_keypair {
	const char *cert, *key; /* PEM files */
};

/* How to trust a peer. Plain data, the caller's; make it with httpc_tls_load. */
struct httpc_tls {
	struct str ca_pem;              /* added to the system's roots */
	struct httpc_keypair *keypairs; /* the next is tried when a server refuses one */
	size_t n_keypairs;
	bool insecure;  /* certificates are not verified */
	const char *id; /* equal for equal settings: connections are shared by it */
};

/* Reads the CA files now, so that a change counts from the next load on. A directory has *.crt
 * for CAs and X.cert with X.key for client pairs; one that is missing is skipped. */
struct err *httpc_tls_load(struct arena *a, const struct str *ca_files, size_t n_ca_files,
			   const struct str *cert_files, const struct str *key_files,
			   size_t n_pairs, const struct str *dirs, size_t n_dirs, bool insecure,
			   struct httpc_tls *ret) ERR_RESULT;

/* ---- requests ---- */

struct httpc_header {
	struct str name, value;
};

struct httpc_response {
	int status;
	struct str status_text; /* "404 Not Found" */
	struct str url;         /* after redirects */
	const char *method;     /* likewise */
	struct httpc_header *headers;
	size_t n_headers;
	/* Of an answer whose body no callback took; at max_body it is cut, and no more read. */
	struct str body;
	bool body_cut;
};

/* Why a call failed, for those who decide about trying again. */
enum httpc_failure {
	HTTPC_OTHER,       /* a callback's error, the end of ctx, bad arguments, bad certificates */
	HTTPC_DIAL,        /* name not found, refused, unreachable */
	HTTPC_TIMEOUT,     /* dialling, TLS or a stall */
	HTTPC_BROKEN,      /* the connection ended or was reset before the answer was whole */
	HTTPC_PLAIN_HTTP,  /* the https port speaks http */
	HTTPC_CLIENT_CERT, /* the client's certificate is refused, or there is none */
};

struct httpc_request {
	const char *method; /* upper case; NULL is GET */
	struct str url;     /* http or https */
	const struct httpc_header *headers;
	size_t n_headers;
	const struct httpc_tls *tls; /* NULL: the system's roots */
	bool http2;                  /* may be used over TLS */
	bool no_redirect;            /* else up to 10 are followed */

	/* The body: bytes, or a reader that is opened anew for each try (and closed here). */
	struct str body;
	struct err *(*open_body)(void *arg, struct reader **ret);
	int64_t body_size; /* with open_body: its size, or -1 to send it in chunks */

	/* The final answer's head, before any of its body; may be NULL. An error ends the call
	 * with it. */
	struct err *(*on_head)(void *arg, const struct httpc_response *head);
	/* The body of a 2xx answer piece by piece, on the caller's thread. NULL: kept in ret.
	 * body_always: of any answer. */
	struct err *(*on_body)(void *arg, const void *p, size_t len);
	void *arg;
	bool body_always;
	size_t max_body;  /* of what is kept in memory; 0 is LIMIT_HTTP_BODY */
	int64_t stall_ns; /* how long no byte may move; 0 is a minute */

	enum httpc_failure *failure; /* written when the call fails; may be NULL */
};

/* Any status is a success of the call; the answer lives in the arena.
 *
 * Redirects: 301, 302 and 303 turn everything but HEAD into GET; 307 and 308 repeat the request.
 * Authorization and Cookie headers are not sent to another scheme, host or port. */
struct err *httpc_do(struct httpc *c, struct ctx *ctx, struct arena *a,
		     const struct httpc_request *rq, struct httpc_response *ret) ERR_RESULT;

/* First header of that name (any case), or empty. */
struct str httpc_header_get(const struct httpc_response *r, const char *name);

/* ---- helpers ---- */

/* A URL reference against its base, as a client follows it; INVALID_ARGUMENT on junk and on
 * schemes other than http and https. */
struct err *httpc_url_resolve(struct arena *a, struct str base, struct str ref,
			      struct str *ret) ERR_RESULT;
/* The same scheme, host and port? False for what is no URL. */
bool httpc_same_origin(struct str url_a, struct str url_b);
/* Adds "key=value", both query-escaped, to the URL's query. */
struct str httpc_url_add(struct arena *a, struct str url, const char *key, struct str value);
/* As Go's url.QueryEscape. */
void httpc_query_escape(struct buf *out, struct str s);
/* "bytes A-B/SIZE" (SIZE may be *: -1); false on junk. */
bool httpc_content_range(struct str value, uint64_t *ret_from, uint64_t *ret_to, int64_t *ret_size);
/* Retry-After in seconds or as a date, in nanoseconds from now; false on junk. */
bool httpc_retry_after(struct str value, int64_t *ret_ns);
/* "Fri, 24 May 2013 00:00:00 GMT", wall ns; false on junk. */
bool httpc_date(struct str value, int64_t *ret_ns);
bool httpc_is_loopback(struct str host_port);

#endif
