#include "daemon/rootless.h"

#include "sys/file.h"
#include "sys/userns.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *env_or_null(const char *name)
{
	const char *s = getenv(name);

	return s && s[0] ? s : NULL;
}

/* The first of a list of directories in a variable. */
static const char *first_dir(struct arena *a, const char *name)
{
	const char *s = env_or_null(name);
	struct str rest, dir;

	if (!s)
		return NULL;
	rest = str_from(s);
	return str_next(&rest, ':', &dir) && dir.len ? str_cstr(a, dir) : NULL;
}

static const char *below_home(struct arena *a, const char *variable, const char *otherwise)
{
	const char *dir = first_dir(a, variable), *home = env_or_null("HOME");

	if (dir)
		return dir;
	return home ? arena_printf(a, "%s/%s", home, otherwise) : NULL;
}

static struct err *use_runtime_dir(struct arena *a, struct config *c)
{
	const char *dir = first_dir(a, "XDG_RUNTIME_DIR"), *own;
	struct str *address;

	if (!dir)
		return NULL;
	own = arena_printf(a, "%s/buildkit", dir);
	TRY(file_mkdirs(AT_FDCWD, own, 0700));
	if (chmod(own, 0700 | S_ISVTX) < 0)
		return err_errno(errno, "chmod %s", own);
	address = ARENA_NEW(a, struct str);
	*address = str_from(arena_printf(a, "unix://%s/buildkitd.sock", own));
	c->addresses = (struct config_strs) { address, 1 };
	c->otel_socket = arena_printf(a, "%s/otel-grpc.sock", own);
	return NULL;
}

struct err *rootless_defaults(struct arena *a, struct config *c, const char **config_path)
{
	const char *user = env_or_null("USER"), *data, *config;

	if (!userns_inside())
		return NULL;
	c->oci.rootless = c->containerd.rootless = true;
	if (!user || str_eq_cstr(STR("root"), user))
		return NULL;
	data = below_home(a, "XDG_DATA_HOME", ".local/share");
	config = below_home(a, "XDG_CONFIG_HOME", ".config");
	if (data)
		c->root = arena_printf(a, "%s/buildkit", data);
	if (config) {
		*config_path = arena_printf(a, "%s/buildkit/buildkitd.toml", config);
		c->oci.cni_config_path = c->containerd.cni_config_path =
			arena_printf(a, "%s/buildkit/cni.json", config);
	}
	return use_runtime_dir(a, c);
}

struct err *rootless_check(struct arena *a, struct config *c, bool asked)
{
	if (asked && (!userns_inside() || geteuid() > 0))
		return err_new(ERR_PERMISSION_DENIED,
			       "rootless mode requires to be executed as the mapped root in a user "
			       "namespace; you may use RootlessKit for setting up the namespace");
	if (c->oci.no_process_sandbox && !c->oci.rootless)
		return err_new(ERR_INVALID_ARGUMENT,
			       "can't enable NoProcessSandbox without Rootless");
	if (c->oci.no_process_sandbox)
		config_warn(a, c,
			    "NoProcessSandbox is enabled: steps share the daemon's process "
			    "namespace and can kill and possibly trace its processes. Use it only "
			    "where the daemon itself runs in a container, as a user without "
			    "privileges.");
	return NULL;
}
