/* Everything is reached from the root's descriptor with openat2, so what the root holds (symlinks
 * anywhere) can't lead out of it; mounts are made detached and put on descriptors. */
#include "base/arena.h"
#include "base/path.h"
#include "exec/native_init.h"
#include "sys/fd.h"
#include "sys/inroot.h"
#include "sys/mount.h"

#include <dirent.h>
#include <errno.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define CGROUPS "/sys/fs/cgroup"

static const struct inroot_mkdirs_opts plain_dirs = { .mode = 0755,
						      .uid = (uid_t)-1,
						      .gid = (gid_t)-1 };

static void must(struct err *e, const char *what)
{
	if (e)
		native_die("%s: %s", what, err_text(e));
}

/* ---- targets ---- */

/* A directory to mount on, made if there is none. */
static int target_dir(struct native_child *c, struct str dest)
{
	int fd = -1;

	must(inroot_mkdirs(c->rootfd, dest, &plain_dirs, &fd), dest.ptr);
	return fd;
}

static int target_file(struct native_child *c, struct str dest)
{
	SCOPED_ARENA(a);
	struct err *e;
	int fd = -1;

	e = inroot_open(c->rootfd, dest, O_PATH, 0, &fd);
	if (!e)
		return fd;
	err_free(e);
	must(inroot_mkdirs(c->rootfd, path_dir(&a, dest), &plain_dirs, NULL), dest.ptr);
	must(inroot_open(c->rootfd, dest, O_CREAT | O_RDONLY | O_NONBLOCK | O_NOCTTY, 0644, &fd),
	     dest.ptr);
	return fd;
}

static void put_on(int mnt, int target, const char *dest)
{
	must(mount_attach(mnt, target, ""), dest);
	(void)close(mnt);
	(void)close(target);
}

/* proc and sysfs: only on a real directory right there. A link, whoever made it, would let the
 * protected paths in them be somewhere else than they are looked for. */
static void check_no_link(struct native_child *c, struct str dest)
{
	struct stat st;
	struct err *e = inroot_stat(c->rootfd, dest, false, &st);

	if (e) {
		err_free(e);
		return;
	}
	if (!S_ISDIR(st.st_mode))
		native_die("filesystem \"%s\" must be mounted on ordinary directory", dest.ptr);
}

/* ---- operations ---- */

void native_root(struct native_child *c)
{
	struct str path = plan_get_str(&c->in);
	int mnt = -1;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		native_die("make mounts private: %s", strerror(errno));
	must(mount_clone(AT_FDCWD, path.ptr, true, &mnt), path.ptr);
	must(mount_attach(mnt, AT_FDCWD, path.ptr), path.ptr);
	c->rootfd = mnt;
}

void native_mount(struct native_child *c)
{
	struct str dest = plan_get_str(&c->in), type = plan_get_str(&c->in);
	unsigned attrs = (unsigned)plan_get_num(&c->in);
	uint64_t n = plan_get_num(&c->in);
	int fs = -1, mnt = -1;

	must(mount_fs_open(type.ptr, &fs), type.ptr);
	for (uint64_t i = 0; i < n && !c->in.bad; i++) {
		struct str o = plan_get_str(&c->in);
		char *eq = strchr(o.ptr, '=');
		char key[64];
		size_t len = eq ? (size_t)(eq - o.ptr) : o.len;

		if (len >= sizeof(key))
			native_die("mount option %s is too long", o.ptr);
		memcpy(key, o.ptr, len);
		key[len] = '\0';
		must(mount_fs_set(fs, key, eq ? eq + 1 : NULL), dest.ptr);
	}
	if (str_eq(type, STR("proc")) || str_eq(type, STR("sysfs")))
		check_no_link(c, dest);
	must(mount_fs_make(fs, attrs, &mnt), dest.ptr);
	(void)close(fs);
	put_on(mnt, target_dir(c, dest), dest.ptr);
}

void native_bind(struct native_child *c)
{
	struct str dest = plan_get_str(&c->in), source = plan_get_str(&c->in);
	unsigned set = (unsigned)plan_get_num(&c->in), clear = (unsigned)plan_get_num(&c->in);
	bool recursive = plan_get_num(&c->in);
	struct stat st;
	int mnt = -1;

	must(mount_clone(AT_FDCWD, source.ptr, recursive, &mnt), source.ptr);
	/* Flags of a mount from outside our user namespace are locked. */
	if (c->userns)
		clear = 0;
	if (set | clear)
		must(mount_set_attrs(mnt, set, clear, false), source.ptr);
	if (fstat(mnt, &st) < 0)
		native_die("stat %s: %s", source.ptr, strerror(errno));
	put_on(mnt, S_ISDIR(st.st_mode) ? target_dir(c, dest) : target_file(c, dest), dest.ptr);
}

static void bind_group(int top, const char *hierarchy, struct str group, unsigned attrs)
{
	SCOPED_ARENA(a);
	const char *source = arena_printf(&a, CGROUPS "/%s%.*s", hierarchy, STR_ARG(group));
	int mnt = -1;
	struct err *e = mount_clone(AT_FDCWD, source, false, &mnt);

	if (e) {
		/* A hierarchy that appeared since the group was made. */
		err_free(e);
		return;
	}
	must(mount_set_attrs(mnt, attrs, 0, false), source);
	if (mkdirat(top, hierarchy, 0755) < 0)
		native_die("mkdir %s: %s", hierarchy, strerror(errno));
	must(mount_attach(mnt, top, hierarchy), source);
	(void)close(mnt);
}

void native_cgroup_binds(struct native_child *c)
{
	struct str dest = plan_get_str(&c->in);
	unsigned attrs = (unsigned)plan_get_num(&c->in);
	struct str group = plan_get_str(&c->in);
	int fs = -1, top = -1;
	DIR *d = opendir(CGROUPS);
	struct dirent *de;

	if (!d)
		native_die("open " CGROUPS ": %s", strerror(errno));
	must(mount_fs_open("tmpfs", &fs), dest.ptr);
	must(mount_fs_set(fs, "mode", "755"), dest.ptr);
	must(mount_fs_make(fs, attrs & ~(unsigned)MOUNT_RDONLY, &top), dest.ptr);
	(void)close(fs);
	while ((de = readdir(d))) {
		char link[PATH_MAX];
		struct statfs st;
		SCOPED_ARENA(a);
		ssize_t n;

		if (de->d_name[0] == '.')
			continue;
		n = readlinkat(dirfd(d), de->d_name, link, sizeof(link) - 1);
		if (n > 0) {
			link[n] = '\0';
			(void)symlinkat(link, top, de->d_name);
		} else if (statfs(arena_printf(&a, CGROUPS "/%s", de->d_name), &st) == 0 &&
			   (long)st.f_type == CGROUP_SUPER_MAGIC) {
			bind_group(top, de->d_name, group, attrs);
		}
	}
	(void)closedir(d);
	if (attrs & MOUNT_RDONLY)
		must(mount_set_attrs(top, MOUNT_RDONLY, 0, false), dest.ptr);
	put_on(top, target_dir(c, dest), dest.ptr);
}

void native_node(struct native_child *c)
{
	SCOPED_ARENA(a);
	struct str path = plan_get_str(&c->in);
	mode_t mode = (mode_t)plan_get_num(&c->in);
	unsigned maj = (unsigned)plan_get_num(&c->in), min = (unsigned)plan_get_num(&c->in);
	uid_t uid = (uid_t)plan_get_num(&c->in);
	gid_t gid = (gid_t)plan_get_num(&c->in);
	const char *base;
	struct stat st;
	int dir = -1;

	must(inroot_mkdirs(c->rootfd, path_dir(&a, path), &plain_dirs, NULL), path.ptr);
	must(inroot_parent(c->rootfd, path, &a, &dir, &base), path.ptr);
	if (mknodat(dir, base, mode, makedev(maj, min)) < 0) {
		if (errno != EEXIST || fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    (st.st_mode & S_IFMT) != (mode & S_IFMT) || st.st_rdev != makedev(maj, min))
			native_die("mknod %s: %s", path.ptr, strerror(errno));
	}
	if (fchownat(dir, base, uid, gid, AT_SYMLINK_NOFOLLOW) < 0 ||
	    fchmodat(dir, base, mode & 07777, 0) < 0)
		native_die("mknod %s: %s", path.ptr, strerror(errno));
	(void)close(dir);
}

void native_link(struct native_child *c)
{
	SCOPED_ARENA(a);
	struct str target = plan_get_str(&c->in), path = plan_get_str(&c->in);
	const char *base;
	int dir = -1;

	must(inroot_parent(c->rootfd, path, &a, &dir, &base), path.ptr);
	if (symlinkat(target.ptr, dir, base) < 0 && errno != EEXIST)
		native_die("symlink %s: %s", path.ptr, strerror(errno));
	(void)close(dir);
}

void native_pivot(struct native_child *c)
{
	/* The old root comes to lie over the new one, and is taken off. */
	if (fchdir(c->rootfd) < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
		native_die("pivot_root: %s", strerror(errno));
	if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		native_die("leave the old root: %s", strerror(errno));
}

/* What is at path, -1 if nothing. */
static int look_up(struct native_child *c, struct str path)
{
	int fd = -1;
	struct err *e = inroot_open(c->rootfd, path, O_PATH | O_NOFOLLOW, 0, &fd);

	if (e && err_get_errno(e) != ENOENT && err_get_errno(e) != ENOTDIR)
		native_die("%s: %s", path.ptr, err_text(e));
	err_free(e);
	return fd;
}

static int clone_null(struct native_child *c)
{
	int fd = look_up(c, STR("/dev/null")), mnt = -1;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
		native_die("/dev/null is not the null device");
	must(mount_clone(fd, "", false, &mnt), "/dev/null");
	(void)close(fd);
	return mnt;
}

static int empty_dir(void)
{
	int fs = -1, mnt = -1;

	must(mount_fs_open("tmpfs", &fs), "tmpfs");
	must(mount_fs_make(fs, MOUNT_RDONLY, &mnt), "tmpfs");
	(void)close(fs);
	return mnt;
}

void native_mask(struct native_child *c)
{
	struct str path = plan_get_str(&c->in);
	int fd = look_up(c, path);
	struct stat st;

	if (fd < 0)
		return;
	if (fstat(fd, &st) < 0)
		native_die("stat %s: %s", path.ptr, strerror(errno));
	put_on(S_ISDIR(st.st_mode) ? empty_dir() : clone_null(c), fd, path.ptr);
}

void native_readonly(struct native_child *c)
{
	struct str path = plan_get_str(&c->in);
	int fd = look_up(c, path), mnt = -1;

	if (fd < 0)
		return;
	must(mount_clone(fd, "", true, &mnt), path.ptr);
	must(mount_set_attrs(mnt, MOUNT_RDONLY, 0, true), path.ptr);
	put_on(mnt, fd, path.ptr);
}

void native_readonly_root(struct native_child *c)
{
	must(mount_set_attrs(c->rootfd, MOUNT_RDONLY, 0, false), "root");
}

void native_terminal(struct native_child *c)
{
	int unlock = 0, slave, master = -1, mnt = -1;

	must(inroot_open(c->rootfd, STR("/dev/pts/ptmx"), O_RDWR | O_NOCTTY, 0, &master),
	     "/dev/pts/ptmx");
	if (ioctl(master, TIOCSPTLCK, &unlock) < 0)
		native_die("unlock terminal: %s", strerror(errno));
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		native_die("open terminal: %s", strerror(errno));
	native_tell(NATIVE_MASTER, NULL, 0, master);
	(void)close(master);
	if (plan_get_num(&c->in)) {
		must(mount_clone(slave, "", false, &mnt), "/dev/console");
		put_on(mnt, target_file(c, STR("/dev/console")), "/dev/console");
	}
	(void)setsid();
	for (int i = 0; i < 3; i++)
		if (dup2(slave, i) < 0)
			native_die("dup: %s", strerror(errno));
	(void)close(slave);
	if (ioctl(0, TIOCSCTTY, 0) < 0)
		native_die("controlling terminal: %s", strerror(errno));
}
