#include "daemon/flags.h"

#include "base/mem.h"
#include "daemon/gcpolicy.h"

#define FLAG(n, t, field, text)                                                                    \
	{                                                                                          \
		.name = n, .type = t, .value = &f->field, .help = text                             \
	}
#define FLAG_HIDDEN(n, t, field)                                                                   \
	{                                                                                          \
		.name = n, .type = t, .value = &f->field, .hidden = true                           \
	}

#define MAX_FLAGS 96

static size_t make_flags(struct daemon_flags *f, struct flag out[MAX_FLAGS])
{
	const struct flag all[] = {
		FLAG("config", FLAG_STRING, config_path, "path to config file"),
		{ .name = "rootless",
		  .type = FLAG_BOOL,
		  .value = &f->rootless,
		  .was_set = &f->rootless_set,
		  .help = "set all the default options to be compatible with rootless "
			  "containers" },
		FLAG("debug", FLAG_BOOL, debug, "enable debug output in logs"),
		FLAG_HIDDEN("trace", FLAG_BOOL, trace),
		FLAG("root", FLAG_STRING, root, "path to state directory"),
		FLAG("addr", FLAG_LIST, addr, "listening address (socket or tcp)"),
		FLAG("log-format", FLAG_STRING, log_format, "log format: json or text"),
		{ .name = "log-level",
		  .type = FLAG_STRING,
		  .value = &f->log_level,
		  .help = "log level",
		  .env = "BUILDKITD_LOG_LEVEL" },
		FLAG("group", FLAG_STRING, group,
		     "group (name or gid) which will own all Unix socket listening addresses"),
		{ .name = "debugaddr",
		  .type = FLAG_STRING,
		  .value = &f->debug_addr,
		  .help = "debugging address",
		  .env = "BUILDKITD_DEBUGADDR" },
		FLAG("tlscert", FLAG_STRING, tls_cert, "certificate file to use"),
		FLAG("tlskey", FLAG_STRING, tls_key, "key file to use"),
		FLAG("tlscacert", FLAG_STRING, tls_ca, "ca certificate to verify clients"),
		FLAG("allow-insecure-entitlement", FLAG_LIST, allow_entitlement,
		     "allows insecure entitlements e.g. network.host, security.insecure, device"),
		FLAG("proxy-network", FLAG_BOOL, proxy_network,
		     "force proxied exec network for all builds"),
		FLAG("otel-socket-path", FLAG_STRING, otel_socket,
		     "OTEL collector trace socket path"),
		FLAG("cdi-disabled", FLAG_BOOL, cdi_disabled,
		     "disables support of the Container Device Interface (CDI)"),
		FLAG("cdi-spec-dir", FLAG_LIST, cdi_spec_dir,
		     "list of directories to scan for CDI spec files"),
		FLAG("save-cache-debug", FLAG_BOOL, save_cache_debug,
		     "enable saving cache debug info"),
		{ .name = "version",
		  .alias = "v",
		  .type = FLAG_BOOL,
		  .value = &f->show_version,
		  .help = "print the version" },
		FLAG("oci-worker", FLAG_STRING, oci_worker, "enable oci workers (true/false/auto)"),
		FLAG("oci-worker-labels", FLAG_LIST, oci_labels,
		     "user-specific annotation labels (com.example.foo=bar)"),
		FLAG("oci-worker-snapshotter", FLAG_STRING, oci_snapshotter,
		     "name of snapshotter (overlayfs, native, etc.)"),
		FLAG("oci-worker-proxy-snapshotter-path", FLAG_STRING, oci_proxy_snapshotter,
		     "address of proxy snapshotter socket (do not include 'unix://' prefix)"),
		FLAG("oci-worker-platform", FLAG_LIST, oci_platforms,
		     "override supported platforms for worker"),
		FLAG("oci-worker-net", FLAG_STRING, oci_net,
		     "worker network type (auto, bridge, cni or host)"),
		FLAG("oci-cni-config-path", FLAG_STRING, oci_cni_config, "path of cni config file"),
		FLAG("oci-cni-binary-dir", FLAG_STRING, oci_cni_bin, "path of cni binary files"),
		{ .name = "oci-cni-pool-size",
		  .type = FLAG_INT,
		  .value = &f->oci_cni_pool,
		  .was_set = &f->oci_cni_pool_set,
		  .help = "size of cni network namespace pool" },
		FLAG("oci-worker-binary", FLAG_STRING, oci_binary,
		     "name of specified oci worker binary"),
		FLAG("oci-worker-apparmor-profile", FLAG_STRING, oci_apparmor,
		     "set the name of the apparmor profile applied to containers"),
		FLAG("oci-worker-selinux", FLAG_BOOL, oci_selinux, "apply SELinux labels"),
		{ .name = "oci-max-parallelism",
		  .type = FLAG_INT,
		  .value = &f->oci_max_parallelism,
		  .was_set = &f->oci_max_parallelism_set,
		  .help = "maximum number of parallel build steps that can be run at the same "
			  "time" },
		{ .name = "oci-worker-rootless",
		  .type = FLAG_BOOL,
		  .value = &f->oci_rootless,
		  .was_set = &f->oci_rootless_set,
		  .help = "enable rootless mode" },
		FLAG("oci-worker-no-process-sandbox", FLAG_BOOL, oci_no_process_sandbox,
		     "use the host PID namespace and procfs (WARNING: allows build containers to "
		     "kill (and potentially ptrace) an arbitrary process in the host namespace)"),
		{ .name = "oci-worker-gc",
		  .type = FLAG_BOOL,
		  .value = &f->oci_gc,
		  .was_set = &f->oci_gc_set,
		  .help = "Enable automatic garbage collection on worker" },
		FLAG("oci-worker-gc-keepstorage", FLAG_STRING, oci_gc_keepstorage,
		     "Amount of storage GC keep locally, format \"Reserved[,Free[,Maximum]]\" "
		     "(MB)"),
		FLAG("containerd-worker", FLAG_STRING, containerd_worker,
		     "enable containerd workers (true/false/auto)"),
		FLAG("containerd-worker-addr", FLAG_STRING, ctd_address, "containerd socket"),
		FLAG("containerd-worker-labels", FLAG_LIST, ctd_labels,
		     "user-specific annotation labels (com.example.foo=bar)"),
		FLAG_HIDDEN("containerd-worker-platform", FLAG_LIST, ctd_platforms),
		FLAG_HIDDEN("containerd-worker-namespace", FLAG_STRING, ctd_namespace),
		FLAG_HIDDEN("containerd-worker-runtime", FLAG_STRING, ctd_runtime),
		FLAG("containerd-worker-net", FLAG_STRING, ctd_net,
		     "worker network type (auto, cni or host)"),
		FLAG("containerd-cni-config-path", FLAG_STRING, ctd_cni_config,
		     "path of cni config file"),
		FLAG("containerd-cni-binary-dir", FLAG_STRING, ctd_cni_bin,
		     "path of cni binary files"),
		{ .name = "containerd-cni-pool-size",
		  .type = FLAG_INT,
		  .value = &f->ctd_cni_pool,
		  .was_set = &f->ctd_cni_pool_set,
		  .help = "size of cni network namespace pool" },
		FLAG("containerd-worker-snapshotter", FLAG_STRING, ctd_snapshotter,
		     "snapshotter name to use"),
		FLAG("containerd-worker-apparmor-profile", FLAG_STRING, ctd_apparmor,
		     "set the name of the apparmor profile applied to containers"),
		FLAG("containerd-worker-selinux", FLAG_BOOL, ctd_selinux, "apply SELinux labels"),
		{ .name = "containerd-max-parallelism",
		  .type = FLAG_INT,
		  .value = &f->ctd_max_parallelism,
		  .was_set = &f->ctd_max_parallelism_set,
		  .help = "maximum number of parallel build steps that can be run at the same "
			  "time" },
		{ .name = "containerd-worker-rootless",
		  .type = FLAG_BOOL,
		  .value = &f->ctd_rootless,
		  .was_set = &f->ctd_rootless_set,
		  .help = "enable rootless mode" },
		{ .name = "containerd-worker-gc",
		  .type = FLAG_BOOL,
		  .value = &f->ctd_gc,
		  .was_set = &f->ctd_gc_set,
		  .help = "Enable automatic garbage collection on worker" },
		FLAG("containerd-worker-gc-keepstorage", FLAG_STRING, ctd_gc_keepstorage,
		     "Amount of storage GC keep locally, format \"Reserved[,Free[,Maximum]]\" "
		     "(MB)"),
	};
	_Static_assert(ARRAY_SIZE(all) <= MAX_FLAGS, "raise MAX_FLAGS");

	memcpy(out, all, sizeof(all));
	return ARRAY_SIZE(all);
}

struct err *daemon_flags_parse(struct arena *a, int argc, char **argv, struct daemon_flags *f)
{
	struct flag flags[MAX_FLAGS];
	size_t n = make_flags(f, flags);
	int at = 1;

	TRY(flags_parse(a, flags, n, argc, argv, &at, &f->show_help));
	if (!f->show_help && at < argc)
		return err_new(ERR_INVALID_ARGUMENT, "unexpected argument: %s", argv[at]);
	return NULL;
}

void config_print_help(FILE *out)
{
	struct daemon_flags f = { 0 };
	struct flag flags[MAX_FLAGS];
	size_t n = make_flags(&f, flags);

	fprintf(out, "NAME:\n   buildkitd - build daemon\n\nUSAGE:\n   buildkitd [options]\n\n"
		     "OPTIONS:\n");
	flags_describe(flags, n, out);
}

static struct config_strs to_strs(struct arena *a, const struct flag_list *l)
{
	struct config_strs s = { ARENA_NEW_N(a, struct str, l->n), l->n };

	for (size_t i = 0; i < l->n; i++)
		s.items[i] = str_from(l->items[i]);
	return s;
}

static void set_if(const char **to, const char *value)
{
	if (value)
		*to = value;
}

static struct err *apply_enabled(const char *flag, struct config_worker *w)
{
	struct str s = str_from(flag);

	if (str_eq_cstr(s, "auto")) {
		w->enabled = w->enabled_auto = true;
		return NULL;
	}
	if (!str_to_bool(s, &w->enabled))
		return err_new(ERR_INVALID_ARGUMENT, "invalid value %s for --%s-worker", flag,
			       w->name);
	w->enabled_auto = false;
	return NULL;
}

static struct err *apply_labels(struct arena *a, const struct flag_list *l, struct config_worker *w)
{
	struct oci_kv *kv = ARENA_NEW_N(a, struct oci_kv, w->n_labels + l->n);

	if (w->n_labels)
		memcpy(kv, w->labels, w->n_labels * sizeof(*kv));
	for (size_t i = 0; i < l->n; i++) {
		struct str k, v;

		if (!str_cut(str_from(l->items[i]), '=', &k, &v))
			return err_new(ERR_INVALID_ARGUMENT, "invalid value %s", l->items[i]);
		kv[w->n_labels + i] = (struct oci_kv) { k, v };
	}
	w->labels = kv;
	w->n_labels += l->n;
	return NULL;
}

static void set_rootless(struct config_worker *w, const struct daemon_flags *f, bool own_set,
			 bool own)
{
	if (f->rootless_set)
		w->rootless = f->rootless;
	if (own_set)
		w->rootless = own;
}

static struct err *apply_containerd(struct arena *a, const struct daemon_flags *f,
				    struct config_worker *w)
{
	if (f->containerd_worker)
		TRY(apply_enabled(f->containerd_worker, w));
	set_if(&w->address, f->ctd_address);
	if (f->ctd_labels.n)
		TRY(apply_labels(a, &f->ctd_labels, w));
	if (f->ctd_platforms.n)
		w->platforms = to_strs(a, &f->ctd_platforms);
	set_if(&w->namespace, f->ctd_namespace);
	set_if(&w->runtime, f->ctd_runtime);
	set_if(&w->net_mode, f->ctd_net);
	set_if(&w->cni_config_path, f->ctd_cni_config);
	set_if(&w->cni_binary_path, f->ctd_cni_bin);
	if (f->ctd_cni_pool_set)
		w->cni_pool_size = f->ctd_cni_pool;
	set_if(&w->snapshotter, f->ctd_snapshotter);
	set_if(&w->apparmor_profile, f->ctd_apparmor);
	w->selinux |= f->ctd_selinux;
	if (f->ctd_max_parallelism_set)
		w->max_parallelism = f->ctd_max_parallelism;
	set_rootless(w, f, f->ctd_rootless_set, f->ctd_rootless);
	return NULL;
}

struct err *daemon_flags_apply(struct arena *a, const struct daemon_flags *f, struct config *c)
{
	struct config_worker *w = &c->oci;

	set_if(&c->root, f->root);
	set_if(&c->log_format, f->log_format);
	if (f->debug)
		c->log_level = "debug";
	if (f->trace)
		c->log_level = "trace";
	set_if(&c->log_level, f->log_level);
	if (!*c->log_level)
		c->log_level = "info";
	set_if(&c->group, f->group);
	set_if(&c->debug_address, f->debug_addr);
	set_if(&c->tls_cert, f->tls_cert);
	set_if(&c->tls_key, f->tls_key);
	set_if(&c->tls_ca, f->tls_ca);
	set_if(&c->otel_socket, f->otel_socket);
	if (f->addr.n)
		c->addresses = to_strs(a, &f->addr);
	if (f->allow_entitlement.n)
		c->insecure_entitlements = to_strs(a, &f->allow_entitlement);
	c->cdi_disabled |= f->cdi_disabled;
	if (f->cdi_spec_dir.n)
		c->cdi_spec_dirs = to_strs(a, &f->cdi_spec_dir);
	c->proxy_network |= f->proxy_network;
	if (f->oci_worker)
		TRY(apply_enabled(f->oci_worker, w));
	if (f->oci_labels.n)
		TRY(apply_labels(a, &f->oci_labels, w));
	set_if(&w->snapshotter, f->oci_snapshotter);
	set_if(&w->proxy_snapshotter_path, f->oci_proxy_snapshotter);
	if (f->oci_platforms.n)
		w->platforms = to_strs(a, &f->oci_platforms);
	set_if(&w->net_mode, f->oci_net);
	set_if(&w->cni_config_path, f->oci_cni_config);
	set_if(&w->cni_binary_path, f->oci_cni_bin);
	if (f->oci_cni_pool_set)
		w->cni_pool_size = f->oci_cni_pool;
	set_if(&w->binary, f->oci_binary);
	set_if(&w->apparmor_profile, f->oci_apparmor);
	w->selinux |= f->oci_selinux;
	if (f->oci_max_parallelism_set)
		w->max_parallelism = f->oci_max_parallelism;
	set_rootless(w, f, f->oci_rootless_set, f->oci_rootless);
	w->no_process_sandbox |= f->oci_no_process_sandbox;
	return apply_containerd(a, f, &c->containerd);
}

/* "Reserved[,Free[,Maximum]]" in MB. */
static struct err *apply_keepstorage(struct arena *a, const char *flag, const char *root,
				     struct config_worker *w)
{
	struct gc_space s = { .set = true };
	int64_t *to[] = { &s.reserved, &s.min_free, &s.max_used };
	struct str rest = str_from(flag), field;
	size_t i = 0;

	if (!flag)
		return NULL;
	while (str_next(&rest, ',', &field)) {
		if (i >= ARRAY_SIZE(to) || !str_to_i64(field, to[i]))
			return err_new(ERR_INVALID_ARGUMENT,
				       "invalid value %s for --%s-worker-gc-keepstorage", flag,
				       w->name);
		*to[i++] *= 1000000;
	}
	gcpolicy_default(a, &s, gcpolicy_disk_total(root), w);
	return NULL;
}

struct err *daemon_flags_apply_gc(struct arena *a, const struct daemon_flags *f, struct config *c)
{
	if (f->oci_gc_set)
		c->oci.gc = f->oci_gc;
	if (f->ctd_gc_set)
		c->containerd.gc = f->ctd_gc;
	TRY(apply_keepstorage(a, f->oci_gc_keepstorage, c->root, &c->oci));
	return apply_keepstorage(a, f->ctd_gc_keepstorage, c->root, &c->containerd);
}
