/* Inside snapshot: unpacking a layer archive. apply.c walks the archive and makes directories and
 * whiteouts, apply_node.c the other entries, apply_link.c hard links, apply_later.c does what needs
 * the layers below.
 *
 * One thread for an archive: what several writers gain on two cores, they lose on handing over
 * small files. The reader of the archive should be another thread's (chain.c). */
#ifndef SNAPSHOT_APPLY_IMPL_H
#define SNAPSHOT_APPLY_IMPL_H

#include "base/limits.h"
#include "base/map.h"
#include "base/vec.h"
#include "codec/tar.h"
#include "snapshot/diff.h"

#include <sys/stat.h>

#define APPLY_CHUNK ((size_t)256 * KIB)
/* AUFS kept files with several names here. */
#define APPLY_PLINK STR(".wh..wh.plnk/")

/* The directory of the last entry, held open: the next one is mostly in it too. */
struct apply_dir {
	int fd;      /* -1: none */
	char *path;  /* as in the archive, clean */
	bool setgid; /* new entries don't get our group */
};

/* What an entry gets besides its kind and data. */
struct apply_meta {
	uint64_t uid, gid;
	uint32_t mode;
	int64_t mtime_ns, atime_ns;
	struct tar_xattr *xattrs;
	size_t n_xattrs;
};

struct dir_time {
	char *path;
	int64_t mtime_ns, atime_ns;
};

struct apply {
	struct ctx *ctx;
	int root;
	const struct apply_opts *o;
	struct apply_later *later; /* NULL: nothing may wait */
	bool userns;
	/* What new files get anyway. */
	mode_t umask;
	uid_t uid;
	gid_t gid;
	struct tar_reader *tar;
	struct apply_dir dir;
	VEC(struct dir_time) dirs; /* times to be set at the end */
	struct map unpacked;       /* paths with an entry, so not of the layers below */
	struct map implied;        /* directories without one */
	struct map plinks;         /* AUFS link sources: fd + 1 as a pointer */
	char *chunk;
};

struct later_link {
	struct str path, target;
};

/* What can't be done without the layers below. In order. */
struct apply_later {
	struct arena arena;
	VEC(struct str) implied; /* directories that are in no entry */
	VEC(struct later_link) links;
};
void apply_later_fini(struct apply_later *l);
/* Implied directories take the attributes of lower's; missing link targets are copied from there.
 */
struct err *apply_fix(int rootfd, int lower_fd, struct apply_later *l) ERR_RESULT;
struct err *apply_fix_dir(int rootfd, int lower_fd, struct str path) ERR_RESULT;
/* Copies a file of the lower view into the root, with directories on the way. */
struct err *apply_copy_up(int rootfd, int lower_fd, struct str path) ERR_RESULT;

/* snapshot_apply, with what needs the lower layers left for later if `later` is not NULL. */
struct err *apply_run(struct ctx *ctx, int rootfd, struct reader *tar,
		      const struct apply_opts *opts, struct apply_later *later,
		      uint64_t *ret_bytes) ERR_RESULT;

/* ---- entries, by name in ap->dir ---- */

struct err *apply_regular(struct apply *ap, const char *name, const struct apply_meta *m,
			  uint64_t size) ERR_RESULT;
/* Symlinks, devices, pipes. */
struct err *apply_node(struct apply *ap, const char *name, const struct tar_header *h, mode_t type,
		       const struct apply_meta *m) ERR_RESULT;
struct err *apply_link(struct apply *ap, const char *name, struct str path, struct str target,
		       const struct apply_meta *m) ERR_RESULT;
/* A file in AUFS' own folder. */
struct err *apply_plink(struct apply *ap, const struct tar_header *h, struct str path,
			const struct apply_meta *m) ERR_RESULT;
void apply_plinks_fini(struct apply *ap);

/* The current entry's data into a file; long runs of zeros become holes. */
struct err *apply_data(struct apply *ap, int fd, uint64_t size) ERR_RESULT;
/* Owner, xattrs, mode, times; of an open file, or of a name. */
struct err *apply_meta_fd(struct apply *ap, int fd, const struct apply_meta *m, bool same_owner,
			  bool same_mode) ERR_RESULT;
struct err *apply_meta_at(struct apply *ap, const char *name, mode_t type,
			  const struct apply_meta *m) ERR_RESULT;

#endif
