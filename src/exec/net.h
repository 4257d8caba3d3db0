/* Networks of steps. A lease is the network of one step. */
#ifndef EXEC_NET_H
#define EXEC_NET_H

#include "base/ctx.h"
#include "exec/runtime.h"

struct net;
struct netns;
struct net_config {
	const char *dir;  /* for namespaces and what plugins keep; exists */
	const char *mode; /* auto host bridge cni; NULL or "" is auto */
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
};
/* custom_hostname: the namespace must be a fresh one, not of the pool. */
struct err *net_get(struct net *n, struct ctx *ctx, enum exec_net mode, struct str hostname,
		    struct net_lease *ret) ERR_RESULT;
void net_put(struct net *n, struct net_lease *l); /* repeatable */

#endif
