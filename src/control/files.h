/* Looking into a ref: what frontends and clients read of a result. Paths stay inside the
 * ref's root. A NULL ref is an empty tree. */
#ifndef CONTROL_FILES_H
#define CONTROL_FILES_H

#include "control/control.h"

/* Appends to out; length 0 is up to the end. `open PATH: no such file or directory` */
struct err *files_read(struct control *c, struct ctx *ctx, struct cache_ref *ref, struct str path,
		       int64_t offset, int64_t length, struct buf *out) ERR_RESULT;
/* The last component is not followed. */
struct err *files_stat(struct control *c, struct ctx *ctx, struct cache_ref *ref, struct str path,
		       struct arena *a, Fsutil__Types__Stat **ret) ERR_RESULT;
/* Entries of a directory by name; include is a file name pattern, or empty. */
struct err *files_list(struct control *c, struct ctx *ctx, struct cache_ref *ref, struct str path,
		       struct str include, struct arena *a, Fsutil__Types__Stat ***ret,
		       size_t *ret_n) ERR_RESULT;

/* The same in a directory that is mounted already. follow: a last symlink is followed, too. */
struct err *files_read_at(int root, struct str path, int64_t offset, int64_t length,
			  struct buf *out) ERR_RESULT;
struct err *files_stat_at(int root, struct str path, bool follow, struct arena *a,
			  Fsutil__Types__Stat **ret) ERR_RESULT;
struct err *files_list_at(int root, struct str path, struct str include, struct arena *a,
			  Fsutil__Types__Stat ***ret, size_t *ret_n) ERR_RESULT;

#endif
