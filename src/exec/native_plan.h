/* What a process of the native runner does to itself before it executes the step's program: a list
 * of operations, made by the daemon from an OCI configuration (native_compile) and done one by one
 * by the child (native_init). Both sides are the same program, so the format is nobody else's:
 * a byte for the operation, then its fields: numbers of 8 bytes in host byte order, strings as a
 * number, the bytes and a NUL. Not thread-safe. */
#ifndef EXEC_NATIVE_PLAN_H
#define EXEC_NATIVE_PLAN_H

#include "base/buf.h"

#include <stdint.h>

enum plan_op {
	PLAN_END,
	PLAN_JOIN,      /* path of a cgroup.procs */
	PLAN_ENTER,     /* into the namespaces of a process (its descriptor) */
	PLAN_CGROUP_NS, /* a cgroup namespace with the root where we are */
	PLAN_LOOPBACK,  /* of our network namespace: up */
	PLAN_ROOT,      /* path: the root directory; our mounts are ours alone from here on */
	PLAN_MOUNT,     /* dest, type, attrs (enum mount_flag), options: number, key or key=value */
	PLAN_BIND,      /* dest, source, set, clear (enum mount_flag), recursive */
	PLAN_CGROUP_BINDS,  /* dest, attrs, path of the group: version 1, our groups only */
	PLAN_NODE,          /* path, mode with type, major, minor, uid, gid */
	PLAN_LINK,          /* target, path; there already is fine */
	PLAN_TERMINAL,      /* a new one of our /dev/pts for stdio; its master goes to the daemon;
				number: it is /dev/console too */
	PLAN_PIVOT,         /* the root is / now, the old one gone */
	PLAN_MASK,          /* path: nothing can be read there */
	PLAN_READONLY,      /* path */
	PLAN_READONLY_ROOT, /* but not what is mounted below it */
	PLAN_HOSTNAME,      /* name */
	PLAN_RLIMIT,        /* resource, soft, hard */
	PLAN_APPARMOR,      /* profile, from the execution on */
	PLAN_NO_NEW_PRIVS,
	PLAN_SECCOMP, /* the filter's instructions */
	PLAN_IDS,     /* uid, gid, number of groups, groups */
	PLAN_CAPS,    /* bounding, effective, permitted, inheritable, ambient */
	PLAN_CWD,     /* path */
	PLAN_EXEC,    /* number of arguments, arguments, number of variables, variables */
};

static inline void plan_put_op(struct buf *b, enum plan_op op)
{
	buf_add_char(b, (char)op);
}
void plan_put_num(struct buf *b, uint64_t v);
void plan_put_str(struct buf *b, struct str s);

/* Reading; past the end or on junk everything is 0 or "", and bad is set. */
struct plan_reader {
	const char *p, *end;
	bool bad;
};
enum plan_op plan_get_op(struct plan_reader *r);
uint64_t plan_get_num(struct plan_reader *r);
/* Into the plan itself, followed by a NUL. */
struct str plan_get_str(struct plan_reader *r);

#endif
