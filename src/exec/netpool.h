/* Network namespaces that CNI has set up, kept for the next step. Thread-safe. A thread of its own
 * makes what is missing up to the target, and undoes what is not wanted any more. */
#ifndef EXEC_NETPOOL_H
#define EXEC_NETPOOL_H

#include "exec/cni.h"

struct netpool;
struct netns;

/* dir holds the namespaces and what is needed to undo them; what an earlier run left in it is
 * undone first. Makes a first one to see that it works. c is borrowed; NULL: namespaces for a
 * proxy, made when they are asked for. */
struct err *netpool_open(const char *dir, const struct cni *c, size_t target, struct ctx *ctx,
			 struct netpool **ret) ERR_RESULT;
/* Undoes all; none may be out. NULL is fine. */
void netpool_close(struct netpool *p);
/* With a hostname: a new one, that is not used again. */
struct err *netpool_get(struct netpool *p, struct ctx *ctx, struct str hostname,
			struct netns **ret) ERR_RESULT;
/* touched: not to be used again. */
void netpool_put(struct netpool *p, struct netns *take_n, bool touched);
const char *netns_path(const struct netns *n);
/* Without CNI: drops the namespaces that an earlier run left. */
struct err *netpool_forget(const char *dir) ERR_RESULT;

#endif
