/* The mount API of descriptors (fsopen, fsconfig, fsmount, open_tree, move_mount, mount_setattr)
 * and umount. Mounts belong to the process' mount namespace: see sys/ns.h. */
#ifndef SYS_MOUNT_H
#define SYS_MOUNT_H

#include "base/err.h"

#include <stdint.h>

enum mount_flag {
	MOUNT_RDONLY = 1,
	MOUNT_NOSUID = 2,
	MOUNT_NODEV = 4,
	MOUNT_NOEXEC = 8,
	MOUNT_NOATIME = 16,
};

/* A file system being set up. */
struct err *mount_fs_open(const char *fstype, int *ret_fsfd) ERR_RESULT;
/* Option "key=value", or a flag when value is NULL. The error has the kernel's own words when it
 * gave any. */
struct err *mount_fs_set(int fsfd, const char *key, const char *value) ERR_RESULT;
/* Creates it; the result is a detached mount, gone with its last descriptor unless attached. */
struct err *mount_fs_make(int fsfd, unsigned attrs, int *ret_mntfd) ERR_RESULT;
/* What the kernel logged for this fsfd since last time, "" if nothing. */
void mount_fs_log(int fsfd, char *out, size_t size);

/* A detached bind mount of path below dirfd (AT_FDCWD is allowed); recursive takes the mounts below
 * along. path "" is dirfd itself. */
struct err *mount_clone(int dirfd, const char *path, bool recursive, int *ret_mntfd) ERR_RESULT;
/* Sets attributes (and clears those in clear) of a mount, recursively if asked. */
struct err *mount_set_attrs(int mntfd, unsigned set, unsigned clear, bool recursive) ERR_RESULT;
/* Puts a detached mount on an existing file or directory; "" is the descriptor itself. */
struct err *mount_attach(int mntfd, int dirfd, const char *target) ERR_RESULT;
/* clone, set attributes, attach. */
struct err *mount_bind(const char *source, const char *target, unsigned attrs,
		       bool recursive) ERR_RESULT;
/* Takes the topmost mount off target; lazy detaches at once and cleans up when idle. Not mounted is
 * fine. Does not follow a last symlink. */
struct err *mount_umount(const char *target, bool lazy) ERR_RESULT;
/* Every mount at or below dir, innermost first, lazily. */
struct err *mount_umount_below(const char *dir) ERR_RESULT;
bool mount_is_mountpoint(int dirfd, const char *path);

#endif
