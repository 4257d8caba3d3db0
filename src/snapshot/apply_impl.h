/* Inside snapshot: unpacking a layer archive. apply.c walks the archive, apply_node.c makes the
 * entries, apply_pool.c writes small files on other threads, apply_later.c does what needs the
 * layers below. */
#ifndef SNAPSHOT_APPLY_IMPL_H
#define SNAPSHOT_APPLY_IMPL_H

#include "base/map.h"
#include "base/task.h"
#include "base/vec.h"
#include "codec/tar.h"
#include "snapshot/diff.h"

#include <stdatomic.h>
#include <sys/stat.h>

/* Files up to this size are read whole and written by the pool. */
#define APPLY_SMALL ((size_t)256 * 1024)

/* A directory of the root, held open while entries are made in it. */
struct apply_dir {
	atomic_int refs;
	int fd;
	struct str path; /* as in the archive, clean; heap */
	dev_t dev;
	ino_t ino;
	bool setgid; /* new entries don't get our group */
};
void apply_dir_unref(struct apply_dir *d);

/* What an entry gets besides its kind and data. */
struct apply_meta {
	uint64_t uid, gid;
	uint32_t mode;
	int64_t mtime_ns, atime_ns;
	struct tar_xattr *xattrs;
	size_t n_xattrs;
};
void apply_meta_of(const struct tar_header *h, struct apply_meta *ret);

/* Facts of the process and the root that all threads need. */
struct apply_env {
	bool userns;
	mode_t umask;
	uid_t uid; /* what new files get anyway */
	gid_t gid;
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

/* ---- entries ---- */

/* A regular file, with data from memory. Whatever was there goes, except for a directory with
 * `keep_dir`. */
struct err *apply_file(const struct apply_env *env, const struct apply_dir *d, const char *name,
		       const struct apply_meta *m, const char *data, size_t len) ERR_RESULT;
/* Owner, xattrs, mode, times of an open file or (name) of an entry in a directory. is_new: with the
 * mode of m and our own ids. */
struct err *apply_meta_fd(const struct apply_env *env, int fd, const struct apply_meta *m,
			  bool same_owner, bool same_mode) ERR_RESULT;
struct err *apply_meta_at(const struct apply_env *env, int dirfd, const char *name, mode_t type,
			  const struct apply_meta *m) ERR_RESULT;
struct err *apply_xattrs(int fd, const char *name, mode_t type,
			 const struct apply_meta *m) ERR_RESULT;
/* Creates the file to be written; what is in the way goes. */
struct err *apply_create(const struct apply_env *env, const struct apply_dir *d, const char *name,
			 const struct apply_meta *m, int *ret_fd) ERR_RESULT;
struct err *apply_close_file(const struct apply_env *env, const struct apply_dir *d, int fd,
			     const struct apply_meta *m) ERR_RESULT;

/* ---- pool ---- */

struct apply_pool;
/* NULL when this machine or ctx is not for it. */
struct apply_pool *apply_pool_new(struct ctx *ctx, const struct apply_env *env);
/* Takes data (heap). The names and xattrs of m are copied. */
void apply_pool_add(struct apply_pool *p, struct apply_dir *d, const char *name,
		    const struct apply_meta *m, char *take_data, size_t len);
/* Is that entry still to be made? */
bool apply_pool_has(struct apply_pool *p, const struct apply_dir *d, const char *name);
/* Waits for all so far; the first error. */
struct err *apply_pool_drain(struct apply_pool *p) ERR_RESULT;
bool apply_pool_failed(struct apply_pool *p);
/* Waits, frees; the first error that drain has not given. NULL is fine. */
struct err *apply_pool_free(struct apply_pool *p) ERR_RESULT;

#endif
