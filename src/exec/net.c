#include "exec/net.h"

#include "base/mem.h"
#include "sys/file.h"

struct net {
	bool cni;
};

struct err *net_open(const struct net_config *c, struct ctx *ctx, struct net **ret)
{
	const char *mode = c->mode && c->mode[0] ? c->mode : "auto";

	if (strcmp(mode, "auto") != 0 && strcmp(mode, "host") != 0)
		return err_new(ERR_INVALID_ARGUMENT, "invalid network mode: \"%s\"", mode);
	*ret = NEW(struct net);
	return NULL;
}

void net_close(struct net *n)
{
	free(n);
}

const char *net_label(const struct net *n)
{
	return n->cni ? "cni" : "host";
}

struct err *net_get(struct net *n, struct ctx *ctx, enum exec_net mode, struct str hostname,
		    struct net_lease *ret)
{
	*ret = (struct net_lease) { .fresh = mode == EXEC_NET_NONE };
	return NULL;
}

void net_put(struct net *n, struct net_lease *l)
{
	*l = (struct net_lease) { 0 };
}
