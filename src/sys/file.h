/* Small files and facts of file systems. Paths are relative to dirfd (AT_FDCWD is allowed)
 * and are our own; paths from outside go through sys/inroot.h. */
#ifndef SYS_FILE_H
#define SYS_FILE_H

#include "base/buf.h"
#include "base/err.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>

/* The whole file into a buffer with its own maximum (RESOURCE_EXHAUSTED beyond). */
struct err *file_read(int dirfd, const char *path, struct buf *out) ERR_RESULT;
/* The same of at most max bytes, into the arena. */
struct err *file_read_str(int dirfd, const char *path, struct arena *a, size_t max,
			  struct str *ret) ERR_RESULT;

enum file_sync {
	FILE_NO_SYNC,
	FILE_SYNC, /* data before the rename, then the directory */
};
/* Readers see the old file or the whole new one. mode is exact (umask is undone). */
struct err *file_replace(int dirfd, const char *path, struct str data, mode_t mode,
			 enum file_sync sync) ERR_RESULT;
/* Creates or truncates, no atomicity. */
struct err *file_write(int dirfd, const char *path, struct str data, mode_t mode) ERR_RESULT;

/* fsync of a directory; the file system that fd is on. */
struct err *file_sync_dir(int dirfd) ERR_RESULT;
struct err *file_sync_fs(int fd) ERR_RESULT;

/* mkdir -p of a path of ours. */
struct err *file_mkdirs(int dirfd, const char *path, mode_t mode) ERR_RESULT;
bool file_exists(int dirfd, const char *path); /* does not follow a last symlink */
bool file_is_dir(int dirfd, const char *path);
/* Takes an exclusive flock; *ret_fd keeps it. UNAVAILABLE when another holds it. */
struct err *file_lock(int dirfd, const char *path, int *ret_fd) ERR_RESULT;
/* unlink; a missing file is fine. */
struct err *file_unlink(int dirfd, const char *path) ERR_RESULT;

struct file_space {
	uint64_t total, free, available; /* bytes; available: to unprivileged users */
};
struct err *file_space(const char *path, struct file_space *ret) ERR_RESULT;
/* The kernel's id of this boot (36 characters and NUL). */
#define FILE_BOOT_ID_LEN 36
struct err *file_boot_id(char ret[FILE_BOOT_ID_LEN + 1]) ERR_RESULT;

static inline int64_t file_mtime_ns(const struct stat *st)
{
	return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

#endif
