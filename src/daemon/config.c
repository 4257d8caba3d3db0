#include "daemon/config.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/toml.h"
#include "daemon/flags.h"
#include "daemon/gcpolicy.h"
#include "daemon/rootless.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

/* ---- readers of single keys; a key of the wrong type is an error, as in Go's decoder ---- */

static const struct config_worker oci_defaults = {
	.name = "oci",
	.kind = WORKER_OCI,
	.enabled = true,
	.enabled_auto = true,
	.snapshotter = "auto",
	.gc = true,
	.net_mode = "auto",
	.cni_config_path = "/etc/buildkit/cni.json",
	.cni_binary_path = "/opt/cni/bin",
	.bridge_name = "buildkit0",
	.bridge_subnet = "10.10.0.0/16",
};

static const struct config_worker containerd_defaults = {
	.name = "containerd",
	.kind = WORKER_CONTAINERD,
	.enabled = true,
	.enabled_auto = true,
	.snapshotter = "overlayfs",
	.gc = true,
	.net_mode = "auto",
	.cni_config_path = "/etc/buildkit/cni.json",
	.cni_binary_path = "/opt/cni/bin",
	.bridge_name = "buildkit0",
	.bridge_subnet = "10.10.0.0/16",
	.address = "/run/containerd/containerd.sock",
	.namespace = "buildkit",
	.runtime = "io.containerd.runc.v2",
};

static struct err *wrong_type(const struct toml *t, const char *want)
{
	return err_new(ERR_INVALID_ARGUMENT, "line %d: key %.*s: expected %s", t->line,
		       STR_ARG(t->key), want);
}

static struct err *get_string(struct arena *a, const struct toml *table, const char *key,
			      const char **ret)
{
	const struct toml *t = toml_get(table, key);

	if (!t)
		return NULL;
	if (t->type != TOML_STRING)
		return wrong_type(t, "a string");
	*ret = str_cstr(a, t->string);
	return NULL;
}

static struct err *get_bool(const struct toml *table, const char *key, bool *ret, bool *ret_set)
{
	const struct toml *t = toml_get(table, key);

	if (!t)
		return NULL;
	if (t->type != TOML_BOOL)
		return wrong_type(t, "a boolean");
	*ret = t->boolean;
	if (ret_set)
		*ret_set = true;
	return NULL;
}

static struct err *get_int(const struct toml *table, const char *key, int64_t *ret)
{
	const struct toml *t = toml_get(table, key);

	if (!t)
		return NULL;
	if (t->type != TOML_INT)
		return wrong_type(t, "an integer");
	*ret = t->integer;
	return NULL;
}

static struct err *get_strings(struct arena *a, const struct toml *table, const char *key,
			       struct config_strs *ret)
{
	const struct toml *t = toml_get(table, key);
	size_t n = 0;

	if (!t)
		return NULL;
	if (t->type != TOML_ARRAY)
		return wrong_type(t, "an array of strings");
	for (const struct toml *c = t->child; c; c = c->next)
		n++;
	ret->items = ARENA_NEW_N(a, struct str, n);
	ret->n = 0;
	for (const struct toml *c = t->child; c; c = c->next) {
		if (c->type != TOML_STRING)
			return wrong_type(t, "an array of strings");
		ret->items[ret->n++] = str_dup(a, c->string);
	}
	return NULL;
}

/* A Go duration, or a number of seconds. */
static struct err *get_duration(const struct toml *table, const char *key, int64_t *ret_ns)
{
	const struct toml *t = toml_get(table, key);
	int64_t v;

	if (!t)
		return NULL;
	if (t->type == TOML_INT)
		v = t->integer * NSEC_PER_SEC;
	else if (t->type == TOML_STRING && str_to_i64(t->string, &v))
		v *= NSEC_PER_SEC;
	else if (t->type != TOML_STRING || !clock_parse_duration(t->string, &v))
		return wrong_type(t, "a duration");
	*ret_ns = v;
	return NULL;
}

static struct err *get_size(const struct toml *table, const char *key, uint64_t disk_total,
			    int64_t *ret, bool *ret_set)
{
	const struct toml *t = toml_get(table, key);

	if (!t)
		return NULL;
	if (t->type == TOML_INT)
		*ret = t->integer;
	else if (t->type == TOML_STRING)
		TRYW(config_parse_size(t->string, disk_total, ret), "line %d: key %.*s", t->line,
		     STR_ARG(t->key));
	else
		return wrong_type(t, "a size");
	*ret_set = true;
	return NULL;
}

struct err *config_parse_size(struct str text, uint64_t disk_total, int64_t *ret)
{
	static const struct {
		const char *suffix;
		int shift;
	} units[] = {
		{ "tb", 40 },  { "tib", 40 }, { "t", 40 },   { "gb", 30 }, { "gib", 30 },
		{ "g", 30 },   { "mb", 20 },  { "mib", 20 }, { "m", 20 },  { "kb", 10 },
		{ "kib", 10 }, { "k", 10 },   { "b", 0 },    { "", 0 },
	};
	struct str num = text, unit;
	uint64_t v;
	size_t n = 0;

	while (n < text.len && text.ptr[n] >= '0' && text.ptr[n] <= '9')
		n++;
	num = str_sub(text, 0, n);
	unit = str_trim(str_sub(text, n, text.len));
	if (!str_to_u64(num, &v))
		return err_new(ERR_INVALID_ARGUMENT, "invalid size: '%.*s'", STR_ARG(text));
	if (str_eq_cstr(unit, "%")) {
		if (!disk_total) {
			*ret = INT64_C(2000000000);
			return NULL;
		}
		*ret = (int64_t)((disk_total / 100 * v) >> 30);
		*ret = (*ret + 1) * INT64_C(1000000000);
		return NULL;
	}
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (!str_eq_nocase(unit, str_from(units[i].suffix)))
			continue;
		if (v > (uint64_t)INT64_MAX >> units[i].shift)
			break;
		*ret = (int64_t)(v << units[i].shift);
		return NULL;
	}
	return err_new(ERR_INVALID_ARGUMENT, "invalid size: '%.*s'", STR_ARG(text));
}

/* ---- sections ---- */

static struct err *read_gc(struct arena *a, const struct toml *t, const char *root,
			   struct config_worker *w)
{
	struct gc_space space = { 0 };
	const struct toml *list = toml_get(t, "gcpolicy");
	uint64_t disk = gcpolicy_disk_total(root);
	size_t n = 0;

	TRY(get_bool(t, "gc", &w->gc, NULL));
	TRY(get_size(t, "gckeepstorage", disk, &space.reserved, &space.set));
	TRY(get_size(t, "reservedSpace", disk, &space.reserved, &space.set));
	TRY(get_size(t, "maxUsedSpace", disk, &space.max_used, &space.set));
	TRY(get_size(t, "minFreeSpace", disk, &space.min_free, &space.set));
	if (!list) {
		gcpolicy_default(a, &space, disk, w);
		return NULL;
	}
	for (const struct toml *c = list->child; c; c = c->next)
		n++;
	w->gc_policies = ARENA_NEW_N(a, struct config_gc_policy, n);
	w->n_gc_policies = 0;
	for (const struct toml *c = list->child; c; c = c->next) {
		struct config_gc_policy *p = &w->gc_policies[w->n_gc_policies++];
		bool set = false;

		TRY(get_bool(c, "all", &p->all, NULL));
		TRY(get_strings(a, c, "filters", &p->filters));
		TRY(get_duration(c, "keepDuration", &p->keep_duration_ns));
		TRY(get_size(c, "keepBytes", disk, &p->reserved_space, &set));
		TRY(get_size(c, "reservedSpace", disk, &p->reserved_space, &set));
		TRY(get_size(c, "maxUsedSpace", disk, &p->max_used_space, &set));
		TRY(get_size(c, "minFreeSpace", disk, &p->min_free_space, &set));
	}
	return NULL;
}

static struct err *read_worker(struct arena *a, const struct toml *t, struct config_worker *w)
{
	const struct toml *labels, *runtime;
	bool set = false;

	TRY(get_bool(t, "enabled", &w->enabled, &set));
	if (set)
		w->enabled_auto = false;
	labels = toml_get(t, "labels");
	if (labels && labels->type == TOML_TABLE) {
		size_t n = 0;

		for (const struct toml *l = labels->child; l; l = l->next)
			n++;
		w->labels = ARENA_NEW_N(a, struct oci_kv, n);
		for (const struct toml *l = labels->child; l; l = l->next) {
			if (l->type != TOML_STRING)
				return wrong_type(l, "a string");
			w->labels[w->n_labels++] =
				(struct oci_kv) { str_dup(a, l->key), str_dup(a, l->string) };
		}
	}
	TRY(get_strings(a, t, "platforms", &w->platforms));
	TRY(get_string(a, t, "snapshotter", &w->snapshotter));
	TRY(get_bool(t, "rootless", &w->rootless, NULL));
	TRY(get_bool(t, "noProcessSandbox", &w->no_process_sandbox, NULL));
	TRY(get_string(a, t, "binary", &w->binary));
	TRY(get_string(a, t, "proxySnapshotterPath", &w->proxy_snapshotter_path));
	TRY(get_string(a, t, "defaultCgroupParent", &w->default_cgroup_parent));
	TRY(get_string(a, t, "apparmor-profile", &w->apparmor_profile));
	TRY(get_bool(t, "selinux", &w->selinux, NULL));
	TRY(get_int(t, "max-parallelism", &w->max_parallelism));
	TRY(get_string(a, t, "networkMode", &w->net_mode));
	TRY(get_string(a, t, "cniConfigPath", &w->cni_config_path));
	TRY(get_string(a, t, "cniBinaryPath", &w->cni_binary_path));
	TRY(get_int(t, "cniPoolSize", &w->cni_pool_size));
	TRY(get_string(a, t, "bridgeName", &w->bridge_name));
	TRY(get_string(a, t, "bridgeSubnet", &w->bridge_subnet));
	TRY(get_string(a, t, "address", &w->address));
	TRY(get_string(a, t, "namespace", &w->namespace));
	runtime = toml_get(t, "runtime");
	if (runtime && runtime->type == TOML_TABLE) {
		TRY(get_string(a, runtime, "name", &w->runtime));
		TRY(get_string(a, runtime, "path", &w->runtime_path));
	}
	return NULL;
}

/* Tables with a type; others are not ours, as the original would not read them. */
static struct err *read_more_workers(struct arena *a, const struct toml *t, struct config *c)
{
	size_t n = 0;

	for (const struct toml *w = t->child; w; w = w->next)
		n++;
	c->more = ARENA_NEW_N(a, struct config_worker, n + 1);
	for (const struct toml *w = t->child; w; w = w->next) {
		struct config_worker *to = &c->more[c->n_more];
		const char *type = NULL;

		if (w->type != TOML_TABLE || str_eq_cstr(w->key, "oci") ||
		    str_eq_cstr(w->key, "containerd"))
			continue;
		TRY(get_string(a, w, "type", &type));
		if (!type)
			continue;
		if (strcmp(type, "oci") != 0 && strcmp(type, "containerd") != 0)
			return err_new(ERR_INVALID_ARGUMENT,
				       "line %d: worker %.*s: unknown type \"%s\"", w->line,
				       STR_ARG(w->key), type);
		*to = strcmp(type, "oci") == 0 ? oci_defaults : containerd_defaults;
		to->name = str_cstr(a, w->key);
		to->enabled = true;
		to->enabled_auto = false;
		TRY(read_worker(a, w, to));
		c->n_more++;
	}
	return NULL;
}

const struct config_worker **config_workers(const struct config *c, struct arena *a, size_t *ret_n)
{
	const struct config_worker **all =
		ARENA_NEW_N(a, const struct config_worker *, c->n_more + 2);
	size_t n = 0;

	all[n++] = &c->oci;
	all[n++] = &c->containerd;
	for (size_t i = 0; i < c->n_more; i++)
		all[n++] = &c->more[i];
	*ret_n = n;
	return all;
}

static struct err *get_tristate(const struct toml *t, const char *key, int *ret)
{
	bool v = false, set = false;

	TRY(get_bool(t, key, &v, &set));
	*ret = set ? v : -1;
	return NULL;
}

static struct err *read_registry(struct arena *a, const struct toml *t,
				 struct registry_host_config *h)
{
	struct config_strs s = { 0 };
	const struct toml *pairs;
	size_t n = 0;

	h->host = str_dup(a, t->key);
	TRY(get_strings(a, t, "mirrors", &s));
	h->mirrors = s.items;
	h->n_mirrors = s.n;
	TRY(get_tristate(t, "http", &h->http));
	TRY(get_tristate(t, "insecure", &h->insecure));
	s = (struct config_strs) { 0 };
	TRY(get_strings(a, t, "ca", &s));
	h->ca_files = s.items;
	h->n_ca_files = s.n;
	s = (struct config_strs) { 0 };
	TRY(get_strings(a, t, "tlsconfigdir", &s));
	h->tls_config_dirs = s.items;
	h->n_tls_config_dirs = s.n;
	pairs = toml_get(t, "keypair");
	if (pairs && pairs->type == TOML_ARRAY) {
		struct str *keys, *certs;

		for (const struct toml *p = pairs->child; p; p = p->next)
			n++;
		keys = ARENA_NEW_N(a, struct str, n);
		certs = ARENA_NEW_N(a, struct str, n);
		for (const struct toml *p = pairs->child; p; p = p->next) {
			const char *key = "", *cert = "";

			TRY(get_string(a, p, "key", &key));
			TRY(get_string(a, p, "cert", &cert));
			keys[h->n_keypairs] = str_from(key);
			certs[h->n_keypairs++] = str_from(cert);
		}
		h->key_files = keys;
		h->cert_files = certs;
	}
	return NULL;
}

static struct err *read_registries(struct arena *a, const struct toml *t, struct config *c)
{
	size_t n = 0;

	if (!t || t->type != TOML_TABLE)
		return NULL;
	for (const struct toml *r = t->child; r; r = r->next)
		n++;
	c->registries = ARENA_NEW_N(a, struct registry_host_config, n);
	for (const struct toml *r = t->child; r; r = r->next)
		if (r->type == TOML_TABLE)
			TRY(read_registry(a, r, &c->registries[c->n_registries++]));
	return NULL;
}

void config_warn(struct arena *a, struct config *c, const char *text)
{
	struct str *items = ARENA_NEW_N(a, struct str, c->warnings.n + 1);

	if (c->warnings.n)
		memcpy(items, c->warnings.items, c->warnings.n * sizeof(*items));
	items[c->warnings.n] = str_from(text);
	c->warnings = (struct config_strs) { items, c->warnings.n + 1 };
}

static struct err *read_toml(struct arena *a, const struct toml *t, struct config *c)
{
	const struct toml *s;
	bool debug = false, trace = false;

	TRY(get_bool(t, "debug", &debug, NULL));
	TRY(get_bool(t, "trace", &trace, NULL));
	if (debug || trace)
		c->log_level = trace ? "trace" : "debug";
	TRY(get_string(a, t, "root", &c->root));
	TRY(get_strings(a, t, "insecure-entitlements", &c->insecure_entitlements));
	if ((s = toml_get(t, "log"))) {
		TRY(get_string(a, s, "format", &c->log_format));
		TRY(get_string(a, s, "level", &c->log_level));
	}
	if ((s = toml_get(t, "grpc"))) {
		const struct toml *tls = toml_get(s, "tls");

		TRY(get_strings(a, s, "address", &c->addresses));
		TRY(get_string(a, s, "debugAddress", &c->debug_address));
		TRY(get_int(s, "uid", &c->uid));
		TRY(get_int(s, "gid", &c->gid));
		if (tls) {
			TRY(get_string(a, tls, "cert", &c->tls_cert));
			TRY(get_string(a, tls, "key", &c->tls_key));
			TRY(get_string(a, tls, "ca", &c->tls_ca));
		}
	}
	if ((s = toml_get(t, "otel")))
		TRY(get_string(a, s, "socketPath", &c->otel_socket));
	TRY(get_bool(t, "proxyNetwork", &c->proxy_network, NULL));
	if ((s = toml_get(t, "cdi"))) {
		TRY(get_bool(s, "disabled", &c->cdi_disabled, NULL));
		TRY(get_strings(a, s, "specDirs", &c->cdi_spec_dirs));
		TRY(get_strings(a, s, "autoAllowed", &c->cdi_auto_allowed));
	}
	if ((s = toml_get(t, "history"))) {
		c->history_set = true;
		c->history_max_age_ns = c->history_max_entries = 0;
		TRY(get_duration(s, "maxAge", &c->history_max_age_ns));
		TRY(get_int(s, "maxEntries", &c->history_max_entries));
	}
	if ((s = toml_get(t, "dns"))) {
		TRY(get_strings(a, s, "nameservers", &c->dns_nameservers));
		TRY(get_strings(a, s, "options", &c->dns_options));
		TRY(get_strings(a, s, "searchDomains", &c->dns_search));
	}
	if ((s = toml_get(t, "system"))) {
		TRY(get_int(s, "maxRegistryConcurrency", &c->max_registry_concurrency));
		if (c->max_registry_concurrency <= 0)
			return err_new(ERR_INVALID_ARGUMENT,
				       "maxRegistryConcurrency must be greater than zero; set to "
				       "%lld in the configuration file",
				       (long long)c->max_registry_concurrency);
	}
	if ((s = toml_path(t, "frontend"))) {
		const struct toml *f = toml_get(s, "dockerfile.v0");

		if (f)
			TRY(get_bool(f, "enabled", &c->frontend_dockerfile, NULL));
		f = toml_get(s, "gateway.v0");
		if (f) {
			TRY(get_bool(f, "enabled", &c->frontend_gateway, NULL));
			TRY(get_strings(a, f, "allowedRepositories", &c->gateway_allowed));
		}
	}
	if ((s = toml_path(t, "worker.oci")))
		TRY(read_worker(a, s, &c->oci));
	if ((s = toml_path(t, "worker.containerd")))
		TRY(read_worker(a, s, &c->containerd));
	if ((s = toml_path(t, "worker")))
		TRY(read_more_workers(a, s, c));
	return read_registries(a, toml_get(t, "registry"), c);
}

/* A missing file is an empty configuration. */
static struct err *read_file(const char *path, struct buf *out)
{
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR
			       ? NULL
			       : err_errno(errno, "failed to load config from %s", path);
	for (;;) {
		char *to = buf_reserve(out, 16 * KIB);
		ssize_t n;

		if (!to)
			return buf_check(out, path);
		n = read(fd, to, 16 * KIB);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(errno, "read %s", path);
		if (n == 0)
			return NULL;
		out->len += (size_t)n;
	}
}

static void set_defaults(struct config *c)
{
	static struct str addr[] = { STR("unix:///run/buildkit/buildkitd.sock") };

	*c = (struct config) {
		.root = "/var/lib/buildkit",
		.addresses = { addr, 1 },
		.uid = -1,
		.gid = -1,
		.log_format = "text",
		.log_level = "info",
		.otel_socket = "/run/buildkit/otel-grpc.sock",
		.max_registry_concurrency = 4,
		.frontend_dockerfile = true,
		.frontend_gateway = true,
		.history_max_age_ns = 48 * 3600 * NSEC_PER_SEC,
		.history_max_entries = 50,
		.oci = oci_defaults,
		.containerd = containerd_defaults,
	};
}

struct err *config_load(struct arena *a, int argc, char **argv, struct config *ret)
{
	const char *path = "/etc/buildkit/buildkitd.toml";
	struct daemon_flags f = { 0 };
	SCOPED_BUF(text, LIMIT_TOML_FILE);
	struct toml *root;
	const struct toml *workers;
	struct config c;

	set_defaults(&c);
	TRY(daemon_flags_parse(a, argc, argv, &f));
	if (f.show_version || f.show_help) {
		c.show_version = f.show_version;
		c.show_help = f.show_help;
		*ret = c;
		return NULL;
	}
	TRY(rootless_defaults(a, &c, &path));
	TRY(read_file(f.config_path ? f.config_path : path, &text));
	TRYW(toml_parse(a, buf_str(&text), &root), "failed to parse config");
	TRYW(read_toml(a, root, &c), "failed to parse config");
	TRY(daemon_flags_apply(a, &f, &c));
	TRY(rootless_check(a, &c, f.oci_rootless_set || f.ctd_rootless_set));
	/* Sizes in percent are of the disk under the final root. */
	workers = toml_get(root, "worker");
	TRYW(read_gc(a, toml_get(workers, "oci"), c.root, &c.oci), "failed to parse config");
	TRYW(read_gc(a, toml_get(workers, "containerd"), c.root, &c.containerd),
	     "failed to parse config");
	for (size_t i = 0; i < c.n_more; i++)
		TRYW(read_gc(a, toml_get(workers, c.more[i].name), c.root, &c.more[i]),
		     "failed to parse config");
	TRY(daemon_flags_apply_gc(a, &f, &c));
	for (size_t i = 0; i < c.insecure_entitlements.n; i++) {
		struct str e = c.insecure_entitlements.items[i];

		if (!str_eq_cstr(e, "security.insecure") && !str_eq_cstr(e, "network.host") &&
		    !str_eq_cstr(e, "device"))
			return err_new(ERR_INVALID_ARGUMENT, "invalid entitlement : %.*s",
				       STR_ARG(e));
	}
	if (f.trace)
		config_warn(a, &c, "--trace option is deprecated; use --log-level=trace instead");
	*ret = c;
	return NULL;
}
