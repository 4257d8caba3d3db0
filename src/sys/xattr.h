/* Extended attributes of an open file or of a name in a directory (a symlink's own). */
#ifndef SYS_XATTR_H
#define SYS_XATTR_H

#include "base/arena.h"
#include "base/err.h"

struct xattr {
	struct str name, value;
};

/* fd with name NULL: the descriptor itself (not O_PATH); else name in directory fd, not followed.
 * Sorted by name. A file system without xattrs has none. At most LIMIT_XATTRS of
 * LIMIT_XATTR_VALUE each. want (may be NULL) picks names. */
struct err *xattr_read_all(int fd, const char *name, bool (*want)(struct str xattr_name),
			   struct arena *a, struct xattr **ret, size_t *ret_n) ERR_RESULT;
/* True if there is any: one call, no values. */
bool xattr_any(int fd, const char *name);
struct err *xattr_get(int fd, const char *name, const char *attr, struct arena *a, struct str *ret,
		      bool *ret_found) ERR_RESULT;
struct err *xattr_set(int fd, const char *name, const char *attr, struct str value) ERR_RESULT;
/* Missing is fine. */
struct err *xattr_remove(int fd, const char *name, const char *attr) ERR_RESULT;

#endif
