#include "exec/net.h"

#include "base/mem.h"
#include "exec/bridge.h"
#include "exec/netpool.h"
#include "exec/proxynet.h"
#include "sys/fd.h"
#include "sys/file.h"

#include <errno.h>
#include <sys/file.h>
#include <unistd.h>

#define DEFAULT_CONFIG "/etc/buildkit/cni.json"
#define DEFAULT_BIN_DIR "/opt/cni/bin"
#define DEFAULT_BRIDGE "buildkit0"
#define DEFAULT_SUBNET "10.10.0.0/16"

struct net {
	struct cni *cni; /* NULL: the host's network */
	struct netpool *pool;
	struct netpool *bare; /* with nothing but loopback */
	char *own_bridge;     /* one that we made; or NULL */
};

static const char *or_else(const char *s, const char *otherwise)
{
	return s && s[0] ? s : otherwise;
}

enum mode { MODE_HOST, MODE_CNI, MODE_BRIDGE };

static struct err *find_mode(const struct net_config *c, enum mode *ret)
{
	const char *mode = or_else(c->mode, "auto");
	const char *env = getenv("BUILDKIT_NETWORK_BRIDGE_AUTO");
	bool bridge = false;

	if (!strcmp(mode, "host")) {
		*ret = MODE_HOST;
	} else if (!strcmp(mode, "cni")) {
		*ret = MODE_CNI;
	} else if (!strcmp(mode, "bridge")) {
		*ret = MODE_BRIDGE;
	} else if (strcmp(mode, "auto") != 0) {
		return err_new(ERR_INVALID_ARGUMENT, "invalid network mode: \"%s\"", mode);
	} else if (c->rootless) {
		*ret = MODE_HOST;
	} else if (env && str_to_bool(str_from(env), &bridge) && bridge) {
		*ret = MODE_BRIDGE;
	} else {
		*ret = file_exists(AT_FDCWD, or_else(c->cni_config, DEFAULT_CONFIG)) ? MODE_CNI
										     : MODE_HOST;
	}
	return NULL;
}

/* Several daemons of a machine may set up the same bridge: the file keeps them apart. */
static struct err *take_init_lock(int *ret)
{
	const char *path = getenv("BUILDKIT_CNI_INIT_LOCK_PATH");

	if (!path || !path[0])
		return NULL;
	TRY(fd_open(AT_FDCWD, path, O_RDWR | O_CREAT, 0600, ret));
	while (flock(*ret, LOCK_EX) < 0)
		if (errno != EINTR)
			return err_errno(errno, "lock %s", path);
	return NULL;
}

static struct err *open_cni(struct net *n, const struct net_config *c, enum mode mode,
			    struct ctx *ctx)
{
	const char *bin = or_else(c->cni_bin_dir, DEFAULT_BIN_DIR);
	const char *bridge = or_else(c->bridge_name, DEFAULT_BRIDGE);
	const char *const dirs[] = { bin, NULL };
	bool there = false;
	CLEANUP_FD int lock = -1;

	if (mode == MODE_BRIDGE) {
		TRY(bridge_make(bridge, or_else(c->bridge_subnet, DEFAULT_SUBNET), bin, &n->cni));
	} else {
		TRY(cni_load(or_else(c->cni_config, DEFAULT_CONFIG), dirs, &n->cni));
		if (!file_is_dir(AT_FDCWD, bin))
			return err_errno(ENOENT, "failed to read cni binary dir \"%s\": stat %s",
					 bin, bin);
	}
	TRY(take_init_lock(&lock));
	there = mode != MODE_BRIDGE || bridge_exists(bridge);
	TRY(netpool_open(c->dir, n->cni, (size_t)MAX(c->pool_size, 0), ctx, &n->pool));
	if (!there)
		n->own_bridge = mem_strdup(bridge);
	return NULL;
}

struct err *net_open(const struct net_config *c, struct ctx *ctx, struct net **ret)
{
	struct net *n;
	enum mode mode;
	struct err *e;

	TRY(find_mode(c, &mode));
	n = NEW(struct net);
	if (mode == MODE_HOST)
		e = netpool_forget(c->dir);
	else
		e = open_cni(n, c, mode, ctx);
	if (!e)
		e = netpool_open(c->proxy_dir, NULL, 0, ctx, &n->bare);
	if (e) {
		net_close(n);
		return e;
	}
	*ret = n;
	return NULL;
}

void net_close(struct net *n)
{
	if (!n)
		return;
	netpool_close(n->bare);
	netpool_close(n->pool);
	if (n->own_bridge)
		err_free(bridge_remove(n->own_bridge));
	free(n->own_bridge);
	cni_free(n->cni);
	free(n);
}

const char *net_label(const struct net *n)
{
	return n->cni ? "cni" : "host";
}

struct err *net_get(struct net *n, struct ctx *ctx, enum exec_net mode, struct str hostname,
		    struct net_lease *ret)
{
	struct netns *ns;

	*ret = (struct net_lease) { .fresh = mode == EXEC_NET_NONE };
	if (mode != EXEC_NET_DEFAULT || !n->cni)
		return NULL;
	TRY(netpool_get(n->pool, ctx, hostname, &ns));
	*ret = (struct net_lease) { .netns = netns_path(ns), .ns = ns };
	return NULL;
}

struct err *net_get_proxied(struct net *n, struct ctx *ctx, enum exec_net mode,
			    struct net_lease *ret)
{
	struct net_lease l = { .proxied = true, .listen_fd = -1 };
	uint16_t port;
	struct err *e;

	TRY(netpool_get(n->bare, ctx, STR_NONE, &l.ns));
	l.netns = netns_path(l.ns);
	e = proxynet_listen(l.netns, &l.listen_fd, &port);
	if (!e && mode == EXEC_NET_DEFAULT && n->cni)
		e = netpool_get(n->pool, ctx, STR_NONE, &l.egress);
	if (e) {
		net_put(n, &l, false);
		return e;
	}
	(void)snprintf(l.proxy_url, sizeof(l.proxy_url), "http://%s:%u", PROXYNET_ADDRESS, port);
	*ret = l;
	return NULL;
}

int net_lease_socket(void *arg, int family, int type, int protocol)
{
	const struct net_lease *l = arg;

	return proxynet_socket(l->egress ? netns_path(l->egress) : NULL, family, type, protocol);
}

void net_put(struct net *n, struct net_lease *l, bool touched)
{
	if (l->proxied && l->listen_fd >= 0)
		(void)close(l->listen_fd);
	if (l->egress)
		netpool_put(n->pool, l->egress, false);
	if (l->ns)
		netpool_put(l->proxied ? n->bare : n->pool, l->ns, touched);
	*l = (struct net_lease) { 0 };
}
