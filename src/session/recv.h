/* The receiving side of a transfer; between recv*.c. One thread takes the packets, keeps order and
 * makes everything but files; several write files (recv_write.c). Everything in the destination is
 * reached from descriptors of its directories, never through a symlink.
 * The lists live in the arena of the transfer. */
#ifndef SESSION_RECV_H
#define SESSION_RECV_H

#include "base/lock.h"
#include "base/task.h"
#include "codec/digest.h"
#include "grpc/grpc.h"
#include "session/fsutil_wire.h"
#include "session/recv_order.h"
#include "session/recv_state.h"

#include <sys/types.h>

struct filesync_sink;
struct patterns;
struct recv_dir;
struct recv_file;

struct recv_entry {
	struct entry_meta meta;
	const char *name;              /* its last component, NUL-terminated */
	struct recv_dir *dir;          /* that holds it */
	struct recv_dir *self;         /* of a directory */
	const struct fs_xattr *xattrs; /* of one that is made; else NULL */
	size_t n_xattrs;
	struct recv_file *file; /* while its data comes */
	bool regular;           /* by the sender's type bits: has data that can be asked for */
	bool replace;           /* something else is at its path */
	bool wanted;            /* asked for, data not yet complete */
	bool on_disk;           /* part of the destination (not metadata only) */
	bool kept;              /* as it was before the transfer */
	bool has_digest;
	uint8_t sha[RECV_SHA];
	uint64_t got; /* bytes that came */
};

/* ---- directories (recv_dirs.c): opened when needed, a bounded number at a time; thread-safe ----
 */

struct recv_dir {
	struct recv_entry *entry; /* NULL: the destination itself */
	struct recv_dir *parent;
	struct str path;
	bool setgid; /* files in it do not belong to our group by themselves */
	/* The receiving thread's: */
	bool placed;   /* is there */
	bool touched;  /* its time is to be set at the end */
	bool fix_mode; /* and its mode, which would keep us out */
	/* Under the lock: */
	int fd;
	unsigned pins;
	struct list lru;
};

struct recv_dirs {
	int root; /* borrowed */
	struct lock lock;
	struct list idle; /* open, not pinned; oldest first */
	size_t n_idle;
};

void recv_dirs_init(struct recv_dirs *ds, int root);
void recv_dirs_fini(struct recv_dirs *ds);
void recv_dir_init(struct recv_dir *d);
/* Pins it open (O_PATH). */
struct err *recv_dir_get(struct recv_dirs *ds, struct recv_dir *d, int *ret_fd) ERR_RESULT;
void recv_dir_put(struct recv_dirs *ds, struct recv_dir *d);

/* ---- making things (recv_place.c) ---- */

struct recv_owner { /* what new things are like before anything is set */
	uid_t uid;
	gid_t gid;
	mode_t umask;
};
void recv_owner_init(struct recv_owner *o);

/* What was at a path before. */
enum recv_was { WAS_NOTHING, WAS_DIR, WAS_OTHER, WAS_UNKNOWN };

struct err *recv_place_dir(struct recv_dirs *ds, const struct recv_owner *o, struct recv_entry *e,
			   enum recv_was was) ERR_RESULT;
/* Symlinks, devices, pipes. */
struct err *recv_place_node(struct recv_dirs *ds, const struct recv_owner *o, struct recv_entry *e,
			    enum recv_was was) ERR_RESULT;
struct err *recv_place_link(struct recv_dirs *ds, struct recv_entry *e,
			    const struct recv_entry *source) ERR_RESULT;
struct err *recv_remove(struct recv_dirs *ds, struct recv_dir *dir, const char *name) ERR_RESULT;
struct err *recv_set_dir_time(struct recv_dirs *ds, struct recv_dir *d) ERR_RESULT;
/* A name that is not in the way of anything. */
#define RECV_TEMP_LEN 24
void recv_temp_name(char out[RECV_TEMP_LEN]);
/* From the temporary to the final name, over whatever is there. */
struct err *recv_rename(int dirfd, const char *temp, const char *name) ERR_RESULT;

/* ---- writing files (recv_write.c) ---- */

struct recv_file {
	struct recv_entry *entry;
	bool replace; /* something is known to be at its path */
	/* The receiving thread's: a first piece held back, since most files have no second. */
	char *held_mem;
	struct str held;
	bool streaming;
	/* The writer's: */
	unsigned writer;
	int fd;
	char temp[RECV_TEMP_LEN]; /* "" when written under its name */
	struct hasher *hash;
};

struct recv_pool;
/* hash: contenthash digests go into the entries. */
struct recv_pool *recv_pool_new(struct ctx *ctx, struct recv_dirs *ds, const struct recv_owner *o,
				bool hash);
/* Ends at the first failure of a writer, whose error is the cause. */
struct ctx *recv_pool_ctx(struct recv_pool *p);
struct recv_file *recv_file_new(struct recv_pool *p, struct recv_entry *e, bool replace);
/* The next piece (mem is its allocation, taken) or, with last, the end of the file, which frees f.
 * Blocks while much is queued. */
struct err *recv_pool_put(struct recv_pool *p, struct recv_file *f, char *take_mem, struct str data,
			  bool last) ERR_RESULT;
/* Wakes writers that have work: before the caller sleeps. */
void recv_pool_flush(struct recv_pool *p);
/* Waits until everything that was put is written. */
struct err *recv_pool_wait(struct recv_pool *p) ERR_RESULT;
/* Ends the writers, whatever is still queued. Then files that never got their last piece are
 * dropped by their owner, then the pool is freed. */
void recv_pool_stop(struct recv_pool *p);
void recv_file_drop(struct recv_pool *p, struct recv_file *f);
void recv_pool_free(struct recv_pool *p);
/* ---- a transfer (recv.c) ---- */

struct recv_opts {
	/* What is there: the entries of this list, and only they (without it: removed first).
	 * Or nobody knows: then the rest is kept (merge) or removed at the end (mirror). */
	struct str previous;
	bool merge, mirror;
	bool differ_none; /* everything counts as changed */
	bool own_ids;     /* files belong to the caller, whatever the sender says */
	bool hash;
	bool metadata_only;
	const struct patterns *except; /* these come with data nevertheless; may be NULL */
	const struct filesync_sink *sink;
};
/* Runs the protocol to its end. Entries on disk are in stream order, in the arena. */
struct err *recv_run(struct grpc_stream *st, struct ctx *ctx, int dest_dirfd,
		     const struct recv_opts *o, struct arena *a, struct recv_entry ***ret,
		     size_t *ret_n) ERR_RESULT;

/* Header digest of anything that has no content. */
void recv_digest_entry(struct hasher *h, struct recv_entry *e);
void recv_hash_begin(struct hasher *h, const struct recv_entry *e);

#endif
