/* The network of a step whose only way out is a proxy: loopback alone, with one more address that
 * the proxy listens on. The proxy itself is in the daemon: what listens is a socket that was made
 * in the step's namespace. So there is no interface, route or rule by which the step could go round
 * it, and none to clean up. */
#ifndef EXEC_PROXYNET_H
#define EXEC_PROXYNET_H

#include "base/arena.h"
#include "base/err.h"

/* Not 127.0.0.1: names that resolve to this machine are mostly not proxied. */
#define PROXYNET_ADDRESS "10.89.0.1"
#define PROXYNET_ENV 8

/* Gives a fresh namespace the address. */
struct err *proxynet_setup(const char *netns) ERR_RESULT;
/* A listening socket on any free port of it. */
struct err *proxynet_listen(const char *netns, int *ret_fd, uint16_t *ret_port) ERR_RESULT;
/* socket(2) in a namespace; NULL is our own. -1 and errno. */
int proxynet_socket(const char *netns, int family, int type, int protocol);
/* HTTP_PROXY=url and its likes; PROXYNET_ENV of them. */
size_t proxynet_env(const char *url, struct arena *a, struct str *ret);

#endif
