/* Directories made of what is in other directories, by hard links. */
#ifndef SNAPSHOT_LINK_H
#define SNAPSHOT_LINK_H

#include "base/ctx.h"
#include "base/map.h"
#include "base/vec.h"
#include "snapshot/changes.h"

/* Where the real files of the upper tree are when that is an overlay mount: its layers, topmost
 * first. n 0: the upper tree has them itself. */
struct link_sources {
	const int *fds;
	size_t n;
};

/* Receives changes (arg of change_fn is a struct linker) and makes them in root. */
struct linker {
	int root;
	struct link_sources sources;
	/* Deletions become whiteouts (an upper directory); else they delete. */
	bool whiteouts;
	bool userxattr;
	/* Files are copied, as root is on another file system than the upper tree: what are names
	 * of one file there become names of one copy. */
	bool copies;
	struct map copied; /* inode -> heap path of its copy in root */
	/* Directories whose times are to be set at the end. */
	VEC(struct linked_dir {
		char *path;
		struct timespec times[2];
	})
	dirs;
	struct map made; /* directories made or brought up to date, by path */
	int fd;          /* of the directory last worked in, -1 */
	char *fd_path;
};

void linker_init(struct linker *k, int root);
struct err *linker_change(void *arg, const struct change *c) ERR_RESULT;
/* Sets times of directories. */
struct err *linker_finish(struct linker *k) ERR_RESULT;
void linker_fini(struct linker *k);

/* Owner, mode and xattrs other than overlayfs' of one directory onto another; times are left. */
struct err *link_dir_attrs(int from, int to) ERR_RESULT;
/* name in from becomes name in to, as a link, or a copy where that can't be. */
struct err *link_file(int from, int to, const char *name) ERR_RESULT;
/* A whiteout, and the mark on its directory that lets overlayfs look for them even where nothing is
 * merged. */
struct err *link_whiteout(int dirfd, const char *name, bool userxattr) ERR_RESULT;

#endif
