/* Control groups, versions 1, hybrid and 2. A path is relative to the hierarchies' roots, e.g.
 * "/buildkit/abc"; in version 1 it stands for that path in every hierarchy. */
#ifndef SYS_CGROUP_H
#define SYS_CGROUP_H

#include "base/arena.h"
#include "base/ctx.h"
#include "base/err.h"

#include <sys/types.h>

enum cgroup_mode { CGROUP_NONE, CGROUP_V1, CGROUP_HYBRID, CGROUP_V2 };

enum cgroup_mode cgroup_mode(void); /* by /sys/fs/cgroup */
/* Our own one: of the unified hierarchy, or in version 1 of the given controller. */
struct err *cgroup_self(const char *controller, struct arena *a, struct str *ret) ERR_RESULT;
struct err *cgroup_create(const char *path) ERR_RESULT;
struct err *cgroup_add(const char *path, pid_t pid) ERR_RESULT;
/* SIGKILL to every process in it and below until none is left. */
struct err *cgroup_kill(const char *path, struct ctx *ctx) ERR_RESULT;
/* With its children; must be empty of processes. Missing is fine. */
struct err *cgroup_remove(const char *path) ERR_RESULT;
bool cgroup_exists(const char *path);
/* Times the kernel killed for want of memory in it; 0 if not known. */
uint64_t cgroup_oom_kills(const char *path);
/* Names of the cgroups right under path, in any hierarchy. */
struct err *cgroup_children(const char *path, struct arena *a, struct str **ret,
			    size_t *ret_n) ERR_RESULT;
/* A file of the group ("memory.max"): of the unified hierarchy or of the controller the file is
 * named after. False when it can't be read. */
bool cgroup_read(const char *path, const char *file, struct arena *a, struct str *ret);
/* The same for writing. */
struct err *cgroup_write(const char *path, const char *file, const char *text) ERR_RESULT;
/* The files to write a process' number to so that it is in the group: one a hierarchy. */
struct err *cgroup_procs_files(const char *path, struct arena *a, const char ***ret,
			       size_t *ret_n) ERR_RESULT;
/* The group's directory in the unified hierarchy; NULL if there is none. */
const char *cgroup_unified_dir(const char *path, struct arena *a);

#endif
