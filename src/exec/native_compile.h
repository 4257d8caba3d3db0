/* From an OCI configuration to a plan of the native runner. Pure but for looking at what sources
 * of mounts there are. */
#ifndef EXEC_NATIVE_COMPILE_H
#define EXEC_NATIVE_COMPILE_H

#include "base/arena.h"
#include "base/json.h"
#include "exec/native_plan.h"

struct native_config {
	/* linux.namespaces */
	bool new_pid, new_net, cgroup_ns;
	const char *netns; /* path, or NULL */
	bool tty;
	const char *cgroup; /* "/..." or "" */
};

/* What an OCI configuration (config.json) asks for; what there is no way to do here is
 * UNIMPLEMENTED. filter: the seccomp filter for steps that the configuration does not exempt, or
 * empty. Strings of ret are the arena's. */
struct err *native_compile(const json_t *config, struct str filter, struct arena *a,
			   struct native_config *ret, struct buf *plan) ERR_RESULT;
/* Only the process section, for a process in a container that runs already. */
struct err *native_compile_process(const json_t *process, struct str filter, struct arena *a,
				   struct buf *plan) ERR_RESULT;

#endif
