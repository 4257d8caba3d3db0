/* The child's side of the native runner: does a plan's operations. For files of this folder; runs
 * in a process of its own with one thread. What fails ends it: text on standard error, a byte to
 * the daemon, exit code 1, as OCI runtimes do it. */
#ifndef EXEC_NATIVE_INIT_H
#define EXEC_NATIVE_INIT_H

#include "base/err.h"
#include "base/str.h"
#include "exec/native_plan.h"

#include <sys/types.h>

/* Descriptors of the child. */
enum { NATIVE_PLAN_FD = 3, NATIVE_STATUS_FD = 4, NATIVE_TARGET_FD = 5 };
/* First bytes of messages on the status socket; its end without NATIVE_FAILED is the execution. */
enum { NATIVE_FAILED = 'F', NATIVE_MASTER = 'M', NATIVE_CHILD = 'C' };

struct native_child {
	struct plan_reader in;
	int rootfd; /* -1 before PLAN_ROOT */
	uid_t uid;
	gid_t gid;
	gid_t *groups;
	size_t n_groups;
	bool userns;
};

_Noreturn void native_die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void native_die_err(struct err *take_e);
/* A message with a descriptor (-1: none). */
void native_tell(char kind, const void *data, size_t len, int fd);

/* Mounts and files in the new root. */
void native_root(struct native_child *c);
void native_mount(struct native_child *c);
void native_bind(struct native_child *c);
void native_cgroup_binds(struct native_child *c);
void native_node(struct native_child *c);
void native_link(struct native_child *c);
void native_pivot(struct native_child *c);
void native_mask(struct native_child *c);
void native_readonly(struct native_child *c);
void native_readonly_root(struct native_child *c);
void native_terminal(struct native_child *c);

/* What the process itself is. */
void native_rlimit(struct native_child *c);
void native_apparmor(struct native_child *c);
void native_seccomp(struct native_child *c);
void native_ids(struct native_child *c);
void native_caps(struct native_child *c);
void native_cwd(struct native_child *c);
_Noreturn void native_exec(struct native_child *c);

#endif
