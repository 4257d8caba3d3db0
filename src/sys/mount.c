#include "sys/mount.h"

#include "base/arena.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/vec.h"
#include "sys/fd.h"
#include "sys/file.h"

#include <errno.h>
#include <sys/mount.h>
#include <sys/syscall.h>

static uint64_t attr_bits(unsigned attrs)
{
	return (attrs & MOUNT_RDONLY ? MOUNT_ATTR_RDONLY : 0u) |
	       (attrs & MOUNT_NOSUID ? MOUNT_ATTR_NOSUID : 0u) |
	       (attrs & MOUNT_NODEV ? MOUNT_ATTR_NODEV : 0u) |
	       (attrs & MOUNT_NOEXEC ? MOUNT_ATTR_NOEXEC : 0u) |
	       (attrs & MOUNT_NOATIME ? MOUNT_ATTR_NOATIME : 0u);
}

struct err *mount_fs_open(const char *fstype, int *ret_fsfd)
{
	int fd = fsopen(fstype, FSOPEN_CLOEXEC);

	if (fd < 0)
		return err_errno(errno, "fsopen %s", fstype);
	*ret_fsfd = fd;
	return NULL;
}

void mount_fs_log(int fsfd, char *out, size_t size)
{
	char line[512];
	ssize_t n;

	out[0] = '\0';
	/* One message a read, "e text" for an error; the last ones say the most. */
	while ((n = read(fsfd, line, sizeof(line) - 1)) > 0) {
		while (n && line[n - 1] == '\n')
			n--;
		if (n < 3 || line[0] != 'e')
			continue;
		line[n] = '\0';
		(void)snprintf(out, size, "%s", line + 2);
	}
}

static struct err *fs_error(int fsfd, int errnum, const char *what)
{
	char log[512];

	mount_fs_log(fsfd, log, sizeof(log));
	return log[0] ? err_errno(errnum, "%s: %s", what, log) : err_errno(errnum, "%s", what);
}

struct err *mount_fs_set(int fsfd, const char *key, const char *value)
{
	if (fsconfig(fsfd, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, key, value, 0) < 0) {
		int errnum = errno;

		return err_wrap(fs_error(fsfd, errnum, key), "mount option");
	}
	return NULL;
}

struct err *mount_fs_make(int fsfd, unsigned attrs, int *ret_mntfd)
{
	int fd;

	if (fsconfig(fsfd, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return fs_error(fsfd, errno, "mount");
	fd = fsmount(fsfd, FSMOUNT_CLOEXEC, (unsigned)attr_bits(attrs));
	if (fd < 0)
		return fs_error(fsfd, errno, "fsmount");
	*ret_mntfd = fd;
	return NULL;
}

struct err *mount_clone(int dirfd, const char *path, bool recursive, int *ret_mntfd)
{
	int fd = open_tree(dirfd, path,
			   OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC |
				   (recursive ? (unsigned)AT_RECURSIVE : 0u) |
				   (path[0] ? 0u : (unsigned)AT_EMPTY_PATH));

	if (fd < 0)
		return err_errno(errno, "open_tree %s", path);
	*ret_mntfd = fd;
	return NULL;
}

struct err *mount_set_attrs(int mntfd, unsigned set, unsigned clear, bool recursive)
{
	struct mount_attr a = { .attr_set = attr_bits(set), .attr_clr = attr_bits(clear) };
	unsigned flags = AT_EMPTY_PATH | (recursive ? (unsigned)AT_RECURSIVE : 0u);

	/* The access time setting is a field: it must be cleared to be set. */
	if (set & MOUNT_NOATIME)
		a.attr_clr |= MOUNT_ATTR__ATIME;
	if (mount_setattr(mntfd, "", flags, &a, sizeof(a)) < 0)
		return err_errno(errno, "mount_setattr");
	return NULL;
}

struct err *mount_attach(int mntfd, int dirfd, const char *target)
{
	unsigned flags = MOVE_MOUNT_F_EMPTY_PATH;

	if (!target[0])
		flags |= MOVE_MOUNT_T_EMPTY_PATH;
	if (move_mount(mntfd, "", dirfd, target, flags) < 0)
		return err_errno(errno, "move_mount %s", target);
	return NULL;
}

struct err *mount_bind(const char *source, const char *target, unsigned attrs, bool recursive)
{
	CLEANUP_FD int fd = -1;

	TRY(mount_clone(AT_FDCWD, source, recursive, &fd));
	if (attrs)
		TRYW(mount_set_attrs(fd, attrs, 0, recursive), "bind %s", source);
	return mount_attach(fd, AT_FDCWD, target);
}

struct err *mount_umount(const char *target, bool lazy)
{
	if (umount2(target, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) < 0 && errno != EINVAL &&
	    errno != ENOENT)
		return err_errno(errno, "unmount %s", target);
	return NULL;
}

/* The mount point of a mountinfo line, with its octal escapes undone. */
static char *mount_point(struct arena *a, struct str line)
{
	struct str f = STR_NONE;
	char *out, *p;

	for (int i = 0; i < 5; i++)
		if (!str_next(&line, ' ', &f))
			return NULL;
	out = p = arena_alloc(a, f.len + 1);
	for (size_t i = 0; i < f.len; i++) {
		if (f.ptr[i] == '\\' && i + 3 < f.len) {
			*p++ = (char)((f.ptr[i + 1] - '0') * 64 + (f.ptr[i + 2] - '0') * 8 +
				      (f.ptr[i + 3] - '0'));
			i += 3;
		} else {
			*p++ = f.ptr[i];
		}
	}
	*p = '\0';
	return out;
}

struct err *mount_umount_below(const char *dir)
{
	SCOPED_ARENA(a);
	SCOPED_BUF(b, 256 * MIB);
	VEC(const char *) found = VEC_INIT;
	struct str rest, line, d = str_trim_suffix(str_from(dir), STR("/"));
	struct err *e = NULL;

	TRY(file_read(AT_FDCWD, "/proc/self/mountinfo", &b));
	rest = buf_str(&b);
	while (str_next(&rest, '\n', &line)) {
		const char *p = mount_point(&a, line);

		if (p && str_has_prefix(str_from(p), d) && (p[d.len] == '/' || !p[d.len]))
			vec_push(&found, p);
	}
	/* Later lines are on top of earlier ones. */
	while (found.len)
		e = err_first(e, mount_umount(vec_pop(&found), true));
	vec_fini(&found);
	return e;
}

bool mount_is_mountpoint(int dirfd, const char *path)
{
	struct statx sx;

	if (statx(dirfd, path, AT_SYMLINK_NOFOLLOW | (path[0] ? 0 : AT_EMPTY_PATH), 0, &sx) < 0)
		return false;
	return sx.stx_attributes & STATX_ATTR_MOUNT_ROOT;
}
