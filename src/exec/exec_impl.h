/* Between the files of this folder. */
#ifndef EXEC_IMPL_H
#define EXEC_IMPL_H

#include "base/list.h"
#include "base/lock.h"
#include "exec/driver.h"
#include "exec/native.h"
#include "exec/net.h"
#include "exec/proxyca.h"
#include "exec/proxynet.h"
#include "exec/reaper.h"
#include "exec/resolvconf.h"
#include "exec/runc.h"
#include "exec/runtime.h"
#include "exec/shared.h"
#include "exec/spec.h"
#include "exec/stubs.h"

#include <pthread.h>

/* What a container leaves is removed by one thread, so that the step doesn't wait for it. The same
 * thread first asks the runtime what it can do, so that a start doesn't wait for that. */
struct janitor {
	struct lock lock;
	struct cond work, probe_end;
	bool probed;
	struct err *probe_err;
	struct list jobs;
	bool closing;
	pthread_t thread;
	struct runc *runc;
	const struct exec_driver *driver; /* instead; or NULL */
	int dirfd;                        /* the bundles' */
};
/* r is the thread's to change until the probe has ended; with a driver there is none. */
struct err *janitor_start(struct janitor *j, struct runc *r, const struct exec_driver *d,
			  const char *dir) ERR_RESULT;
/* Before the runtime is used. */
struct err *janitor_wait_probe(struct janitor *j, struct ctx *ctx) ERR_RESULT;
/* Of a container whose mounts are off; ended as for runc_forget. */
void janitor_put(struct janitor *j, const char *id, const char *cgroup, bool ended);
void janitor_stop(struct janitor *j); /* does what is left first */

struct executor {
	struct arena arena; /* the configuration; nothing is added after open */
	struct task_pool *pool;
	const char *root, *bundles, *cgroup_parent, *apparmor;
	struct runc runc;                 /* program NULL: not used but for its state directory */
	const struct exec_driver *driver; /* instead of runc; or NULL */
	struct native native;
	bool is_native;
	struct resolvconf_opts dns;
	struct net *net;
	struct shared_mounts *shared;
	struct janitor janitor;
	const char *otel_socket;
	int lock_fd; /* of root: one executor a directory */
	struct reaper reaper;
	struct seccomp seccomp;
	bool cgroups, cgroup_ns, rootless, host_pid, has_apparmor, userns;
};

/* All that a container is made of; freed with bundle_release. One thread at a time. */
struct bundle {
	struct executor *e;
	const struct exec_spec *spec;
	struct arena arena;
	const char *id, *dir, *cgroup, *rootfs;
	int rootfd;
	const char **mounted; /* places in dir, in the order they were mounted */
	size_t n_mounted;
	struct shared_mount **shared;
	size_t n_shared;
	struct spec_mount *mounts;
	size_t n_mounts;
	struct stubs stubs;
	struct exec_user user;
	struct net_lease net;
	struct proxyca ca;
	struct str proxy_env[PROXYNET_ENV];
	size_t n_proxy_env;
	bool proxy_started;
	bool traced; /* the trace socket is in it */
	bool ended;  /* its processes have run and are gone, all of them */
	/* Of the native runner: */
	struct str config; /* instead of a file */
	int init_fd;       /* pidfd of the first process once it runs, -1 before */
};
/* Everything up to a config.json that the runtime can run. Undoes itself on failure. */
struct err *bundle_make(struct executor *e, struct ctx *ctx, const struct exec_spec *spec,
			struct bundle *ret) ERR_RESULT;
/* The container's processes must be gone. Stubs are removed, mounts taken off; the rest goes in
 * the background. */
void bundle_release(struct bundle *b);
/* Once its processes are gone: no more proxy, and no sign of it in the root. A failure is added to
 * the error of the run. */
struct err *bundle_end_proxy(struct bundle *b, struct err *take_e) ERR_RESULT;
/* For killing and counting; "" if none. */
const char *bundle_own_cgroup(const struct bundle *b);
void bundle_spec_in(const struct bundle *b, struct spec_in *ret);
/* Mount points that a runtime with more rights leaves in a root are there without them too. */
struct err *bundle_add_rootless_stubs(struct bundle *b) ERR_RESULT;
struct err *exec_check(const struct executor *e, const struct exec_spec *s) ERR_RESULT;
/* Runs what was made to its end, errors as executor_run. */
struct err *bundle_run(struct bundle *b, struct ctx *ctx, const struct exec_io *io,
		       void (*started)(void *arg), void *arg, int *ret_exit) ERR_RESULT;
/* By the driver, the native runner or the runtime program: as runc_run. */
struct err *executor_run_job(struct executor *e, struct ctx *ctx, const struct native_job *n,
			     struct proc_status *ret) ERR_RESULT;
bool exec_is_valid_exit(const struct exec_spec *s, int code);
struct err *exec_exit_error(int code, bool out_of_memory) ERR_RESULT;
struct err *exec_check_process(const struct exec_process *p) ERR_RESULT;

#endif
