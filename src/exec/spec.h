/* The OCI runtime configuration (config.json) of a step: containerd's default for Linux with
 * BuildKit's changes. */
#ifndef EXEC_SPEC_H
#define EXEC_SPEC_H

#include "base/buf.h"
#include "exec/runtime.h"
#include "exec/seccomp.h"
#include "exec/users.h"

struct spec_mount {
	struct str dest, type, source;
	const char *options[10]; /* NULL ends */
};

struct spec_in {
	const struct exec_spec *exec;
	const struct exec_user *user;
	struct str root;           /* absolute */
	struct spec_mount *mounts; /* in the order given to the runtime, after the built-in ones */
	size_t n_mounts;
	const struct str *env; /* go over all others */
	size_t n_env;
	bool new_netns;      /* an empty one, made by the runtime */
	struct str netns;    /* or this one; empty with new_netns false: the host's */
	struct str cgroup;   /* path, or empty */
	struct str apparmor; /* profile name, or empty */
	const struct seccomp *seccomp;
	bool cgroup_ns; /* a cgroup namespace (version 2) */
	bool rootless;  /* in a user namespace: no resources, no cgroup paths */
	bool traced;    /* with the variables that point to the trace socket */
	bool host_pid;  /* no_process_sandbox */
};

/* The whole file. */
void spec_write(const struct spec_in *in, struct buf *out);
/* Only the process, as `runc exec --process` takes it. */
void spec_write_process(const struct spec_in *in, const struct exec_process *p, struct buf *out);
/* Type and options of a bind mount of m->source. In a user namespace the flags of the mount that
 * the source is on can't be taken off, so they are given again. */
void spec_bind_options(struct spec_mount *m, bool userns, bool readonly, bool nosuid, bool nodev,
		       bool noexec);

#endif
