/* Who a process runs as: "user", "uid", "user:group", "uid:gid" or "" (root), looked up in the
 * /etc/passwd and /etc/group of a root directory. */
#ifndef EXEC_USERS_H
#define EXEC_USERS_H

#include "base/arena.h"
#include "base/err.h"

struct exec_user {
	uint32_t uid, gid;
	uint32_t *groups; /* supplementary; in the arena */
	size_t n_groups;
};

/* `unable to find user X: no matching entries in passwd file` (UNKNOWN); RESOURCE_EXHAUSTED for a
 * file over LIMIT_PASSWD_FILE. "uid:gid" reads no file. */
struct err *users_lookup(int rootfd, struct str user, struct arena *a,
			 struct exec_user *ret) ERR_RESULT;

/* Home directory of a user by number, "/" where the root's passwd file can't tell. */
struct str users_home(int rootfd, uint32_t uid, struct arena *a);

/* As users_lookup, from the files' text. */
struct err *users_resolve(struct str user, struct str passwd, struct str groups, struct arena *a,
			  struct exec_user *ret) ERR_RESULT;

#endif
