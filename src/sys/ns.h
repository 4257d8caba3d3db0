/* Namespaces of the daemon. */
#ifndef SYS_NS_H
#define SYS_NS_H

#include "base/err.h"

/* Moves the process into a mount namespace of its own whose mounts don't propagate back, so a
 * killed daemon leaves none; the host's later mounts still appear. Called once by main, before
 * the first thread. */
struct err *ns_enter_private_mounts(void) ERR_RESULT;

/* A new network namespace with its loopback up, kept alive by a bind mount on path (made as an
 * empty file). Undone by ns_net_remove. */
struct err *ns_net_create(const char *path) ERR_RESULT;
struct err *ns_net_remove(const char *path) ERR_RESULT;
/* Runs fn on a thread of its own inside the network namespace at path. */
struct err *ns_net_run(const char *path, struct err *(*fn)(void *arg), void *arg) ERR_RESULT;

#endif
