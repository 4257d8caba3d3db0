/* Signatures of cloud stores' requests, and what they are made of. Pure. */
#ifndef REMOTECACHE_SIGN_H
#define REMOTECACHE_SIGN_H

#include "base/buf.h"
#include "codec/digest.h"

/* A URL's path with everything escaped but letters, digits, "-_.~" and '/'. */
struct str sign_path(struct arena *a, struct str path);
/* "https", "host:8080" without a scheme's own port, and the path ("" or "/..."). INVALID_ARGUMENT
 * on what is no http URL, or has a query. */
struct err *sign_split_url(struct arena *a, struct str url, struct str *ret_scheme,
			   struct str *ret_host, struct str *ret_path) ERR_RESULT;

/* ---- AWS signature version 4, service s3 ---- */
struct sigv4 {
	struct str key_id, secret, region;
	struct str time; /* 20130524T000000Z */
};
struct sign_header {
	const char *name; /* lower case */
	struct str value;
};
/* The Authorization header. headers are sorted by name and hold host and the x-amz-* ones; path and
 * query are as they are sent; payload is the hex of the body's SHA-256. */
struct str sigv4_authorization(struct arena *a, const struct sigv4 *k, const char *method,
			       struct str path, struct str query, const struct sign_header *headers,
			       size_t n, struct str payload);
/* "20130524T000000Z" */
struct str sigv4_time(struct arena *a, int64_t wall_ns);

/* ---- Azure's shared key ---- */
struct azure_request {
	const char *method;
	struct str account, key;                   /* key: as it is, not in base64 */
	struct str path;                           /* as it is sent */
	const struct sign_header *query, *headers; /* sorted; headers: x-ms-* ones */
	size_t n_query, n_headers;
	int64_t length; /* of the body */
	struct str if_none_match;
};
struct str azure_authorization(struct arena *a, const struct azure_request *rq);
/* "Fri, 24 May 2013 00:00:00 GMT" */
struct str azure_time(struct arena *a, int64_t wall_ns);

#endif
