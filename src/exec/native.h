/* The native runner: a step's process is made directly, without an OCI runtime program. A child in
 * new namespaces (sys/proc.h) executes this program once more as a helper, read-only, which does a
 * plan (native_plan.h) compiled from the OCI configuration and executes the step's program: the
 * child is the container's first process. */
#ifndef EXEC_NATIVE_H
#define EXEC_NATIVE_H

#include "base/json.h"
#include "exec/runc.h"
#include "exec/seccomp.h"

/* For main()'s table (proc_helper_main): without it there is no native runner. */
extern const struct proc_helper exec_native_helper;

struct native {
	const char *state; /* a directory a container, for those who look for leftovers */
	int program_fd;    /* this program on a read-only mount of its own: what runs in a container
			      can't write to it through /proc */
	const char *program;
	struct str filter; /* compiled once; empty: the kernel has none */
};
/* Everything in the arena but the descriptor. */
struct err *native_open(struct native *n, const char *state, const struct seccomp *s,
			struct arena *a) ERR_RESULT;
void native_close(struct native *n);

struct native_job {
	const struct runc_job *job;
	struct str config; /* OCI configuration, or with target_fd only its process section */
	bool filtered;     /* with the seccomp filter; the configuration has none */
	int target_fd;     /* pidfd of the first process of the container to go into; -1: a new
			      container. job->cgroup is joined, and killed only if it is new */
	int *ret_fd;       /* a pidfd of the process, the caller's, before job->started is called;
			      NULL: not wanted */
};
/* As runc_run. */
struct err *native_run(const struct native *n, struct ctx *ctx, const struct native_job *j,
		       struct proc_status *ret) ERR_RESULT;

#endif
