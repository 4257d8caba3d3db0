/* containerEdits of devices as changes of a step. */
#include "exec/cdi.h"

#include "base/limits.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

struct editor {
	struct arena *a;
	const char *device; /* for errors */
	VEC(struct str) env;
	VEC(struct exec_device_node) nodes;
	VEC(struct exec_edit_mount) mounts;
	VEC(uint32_t) gids;
	VEC(const json_t *) hooks;
	const json_t *intel_rdt;
};

#define INVALID(ed, ...) err_wrap(err_new(ERR_INVALID_ARGUMENT, __VA_ARGS__), "%s", (ed)->device)

static struct err *add_env(struct editor *ed, const json_t *list)
{
	const json_t *v;
	size_t i;

	json_array_foreach(list, i, v)
	{
		struct str s = str_from(json_string_value(v));

		if (str_find(s, '=') <= 0)
			return INVALID(ed, "invalid environment variable \"%.*s\"", STR_ARG(s));
		vec_push(&ed->env, s);
	}
	return NULL;
}

static bool is_access(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!strchr("rwm", s.ptr[i]))
			return false;
	return true;
}

/* What the file doesn't say is as the machine has it. */
static struct err *look_up_node(struct editor *ed, struct str path, struct exec_device_node *n)
{
	const char *p = str_cstr(ed->a, path);
	struct stat st;
	char type;

	if (n->type && (n->major_nr || n->type == 'p'))
		return NULL;
	if (stat(p, &st) < 0)
		return err_wrap(err_errno(errno, "stat %s", p), "%s", ed->device);
	if (S_ISBLK(st.st_mode))
		type = 'b';
	else if (S_ISCHR(st.st_mode))
		type = 'c';
	else if (S_ISFIFO(st.st_mode))
		type = 'p';
	else
		return INVALID(ed, "%s is not a device node", p);
	if (n->type && n->type != type && !(n->type == 'u' && type == 'c'))
		return INVALID(ed, "\"%s\" has type '%c', not '%c'", p, type, n->type);
	if (!n->type)
		n->type = type;
	if (!n->major_nr && n->type != 'p') {
		n->major_nr = major(st.st_rdev);
		n->minor_nr = minor(st.st_rdev);
	}
	return NULL;
}

static struct err *add_node(struct editor *ed, const json_t *v)
{
	struct str type = json_get_str(v, "type"), host = json_get_str(v, "hostPath");
	struct exec_device_node n = {
		.path = json_get_str(v, "path"),
		.access = json_get_str(v, "permissions"),
		.major_nr = json_get_int(v, "major", 0),
		.minor_nr = json_get_int(v, "minor", 0),
		.mode = json_get_int(v, "fileMode", -1),
		.uid = json_get_int(v, "uid", -1),
		.gid = json_get_int(v, "gid", -1),
	};

	if (!n.path.len || n.path.ptr[0] != '/')
		return INVALID(ed, "invalid device path \"%.*s\"", STR_ARG(n.path));
	if (type.len > 1 || (type.len && !strchr("bcup", type.ptr[0])))
		return INVALID(ed, "device \"%.*s\": invalid type \"%.*s\"", STR_ARG(n.path),
			       STR_ARG(type));
	n.type = type.len ? type.ptr[0] : '\0';
	if (!n.access.len)
		n.access = STR("rwm");
	else if (str_eq_cstr(n.access, "none"))
		n.access = STR_NONE;
	if (!is_access(n.access))
		return INVALID(ed, "device \"%.*s\": invalid permissions \"%.*s\"", STR_ARG(n.path),
			       STR_ARG(n.access));
	TRY(look_up_node(ed, host.len ? host : n.path, &n));
	vec_push(&ed->nodes, n);
	return NULL;
}

static struct err *add_mount(struct editor *ed, const json_t *v)
{
	const json_t *options = json_object_get(v, "options"), *o;
	struct exec_edit_mount m = {
		.dest = json_get_str(v, "containerPath"),
		.source = json_get_str(v, "hostPath"),
		.type = json_get_str(v, "type"),
	};
	size_t i;

	if (!m.source.len || !m.dest.len || m.dest.ptr[0] != '/')
		return INVALID(ed, "invalid mount of \"%.*s\" at \"%.*s\"", STR_ARG(m.source),
			       STR_ARG(m.dest));
	if (json_array_size(options) > EXEC_EDIT_OPTIONS)
		return INVALID(ed, "mount %.*s: too many options", STR_ARG(m.dest));
	json_array_foreach(options, i, o)
	{
		const char *s = json_string_value(o);

		if (!s)
			return INVALID(ed, "mount %.*s: an option is not a text", STR_ARG(m.dest));
		m.options[i] = s;
	}
	if (!m.type.len)
		m.type = STR("bind");
	vec_push(&ed->mounts, m);
	return NULL;
}

static struct err *add_hook(struct editor *ed, const json_t *v)
{
	static const char *const known[] = { "prestart",       "createRuntime", "createContainer",
					     "startContainer", "poststart",     "poststop" };
	struct str name = json_get_str(v, "hookName");

	if (!json_get_str(v, "path").len)
		return INVALID(ed, "invalid hook \"%.*s\" with empty path", STR_ARG(name));
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (str_eq_cstr(name, known[i])) {
			vec_push(&ed->hooks, v);
			return NULL;
		}
	}
	return INVALID(ed, "invalid hook name \"%.*s\"", STR_ARG(name));
}

static struct err *apply(struct editor *ed, const json_t *edits)
{
	const json_t *nodes = json_object_get(edits, "deviceNodes");
	const json_t *mounts = json_object_get(edits, "mounts");
	const json_t *hooks = json_object_get(edits, "hooks");
	const json_t *gids = json_object_get(edits, "additionalGids");
	const json_t *rdt = json_object_get(edits, "intelRdt");
	const json_t *v;
	size_t i;

	TRY(add_env(ed, json_object_get(edits, "env")));
	json_array_foreach(nodes, i, v) TRY(add_node(ed, v));
	if (json_array_size(json_object_get(edits, "netDevices")))
		return err_wrap(err_new(ERR_UNIMPLEMENTED, "network devices are not supported"),
				"%s", ed->device);
	json_array_foreach(mounts, i, v) TRY(add_mount(ed, v));
	json_array_foreach(hooks, i, v) TRY(add_hook(ed, v));
	json_array_foreach(gids, i,
			   v) if (json_integer_value(v) > 0 && json_integer_value(v) <= UINT32_MAX)
		vec_push(&ed->gids, (uint32_t)json_integer_value(v));
	if (rdt)
		ed->intel_rdt = rdt;
	return NULL;
}

static struct err *apply_all(struct editor *ed, const struct cdi_found *f)
{
	for (size_t i = 0; i < f->list.len; i++) {
		const struct cdi_device *dev = f->list.items[i];
		bool again = false;

		ed->device = arena_printf(ed->a, "CDI device injection failed: %s", dev->name);
		for (size_t k = 0; k < i; k++)
			again = again || f->list.items[k]->file_edits == dev->file_edits;
		/* What is the whole file's comes once, with its first device. */
		if (dev->file_edits && !again)
			TRY(apply(ed, dev->file_edits));
		TRY(apply(ed, dev->edits));
	}
	return NULL;
}

#define KEEP(ed, v) ((v).len ? arena_dup((ed)->a, (v).items, (v).len * sizeof(*(v).items)) : NULL)

struct err *cdi_edits(const struct cdi_found *f, struct arena *a, const struct exec_edits **ret)
{
	struct editor ed = { .a = a };
	struct err *e = apply_all(&ed, f);
	struct exec_edits *out = ARENA_NEW(a, struct exec_edits);

	*out = (struct exec_edits) {
		.env = KEEP(&ed, ed.env),
		.n_env = ed.env.len,
		.nodes = KEEP(&ed, ed.nodes),
		.n_nodes = ed.nodes.len,
		.mounts = KEEP(&ed, ed.mounts),
		.n_mounts = ed.mounts.len,
		.gids = KEEP(&ed, ed.gids),
		.n_gids = ed.gids.len,
		.hooks = KEEP(&ed, ed.hooks),
		.n_hooks = ed.hooks.len,
		.intel_rdt = ed.intel_rdt,
	};
	vec_fini(&ed.env);
	vec_fini(&ed.nodes);
	vec_fini(&ed.mounts);
	vec_fini(&ed.gids);
	vec_fini(&ed.hooks);
	if (!e)
		*ret = out;
	return e;
}
