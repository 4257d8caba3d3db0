/* File descriptors: whole reads and writes, opening by dirfd, memory files. Everything is
 * O_CLOEXEC and restarts after a signal. Errors name the path that was given. */
#ifndef SYS_FD_H
#define SYS_FD_H

#include "base/buf.h"
#include "base/err.h"

#include <fcntl.h>
#include <sys/types.h>

/* openat for paths of our own. Paths from outside go through sys/inroot.h. */
struct err *fd_open(int dirfd, const char *path, int flags, mode_t mode, int *ret) ERR_RESULT;
/* A directory, to be read and to be the base of relative calls. */
struct err *fd_open_dir(int dirfd, const char *path, int *ret) ERR_RESULT;
/* Another open file description of the same file (through /proc/self/fd): makes an O_PATH
 * descriptor readable, or gives a directory stream an offset of its own. */
struct err *fd_reopen(int fd, int flags, int *ret) ERR_RESULT;
struct err *fd_dup(int fd, int *ret) ERR_RESULT;

/* Reads until len bytes or the end. */
struct err *fd_read_full(int fd, void *p, size_t len, size_t *ret_n) ERR_RESULT;
struct err *fd_pread_full(int fd, void *p, size_t len, uint64_t offset, size_t *ret_n) ERR_RESULT;
/* Up to the end, into a buffer with its own maximum. */
struct err *fd_read_all(int fd, struct buf *out) ERR_RESULT;
struct err *fd_write_all(int fd, const void *p, size_t len) ERR_RESULT;
struct err *fd_pwrite_all(int fd, const void *p, size_t len, uint64_t offset) ERR_RESULT;
/* read(2) that only restarts; *ret_n 0 at the end. */
struct err *fd_read(int fd, void *p, size_t len, size_t *ret_n) ERR_RESULT;

/* A memory file that holds data, at offset 0; sealed against every change if sealed. */
struct err *fd_memfd(const char *name, struct str data, bool sealed, int *ret) ERR_RESULT;
struct err *fd_pipe(int ret_fds[2]) ERR_RESULT;
struct err *fd_set_nonblock(int fd, bool on) ERR_RESULT;

/* "/proc/self/fd/N[/name]": for calls that lack a dirfd form. */
#define FD_PATH_MAX 320
const char *fd_path(int fd, const char *name, char out[FD_PATH_MAX]);
/* Where the descriptor's file is now, by the kernel's account. */
struct err *fd_real_path(struct arena *a, int fd, struct str *ret) ERR_RESULT;

#endif
