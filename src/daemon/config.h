/* The daemon's configuration: built-in defaults, then buildkitd.toml, then flags
 * (docs/buildkitd.toml.md). Everything lives in the arena given to config_load. */
#ifndef DAEMON_CONFIG_H
#define DAEMON_CONFIG_H

#include "base/flags.h"
#include "registry/registry.h"

struct config_strs {
	struct str *items;
	size_t n;
};

struct config_gc_policy {
	bool all;
	struct config_strs filters;
	int64_t keep_duration_ns;
	/* Bytes; percentages are already worked out against the disk of the root. */
	int64_t reserved_space, max_used_space, min_free_space;
};

enum worker_kind { WORKER_OCI, WORKER_CONTAINERD };

struct config_worker {
	const char *name; /* its table in the file: "oci", "containerd", or a further one's */
	enum worker_kind kind;
	bool enabled, enabled_auto;
	struct oci_kv *labels;
	size_t n_labels;
	struct config_strs platforms;
	const char *snapshotter;
	const char *binary;
	const char *proxy_snapshotter_path;
	const char *default_cgroup_parent;
	const char *apparmor_profile;
	bool selinux, rootless, no_process_sandbox;
	int64_t max_parallelism;
	bool gc;
	struct config_gc_policy *gc_policies; /* the default ones when none is configured */
	size_t n_gc_policies;
	const char *net_mode, *cni_config_path, *cni_binary_path;
	int64_t cni_pool_size;
	const char *bridge_name, *bridge_subnet;
	/* containerd's */
	const char *address; /* path of its socket */
	const char *namespace;
	const char *runtime, *runtime_path;
};

struct config {
	const char *root;
	struct config_strs insecure_entitlements;
	const char *log_format, *log_level;
	struct config_strs addresses;
	const char *group; /* --group */
	int64_t uid, gid;  /* of unix sockets; -1: the process's */
	const char *tls_cert, *tls_key, *tls_ca;
	const char *debug_address;
	const char *otel_socket;
	bool cdi_disabled;
	struct config_strs cdi_spec_dirs, cdi_auto_allowed;
	bool proxy_network; /* all builds */
	struct config_strs dns_nameservers, dns_options, dns_search;
	int64_t max_registry_concurrency;
	bool frontend_dockerfile, frontend_gateway;
	struct config_strs gateway_allowed;
	bool history_set;
	int64_t history_max_age_ns, history_max_entries;
	struct config_worker oci, containerd;
	/* Tables [worker.NAME] with a `type` of "oci" or "containerd": workers beside the two. */
	struct config_worker *more;
	size_t n_more;
	struct registry_host_config *registries;
	size_t n_registries;
	bool show_version, show_help;
	/* Things to tell in the log once it is up. */
	struct config_strs warnings;
};

struct err *config_load(struct arena *a, int argc, char **argv, struct config *ret) ERR_RESULT;
/* All that may be enabled, in the order of preference: the first that is is the default. */
const struct config_worker **config_workers(const struct config *c, struct arena *a, size_t *ret_n);

/* "512MB" is 512 x 2^20, an integer is bytes, "N%" a part of disk_total. */
struct err *config_parse_size(struct str text, uint64_t disk_total, int64_t *ret) ERR_RESULT;
void config_print_help(FILE *out);

/* One more of c->warnings; text is borrowed for good. */
void config_warn(struct arena *a, struct config *c, const char *text);

#endif
