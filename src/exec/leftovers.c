#include "exec/leftovers.h"

#include "base/json.h"
#include "base/limits.h"
#include "exec/driver.h"
#include "sys/fd.h"
#include "sys/file.h"
#include "sys/mount.h"
#include "sys/rmtree.h"
#include "sys/walk.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LIMIT_CONFIG_JSON (64 * MIB)
#define KILL_WAIT_MS 10000

const char *exec_bundles_dir(struct arena *a, const char *root)
{
	return arena_printf(a, "%s/bundles", root);
}

const char *exec_shared_dir(struct arena *a, const char *root)
{
	return arena_printf(a, "%s/shared", root);
}

const char *exec_state_dir(struct arena *a, const char *root)
{
	return arena_printf(a, "%s/state", root);
}

/* Whatever is wrong with the file: there is none. */
static json_t *read_object(const char *path, struct arena *a)
{
	struct str text;
	json_t *j = NULL;
	struct err *e = file_read_str(AT_FDCWD, path, a, LIMIT_CONFIG_JSON, &text);

	if (!e)
		e = json_read(text, path, &j);
	if (e) {
		err_free(e);
		return NULL;
	}
	return j;
}

/* Clock ticks after boot, field 22 of /proc/<pid>/stat; -1 if there is no such process. */
static int64_t start_time(pid_t pid, struct arena *a)
{
	struct str s, field = STR_NONE;
	int64_t t;
	struct err *e =
		file_read_str(AT_FDCWD, arena_printf(a, "/proc/%d/stat", (int)pid), a, 4096, &s);
	ptrdiff_t paren;

	if (e) {
		err_free(e);
		return -1;
	}
	paren = str_rfind(s, ')');
	s = str_trim(str_sub(s, (size_t)(paren + 1), s.len));
	for (int i = 3; i <= 22; i++)
		if (!str_next(&s, ' ', &field))
			return -1;
	return str_to_i64(field, &t) ? t : -1;
}

/* The first process, by what the runtime noted: a pid alone may be another's by now. */
static void kill_noted(int64_t pid, int64_t start, struct arena *a)
{
	CLEANUP_FD int fd = -1;
	CLEANUP(ctx_unrefp) struct ctx *ctx = NULL;
	struct pollfd p = { .events = POLLIN };
	int ready;

	if (pid <= 1 || pid > INT32_MAX || start <= 0)
		return;
	fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
	if (fd < 0 || start_time((pid_t)pid, a) != start)
		return;
	(void)syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
	p.fd = fd;
	ctx = ctx_new_root(NULL);
	err_free(ctx_poll(ctx, &p, 1, KILL_WAIT_MS, &ready));
}

static void kill_by_state(const char *state, const char *id, struct arena *a)
{
	/* runc's file, then crun's. */
	json_t *j = read_object(arena_printf(a, "%s/%s/state.json", state, id), a);

	if (j)
		kill_noted(json_get_int(j, "init_process_pid", 0),
			   json_get_int(j, "init_process_start", 0), a);
	json_decref(j);
	j = read_object(arena_printf(a, "%s/%s/status", state, id), a);
	if (j)
		kill_noted(json_get_int(j, "pid", 0), json_get_int(j, "process-start-time", 0), a);
	json_decref(j);
}

/* By the bundle's configuration; "" when that is not whole: then nothing has been started. */
static const char *cgroup_of(const char *bundles, const char *id, struct arena *a)
{
	json_t *j = read_object(arena_printf(a, "%s/%s/config.json", bundles, id), a);
	const json_t *section = j ? json_object_get(j, "linux") : NULL;
	const char *path = section ? str_cstr(a, json_get_str(section, "cgroupsPath")) : "";

	json_decref(j);
	return path[0] == '/' ? path : "";
}

static struct err *empty_shared(const char *dir)
{
	CLEANUP_FD int fd = -1;

	TRY(mount_umount_below(dir));
	TRY(fd_open_dir(AT_FDCWD, dir, &fd));
	return rmtree_content(fd);
}

struct err *leftovers_remove(const char *root, const struct exec_driver *driver)
{
	CLEANUP(walk_names_fini) struct walk_names names = { 0 };
	CLEANUP_FD int fd = -1;
	SCOPED_ARENA(dirs);
	const char *bundles = exec_bundles_dir(&dirs, root);
	struct runc rt = { .state = exec_state_dir(&dirs, root) };
	struct err *err = NULL;

	TRY(fd_open_dir(AT_FDCWD, bundles, &fd));
	TRY(walk_read_names(fd, false, &names));
	for (size_t i = 0; i < names.n; i++) {
		SCOPED_ARENA(a);
		const char *id = names.items[i].name;

		if (driver) {
			driver->forget(driver->arg, id, cgroup_of(bundles, id, &a), false);
			continue;
		}
		kill_by_state(rt.state, id, &a);
		runc_forget(&rt, id, cgroup_of(bundles, id, &a), false);
	}
	/* A daemon in the machine's own mount namespace leaves its mounts too. */
	err = mount_umount_below(bundles);
	for (size_t i = 0; i < names.n; i++)
		err = err_first(err, rmtree(fd, names.items[i].name));
	err = err_first(err, empty_shared(exec_shared_dir(&dirs, root)));
	return err_wrap(err, "remove what is left of old containers");
}
