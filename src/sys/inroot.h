/* Paths from outside, resolved inside a root directory as if it were "/": "..", absolute
 * paths and absolute symlinks stay within (openat2 with RESOLVE_IN_ROOT, and no magic links).
 * A path may be absolute or relative, "" and "/" are the root. rootfd may be O_PATH.
 * INVALID_ARGUMENT for NUL bytes and paths over LIMIT_PATH. Errors show the path as given. */
#ifndef SYS_INROOT_H
#define SYS_INROOT_H

#include "base/arena.h"
#include "base/err.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>

/* O_CLOEXEC is added. A last symlink is followed unless O_NOFOLLOW is in flags. */
struct err *inroot_open(int rootfd, struct str path, int flags, mode_t mode, int *ret) ERR_RESULT;
/* As lstat or, with follow, stat. */
struct err *inroot_stat(int rootfd, struct str path, bool follow, struct stat *ret) ERR_RESULT;
/* The parent directory of the last component, to work with *at calls on it, and that component
 * (in arena): never "", "." or ".."; the root itself is refused with INVALID_ARGUMENT. */
struct err *inroot_parent(int rootfd, struct str path, struct arena *a, int *ret_dirfd,
			  const char **ret_base) ERR_RESULT;
/* The path that path stands for after all symlinks, absolute in the root and clean. What does not
 * exist is kept as it is written, as containerd's RootPath does. With follow false a last symlink
 * is left alone. */
struct err *inroot_resolve(int rootfd, struct str path, bool follow, struct arena *a,
			   struct str *ret) ERR_RESULT;

struct inroot_mkdirs_opts {
	mode_t mode;    /* exact, whatever the umask */
	uid_t uid;      /* (uid_t)-1: as created */
	gid_t gid;      /* (gid_t)-1: as created */
	bool set_mtime; /* of created directories (atime too) */
	int64_t mtime_ns;
	/* Called for each directory made, path absolute in the root, outermost first. May be NULL.
	 */
	void (*created)(void *arg, struct str path);
	void *arg;
};
/* mkdir -p, through symlinks as long as they stay in the root (dangling ones are made whole). The
 * options count for directories that are made. ret_fd (may be NULL) is the last directory. */
struct err *inroot_mkdirs(int rootfd, struct str path, const struct inroot_mkdirs_opts *o,
			  int *ret_fd) ERR_RESULT;

#endif
