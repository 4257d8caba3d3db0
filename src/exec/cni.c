#include "exec/cni.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "sys/file.h"
#include "sys/proc.h"

#include <string.h>
#include <unistd.h>

#define LIMIT_CNI_CONFIG (1 * MIB)
#define LIMIT_CNI_RESULT (4 * MIB)
#define UNDO_TIMEOUT (60 * NSEC_PER_SEC)

struct cni {
	struct arena arena;
	json_t *list; /* the whole; owner of plugins */
	struct str name, version;
	json_t *plugins;
	const char **dirs;
};

void cni_free(struct cni *c)
{
	if (!c)
		return;
	json_decref(c->list);
	arena_fini(&c->arena);
	free(c);
}

static void cni_freep(struct cni **c)
{
	cni_free(*c);
}

/* A single plugin as a list of one. */
static void wrap_single(struct cni *c)
{
	json_t *list = json_object(), *plugins = json_array();
	static const char *const shared[] = { "name", "cniVersion" };

	for (size_t i = 0; i < ARRAY_SIZE(shared); i++) {
		json_t *v = json_object_get(c->list, shared[i]);

		if (v)
			(void)json_object_set(list, shared[i], v);
	}
	(void)json_array_append_new(plugins, c->list);
	(void)json_object_set_new(list, "plugins", plugins);
	c->list = list;
}

static struct err *check(struct cni *c, const char *what)
{
	size_t i;
	json_t *p;

	c->name = json_get_str(c->list, "name");
	c->version = json_get_str(c->list, "cniVersion");
	if (!c->version.len)
		c->version = STR("0.1.0");
	if (!c->name.len)
		return err_new(ERR_INVALID_ARGUMENT, "%s: network has no name", what);
	c->plugins = json_object_get(c->list, "plugins");
	if (!json_is_array(c->plugins) || !json_array_size(c->plugins))
		return err_new(ERR_INVALID_ARGUMENT, "%s: no plugins in list", what);
	json_array_foreach(c->plugins, i, p)
	{
		struct str type = json_get_str(p, "type");

		/* It becomes part of a path. */
		if (!type.len || memchr(type.ptr, '/', type.len))
			return err_new(ERR_INVALID_ARGUMENT, "%s: plugin %zu has no valid type",
				       what, i);
	}
	return NULL;
}

struct err *cni_parse(struct str text, bool single, const char *what, const char *const *dirs,
		      struct cni **ret)
{
	CLEANUP(cni_freep) struct cni *c = NEW(struct cni);
	size_t n = 0;

	TRY(json_read(text, what, &c->list));
	if (!json_is_object(c->list))
		return err_new(ERR_INVALID_ARGUMENT, "%s: not a JSON object", what);
	if (single)
		wrap_single(c);
	TRY(check(c, what));
	while (dirs[n])
		n++;
	c->dirs = ARENA_NEW_N(&c->arena, const char *, n + 1);
	for (size_t i = 0; i < n; i++)
		c->dirs[i] = arena_strdup(&c->arena, dirs[i]);
	*ret = TAKE_PTR(c);
	return NULL;
}

struct err *cni_load(const char *path, const char *const *dirs, struct cni **ret)
{
	SCOPED_ARENA(a);
	struct str text;

	TRYW(file_read_str(AT_FDCWD, path, &a, LIMIT_CNI_CONFIG, &text),
	     "failed to read cni config \"%s\"", path);
	return cni_parse(text, !str_has_suffix(str_from(path), STR(".conflist")), path, dirs, ret);
}

/* ---- calling a plugin ---- */

struct call {
	const struct cni *c;
	const struct cni_attachment *at;
	const char *command; /* ADD, DEL */
	struct str previous; /* result so far */
	struct arena *a;
};

static struct err *find_plugin(const struct call *k, struct str type, const char **ret)
{
	SCOPED_BUF(path, 64 * KIB);

	for (const char **d = k->c->dirs; *d; d++) {
		const char *p = arena_printf(k->a, "%s/%.*s", *d, STR_ARG(type));

		if (access(p, X_OK) == 0) {
			*ret = p;
			return NULL;
		}
		buf_addf(&path, "%s%s", path.len ? " " : "", *d);
	}
	return err_new(ERR_NOT_FOUND, "failed to find plugin \"%.*s\" in path [%s]", STR_ARG(type),
		       buf_cstr(&path));
}

/* Ours without what an outer CNI run may have set, and the call's. */
static const char *const *make_env(const struct call *k)
{
	const struct cni_attachment *at = k->at;
	size_t n = 0, used = 0;
	const char **env;
	SCOPED_BUF(path, 64 * KIB);

	while (environ[n])
		n++;
	env = ARENA_NEW_N(k->a, const char *, n + 7);
	for (size_t i = 0; i < n; i++)
		if (strncmp(environ[i], "CNI_", 4) != 0)
			env[used++] = environ[i];
	for (const char **d = k->c->dirs; *d; d++)
		buf_addf(&path, "%s%s", path.len ? ":" : "", *d);
	env[used++] = arena_printf(k->a, "CNI_COMMAND=%s", k->command);
	env[used++] = arena_printf(k->a, "CNI_CONTAINERID=%s", at->id);
	env[used++] = arena_printf(k->a, "CNI_NETNS=%s", at->netns);
	env[used++] = arena_printf(k->a, "CNI_IFNAME=%s", at->ifname);
	env[used++] = arena_printf(k->a, "CNI_PATH=%s", buf_cstr(&path));
	/* A name that several orchestrators' plugins know; others are not to mind. */
	env[used++] = at->hostname.len
			      ? arena_printf(k->a, "CNI_ARGS=K8S_POD_NAME=%.*s;IgnoreUnknown=1",
					     STR_ARG(at->hostname))
			      : "CNI_ARGS=";
	return env;
}

static void make_input(const struct call *k, const json_t *plugin, struct buf *out)
{
	struct json_out j;
	const char *key;
	json_t *v;

	json_out_init(&j, out, NULL);
	json_obj_begin(&j);
	/* json_object_foreach takes a pointer to non-const but only reads. */
	json_object_foreach((json_t *)plugin, key, v)
	{
		if (!strcmp(key, "name") || !strcmp(key, "cniVersion") ||
		    !strcmp(key, "prevResult"))
			continue;
		json_key(&j, str_from(key));
		json_value(&j, v);
	}
	json_kstr(&j, "name", k->c->name);
	json_kstr(&j, "cniVersion", k->c->version);
	if (k->previous.len) {
		json_key(&j, STR("prevResult"));
		json_raw(&j, k->previous);
	}
	json_obj_end(&j);
}

/* The plugin's own account of its failure: a JSON object on stdout. */
static struct err *plugin_error(const struct buf *out, const struct buf *errout)
{
	SCOPED_JSON(j);
	struct str msg, details;
	struct err *e;

	if (!out->len)
		return err_new(ERR_UNKNOWN, "netplugin failed with no error message: %.*s",
			       STR_ARG(str_trim(buf_str(errout))));
	e = json_read(buf_str(out), "output of netplugin", &j);
	if (e)
		return err_wrap(e, "netplugin failed but error parsing its diagnostic message");
	msg = json_get_str(j, "msg");
	details = json_get_str(j, "details");
	if (details.len)
		return err_new(ERR_UNKNOWN, "%.*s; %.*s", STR_ARG(msg), STR_ARG(details));
	return err_new(ERR_UNKNOWN, "%.*s", STR_ARG(msg));
}

/* *ret is the JSON it printed; empty if nothing. */
static struct err *run_plugin(const struct call *k, struct ctx *ctx, const json_t *plugin,
			      struct str *ret)
{
	SCOPED_BUF(in, LIMIT_CNI_RESULT + LIMIT_CNI_CONFIG);
	SCOPED_BUF(out, LIMIT_CNI_RESULT);
	SCOPED_BUF(errout, 64 * KIB);
	struct proc_spec s = PROC_SPEC_INIT;
	struct proc_status st;
	const char *argv[] = { NULL, NULL };

	TRY(find_plugin(k, json_get_str(plugin, "type"), &s.file));
	make_input(k, plugin, &in);
	TRY(buf_check(&in, "plugin configuration"));
	argv[0] = s.file;
	s.argv = argv;
	s.envp = make_env(k);
	TRY(proc_run(&s, ctx, buf_str(&in), &out, &errout, &st));
	if (!st.exited || st.code)
		return plugin_error(&out, &errout);
	*ret = str_dup(k->a, str_trim(buf_str(&out)));
	return NULL;
}

static struct err *call_plugin(const struct call *k, struct ctx *ctx, const json_t *plugin,
			       const char *verb, struct str *ret)
{
	struct str type = json_get_str(plugin, "type");

	TRYW(run_plugin(k, ctx, plugin, ret), "plugin type=\"%.*s\" name=\"%.*s\" failed (%s)",
	     STR_ARG(type), STR_ARG(k->c->name), verb);
	return NULL;
}

static struct err *check_result(struct str result)
{
	SCOPED_JSON(j);

	/* It is copied as it is into the next plugin's input. */
	return result.len ? json_read(result, "result of netplugin", &j) : NULL;
}

struct err *cni_add(const struct cni *c, struct ctx *ctx, const struct cni_attachment *at,
		    struct arena *a, struct str *ret_result)
{
	struct call k = { .c = c, .at = at, .command = "ADD", .a = a };
	struct err *e = NULL;
	struct str result;

	for (size_t i = 0; i < json_array_size(c->plugins) && !e; i++) {
		result = STR_NONE;
		e = call_plugin(&k, ctx, json_array_get(c->plugins, i), "add", &result);
		if (!e)
			e = check_result(result);
		if (!e && result.len)
			k.previous = result;
	}
	if (e) {
		CLEANUP(ctx_unrefp) struct ctx *root = ctx_new_root(NULL);
		CLEANUP(ctx_unrefp) struct ctx *undo = ctx_new_timeout(root, UNDO_TIMEOUT);

		err_free(cni_del(c, undo, at, k.previous));
		return e;
	}
	*ret_result = k.previous;
	return NULL;
}

/* Since 0.4.0 plugins are given the result when they undo. */
static bool wants_result(struct str version)
{
	return !str_has_prefix(version, STR("0.1.")) && !str_has_prefix(version, STR("0.2.")) &&
	       !str_has_prefix(version, STR("0.3."));
}

struct err *cni_del(const struct cni *c, struct ctx *ctx, const struct cni_attachment *at,
		    struct str result)
{
	SCOPED_ARENA(a);
	struct call k = { .c = c, .at = at, .command = "DEL", .a = &a };
	struct err *e = NULL;
	struct str ignored;

	if (wants_result(c->version))
		k.previous = result;
	for (size_t i = json_array_size(c->plugins); i-- > 0;)
		e = err_first(
			e, call_plugin(&k, ctx, json_array_get(c->plugins, i), "delete", &ignored));
	return e;
}
