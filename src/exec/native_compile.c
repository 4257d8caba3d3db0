#include "exec/native_compile.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/path.h"
#include "sys/cap.h"
#include "sys/mount.h"
#include "sys/userns.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/stat.h>

static struct err *unsupported(const char *what, struct str value)
{
	return err_new(ERR_UNIMPLEMENTED, "%s %.*s is not supported by the native runner", what,
		       STR_ARG(value));
}

static struct str str_of(const json_t *j)
{
	return json_is_string(j) ? str_make(json_string_value(j), json_string_length(j)) : STR_NONE;
}

/* ---- mounts ---- */

static const struct {
	const char *name;
	unsigned set, clear;
} mount_options[] = {
	{ "ro", MOUNT_RDONLY, 0 },
	{ "rw", 0, MOUNT_RDONLY },
	{ "nosuid", MOUNT_NOSUID, 0 },
	{ "suid", 0, MOUNT_NOSUID },
	{ "nodev", MOUNT_NODEV, 0 },
	{ "dev", 0, MOUNT_NODEV },
	{ "noexec", MOUNT_NOEXEC, 0 },
	{ "exec", 0, MOUNT_NOEXEC },
	{ "noatime", MOUNT_NOATIME, 0 },
	/* What mounts are without being told so. */
	{ "relatime", 0, 0 },
	{ "strictatime", 0, 0 },
	{ "nodiratime", 0, 0 },
	{ "bind", 0, 0 },
	{ "private", 0, 0 },
	{ "rprivate", 0, 0 },
	{ "rslave", 0, 0 },
};

struct mount_parts {
	unsigned set, clear;
	bool recursive;
	struct str data[16];
	size_t n_data;
};

static bool take_known(struct str o, struct mount_parts *m)
{
	for (size_t i = 0; i < ARRAY_SIZE(mount_options); i++) {
		if (!str_eq_cstr(o, mount_options[i].name))
			continue;
		m->set = (m->set & ~mount_options[i].clear) | mount_options[i].set;
		m->clear = (m->clear & ~mount_options[i].set) | mount_options[i].clear;
		return true;
	}
	return false;
}

static struct err *parse_options(const json_t *options, struct mount_parts *m)
{
	size_t i;
	json_t *v;

	json_array_foreach(options, i, v)
	{
		struct str o = str_of(v);

		if (str_eq(o, STR("rbind")))
			m->recursive = true;
		else if (take_known(o, m))
			continue;
		else if (m->n_data < ARRAY_SIZE(m->data))
			m->data[m->n_data++] = o;
		else
			return unsupported("mount option", o);
	}
	return NULL;
}

static void put_fs(struct buf *p, struct str dest, struct str type, const struct mount_parts *m)
{
	plan_put_op(p, PLAN_MOUNT);
	plan_put_str(p, dest);
	plan_put_str(p, type);
	plan_put_num(p, m->set);
	plan_put_num(p, m->n_data);
	for (size_t i = 0; i < m->n_data; i++)
		plan_put_str(p, m->data[i]);
}

/* The device nodes that every container has, and links. */
static void put_dev(struct buf *p)
{
	static const struct {
		const char *path;
		unsigned minor;
	} nodes[] = { { "/dev/null", 3 },   { "/dev/zero", 5 },    { "/dev/full", 7 },
		      { "/dev/random", 8 }, { "/dev/urandom", 9 }, { "/dev/tty", 0 } };
	static const char *const links[][2] = {
		{ "/proc/self/fd", "/dev/fd" },       { "/proc/self/fd/0", "/dev/stdin" },
		{ "/proc/self/fd/1", "/dev/stdout" }, { "/proc/self/fd/2", "/dev/stderr" },
		{ "pts/ptmx", "/dev/ptmx" },
	};
	bool userns = userns_inside();

	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
		if (userns) {
			plan_put_op(p, PLAN_BIND);
			plan_put_str(p, str_from(nodes[i].path));
			plan_put_str(p, str_from(nodes[i].path));
			for (int k = 0; k < 3; k++)
				plan_put_num(p, 0);
			continue;
		}
		plan_put_op(p, PLAN_NODE);
		plan_put_str(p, str_from(nodes[i].path));
		plan_put_num(p, S_IFCHR | 0666);
		plan_put_num(p, nodes[i].minor ? 1 : 5);
		plan_put_num(p, nodes[i].minor);
		plan_put_num(p, 0);
		plan_put_num(p, 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		plan_put_op(p, PLAN_LINK);
		plan_put_str(p, str_from(links[i][0]));
		plan_put_str(p, str_from(links[i][1]));
	}
}

static struct err *put_mount(const json_t *j, const struct native_config *c, struct arena *a,
			     struct buf *p)
{
	struct str dest = path_clean(a, json_get_str(j, "destination"));
	struct str type = json_get_str(j, "type"), source = json_get_str(j, "source");
	struct mount_parts m = { 0 };

	TRY(parse_options(json_object_get(j, "options"), &m));
	if (!path_is_abs(dest))
		return err_new(ERR_INVALID_ARGUMENT, "mount destination %.*s is not absolute",
			       STR_ARG(dest));
	if (str_has_prefix(dest, STR("/proc/")))
		return err_new(ERR_INVALID_ARGUMENT,
			       "%.*s cannot be mounted because it is inside /proc", STR_ARG(dest));
	if (str_eq(type, STR("bind")) || !type.len) {
		if (m.n_data)
			return unsupported("mount option", m.data[0]);
		plan_put_op(p, PLAN_BIND);
		plan_put_str(p, dest);
		plan_put_str(p, source);
		plan_put_num(p, m.set);
		plan_put_num(p, m.clear);
		plan_put_num(p, m.recursive);
		return NULL;
	}
	if (str_eq(type, STR("cgroup"))) {
		/* Version 2 by its namespace. */
		if (c->cgroup_ns) {
			put_fs(p, dest, STR("cgroup2"), &m);
		} else if (c->cgroup[0]) {
			plan_put_op(p, PLAN_CGROUP_BINDS);
			plan_put_str(p, dest);
			plan_put_num(p, m.set);
			plan_put_str(p, str_from(c->cgroup));
		}
		return NULL;
	}
	put_fs(p, dest, type, &m);
	if (str_eq(dest, STR("/dev")))
		put_dev(p);
	return NULL;
}

static struct err *put_device(const json_t *d, struct buf *p)
{
	struct str type = json_get_str(d, "type");
	unsigned fmt = str_eq(type, STR("b"))                             ? S_IFBLK
		       : str_eq(type, STR("p"))                           ? S_IFIFO
		       : str_eq(type, STR("c")) || str_eq(type, STR("u")) ? S_IFCHR
									  : 0;

	if (!fmt)
		return unsupported("device type", type);
	plan_put_op(p, PLAN_NODE);
	plan_put_str(p, json_get_str(d, "path"));
	plan_put_num(p, fmt | ((unsigned)json_get_int(d, "fileMode", 0666) & 07777));
	plan_put_num(p, (uint64_t)json_get_int(d, "major", 0));
	plan_put_num(p, (uint64_t)json_get_int(d, "minor", 0));
	plan_put_num(p, (uint64_t)json_get_int(d, "uid", 0));
	plan_put_num(p, (uint64_t)json_get_int(d, "gid", 0));
	return NULL;
}

static void put_paths(const json_t *paths, enum plan_op op, struct buf *p)
{
	size_t i;
	json_t *v;

	json_array_foreach(paths, i, v)
	{
		plan_put_op(p, op);
		plan_put_str(p, str_of(v));
	}
}

/* ---- the process ---- */

static const struct {
	const char *name;
	int resource;
} rlimits[] = {
	{ "RLIMIT_AS", RLIMIT_AS },
	{ "RLIMIT_CORE", RLIMIT_CORE },
	{ "RLIMIT_CPU", RLIMIT_CPU },
	{ "RLIMIT_DATA", RLIMIT_DATA },
	{ "RLIMIT_FSIZE", RLIMIT_FSIZE },
	{ "RLIMIT_LOCKS", RLIMIT_LOCKS },
	{ "RLIMIT_MEMLOCK", RLIMIT_MEMLOCK },
	{ "RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE },
	{ "RLIMIT_NICE", RLIMIT_NICE },
	{ "RLIMIT_NOFILE", RLIMIT_NOFILE },
	{ "RLIMIT_NPROC", RLIMIT_NPROC },
	{ "RLIMIT_RSS", RLIMIT_RSS },
	{ "RLIMIT_RTPRIO", RLIMIT_RTPRIO },
	{ "RLIMIT_RTTIME", RLIMIT_RTTIME },
	{ "RLIMIT_SIGPENDING", RLIMIT_SIGPENDING },
	{ "RLIMIT_STACK", RLIMIT_STACK },
};

static struct err *put_rlimits(const json_t *limits, struct buf *p)
{
	size_t i;
	json_t *v;

	json_array_foreach(limits, i, v)
	{
		struct str type = json_get_str(v, "type");
		size_t k = 0;

		while (k < ARRAY_SIZE(rlimits) && !str_eq_cstr(type, rlimits[k].name))
			k++;
		if (k == ARRAY_SIZE(rlimits))
			return err_new(ERR_INVALID_ARGUMENT, "invalid rlimit type: %.*s",
				       STR_ARG(type));
		plan_put_op(p, PLAN_RLIMIT);
		plan_put_num(p, (uint64_t)rlimits[k].resource);
		/* No limit is -1, larger than what the reader of JSON has. */
		plan_put_num(p, (uint64_t)json_get_int(v, "soft", -1));
		plan_put_num(p, (uint64_t)json_get_int(v, "hard", -1));
	}
	return NULL;
}

static struct err *cap_set(const json_t *caps, const char *set, uint64_t *ret)
{
	size_t i;
	json_t *v;

	*ret = 0;
	json_array_foreach(json_object_get(caps, set), i, v)
	{
		unsigned n = 0;

		while (n < CAP_COUNT && !(cap_name(n) && str_eq_cstr(str_of(v), cap_name(n))))
			n++;
		if (n == CAP_COUNT)
			return err_new(ERR_INVALID_ARGUMENT, "unknown capability %.*s",
				       STR_ARG(str_of(v)));
		*ret |= CAP_BIT(n);
	}
	return NULL;
}

static struct err *put_caps(const json_t *caps, struct buf *p)
{
	static const char *const sets[] = { "bounding", "effective", "permitted", "inheritable",
					    "ambient" };

	plan_put_op(p, PLAN_CAPS);
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		uint64_t v;

		TRY(cap_set(caps, sets[i], &v));
		plan_put_num(p, v);
	}
	return NULL;
}

static void put_ids(const json_t *user, struct buf *p)
{
	const json_t *groups = json_object_get(user, "additionalGids");
	size_t i;
	json_t *v;

	plan_put_op(p, PLAN_IDS);
	plan_put_num(p, (uint64_t)json_get_int(user, "uid", 0));
	plan_put_num(p, (uint64_t)json_get_int(user, "gid", 0));
	plan_put_num(p, json_array_size(groups));
	json_array_foreach(groups, i, v) plan_put_num(p, (uint64_t)json_integer_value(v));
}

static void put_strs(const json_t *list, struct buf *p)
{
	size_t i;
	json_t *v;

	plan_put_num(p, json_array_size(list));
	json_array_foreach(list, i, v) plan_put_str(p, str_of(v));
}

static struct err *put_filter(struct str filter, bool no_new_privs, struct buf *p)
{
	if (no_new_privs)
		plan_put_op(p, PLAN_NO_NEW_PRIVS);
	if (!filter.len)
		return NULL;
	plan_put_op(p, PLAN_SECCOMP);
	plan_put_str(p, filter);
	return NULL;
}

/* The order matters: without no_new_privs a filter takes CAP_SYS_ADMIN, so it comes before the
 * capabilities go; it allows what is left to do. */
struct err *native_compile_process(const json_t *process, struct str filter, struct arena *a,
				   struct buf *p)
{
	struct str apparmor = json_get_str(process, "apparmorProfile");

	if (!json_array_size(json_object_get(process, "args")) ||
	    !str_of(json_array_get(json_object_get(process, "args"), 0)).len)
		return err_new(ERR_INVALID_ARGUMENT,
			       "no process arguments: args must not be empty");
	TRY(put_rlimits(json_object_get(process, "rlimits"), p));
	if (apparmor.len) {
		plan_put_op(p, PLAN_APPARMOR);
		plan_put_str(p, apparmor);
	}
	TRY(put_filter(filter, json_get_bool(process, "noNewPrivileges", false), p));
	/* As root: the user may not be allowed to go there, and is put there all the same. */
	plan_put_op(p, PLAN_CWD);
	plan_put_str(p, json_get_str(process, "cwd"));
	put_ids(json_object_get(process, "user"), p);
	TRY(put_caps(json_object_get(process, "capabilities"), p));
	plan_put_op(p, PLAN_EXEC);
	put_strs(json_object_get(process, "args"), p);
	put_strs(json_object_get(process, "env"), p);
	return buf_check(p, "plan of a process");
}

/* ---- all of it ---- */

static struct err *parse_namespaces(const json_t *list, struct arena *a, struct native_config *c)
{
	size_t i;
	json_t *v;

	json_array_foreach(list, i, v)
	{
		struct str type = json_get_str(v, "type"), path = json_get_str(v, "path");

		if (str_eq(type, STR("network"))) {
			c->new_net = !path.len;
			c->netns = path.len ? str_cstr(a, path) : NULL;
		} else if (path.len) {
			return unsupported("path of namespace", type);
		} else if (str_eq(type, STR("pid"))) {
			c->new_pid = true;
		} else if (str_eq(type, STR("cgroup"))) {
			c->cgroup_ns = true;
		} else if (!str_eq(type, STR("mount")) && !str_eq(type, STR("ipc")) &&
			   !str_eq(type, STR("uts"))) {
			return unsupported("namespace", type);
		}
	}
	return NULL;
}

static struct err *put_mounts(const json_t *config, const struct native_config *c, struct arena *a,
			      struct buf *p)
{
	const json_t *section = json_object_get(config, "linux");
	size_t i;
	json_t *v;

	json_array_foreach(json_object_get(config, "mounts"), i, v) TRY(put_mount(v, c, a, p));
	json_array_foreach(json_object_get(section, "devices"), i, v) TRY(put_device(v, p));
	return NULL;
}

struct err *native_compile(const json_t *config, struct str filter, struct arena *a,
			   struct native_config *ret, struct buf *p)
{
	const json_t *section = json_object_get(config, "linux");
	const json_t *root = json_object_get(config, "root");
	const json_t *process = json_object_get(config, "process");
	struct native_config c = {
		.tty = json_get_bool(process, "terminal", false),
		.cgroup = str_cstr(a, json_get_str(section, "cgroupsPath")),
	};

	if (json_object_size(json_object_get(config, "hooks")))
		return unsupported("section", STR("hooks"));
	TRY(parse_namespaces(json_object_get(section, "namespaces"), a, &c));
	if (c.cgroup_ns)
		plan_put_op(p, PLAN_CGROUP_NS);
	if (c.new_net)
		plan_put_op(p, PLAN_LOOPBACK);
	plan_put_op(p, PLAN_ROOT);
	plan_put_str(p, json_get_str(root, "path"));
	TRY(put_mounts(config, &c, a, p));
	plan_put_op(p, PLAN_PIVOT);
	if (c.tty) {
		plan_put_op(p, PLAN_TERMINAL);
		plan_put_num(p, 1);
	}
	put_paths(json_object_get(section, "readonlyPaths"), PLAN_READONLY, p);
	put_paths(json_object_get(section, "maskedPaths"), PLAN_MASK, p);
	if (json_get_bool(root, "readonly", false))
		plan_put_op(p, PLAN_READONLY_ROOT);
	if (json_get_str(config, "hostname").len) {
		plan_put_op(p, PLAN_HOSTNAME);
		plan_put_str(p, json_get_str(config, "hostname"));
	}
	TRY(native_compile_process(process, filter, a, p));
	*ret = c;
	return NULL;
}
