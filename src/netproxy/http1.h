/* HTTP/1 requests as a proxy gets them (RFC 9112): heads, and how long the body is. For a peer that
 * is not trusted: what two readers could understand in two ways is refused. */
#ifndef NETPROXY_HTTP1_H
#define NETPROXY_HTTP1_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "registry/httpc.h"

#define HTTP1_MAX_HEADERS 200

struct http1_request {
	struct str method, target;
	int minor; /* HTTP/1.minor */
	struct httpc_header *headers;
	size_t n_headers;
	bool chunked;
	int64_t length; /* of the body; 0 is none, -1 unknown (chunked) */
	bool close;     /* the peer wants no further request */
};

/* Length of the head in data with the empty line that ends it, or 0: not whole yet. */
size_t http1_head_len(struct str data);
/* A whole head. The slices point into it. INVALID_ARGUMENT. */
struct err *http1_parse(struct str head, struct arena *a, struct http1_request *ret) ERR_RESULT;
/* First one of that name, any case; empty if there is none. */
struct str http1_header(const struct http1_request *r, const char *name);
/* A header between two peers only: not to be passed on. */
bool http1_is_hop_by_hop(struct str name);

/* Size from the line of a chunk, without its line end. INVALID_ARGUMENT. */
struct err *http1_chunk_size(struct str line, uint64_t *ret) ERR_RESULT;

/* "host:port" without the port and the brackets. */
struct str http1_host(struct str authority);
/* URL of the request: scheme and authority are those of the connection, which a full target
 * replaces. INVALID_ARGUMENT on junk, also with bytes that no URL has. */
struct err *http1_url(const struct http1_request *r, struct str scheme, struct str authority,
		      struct arena *a, struct str *ret) ERR_RESULT;
/* As it is shown and recorded: no default port, no user and password. */
struct str http1_shown_url(struct str url, struct arena *a);
/* Without user and password only. */
struct str http1_redacted_url(struct str url, struct arena *a);

const char *http1_status_text(int status);

#endif
