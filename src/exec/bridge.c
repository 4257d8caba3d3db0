#include "exec/bridge.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/path.h"
#include "sys/file.h"
#include "sys/proc.h"

#include <errno.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BRIDGE, HOST_LOCAL, FIREWALL, N_PLUGINS };

struct plugins {
	const char *types[N_PLUGINS];
	const char *dirs[N_PLUGINS + 1];
};

/* All of them ours, or none. */
static bool find_ours(struct arena *a, struct plugins *p)
{
	static const char *const names[N_PLUGINS] = { "buildkit-cni-bridge",
						      "buildkit-cni-host-local",
						      "buildkit-cni-firewall" };

	for (size_t i = 0; i < N_PLUGINS; i++) {
		const char *path;

		if (!proc_find(names[i], a, &path))
			return false;
		p->types[i] = names[i];
		p->dirs[i] = str_cstr(a, path_dir(a, str_from(path)));
	}
	return true;
}

static struct err *find_plugins(const char *bin_dir, struct arena *a, struct plugins *p)
{
	const char *bridge = arena_printf(a, "%s/bridge", bin_dir);

	*p = (struct plugins) { 0 };
	if (find_ours(a, p))
		return NULL;
	if (!file_exists(AT_FDCWD, bridge))
		return err_new(ERR_NOT_FOUND,
			       "failed to find CNI bridge \"%s\" or buildkit-cni-bridge", bridge);
	*p = (struct plugins) { .types = { "bridge", "host-local", "firewall" },
				.dirs = { bin_dir } };
	return NULL;
}

/* Without the plugin loopback: our namespaces have it up already. */
static void write_list(const struct plugins *p, const char *name, const char *subnet,
		       struct buf *out)
{
	struct json_out j;

	json_out_init(&j, out, NULL);
	json_obj_begin(&j);
	json_kstr(&j, "cniVersion", STR("1.0.0"));
	json_kstr(&j, "name", STR("buildkit"));
	json_key(&j, STR("plugins"));
	json_arr_begin(&j);
	json_obj_begin(&j);
	json_kstr(&j, "type", str_from(p->types[BRIDGE]));
	json_kstr(&j, "bridge", str_from(name));
	json_kbool(&j, "isDefaultGateway", true);
	json_kbool(&j, "ipMasq", true);
	json_key(&j, STR("ipam"));
	json_obj_begin(&j);
	json_kstr(&j, "type", str_from(p->types[HOST_LOCAL]));
	json_key(&j, STR("ranges"));
	json_arr_begin(&j);
	json_arr_begin(&j);
	json_obj_begin(&j);
	json_kstr(&j, "subnet", str_from(subnet));
	json_obj_end(&j);
	json_arr_end(&j);
	json_arr_end(&j);
	json_obj_end(&j);
	json_obj_end(&j);
	json_obj_begin(&j);
	json_kstr(&j, "type", str_from(p->types[FIREWALL]));
	/* firewalld is out of reach of a daemon in RootlessKit; else the plugin chooses. */
	json_kstr(&j, "backend", getenv("ROOTLESSKIT_STATE_DIR") ? STR("iptables") : STR(""));
	json_kstr(&j, "ingressPolicy", STR("same-bridge"));
	json_obj_end(&j);
	json_arr_end(&j);
	json_obj_end(&j);
}

struct err *bridge_make(const char *name, const char *subnet, const char *bin_dir, struct cni **ret)
{
	SCOPED_ARENA(a);
	SCOPED_BUF(text, 64 * KIB);
	struct plugins p;

	TRY(find_plugins(bin_dir, &a, &p));
	write_list(&p, name, subnet, &text);
	TRY(buf_check(&text, "bridge configuration"));
	return cni_parse(buf_str(&text), false, "bridge network", p.dirs, ret);
}

bool bridge_exists(const char *name)
{
	return if_nametoindex(name) != 0;
}

struct err *bridge_remove(const char *name)
{
	CLEANUP_FD int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r = { 0 };

	if (strlen(name) >= sizeof(r.ifr_name))
		return err_new(ERR_INVALID_ARGUMENT, "invalid bridge name %s", name);
	memcpy(r.ifr_name, name, strlen(name) + 1);
	if (fd < 0)
		return err_errno(errno, "socket");
	/* Only one that is down can be removed. */
	if (ioctl(fd, SIOCGIFFLAGS, &r) < 0)
		return err_errno(errno, "bridge %s", name);
	r.ifr_flags = (short)(r.ifr_flags & ~IFF_UP);
	if (ioctl(fd, SIOCSIFFLAGS, &r) < 0 || ioctl(fd, SIOCBRDELBR, name) < 0)
		return err_errno(errno, "remove bridge %s", name);
	return NULL;
}
