/* Directory trees, one entry after the other, by directory descriptors, never through symlinks.
 * Order: parents before children, the names of a directory in byte order (what Go's
 * filepath.Walk gives, so the order of containerd's diffs and of fsutil's transfers). A tree that
 * changes meanwhile gives each entry at most once; what vanished is left out.
 *
 *     struct walk *w;
 *     TRY(walk_open(dirfd, 0, &w));
 *     while (!(e = walk_next(w, &entry)) && entry) ...
 *     walk_close(w);
 *
 * One thread at a time. At most a few dozen descriptors are open, whatever the depth. */
#ifndef SYS_WALK_H
#define SYS_WALK_H

#include "base/err.h"
#include "base/str.h"

#include <sys/stat.h>

enum walk_flags {
	WALK_UNSORTED = 1, /* in the order the file system gives */
	WALK_LEAVE = 2,    /* each directory comes a second time after its children, `leave` set */
	WALK_NO_STAT = 4,  /* st has only the file type and the inode number */
};

struct walk_entry {
	struct str path;  /* from the start, without a leading slash; NUL follows */
	const char *name; /* last component */
	int dirfd;        /* its directory; borrowed, valid until the next call */
	unsigned depth;   /* 0 for the names in the start directory */
	bool leave;
	struct stat st; /* lstat */
};

struct walk;
/* The start directory itself is no entry. dirfd is borrowed and must stay open. */
struct err *walk_open(int dirfd, unsigned flags, struct walk **ret) ERR_RESULT;
void walk_close(struct walk *w); /* NULL is fine */
void walk_closep(struct walk **w);
/* *ret is NULL at the end; else valid until the next call. */
struct err *walk_next(struct walk *w, const struct walk_entry **ret) ERR_RESULT;
/* Do not go into the directory that came last (no leave for it either). */
void walk_skip(struct walk *w);

/* Names of a directory without "." and "..", for one level; sorted by bytes if asked. dirfd must be
 * readable; its offset moves. */
struct walk_name {
	char *name;
	uint64_t ino;
	unsigned char type; /* DT_*, may be DT_UNKNOWN */
};
struct walk_names {
	char *data; /* holds the names */
	struct walk_name *items;
	size_t n;
};
struct err *walk_read_names(int dirfd, bool sorted, struct walk_names *ret) ERR_RESULT;
void walk_names_fini(struct walk_names *n);

#endif
