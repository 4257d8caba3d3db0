/* buildkitd's command line. */
#ifndef DAEMON_FLAGS_H
#define DAEMON_FLAGS_H

#include "daemon/config.h"

/* What was given; fields that stay unset leave the configuration alone. */
struct daemon_flags {
	const char *config_path;
	bool show_version, show_help, rootless, debug, trace, proxy_network, cdi_disabled,
		save_cache_debug;
	const char *root, *log_format, *log_level, *group, *debug_addr, *tls_cert, *tls_key,
		*tls_ca, *otel_socket;
	struct flag_list addr, allow_entitlement, cdi_spec_dir;
	/* OCI worker */
	const char *oci_worker, *oci_snapshotter, *oci_proxy_snapshotter, *oci_net, *oci_cni_config,
		*oci_cni_bin, *oci_binary, *oci_apparmor, *oci_gc_keepstorage;
	struct flag_list oci_labels, oci_platforms;
	int64_t oci_cni_pool, oci_max_parallelism;
	bool oci_selinux, oci_rootless, oci_no_process_sandbox, oci_gc;
	bool rootless_set, oci_rootless_set, oci_gc_set, oci_cni_pool_set, oci_max_parallelism_set;
	/* containerd worker */
	const char *containerd_worker, *ctd_address, *ctd_namespace, *ctd_runtime, *ctd_net,
		*ctd_cni_config, *ctd_cni_bin, *ctd_snapshotter, *ctd_apparmor, *ctd_gc_keepstorage;
	struct flag_list ctd_labels, ctd_platforms;
	int64_t ctd_cni_pool, ctd_max_parallelism;
	bool ctd_selinux, ctd_rootless, ctd_gc;
	bool ctd_rootless_set, ctd_gc_set, ctd_cni_pool_set, ctd_max_parallelism_set;
};

struct err *daemon_flags_parse(struct arena *a, int argc, char **argv,
			       struct daemon_flags *f) ERR_RESULT;
struct err *daemon_flags_apply(struct arena *a, const struct daemon_flags *f,
			       struct config *c) ERR_RESULT;
/* --*-worker-gc-keepstorage, after the policies are known. */
struct err *daemon_flags_apply_gc(struct arena *a, const struct daemon_flags *f,
				  struct config *c) ERR_RESULT;

#endif
