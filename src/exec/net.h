/* Networks of steps. A lease is the network of one step. */
#ifndef EXEC_NET_H
#define EXEC_NET_H

#include "base/ctx.h"
#include "exec/runtime.h"

struct net;
struct netns;
struct net_config {
	const char *dir;       /* for namespaces and what plugins keep; exists */
	const char *proxy_dir; /* the same of namespaces that only have a proxy */
	const char *mode;      /* auto host bridge cni; NULL or "" is auto */
	const char *cni_config, *cni_bin_dir;
	int pool_size;
	const char *bridge_name, *bridge_subnet;
	bool rootless;
};
/* INVALID_ARGUMENT `invalid network mode: "x"`. Removes namespaces that an earlier run left. */
struct err *net_open(const struct net_config *c, struct ctx *ctx, struct net **ret) ERR_RESULT;
void net_close(struct net *n);              /* NULL is fine */
const char *net_label(const struct net *n); /* "host" or "cni" */

struct net_lease {
	bool fresh;        /* an empty namespace, made by the runtime with loopback up */
	const char *netns; /* path, or NULL: the host's */
	struct netns *ns;
	/* Of a step with a proxy: */
	struct netns *egress; /* where the proxy dials; NULL: from here */
	int listen_fd;
	bool proxied;
	char proxy_url[40];
};
/* As net_get for a step that reaches nothing but listen_fd; mode is the network beyond it. */
struct err *net_get_proxied(struct net *n, struct ctx *ctx, enum exec_net mode,
			    struct net_lease *ret) ERR_RESULT;
/* For struct exec_proxy; arg is the lease. */
int net_lease_socket(void *arg, int family, int type, int protocol);
/* custom_hostname: the namespace must be a fresh one, not of the pool. */
struct err *net_get(struct net *n, struct ctx *ctx, enum exec_net mode, struct str hostname,
		    struct net_lease *ret) ERR_RESULT;
/* touched: with rights to change it the step may have done so; it is nobody else's then.
 * Repeatable. */
void net_put(struct net *n, struct net_lease *l, bool touched);

#endif
