/* Inside of the file operation: its actions, on directory descriptors. Every path comes from
 * outside and is resolved inside its root. */
#ifndef OP_FILE_H
#define OP_FILE_H

#include "op/op_impl.h"
#include "snapshot/mounts.h"

#include <sys/stat.h>
#include <sys/types.h>

/* Who new entries belong to. */
struct file_owner {
	bool set;
	uid_t uid;
	gid_t gid;
};
/* passwd_fd: root of the tree whose /etc/passwd names are looked up in; group_fd the same for
 * /etc/group; -1 where none is needed. Unknown names are 0. */
struct err *file_find_owner(const Pb__ChownOpt *o, int passwd_fd, int group_fd,
			    struct file_owner *ret);
/* Which input a name is looked up in, or false. */
bool file_owner_input(const Pb__UserOpt *u, int64_t *ret_input);

struct err *file_mkdir(int root, const Pb__FileActionMkDir *a, const struct file_owner *o);
struct err *file_mkfile(int root, const Pb__FileActionMkFile *a, const struct file_owner *o);
struct err *file_symlink(int root, const Pb__FileActionSymlink *a, const struct file_owner *o);
struct err *file_rm(int root, const Pb__FileActionRm *a);
/* What the two roots show, for copying below it; either may be NULL. When that was done, *written
 * is set: root must then not be used again (everything is closed that was opened in it). */
struct file_views {
	const struct mounts *src, *dst;
	bool written;
	void (*leave)(void *arg); /* called before writing below: closes root */
	void *arg;
};
struct err *file_copy(struct ctx *ctx, int src_root, int root, const Pb__FileActionCopy *a,
		      const struct file_owner *o, struct file_views *views);

/* ---- file_below.c ---- */
/* The directory path (resolved, absolute) of a read-only overlay in the one layer that has it, or
 * -1 when it is made of several. There may be marks of removed files (0:0 devices) in it. */
int file_source_below(const struct mounts *m, struct str path);
/* The same of a writable one, open as dirfd, in its upper layer; -1 unless it is empty in both.
 * What is written there counts once the overlay is closed. *ret_root is the layer's root. */
int file_dest_below(const struct mounts *m, int dirfd, struct str path, int *ret_root);

/* ---- helpers ---- */
/* Absolute and clean; a last "/." or "/" is kept. */
struct str file_clean_path(struct arena *a, struct str path);
/* Paths below root that match; components without wildcards before the first one with are followed
 * through symlinks. Sorted. No match: none. */
struct err *file_wildcards(int root, struct str pattern, struct arena *a, struct str **ret,
			   size_t *ret_n);
/* Owner and times of name in dirfd, itself if it is a symlink. timestamp -1: none. */
struct err *file_set_meta(int dirfd, const char *name, const struct file_owner *o,
			  int64_t timestamp);
/* Directories that were made on the way, whose times are to be set when all is in them. */
struct file_made_dirs {
	struct arena *arena;
	struct str *paths;
	size_t n, cap;
};
struct err *file_make_dirs(int root, struct str path, mode_t mode, const struct file_owner *o,
			   int64_t timestamp, struct file_made_dirs *made, int *ret_fd);
struct err *file_fix_times(int root, const struct file_made_dirs *made, int64_t timestamp);

/* ---- file_direct.c ---- */
/* For something new at path (absolute, clean) in an overlay that is not mounted: the deepest
 * directory on the way there, in the upper layer, and the rest of the path, of which nothing
 * exists. *ret_ok false: use the overlay. An empty rest (and no descriptor): path is a directory
 * that exists. */
struct err *file_direct(const struct mounts *m, struct str path, int *ret_fd, struct str *ret_rest,
			bool *ret_ok);

/* chmod's language ("0755", "u+rwX,go-w") applied to a mode with an umask of 0. */
struct file_mode_change;
struct err *file_mode_parse(struct arena *a, struct str text, struct file_mode_change **ret);
mode_t file_mode_apply(const struct file_mode_change *c, mode_t mode);

/* Unpacks an archive of any known compression; *ret false when the file is none. */
struct err *file_unpack(struct ctx *ctx, int fd, int root, struct str dest,
			const struct file_owner *o, int64_t timestamp, bool *ret);

#endif
