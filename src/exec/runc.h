/* The OCI runtime program: runc, crun or what takes the same arguments. */
#ifndef EXEC_RUNC_H
#define EXEC_RUNC_H

#include "base/ctx.h"
#include "exec/io.h"
#include "sys/proc.h"

struct runc {
	const char *program; /* absolute */
	const char *state;   /* its --root: one directory a container, ours alone */
};

struct runc_job {
	const char *id, *bundle, *cgroup; /* cgroup "" when it has none of its own */
	const char *pid_file;
	const struct exec_io *io;
};

/* Runs the bundle's process to its end. The container's processes are gone on return, whatever it
 * returns; its state and cgroup are left for runc_forget. Ended ctx: its error. */
struct err *runc_run(const struct runc *r, struct ctx *ctx, const struct runc_job *j,
		     struct proc_status *ret) ERR_RESULT;
/* Kills whatever is left of a container and removes its cgroup and state. Best effort, never
 * interrupted. */
void runc_forget(const struct runc *r, struct task_pool *pool, const char *id, const char *cgroup);

#endif
