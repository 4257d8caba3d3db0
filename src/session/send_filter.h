/* Which entries of a tree are sent: include and exclude patterns (dockerignore rules) and paths to
 * be followed through symlinks, as fsutil combines them. A directory in which something is included
 * goes along, with its parents. */
#ifndef SESSION_SEND_FILTER_H
#define SESSION_SEND_FILTER_H

#include "base/arena.h"
#include "base/err.h"
#include "base/glob.h"

struct send_filter {
	struct patterns *include, *exclude; /* NULL: none */
	struct patterns *exceptions;        /* the "!" ones of exclude, without it */
};
/* rootfd: where followed paths are looked up. */
struct err *send_filter_init(struct send_filter *f, struct arena *a, int rootfd,
			     const struct str *include, size_t n_include, const struct str *exclude,
			     size_t n_exclude, const struct str *follow,
			     size_t n_follow) ERR_RESULT;

struct send_verdict {
	bool take;
	bool enter;                            /* a directory in which something may be taken */
	struct match_state *include, *exclude; /* for what is below */
};
/* parent: the verdict on the directory of path, NULL at the top. States go into the arena. */
struct err *send_filter_check(const struct send_filter *f, struct arena *a, struct str path,
			      bool is_dir, const struct send_verdict *parent,
			      struct send_verdict *ret) ERR_RESULT;

/* Paths (last components may be wildcards) with the symlinks on the way to them, sorted, without
 * those below others; *ret_n 0 when one of them is the root, i.e. everything. */
struct err *follow_links(struct arena *a, int rootfd, const struct str *paths, size_t n,
			 struct str **ret, size_t *ret_n, bool *ret_everything) ERR_RESULT;

/* Drops what is below its predecessor in the list; the new length. */
size_t paths_dedupe(struct str *list, size_t n);

#endif
