/* The OCI runtime program: runc, crun or what takes the same arguments. */
#ifndef EXEC_RUNC_H
#define EXEC_RUNC_H

#include "base/ctx.h"
#include "exec/io.h"
#include "sys/proc.h"

struct runc {
	const char *program; /* absolute */
	const char *state;   /* its --root: one directory a container, ours alone */
	const char *const *env;
	bool has_keep; /* it can leave state and cgroup: cheaper to remove in the background, and
			  the cgroup tells whether memory ran out */
};
/* Asks the program what it can do. */
struct err *runc_probe(struct runc *r, struct ctx *ctx) ERR_RESULT;
/* The environment for it: ours, and for a runtime written in Go less collecting of garbage in the
 * few milliseconds that it works. */
const char *const *runc_env(struct arena *a);

struct runc_job {
	const char *id;
	const char *dir;      /* of the pid file; the bundle to be run */
	const char *cgroup;   /* all of it is killed at the end; "" when it is not ours alone */
	const char *process;  /* file: in the running container instead; or NULL */
	const char *pid_name; /* pid file in dir: made by the runtime when the process runs */
	const struct exec_io *io;
	bool tty;
	/* Called once, when the process runs; or NULL. */
	void (*started)(void *arg);
	void *started_arg;
};

/* Runs a process to its end. Of a bundle's first process the container's other processes are gone
 * on return too, whatever it returns; its state and cgroup are left for runc_forget. Ended ctx: its
 * error. */
struct err *runc_run(const struct runc *r, struct ctx *ctx, const struct runc_job *j,
		     struct proc_status *ret) ERR_RESULT;
/* Kills whatever is left of a container and removes its cgroup and state. ended: nothing should be
 * left to be killed, which is then not looked for first. Best effort, never interrupted. */
void runc_forget(const struct runc *r, const char *id, const char *cgroup, bool ended);

#endif
