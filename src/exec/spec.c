#include "exec/spec.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/vec.h"
#include "exec/devices.h"
#include "sys/cap.h"

#include <ctype.h>
#include <sys/statvfs.h>

/* A version that runc and crun of any age take. */
#define OCI_VERSION "1.0.2"

static const char *const default_caps[] = {
	"CAP_CHOWN",   "CAP_DAC_OVERRIDE", "CAP_FSETID",     "CAP_FOWNER",           "CAP_MKNOD",
	"CAP_NET_RAW", "CAP_SETGID",       "CAP_SETUID",     "CAP_SETFCAP",          "CAP_SETPCAP",
	"CAP_KILL",    "CAP_AUDIT_WRITE",  "CAP_SYS_CHROOT", "CAP_NET_BIND_SERVICE",
};

static const char *const masked_paths[] = {
	"/proc/acpi",
	"/proc/asound",
	"/proc/interrupts",
	"/proc/kcore",
	"/proc/keys",
	"/proc/latency_stats",
	"/proc/timer_list",
	"/proc/timer_stats",
	"/proc/sched_debug",
	"/sys/firmware",
	"/sys/devices/virtual/powercap",
	"/proc/scsi",
};

static const char *const readonly_paths[] = {
	"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
};

static void write_strs(struct json_out *j, struct str key, const char *const *s, size_t n)
{
	json_key(j, key);
	json_arr_begin(j);
	for (size_t i = 0; i < n && s[i]; i++)
		json_str(j, str_from(s[i]));
	json_arr_end(j);
}

/* All we have ourselves: a runtime refuses what it can't give. */
static void write_own_caps(struct json_out *j, struct str key)
{
	uint64_t caps = cap_bounding() & cap_effective();

	json_key(j, key);
	json_arr_begin(j);
	for (unsigned i = 0; i < CAP_COUNT; i++)
		if ((caps & CAP_BIT(i)) && cap_name(i))
			json_str(j, str_from(cap_name(i)));
	json_arr_end(j);
}

static void write_caps(struct json_out *j, bool insecure)
{
	static const char *const sets[] = { "bounding", "effective", "permitted", "inheritable",
					    "ambient" };
	size_t n = insecure ? 5 : 3;

	json_key(j, STR("capabilities"));
	json_obj_begin(j);
	for (size_t i = 0; i < n; i++) {
		if (insecure)
			write_own_caps(j, str_from(sets[i]));
		else
			write_strs(j, str_from(sets[i]), default_caps, ARRAY_SIZE(default_caps));
	}
	json_obj_end(j);
}

static bool has_gid(const struct exec_user *u, const struct exec_edits *ed, size_t n, uint32_t gid)
{
	bool has = gid == u->gid;

	for (size_t i = 0; i < u->n_groups; i++)
		has = has || u->groups[i] == gid;
	for (size_t i = 0; i < n; i++)
		has = has || ed->gids[i] == gid;
	return has;
}

static void write_user(struct json_out *j, const struct exec_user *u, const struct exec_edits *ed)
{
	json_key(j, STR("user"));
	json_obj_begin(j);
	json_kint(j, "uid", u->uid);
	json_kint(j, "gid", u->gid);
	/* The primary group is one of them, as login programs set it. */
	json_key(j, STR("additionalGids"));
	json_arr_begin(j);
	json_int(j, u->gid);
	for (size_t i = 0; i < u->n_groups; i++)
		if (u->groups[i] != u->gid)
			json_int(j, u->groups[i]);
	for (size_t i = 0; ed && i < ed->n_gids; i++)
		if (!has_gid(u, ed, i, ed->gids[i]))
			json_int(j, ed->gids[i]);
	json_arr_end(j);
	json_obj_end(j);
}

static void write_rlimits(struct json_out *j, const struct exec_spec *x)
{
	if (!x->n_ulimits)
		return;
	json_key(j, STR("rlimits"));
	json_arr_begin(j);
	for (size_t i = 0; i < x->n_ulimits; i++) {
		const struct exec_ulimit *l = &x->ulimits[i];
		SCOPED_BUF(name, 64);

		buf_add_cstr(&name, "RLIMIT_");
		for (size_t k = 0; k < l->name.len; k++)
			buf_add_char(&name, (char)toupper((unsigned char)l->name.ptr[k]));
		json_obj_begin(j);
		json_kstr(j, "type", buf_str(&name));
		/* -1 is no limit: the largest unsigned number. */
		json_key(j, STR("hard"));
		json_uint(j, (uint64_t)l->hard);
		json_key(j, STR("soft"));
		json_uint(j, (uint64_t)l->soft);
		json_obj_end(j);
	}
	json_arr_end(j);
}

/* Where a traced program sends its spans; a step may say otherwise. */
static void write_trace_env(struct json_out *j, const struct exec_process *p)
{
	static const struct exec_kv vars[] = {
		{ STR("OTEL_TRACES_EXPORTER="), STR("otlp") },
		{ STR("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="), STR("unix:///dev/otel-grpc.sock") },
		{ STR("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL="), STR("grpc") },
	};

	for (size_t i = 0; i < ARRAY_SIZE(vars); i++) {
		SCOPED_BUF(b, 256);
		bool set = false;

		for (size_t k = 0; k < p->n_env; k++)
			set = set || str_has_prefix(p->env[k], vars[i].key);
		if (set)
			continue;
		buf_add_str(&b, vars[i].key);
		buf_add_str(&b, vars[i].value);
		json_str(j, buf_str(&b));
	}
}

static struct str env_name(struct str entry)
{
	ptrdiff_t at = str_find(entry, '=');

	return at < 0 ? entry : str_sub(entry, 0, (size_t)at);
}

/* The last one of that name; NULL if there is none. */
static const struct str *env_find(const struct str *v, size_t n, struct str entry)
{
	while (n-- > 0)
		if (str_eq(env_name(v[n]), env_name(entry)))
			return &v[n];
	return NULL;
}

/* The proxy's variables go over those of devices, and these over the step's own. */
static void write_env(struct json_out *j, const struct spec_in *in, const struct exec_process *p)
{
	const struct exec_edits *ed = in->exec->edits;
	size_t n = ed ? ed->n_env : 0;

	for (size_t i = 0; i < p->n_env; i++)
		if (!env_find(in->env, in->n_env, p->env[i]) &&
		    !(n && env_find(ed->env, n, p->env[i])))
			json_str(j, p->env[i]);
	for (size_t i = 0; i < n; i++)
		if (!env_find(in->env, in->n_env, ed->env[i]) &&
		    env_find(ed->env, n, ed->env[i]) == &ed->env[i])
			json_str(j, ed->env[i]);
	for (size_t i = 0; i < in->n_env; i++)
		json_str(j, in->env[i]);
}

static void write_process(struct json_out *j, const struct spec_in *in,
			  const struct exec_process *p)
{
	json_obj_begin(j);
	if (p->tty)
		json_kbool(j, "terminal", true);
	write_user(j, in->user, in->exec->edits);
	json_key(j, STR("args"));
	json_arr_begin(j);
	for (size_t i = 0; i < p->n_args; i++)
		json_str(j, p->args[i]);
	json_arr_end(j);
	json_key(j, STR("env"));
	json_arr_begin(j);
	write_env(j, in, p);
	if (in->traced)
		write_trace_env(j, p);
	json_arr_end(j);
	json_kstr(j, "cwd", p->cwd.len ? p->cwd : STR("/"));
	write_caps(j, in->exec->insecure);
	write_rlimits(j, in->exec);
	if (in->apparmor.len && !in->exec->insecure)
		json_kstr(j, "apparmorProfile", in->apparmor);
	json_obj_end(j);
}

void spec_bind_options(struct spec_mount *m, bool userns, bool readonly, bool nosuid, bool nodev,
		       bool noexec)
{
	SCOPED_ARENA(a);
	struct statvfs st;
	unsigned long on = 0;
	size_t n = 0;

	if (userns && statvfs(str_cstr(&a, m->source), &st) == 0)
		on = st.f_flag;
	m->type = STR("bind");
	m->options[n++] = "rbind";
	m->options[n++] = readonly || (on & ST_RDONLY) ? "ro" : "rw";
	if (nosuid || (on & ST_NOSUID))
		m->options[n++] = "nosuid";
	if (nodev || (on & ST_NODEV))
		m->options[n++] = "nodev";
	if (noexec || (on & ST_NOEXEC))
		m->options[n++] = "noexec";
	if (on & ST_NOATIME)
		m->options[n++] = "noatime";
	if (on & ST_RELATIME)
		m->options[n++] = "relatime";
	if (on & ST_NODIRATIME)
		m->options[n++] = "nodiratime";
	m->options[n] = NULL;
}

static void write_mount(struct json_out *j, const struct spec_mount *m)
{
	json_obj_begin(j);
	json_kstr(j, "destination", m->dest);
	json_kstr(j, "type", m->type);
	json_kstr(j, "source", m->source);
	write_strs(j, STR("options"), m->options, ARRAY_SIZE(m->options));
	json_obj_end(j);
}

/* A later one at the same place takes the earlier one's turn. */
static void put_mount(struct spec_mount *v, size_t *n, const struct spec_mount *m)
{
	for (size_t i = 0; i < *n; i++) {
		if (str_eq(v[i].dest, m->dest)) {
			v[i] = *m;
			return;
		}
	}
	v[(*n)++] = *m;
}

static void write_mounts(struct json_out *j, const struct spec_in *in)
{
	const char *sys = in->exec->insecure ? "rw" : "ro";
	const struct spec_mount builtin[] = {
		{ STR("/proc"), STR("proc"), STR("proc"), { "nosuid", "noexec", "nodev" } },
		{ STR("/dev"),
		  STR("tmpfs"),
		  STR("tmpfs"),
		  { "nosuid", "strictatime", "mode=755", "size=65536k" } },
		{ STR("/dev/pts"),
		  STR("devpts"),
		  STR("devpts"),
		  { "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620",
		    in->rootless ? NULL : "gid=5" } },
		{ STR("/dev/shm"),
		  STR("tmpfs"),
		  STR("shm"),
		  { "nosuid", "noexec", "nodev", "mode=1777", "size=65536k" } },
		{ STR("/dev/mqueue"),
		  STR("mqueue"),
		  STR("mqueue"),
		  { "nosuid", "noexec", "nodev" } },
		{ STR("/sys"), STR("sysfs"), STR("sysfs"), { "nosuid", "noexec", "nodev", sys } },
		{ STR("/sys/fs/cgroup"),
		  STR("cgroup"),
		  STR("cgroup"),
		  { sys, "nosuid", "noexec", "nodev" } },
	};
	struct spec_mount *v = mem_calloc(ARRAY_SIZE(builtin) + in->n_mounts, sizeof(*v));
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(builtin); i++)
		put_mount(v, &n, &builtin[i]);
	if (in->host_pid) {
		const struct spec_mount proc = {
			STR("/proc"), STR("bind"), STR("/proc"), { "rbind" }
		};

		put_mount(v, &n, &proc);
	}
	for (size_t i = 0; i < in->n_mounts; i++)
		put_mount(v, &n, &in->mounts[i]);
	json_key(j, STR("mounts"));
	json_arr_begin(j);
	/* Without the rights of the network namespace's owner sysfs can't be mounted. */
	for (size_t i = 0; i < n; i++)
		if (!in->rootless || !str_has_prefix(v[i].dest, STR("/sys")))
			write_mount(j, &v[i]);
	json_arr_end(j);
	free(v);
}

static void write_memory(struct json_out *j, const struct exec_spec *x)
{
	if (!x->memory && !x->memory_swap)
		return;
	json_key(j, STR("memory"));
	json_obj_begin(j);
	if (x->memory)
		json_kint(j, "limit", x->memory);
	if (x->memory_swap)
		json_kint(j, "swap", x->memory_swap);
	json_obj_end(j);
}

static void write_cpu(struct json_out *j, const struct exec_spec *x)
{
	if (!x->cpu_shares && !x->cpu_quota && !x->cpu_period && !x->cpuset_cpus.len &&
	    !x->cpuset_mems.len)
		return;
	json_key(j, STR("cpu"));
	json_obj_begin(j);
	if (x->cpu_shares) {
		json_key(j, STR("shares"));
		json_uint(j, x->cpu_shares);
	}
	if (x->cpu_quota)
		json_kint(j, "quota", x->cpu_quota);
	if (x->cpu_period) {
		json_key(j, STR("period"));
		json_uint(j, x->cpu_period);
	}
	if (x->cpuset_cpus.len)
		json_kstr(j, "cpus", x->cpuset_cpus);
	if (x->cpuset_mems.len)
		json_kstr(j, "mems", x->cpuset_mems);
	json_obj_end(j);
}

static void write_device_rule(struct json_out *j, bool allow, const char *type)
{
	json_obj_begin(j);
	json_kbool(j, "allow", allow);
	if (type)
		json_kstr(j, "type", str_from(type));
	json_kstr(j, "access", STR("rwm"));
	json_obj_end(j);
}

static void write_resources(struct json_out *j, const struct spec_in *in)
{
	json_key(j, STR("resources"));
	json_obj_begin(j);
	json_key(j, STR("devices"));
	json_arr_begin(j);
	if (in->exec->insecure) {
		write_device_rule(j, true, "c");
		write_device_rule(j, true, "b");
	} else {
		write_device_rule(j, false, NULL);
		devices_write_rules(j, in->exec->edits);
	}
	json_arr_end(j);
	write_memory(j, in->exec);
	write_cpu(j, in->exec);
	json_obj_end(j);
}

static void write_namespace(struct json_out *j, const char *type, struct str path)
{
	json_obj_begin(j);
	json_kstr(j, "type", str_from(type));
	if (path.len)
		json_kstr(j, "path", path);
	json_obj_end(j);
}

static void write_namespaces(struct json_out *j, const struct spec_in *in)
{
	json_key(j, STR("namespaces"));
	json_arr_begin(j);
	if (!in->host_pid)
		write_namespace(j, "pid", STR_NONE);
	write_namespace(j, "ipc", STR_NONE);
	write_namespace(j, "uts", STR_NONE);
	write_namespace(j, "mount", STR_NONE);
	if (in->new_netns || in->netns.len)
		write_namespace(j, "network", in->netns);
	if (in->cgroup_ns)
		write_namespace(j, "cgroup", STR_NONE);
	json_arr_end(j);
}

/* With the host's /proc nothing in it can be mounted over. */
static void write_paths(struct json_out *j, struct str key, const char *const *paths, size_t n,
			bool no_proc)
{
	json_key(j, key);
	json_arr_begin(j);
	for (size_t i = 0; i < n; i++)
		if (!no_proc || !str_has_prefix(str_from(paths[i]), STR("/proc/")))
			json_str(j, str_from(paths[i]));
	json_arr_end(j);
}

static void write_linux(struct json_out *j, const struct spec_in *in)
{
	bool insecure = in->exec->insecure;

	json_key(j, STR("linux"));
	json_obj_begin(j);
	if (!in->rootless)
		write_resources(j, in);
	if (in->cgroup.len)
		json_kstr(j, "cgroupsPath", in->cgroup);
	write_namespaces(j, in);
	if (!in->rootless && (insecure || (in->exec->edits && in->exec->edits->n_nodes)))
		devices_write(j, insecure, in->exec->edits, in->user);
	if (in->exec->edits && in->exec->edits->intel_rdt) {
		json_key(j, STR("intelRdt"));
		json_value(j, in->exec->edits->intel_rdt);
	}
	if (insecure) {
		json_obj_end(j);
		return;
	}
	if (in->seccomp->supported) {
		json_key(j, STR("seccomp"));
		seccomp_write(in->seccomp, j);
	}
	write_paths(j, STR("maskedPaths"), masked_paths, ARRAY_SIZE(masked_paths), in->host_pid);
	write_paths(j, STR("readonlyPaths"), readonly_paths, ARRAY_SIZE(readonly_paths),
		    in->host_pid);
	json_obj_end(j);
}

static void write_hook(struct json_out *j, const json_t *h)
{
	static const char *const keys[] = { "path", "args", "env", "timeout" };

	json_obj_begin(j);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const json_t *v = json_object_get(h, keys[i]);

		if (!v)
			continue;
		json_key(j, str_from(keys[i]));
		json_value(j, v);
	}
	json_obj_end(j);
}

static void write_hooks(struct json_out *j, const struct exec_edits *ed)
{
	static const char *const kinds[] = { "prestart",       "createRuntime", "createContainer",
					     "startContainer", "poststart",     "poststop" };

	if (!ed || !ed->n_hooks)
		return;
	json_key(j, STR("hooks"));
	json_obj_begin(j);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		bool any = false;

		for (size_t k = 0; k < ed->n_hooks; k++) {
			if (!str_eq_cstr(json_get_str(ed->hooks[k], "hookName"), kinds[i]))
				continue;
			if (!any) {
				json_key(j, str_from(kinds[i]));
				json_arr_begin(j);
			}
			any = true;
			write_hook(j, ed->hooks[k]);
		}
		if (any)
			json_arr_end(j);
	}
	json_obj_end(j);
}

void spec_write(const struct spec_in *in, struct buf *out)
{
	struct json_out j;

	json_out_init(&j, out, NULL);
	json_obj_begin(&j);
	json_kstr(&j, "ociVersion", STR(OCI_VERSION));
	json_key(&j, STR("process"));
	write_process(&j, in, &in->exec->process);
	json_key(&j, STR("root"));
	json_obj_begin(&j);
	json_kstr(&j, "path", in->root);
	if (in->exec->root_readonly)
		json_kbool(&j, "readonly", true);
	json_obj_end(&j);
	json_kstr(&j, "hostname",
		  in->exec->hostname.len ? in->exec->hostname : STR("buildkitsandbox"));
	write_mounts(&j, in);
	write_linux(&j, in);
	write_hooks(&j, in->exec->edits);
	json_obj_end(&j);
}

void spec_write_process(const struct spec_in *in, const struct exec_process *p, struct buf *out)
{
	struct json_out j;

	json_out_init(&j, out, NULL);
	write_process(&j, in, p);
}
