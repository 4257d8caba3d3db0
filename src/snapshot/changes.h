/* What one tree has that another has not: the stream of changes that diffs, merges and clean copies
 * are made of. In the order of containerd's differs: parents before children, names by bytes.
 *
 * The trees are not written to meanwhile, except by the callback in places of its own. */
#ifndef SNAPSHOT_CHANGES_H
#define SNAPSHOT_CHANGES_H

#include "base/ctx.h"
#include "base/err.h"

#include <sys/stat.h>

enum change_kind {
	CHANGE_ADD,
	CHANGE_MODIFY,
	CHANGE_DELETE,
	CHANGE_SAME, /* told only of files with several names, whose others may have changed */
};

/* A directory that is being walked, of the upper tree. */
struct change_dir {
	struct change_dir *up; /* NULL for the root */
	struct str path;       /* "" for the root, no leading slash; NUL follows */
	int fd;
	struct stat st;
	bool told; /* it was a change itself; consumers set it when they tell of it as a parent */
};

struct change {
	enum change_kind kind;
	struct str path; /* no leading slash; NUL follows */
	const char *name;
	struct change_dir *dir;  /* where it is (or was: the upper tree's directory has a place) */
	const struct stat *st;   /* of the upper tree's entry; NULL for CHANGE_DELETE */
	const struct stat *base; /* of the lower one's; NULL for CHANGE_ADD */
};

typedef struct err *(*change_fn)(void *arg, const struct change *c);

/* What makes an upper directory mean something else on another base. */
struct changes_seen {
	size_t opaque; /* opaque directories, whether the base has one there or not */
	size_t same;   /* files that do not differ from the base's, directories without a change */
};

/* Of an overlay's bare upper directory, on a view of what is below it (-1: nothing). Opaque
 * directories come as the deletions they stand for; whiteouts of what is not there, and
 * directories that were only copied up, don't come. seen may be NULL. */
struct err *changes_of_upper(struct ctx *ctx, int upper_fd, int base_fd, change_fn fn, void *arg,
			     struct changes_seen *seen) ERR_RESULT;
/* Of two whole trees (lower -1: nothing). */
struct err *changes_between(struct ctx *ctx, int lower_fd, int upper_fd, change_fn fn,
			    void *arg) ERR_RESULT;

bool change_is_whiteout(const struct stat *st);
/* The mark that a directory hides what is below it. */
struct err *change_is_opaque(int dirfd, bool *ret) ERR_RESULT;

#endif
