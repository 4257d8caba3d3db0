/* Snapshots: file trees in layers (containerd's model). A snapshot is active (writable, made by
 * prepare), a view (read-only) or committed; committed ones can be parents. Mounts are
 * data. Names are caller-chosen ids (no '/', no NUL, <= 128 bytes). Thread-safe. */
#ifndef SNAPSHOT_SNAPSHOT_H
#define SNAPSHOT_SNAPSHOT_H

#include "base/ctx.h"
#include "base/err.h"

struct mounts; /* snapshot/mounts.h */

enum snapshot_kind { SNAPSHOT_ACTIVE, SNAPSHOT_VIEW, SNAPSHOT_COMMITTED };

struct snapshot_info {
	enum snapshot_kind kind;
	struct str name, parent;
};

struct snapshotter {
	const struct snapshotter_ops *ops;
};

struct snapshotter_ops {
	const char *name; /* "overlayfs", "native" */
	struct err *(*stat)(struct snapshotter *s, struct arena *a, struct str name,
			    struct snapshot_info *ret);
	struct err *(*prepare)(struct snapshotter *s, struct str name,
			       struct str parent); /* parent may be empty */
	struct err *(*view)(struct snapshotter *s, struct str name, struct str parent);
	/* The active snapshot `active` becomes the committed `name` (may be the same). */
	struct err *(*commit)(struct snapshotter *s, struct str name, struct str active);
	/* An active one that is kept is not written to until it is woken. Both may be NULL. */
	struct err *(*rest)(struct snapshotter *s, struct str name);
	struct err *(*wake)(struct snapshotter *s, struct str name);
	/* Mounts of an active or view snapshot; of a committed one, a read-only view of it. */
	struct err *(*mounts)(struct snapshotter *s, struct arena *a, struct str name,
			      struct mounts **ret);
	/* FAILED_PRECONDITION when a child stands on it. The files go in the background. */
	struct err *(*remove)(struct snapshotter *s, struct str name);
	/* Own bytes (disk blocks) and inodes. */
	struct err *(*usage)(struct snapshotter *s, struct ctx *ctx, struct str name,
			     uint64_t *ret_bytes, uint64_t *ret_inodes);
	struct err *(*each)(struct snapshotter *s,
			    struct err *(*fn)(void *arg, const struct snapshot_info *info),
			    void *arg);
	/* A committed snapshot that shows parents[0] with parents[1].. on top, in order (MergeOp),
	 * sharing their layers. */
	struct err *(*merge)(struct snapshotter *s, struct ctx *ctx, struct str name,
			     const struct str *parents, size_t n);
	/* A committed snapshot that holds what upper has above lower, deletions included, as an
	 * input of merge (DiffOp). Either may be empty. Layers are shared when lower is below
	 * upper; else what a double walk finds is linked together. Shown alone, deletions show
	 * nothing. */
	struct err *(*between)(struct snapshotter *s, struct ctx *ctx, struct str name,
			       struct str lower, struct str upper);
	void (*free)(struct snapshotter *s);
};

struct err *snapshot_stat(struct snapshotter *s, struct arena *a, struct str name,
			  struct snapshot_info *ret) ERR_RESULT;
struct err *snapshot_prepare(struct snapshotter *s, struct str name, struct str parent) ERR_RESULT;
struct err *snapshot_view(struct snapshotter *s, struct str name, struct str parent) ERR_RESULT;
struct err *snapshot_commit(struct snapshotter *s, struct str name, struct str active) ERR_RESULT;
/* For active snapshots that outlive their use. A rested one is whole, so it is kept over a power
 * loss once it is on the disk. It must be woken before it is written to again: from then on, and
 * already when this returns, a power loss drops it, for what is in it may be torn. Waits for the
 * disk only when it has been on it. */
struct err *snapshot_rest(struct snapshotter *s, struct str name) ERR_RESULT;
struct err *snapshot_wake(struct snapshotter *s, struct str name) ERR_RESULT;
struct err *snapshot_mounts(struct snapshotter *s, struct arena *a, struct str name,
			    struct mounts **ret) ERR_RESULT;
struct err *snapshot_remove(struct snapshotter *s, struct str name) ERR_RESULT;
struct err *snapshot_usage(struct snapshotter *s, struct ctx *ctx, struct str name,
			   uint64_t *ret_bytes, uint64_t *ret_inodes) ERR_RESULT;
struct err *snapshot_merge(struct snapshotter *s, struct ctx *ctx, struct str name,
			   const struct str *parents, size_t n) ERR_RESULT;
struct err *snapshot_between(struct snapshotter *s, struct ctx *ctx, struct str name,
			     struct str lower, struct str upper) ERR_RESULT;
void snapshotter_free(struct snapshotter *s); /* NULL is fine; no mount of it may be in use */

struct kv;
/* Layer directories under dir (<n>/fs, <n>/work), records in kv table "snapshot". Layers of
 * a deep chain are joined below the kernel's limit of lowers. Leftovers of a crash (records
 * without directories, directories without records) are dropped at open, and so are snapshots
 * that were not yet on the disk when the machine went down. */
struct err *snapshotter_open_overlay(const char *dir, struct kv *kv,
				     struct snapshotter **ret) ERR_RESULT;
/* Full copies: works on any file system. */
struct err *snapshotter_open_native(const char *dir, struct kv *kv,
				    struct snapshotter **ret) ERR_RESULT;
/* Can overlayfs be mounted with its directories under dir? */
bool snapshot_overlay_supported(const char *dir);

#endif
