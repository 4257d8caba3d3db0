#include "sys/cgroup.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/vec.h"
#include "sys/fd.h"
#include "sys/file.h"
#include "sys/walk.h"

#include <dirent.h>
#include <errno.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ROOT "/sys/fs/cgroup"

static long fs_type(const char *path)
{
	struct statfs s;

	return statfs(path, &s) == 0 ? (long)s.f_type : 0;
}

enum cgroup_mode cgroup_mode(void)
{
	if (fs_type(ROOT) == CGROUP2_SUPER_MAGIC)
		return CGROUP_V2;
	if (fs_type(ROOT "/unified") == CGROUP2_SUPER_MAGIC)
		return CGROUP_HYBRID;
	if (fs_type(ROOT "/memory") == CGROUP_SUPER_MAGIC ||
	    fs_type(ROOT "/systemd") == CGROUP_SUPER_MAGIC)
		return CGROUP_V1;
	return CGROUP_NONE;
}

/* Directories of the hierarchies. */
static struct err *hierarchies(struct arena *a, struct str **ret, size_t *ret_n)
{
	VEC(struct str) v = VEC_INIT;
	struct walk_names names;
	int fd = -1;
	struct err *e;

	*ret = NULL;
	*ret_n = 0;
	if (cgroup_mode() == CGROUP_NONE)
		return NULL;
	if (cgroup_mode() == CGROUP_V2) {
		*ret = ARENA_NEW(a, struct str);
		(*ret)[0] = STR(ROOT);
		*ret_n = 1;
		return NULL;
	}
	TRY(fd_open_dir(AT_FDCWD, ROOT, &fd));
	e = walk_read_names(fd, true, &names);
	(void)close(fd);
	TRY(e);
	for (size_t i = 0; i < names.n; i++) {
		struct str p;
		long t;

		/* Links are second names ("cpu" for "cpu,cpuacct"). */
		if (names.items[i].type != DT_DIR)
			continue;
		p = str_from(arena_printf(a, ROOT "/%s", names.items[i].name));
		t = fs_type(p.ptr);
		if (t == CGROUP_SUPER_MAGIC || t == CGROUP2_SUPER_MAGIC)
			vec_push(&v, p);
	}
	walk_names_fini(&names);
	*ret = v.len ? arena_dup(a, v.items, v.len * sizeof(*v.items)) : NULL;
	*ret_n = v.len;
	vec_fini(&v);
	return NULL;
}

/* Our group in the line of /proc/self/cgroup whose controller list has this one. */
struct err *cgroup_self(const char *controller, struct arena *a, struct str *ret)
{
	struct str text = STR_NONE, line, id, rest, list, path, one;
	bool unified = cgroup_mode() == CGROUP_V2;

	TRY(file_read_str(AT_FDCWD, "/proc/self/cgroup", a, 64 * KIB, &text));
	while (str_next(&text, '\n', &line)) {
		if (!str_cut(line, ':', &id, &rest) || !str_cut(rest, ':', &list, &path))
			continue;
		if (unified && !list.len) {
			*ret = path;
			return NULL;
		}
		while (list.len && str_next(&list, ',', &one))
			if (controller && str_eq_cstr(one, controller)) {
				*ret = path;
				return NULL;
			}
	}
	return err_new(ERR_NOT_FOUND, "no cgroup for %s", controller ? controller : "this process");
}

typedef struct err *(*each_fn)(const char *dir, void *arg);

static struct err *each_hierarchy(const char *path, each_fn fn, void *arg)
{
	SCOPED_ARENA(a);
	struct str *h;
	size_t n;
	struct err *e = NULL;

	TRY(hierarchies(&a, &h, &n));
	for (size_t i = 0; i < n; i++)
		e = err_first(
			e, fn(arena_printf(&a, "%.*s/%s", STR_ARG(h[i]), path + (path[0] == '/')),
			      arg));
	return e;
}

/* A new group of version 1 can hold no process until its cpuset has cpus and memory nodes. */
static void inherit_cpuset(const char *dir)
{
	static const char *const files[] = { "cpuset.cpus", "cpuset.mems" };

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		SCOPED_ARENA(a);
		struct str v;
		struct err *e = file_read_str(AT_FDCWD, arena_printf(&a, "%s/../%s", dir, files[i]),
					      &a, 4096, &v);

		if (!e && v.len > 1)
			e = file_write(AT_FDCWD, arena_printf(&a, "%s/%s", dir, files[i]), v, 0644);
		err_free(e);
	}
}

static struct err *write_file(const char *dir, const char *file, const char *text)
{
	CLEANUP_FREE char *p = mem_printf("%s/%s", dir, file);
	CLEANUP_FD int fd = -1;

	TRY(fd_open(AT_FDCWD, p, O_WRONLY, 0, &fd));
	TRYW(fd_write_all(fd, text, strlen(text)), "%s", p);
	return NULL;
}

/* So that groups below can be limited; a controller that is not there is left out. */
static void hand_down_controllers(const char *dir)
{
	static const char *const names[] = { "+cpu", "+memory", "+pids", "+cpuset", "+io" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		err_free(write_file(dir, "cgroup.subtree_control", names[i]));
}

static struct err *create_one(const char *dir, void *arg)
{
	CLEANUP_FREE char *p = mem_strdup(dir);
	bool unified = cgroup_mode() == CGROUP_V2;

	/* Each level on its own: the cpuset goes from parent to child. */
	for (char *s = p + sizeof(ROOT); *s; s++) {
		if (s[1] != '/' && s[1])
			continue;
		char c = s[1];

		s[1] = '\0';
		if (mkdir(p, 0755) == 0) {
			if (unified && c)
				hand_down_controllers(p);
			if (!strncmp(p, ROOT "/cpuset", sizeof(ROOT "/cpuset") - 1))
				inherit_cpuset(p);
		} else if (errno != EEXIST) {
			return err_errno(errno, "mkdir %s", p);
		}
		s[1] = c;
	}
	return NULL;
}

struct err *cgroup_create(const char *path)
{
	return each_hierarchy(path, create_one, NULL);
}

static struct err *add_one(const char *dir, void *arg)
{
	return write_file(dir, "cgroup.procs", arg);
}

struct err *cgroup_add(const char *path, pid_t pid)
{
	char text[16];

	(void)snprintf(text, sizeof(text), "%d", (int)pid);
	return each_hierarchy(path, add_one, text);
}

struct pids {
	VEC(pid_t) v;
};

/* Processes in dir and below. A group that vanishes meanwhile has none. */
static void gather_pids(const char *dir, struct pids *pids)
{
	SCOPED_ARENA(a);
	struct str text = STR_NONE, line;
	struct walk_names names;
	struct err *e;
	int fd = -1;

	e = file_read_str(AT_FDCWD, arena_printf(&a, "%s/cgroup.procs", dir), &a, 16 * MIB, &text);
	err_free(e);
	while (text.len && str_next(&text, '\n', &line)) {
		uint64_t pid;

		/* 0: of another pid namespace, out of our reach. */
		if (str_to_u64(line, &pid) && pid)
			vec_push(&pids->v, (pid_t)pid);
	}
	e = fd_open_dir(AT_FDCWD, dir, &fd);
	if (!e) {
		e = walk_read_names(fd, false, &names);
		(void)close(fd);
	}
	if (e) {
		err_free(e);
		return;
	}
	for (size_t i = 0; i < names.n; i++)
		if (names.items[i].type == DT_DIR)
			gather_pids(arena_printf(&a, "%s/%s", dir, names.items[i].name), pids);
	walk_names_fini(&names);
}

static struct err *gather_one(const char *dir, void *arg)
{
	gather_pids(dir, arg);
	return NULL;
}

static struct err *kill_at_once(const char *dir, void *arg)
{
	CLEANUP_FREE char *p = mem_printf("%s/cgroup.kill", dir);

	if (access(p, W_OK) == 0)
		err_free(write_file(dir, "cgroup.kill", "1"));
	return NULL;
}

static bool is_zombie_or_gone(pid_t pid)
{
	SCOPED_ARENA(a);
	struct str s;
	struct err *e =
		file_read_str(AT_FDCWD, arena_printf(&a, "/proc/%d/stat", (int)pid), &a, 4096, &s);
	ptrdiff_t paren;

	if (e) {
		err_free(e);
		return true;
	}
	paren = str_rfind(s, ')');
	return paren >= 0 && (size_t)paren + 2 < s.len &&
	       (s.ptr[paren + 2] == 'Z' || s.ptr[paren + 2] == 'X');
}

/* Kills one and waits for its end. */
static struct err *kill_pid(pid_t pid, struct ctx *ctx)
{
	CLEANUP_FD int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int ready;

	if (fd < 0)
		return NULL;
	(void)syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
	return ctx_poll(ctx, &p, 1, 1000, &ready);
}

struct err *cgroup_kill(const char *path, struct ctx *ctx)
{
	for (;;) {
		struct pids p = { 0 };
		bool left = false;
		struct err *e = each_hierarchy(path, kill_at_once, NULL);

		if (!e)
			e = each_hierarchy(path, gather_one, &p);
		/* First all of them, so that none can start others; then wait for each. */
		vec_each (&p.v, it)
			(void)kill(*it, SIGKILL);
		vec_each (&p.v, it) {
			if (e || is_zombie_or_gone(*it))
				continue;
			left = true;
			e = kill_pid(*it, ctx);
		}
		vec_fini(&p.v);
		if (e || !left)
			return e;
	}
}

static struct err *remove_one(const char *dir, void *arg)
{
	struct walk_names names;
	struct err *e;
	int fd = -1;

	if (rmdir(dir) == 0 || errno == ENOENT)
		return NULL;
	e = fd_open_dir(AT_FDCWD, dir, &fd);
	if (!e) {
		e = walk_read_names(fd, false, &names);
		(void)close(fd);
	}
	if (e)
		return e;
	for (size_t i = 0; i < names.n; i++) {
		if (names.items[i].type != DT_DIR)
			continue;
		CLEANUP_FREE char *sub = mem_printf("%s/%s", dir, names.items[i].name);

		e = err_first(e, remove_one(sub, arg));
	}
	walk_names_fini(&names);
	TRY(e);
	/* The last process may be still on its way out after it was seen dead. */
	for (int tries = 0; rmdir(dir) < 0 && errno != ENOENT; tries++) {
		const struct timespec ms = { .tv_nsec = 1000000 };

		if (errno != EBUSY || tries == 100)
			return err_errno(errno, "rmdir %s", dir);
		(void)nanosleep(&ms, NULL);
	}
	return NULL;
}

struct err *cgroup_remove(const char *path)
{
	return each_hierarchy(path, remove_one, NULL);
}

static struct err *exists_one(const char *dir, void *arg)
{
	if (access(dir, F_OK) == 0)
		*(bool *)arg = true;
	return NULL;
}

bool cgroup_exists(const char *path)
{
	bool there = false;

	err_free(each_hierarchy(path, exists_one, &there));
	return there;
}

/* Directory of the group where the controller is that the file is named after. */
static const char *controller_dir(const char *path, const char *file, struct arena *a)
{
	size_t n = strcspn(file, ".");

	path += path[0] == '/';
	if (cgroup_mode() == CGROUP_V2)
		return arena_printf(a, ROOT "/%s", path);
	return arena_printf(a, ROOT "/%.*s/%s", (int)n, file, path);
}

const char *cgroup_unified_dir(const char *path, struct arena *a)
{
	path += path[0] == '/';
	switch (cgroup_mode()) {
	case CGROUP_V2:
		return arena_printf(a, ROOT "/%s", path);
	case CGROUP_HYBRID:
		return arena_printf(a, ROOT "/unified/%s", path);
	default:
		return NULL;
	}
}

struct err *cgroup_write(const char *path, const char *file, const char *text)
{
	SCOPED_ARENA(a);

	return write_file(controller_dir(path, file, &a), file, text);
}

struct procs {
	VEC(const char *) v;
	struct arena *a;
};

static struct err *procs_one(const char *dir, void *arg)
{
	struct procs *p = arg;

	vec_push(&p->v, arena_printf(p->a, "%s/cgroup.procs", dir));
	return NULL;
}

struct err *cgroup_procs_files(const char *path, struct arena *a, const char ***ret, size_t *ret_n)
{
	struct procs p = { .a = a };
	struct err *e = each_hierarchy(path, procs_one, &p);

	if (!e) {
		*ret = p.v.len ? arena_dup(a, p.v.items, p.v.len * sizeof(*p.v.items)) : NULL;
		*ret_n = p.v.len;
	}
	vec_fini(&p.v);
	return e;
}

bool cgroup_read(const char *path, const char *file, struct arena *a, struct str *ret)
{
	struct err *e = file_read_str(AT_FDCWD,
				      arena_printf(a, "%s/%s", controller_dir(path, file, a), file),
				      a, 64 * KIB, ret);

	if (!e)
		return true;
	err_free(e);
	return false;
}

uint64_t cgroup_oom_kills(const char *path)
{
	SCOPED_ARENA(a);
	struct str text, line, key, value;
	uint64_t n = 0;

	if (!cgroup_read(path, cgroup_mode() == CGROUP_V2 ? "memory.events" : "memory.oom_control",
			 &a, &text))
		return 0;
	while (str_next(&text, '\n', &line))
		if (str_cut(line, ' ', &key, &value) && str_eq(key, STR("oom_kill")))
			(void)str_to_u64(value, &n);
	return n;
}

struct children {
	VEC(struct str) v;
	struct arena *a;
};

static struct err *children_one(const char *dir, void *arg)
{
	struct children *c = arg;
	struct walk_names names;
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct err *e;

	if (fd < 0)
		return NULL;
	e = walk_read_names(fd, true, &names);
	(void)close(fd);
	TRY(e);
	for (size_t i = 0; i < names.n; i++) {
		struct str n = str_from(names.items[i].name);
		bool known = names.items[i].type != DT_DIR;

		vec_each (&c->v, it)
			known = known || str_eq(*it, n);
		if (!known)
			vec_push(&c->v, str_dup(c->a, n));
	}
	walk_names_fini(&names);
	return NULL;
}

struct err *cgroup_children(const char *path, struct arena *a, struct str **ret, size_t *ret_n)
{
	struct children c = { .a = a };
	struct err *e = each_hierarchy(path, children_one, &c);

	if (!e) {
		*ret = c.v.len ? arena_dup(a, c.v.items, c.v.len * sizeof(*c.v.items)) : NULL;
		*ret_n = c.v.len;
	}
	vec_fini(&c.v);
	return e;
}
