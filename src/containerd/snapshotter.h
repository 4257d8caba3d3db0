/* Inside the snapshotter: snapshot.c (single snapshots), merge.c (merges and differences). */
#ifndef CONTAINERD_SNAPSHOTTER_H
#define CONTAINERD_SNAPSHOTTER_H

#include "base/map.h"
#include "containerd/internal.h"
#include "snapshot/mounts.h"
#include "snapshot/snapshot.h"

struct csnap {
	enum snapshot_kind kind;
	char *parent; /* "" for none */
	/* A difference: what it is between; "" for nothing. */
	bool is_diff;
	char *lower, *upper;
	/* A merge: what of, lowest first, with commas. NULL also when there are too many to note:
	 * then it is what it differs from its parent by. */
	char *merged;
};

struct csnapshotter {
	struct snapshotter base;
	struct ctd *ctd;
	struct lock lock;
	struct map snaps; /* name -> struct csnap */
	struct map views; /* names of committed ones that have a view */
};

static inline struct csnapshotter *csnapshotter_of(struct snapshotter *s)
{
	return container_of(s, struct csnapshotter, base);
}

/* A copy in the arena. */
struct err *csnap_find(struct csnapshotter *cs, struct arena *a, struct str name,
		       struct csnap *ret) ERR_RESULT;
/* The active one becomes the committed `name`, known as s. */
struct err *csnap_commit_as(struct csnapshotter *cs, struct str name, struct str active,
			    const struct csnap *s) ERR_RESULT;

/* Of snapshotter_ops. */
struct err *csnap_mounts(struct snapshotter *sn, struct arena *a, struct str name,
			 struct mounts **ret) ERR_RESULT;
struct err *csnap_prepare(struct snapshotter *sn, struct str name, struct str parent) ERR_RESULT;
struct err *csnap_remove(struct snapshotter *sn, struct str name) ERR_RESULT;
struct err *csnap_merge(struct snapshotter *sn, struct ctx *ctx, struct str name,
			const struct str *parents, size_t n) ERR_RESULT;
struct err *csnap_between(struct snapshotter *sn, struct ctx *ctx, struct str name,
			  struct str lower, struct str upper) ERR_RESULT;

#endif
