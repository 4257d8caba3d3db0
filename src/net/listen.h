/* Listening and connected sockets from addresses as BuildKit writes them:
 * "unix:///path", "tcp://host:port", "fd://" (systemd socket activation; listening only). */
#ifndef NET_LISTEN_H
#define NET_LISTEN_H

#include "base/ctx.h"

#include <sys/types.h>

struct net_listen_opts {
	uid_t uid; /* of a unix socket; -1: as it comes */
	gid_t gid;
	mode_t mode; /* 0: 0660 */
};
/* Errors are in the daemon's words. For unix: parent dir created, stale socket removed. */
struct err *net_listen(struct str address, const struct net_listen_opts *o, int *ret_fd) ERR_RESULT;
/* For the daemon's choice of TLS and warnings. */
bool net_address_is_unix(struct str address);

/* Connects; ends early with ctx. UNAVAILABLE in gRPC-Go's words on failure. */
struct err *net_dial(struct ctx *ctx, struct str address, int *ret_fd) ERR_RESULT;

#endif
