#include "exec/exec_impl.h"

#include "base/json.h"
#include "base/limits.h"
#include "sys/fd.h"
#include "sys/file.h"
#include "sys/mount.h"
#include "sys/rmtree.h"
#include "sys/walk.h"

#define LIMIT_CONFIG_JSON (64 * MIB)

/* The cgroup of a bundle, by its configuration; empty when that is not whole. */
static const char *cgroup_of(struct executor *e, const char *id, struct arena *a)
{
	SCOPED_JSON(j);
	struct str text;
	const json_t *section;
	struct err *err =
		file_read_str(AT_FDCWD, arena_printf(a, "%s/%s/config.json", e->bundles, id), a,
			      LIMIT_CONFIG_JSON, &text);

	if (!err)
		err = json_read(text, "config.json", &j);
	if (err) {
		err_free(err);
		return "";
	}
	section = json_object_get(j, "linux");
	return section ? str_cstr(a, json_get_str(section, "cgroupsPath")) : "";
}

static struct err *names_in(const char *dir, int *ret_fd, struct walk_names *ret)
{
	CLEANUP_FD int fd = -1;

	TRY(fd_open_dir(AT_FDCWD, dir, &fd));
	TRY(walk_read_names(fd, false, ret));
	*ret_fd = TAKE_FD(fd);
	return NULL;
}

struct err *leftovers_remove(struct executor *e, struct ctx *ctx)
{
	CLEANUP(walk_names_fini) struct walk_names names = { 0 };
	CLEANUP_FD int fd = -1;
	struct err *err = NULL;

	/* A daemon in the machine's own mount namespace leaves its mounts too. */
	TRY(mount_umount_below(e->bundles));
	TRY(names_in(e->bundles, &fd, &names));
	for (size_t i = 0; i < names.n; i++) {
		SCOPED_ARENA(a);
		const char *id = names.items[i].name;

		runc_forget(&e->runc, id, cgroup_of(e, id, &a));
		err = err_first(err, rmtree(fd, id));
	}
	return err_wrap(err, "remove what is left of old containers");
}
