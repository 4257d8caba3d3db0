/* Unix stream sockets and passing of descriptors. A path that is too long for a socket address goes
 * through /proc/self/fd. */
#ifndef SYS_UNIXSOCK_H
#define SYS_UNIXSOCK_H

#include "base/err.h"

#include <sys/types.h>

/* Makes the parent directory (0755) if missing and removes a stale socket at path. The socket has
 * this mode and owner ((uid_t)-1: as created) before it can be connected to. */
struct err *unixsock_listen(const char *path, mode_t mode, uid_t uid, gid_t gid,
			    int *ret) ERR_RESULT;
/* Blocking connect; `dial unix PATH: connect: no such file or directory`. */
struct err *unixsock_connect(const char *path, int *ret) ERR_RESULT;
/* UNAVAILABLE at the end of a listener that was shut down. */
struct err *unixsock_accept(int fd, int *ret) ERR_RESULT;
struct err *unixsock_pair(int ret[2]) ERR_RESULT;
struct err *unixsock_send_fd(int sock, int fd) ERR_RESULT;
/* One descriptor of a message (O_CLOEXEC); NOT_FOUND when none came. */
struct err *unixsock_recv_fd(int sock, int *ret) ERR_RESULT;

#endif
