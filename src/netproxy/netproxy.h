/* An HTTP proxy for one step: everything the step fetches goes through it, is checked against the
 * source policy, and is recorded. It looks into TLS with an authority that the step trusts.
 *
 * Threads: a task accepts, each connection has one. Errors of a connection end that connection;
 * what upstream fails with is the peer's 502. Format: RFC 9110 to 9112; the peer is not trusted. */
#ifndef NETPROXY_NETPROXY_H
#define NETPROXY_NETPROXY_H

#include "net/tls_ca.h"
#include "netproxy/capture.h"
#include "registry/httpc.h"

struct netproxy_config {
	const struct tls_ca *ca;
	const char *user_agent;
	struct capture *capture; /* borrowed until the stop */
	/* Refuses with an error, which the peer doesn't see; may replace the URL. NULL: all may
	 * be fetched. Several threads at once. */
	struct err *(*check)(void *arg, struct ctx *ctx, struct arena *a, struct str method,
			     struct str url, struct str *ret_url);
	/* A socket as socket(2) makes it, in the network that requests go out to; -1 and errno. */
	int (*dial)(void *arg, int family, int type, int protocol);
	void *arg;
};

struct netproxy;
/* Serves what connects to listen_fd, borrowed until the stop. The configuration is copied. */
struct err *netproxy_start(const struct netproxy_config *cfg, struct ctx *ctx, int listen_fd,
			   struct netproxy **ret) ERR_RESULT;
/* Ends what is under way and waits for it. NULL is fine. */
void netproxy_stop(struct netproxy *p);

#endif
