/* Copies of file data, entries and trees. Works on directory descriptors and never follows a
 * symlink in source or destination, so both may be hostile as long as nothing else renames in
 * them meanwhile. */
#ifndef SYS_COPY_H
#define SYS_COPY_H

#include "base/ctx.h"
#include "base/err.h"

#include <sys/stat.h>
#include <sys/types.h>

/* Data of in (from its start) to out (empty, at 0): by reflink, copy_file_range, or a buffer;
 * holes stay holes. Which way works is remembered in *hint (start with 0; may be NULL), so that
 * failing calls are not tried again for the same pair of file systems. */
struct err *copy_data(int out, int in, uint64_t size, unsigned *hint) ERR_RESULT;

enum copy_flags {
	COPY_NO_OWNER = 1, /* as created by the caller */
	COPY_NO_XATTR = 2, /* none */
	COPY_NO_TIMES = 4,
	COPY_HARDLINK = 8, /* link files instead of copying where possible (immutable sources) */
	COPY_REPLACE = 16, /* a file or link in the way is removed first; a directory is refused,
			      except by a directory, which merges */
	COPY_REPLACE_ANY = 32,     /* as COPY_REPLACE, and directories in the way of non-directories
				      (and     the other way round) go too */
	COPY_NO_HARDLINKS = 64,    /* names of one inode become files of their own */
	COPY_KEEP_DIR_META = 128,  /* leave mode, owner, times of directories that exist */
	COPY_SKIP_SOCKETS = 256,   /* else they are made as sockets */
	COPY_OVERLAY_XATTRS = 512, /* copy trusted.overlay.* and user.overlay.* too */
};

/* What may be changed of each entry on its way. */
struct copy_attr {
	uid_t uid;
	gid_t gid;
	mode_t mode; /* with type bits, which must not be changed */
	struct timespec atime, mtime;
};

enum copy_verdict {
	COPY_TAKE,
	COPY_SKIP,      /* and everything below */
	COPY_ON_DEMAND, /* a directory that is made only if something below it is taken */
};

struct copy_opts {
	unsigned flags;
	unsigned threads; /* 0: as many as is good for this machine */
	/* Called once an entry before it is copied, from one thread at a time for a tree (parents
	 * first, sorted); may be NULL. path is relative to the source root. attr comes filled from
	 * the source. An error ends the copy. */
	struct err *(*filter)(void *arg, struct str path, const struct stat *st,
			      struct copy_attr *attr, enum copy_verdict *ret);
	/* Called after an entry is there (not for directories that existed), from several threads.
	 * May be NULL. */
	void (*done)(void *arg, struct str path, const struct stat *st);
	void *arg;
};

/* One entry that is not a directory (or a directory without its content): data, owner, mode,
 * xattrs, times, device numbers. */
struct err *copy_entry(int src_dirfd, const char *src_name, int dst_dirfd, const char *dst_name,
		       const struct copy_opts *o) ERR_RESULT;
/* The content of the source directory into the destination directory, which exists. Hard links
 * within the source stay hard links. With a ctx that has a pool, files are copied by several
 * threads. The destination's own mode, owner and times are not touched: see copy_dir_meta. */
struct err *copy_tree(struct ctx *ctx, int src_dirfd, int dst_dirfd,
		      const struct copy_opts *o) ERR_RESULT;
/* Mode, owner, xattrs, times of one directory onto another. */
struct err *copy_dir_meta(int src_dirfd, int dst_dirfd, const struct copy_opts *o) ERR_RESULT;

#endif
