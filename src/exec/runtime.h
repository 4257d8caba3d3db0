/* Running processes in containers, whatever does it: an OCI runtime program (runc, crun) or, later,
 * a native runner. */
#ifndef EXEC_RUNTIME_H
#define EXEC_RUNTIME_H

#include "base/ctx.h"
#include "base/err.h"
#include "base/json.h"
#include "snapshot/mounts.h"

enum exec_net { EXEC_NET_DEFAULT, EXEC_NET_HOST, EXEC_NET_NONE };

struct exec_mount {
	struct str dest;       /* absolute in the container */
	struct mounts *mounts; /* what is there: bind, overlay, tmpfs */
	struct str selector;   /* sub-path of it, resolved inside it; or empty */
	bool readonly;
	bool nosuid, nodev, noexec;
	bool is_file; /* source is a single file (secret, socket) */
};

struct exec_kv {
	struct str key, value;
};
struct exec_ulimit {
	struct str name; /* lower case: nofile */
	int64_t soft, hard;
};

struct exec_process {
	struct str *args; /* at least one, first not empty: INVALID_ARGUMENT otherwise */
	size_t n_args;
	struct str *env; /* K=V */
	size_t n_env;
	struct str cwd;
	struct str user; /* "", name, uid, user:group */
	bool tty;
};

/* ---- what devices change (made by exec/cdi.h) ---- */

#define EXEC_EDIT_OPTIONS 9
struct exec_device_node {
	struct str path; /* in the container */
	char type;       /* b c u p */
	int64_t major_nr, minor_nr;
	int64_t mode, uid, gid; /* -1: not said */
	struct str access;      /* of the device cgroup */
};
struct exec_edit_mount {
	struct str dest, source, type;
	const char *options[EXEC_EDIT_OPTIONS + 1];
};
struct exec_edits {
	const struct str *env; /* go over the process's own */
	const struct exec_device_node *nodes;
	const struct exec_edit_mount *mounts;
	const uint32_t *gids;
	const json_t *const *hooks; /* of the CDI file, hookName and all */
	size_t n_env, n_nodes, n_mounts, n_gids, n_hooks;
	const json_t *intel_rdt; /* or NULL */
};

/* The step's only way out is a proxy, which the caller serves. */
struct exec_proxy {
	struct str ca_pem; /* added to the root's trust bundle while it runs */
	/* Before the first process. listen_fd is borrowed until stop. Connections go out through
	 * sockets of dial(dial_arg, ...), which is socket(2) in the network of the spec's net. */
	struct err *(*start)(void *arg, struct ctx *ctx, int listen_fd,
			     int (*dial)(void *dial_arg, int family, int type, int protocol),
			     void *dial_arg);
	void (*stop)(void *arg); /* after the last process, if it was started */
	void *arg;
};

struct exec_spec {
	struct exec_process process;
	struct mounts *root;
	bool root_readonly;
	struct exec_mount *mounts; /* sorted so that parents come first */
	size_t n_mounts;
	enum exec_net net;
	bool insecure;
	struct str hostname;
	struct exec_kv *hosts; /* key host, value IP */
	size_t n_hosts;
	struct exec_ulimit *ulimits;
	size_t n_ulimits;
	struct str cgroup_parent;
	int64_t memory, memory_swap, cpu_quota;
	uint64_t cpu_shares, cpu_period;
	struct str cpuset_cpus, cpuset_mems;
	const int32_t *valid_exit_codes;
	size_t n_valid_exit_codes;
	bool remove_stubs_recursive;
	const struct exec_edits *edits; /* or NULL */
	/* Must stay until the end of the container. NULL: net as it is. With EXEC_NET_NONE it is
	 * left out. */
	const struct exec_proxy *proxy;
};

struct exec_io {
	int stdin_fd; /* -1: /dev/null; borrowed */
	/* Where stdout goes instead of to output: for a peer that reads it by itself. Borrowed; not
	 * with a terminal. NULL is the rule. */
	const int *stdout_fd;
	/* Called from one thread with output as it comes. stream 1 or 2; of a terminal always 1. */
	void (*output)(void *arg, int stream, struct str data);
	void *arg;
	struct exec_control *control; /* borrowed; or NULL */
	void (*started)(void *arg);   /* the process runs, same thread as output; or NULL */
};

/* Reaches a process from other threads while it runs: made before, given in exec_io, for one
 * process. What comes before the start is done at the start, what comes after the end is
 * forgotten. */
struct exec_control;
struct exec_control *exec_control_new(void);
void exec_control_free(struct exec_control *c); /* NULL is fine; not while the process runs */
/* "TERM" or "SIGTERM"; INVALID_ARGUMENT "Unknown signal X". */
struct err *exec_control_signal(struct exec_control *c, struct str name) ERR_RESULT;
void exec_control_resize(struct exec_control *c, unsigned rows, unsigned cols);

struct executor;
struct exec_driver; /* exec/driver.h */
struct executor_config {
	const char *root;                 /* state dir: bundles, resolv.conf, hosts, netns */
	const struct exec_driver *driver; /* runs the bundles; NULL: the runtime program */
	const char *runtime;              /* path or name; NULL: buildkit-runc, runc */
	const char *net_mode;             /* auto host bridge cni */
	const char *cni_config, *cni_bin_dir;
	int cni_pool_size;
	const char *bridge_name, *bridge_subnet;
	const char *cgroup_parent, *apparmor_profile;
	const char *const *dns_nameservers, *const *dns_options, *const *dns_search;
	size_t n_dns_nameservers, n_dns_options, n_dns_search;
	bool rootless, no_process_sandbox;
	const char *otel_socket; /* bind-mounted into steps; NULL: none */
	bool reaper; /* main() offers exec_reaper_helper (exec/reaper.h): steps end with the daemon
			at once, however that ends */
};
/* Cleans up what a killed daemon left: containers, mounts, cgroups, netns. Waits for another
 * executor of the same root to be closed. ctx's pool is used until executor_close. */
struct err *executor_open(const struct executor_config *cfg, struct ctx *ctx,
			  struct executor **ret) ERR_RESULT;
void executor_close(struct executor *e);
const char *executor_net_label(const struct executor *e); /* "host" or "cni" */

/* Runs to the end. On a non-zero (or not listed) exit: UNKNOWN "exit code: N" with detail
 * gatewayapi.ExitMessage and *ret_exit set (also on success). Cancelling ctx kills the container
 * and everything in it. Stubs made for mount points are gone from root after it. */
struct err *executor_run(struct executor *e, struct ctx *ctx, const struct exec_spec *spec,
			 const struct exec_io *io, int *ret_exit) ERR_RESULT;

/* A container that lives for several processes (gateway NewContainer). Returns when its first
 * process runs or has already ended. ctx is for the start: then it lives until the first process
 * ends or it is freed. spec is borrowed for the call, what io points to until container_free. The
 * mounts' directories must stay until then too. */
struct container;
struct err *container_start(struct executor *e, struct ctx *ctx, const struct exec_spec *spec,
			    const struct exec_io *io, struct container **ret) ERR_RESULT;
/* Another process in it, to its end: errors as executor_run. An empty cwd, user or environment is
 * that of the first process. May be called from several threads. */
struct err *container_exec(struct container *c, struct ctx *ctx, const struct exec_process *p,
			   const struct exec_io *io, int *ret_exit) ERR_RESULT;
/* The end of the first process: as executor_run. */
struct err *container_wait(struct container *c, struct ctx *ctx, int *ret_exit) ERR_RESULT;
/* Kills. No other call may be under way. NULL is fine. */
void container_free(struct container *c);

#endif
