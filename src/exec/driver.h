/* What runs bundles instead of the runtime program (exec/runc.h): another daemon, say. The executor
 * makes the bundle, with its mounts in place and a complete config.json, and takes it away
 * afterwards; the driver only runs processes. All calls are thread-safe. */
#ifndef EXEC_DRIVER_H
#define EXEC_DRIVER_H

#include "exec/runc.h"

struct exec_driver {
	/* As runc_run. */
	struct err *(*run)(void *arg, struct ctx *ctx, const struct runc_job *j,
			   struct proc_status *ret);
	/* As runc_forget: whatever is left of the container goes. */
	void (*forget)(void *arg, const char *id, const char *cgroup, bool ended);
	void *arg;
};

#endif
