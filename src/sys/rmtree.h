/* Removing trees. By directory descriptors, never through symlinks; takes write permission and
 * the immutable flag off where they are in the way; never crosses into another mount. */
#ifndef SYS_RMTREE_H
#define SYS_RMTREE_H

#include "base/ctx.h"
#include "base/err.h"

/* name in dirfd: a file, or a directory with everything below. Missing is fine. */
struct err *rmtree(int dirfd, const char *name) ERR_RESULT;
/* Everything in the directory, which stays. */
struct err *rmtree_content(int dirfd) ERR_RESULT;

/* A folder that things to be removed are renamed into, and a thread that empties it. Whatever is
 * in it at open (from an earlier run) goes too. Thread-safe. */
struct trash;
struct err *trash_open(const char *dir, struct trash **ret) ERR_RESULT;
/* name in dirfd (same file system) is gone from there at return; its blocks soon after. Missing is
 * fine. */
struct err *trash_put(struct trash *t, int dirfd, const char *name) ERR_RESULT;
/* Waits until all that was put is removed. */
void trash_flush(struct trash *t);
/* Ends after the tree it is at; what is left goes at the next open. NULL is fine. */
void trash_close(struct trash *t);

#endif
