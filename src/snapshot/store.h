/* Inside snapshot: the snapshots and layers of one directory, in memory and in kv. Both
 * snapshotters stand on it.
 *
 * A layer is a directory <id>/fs; it is counted by what shows it. A snapshot owns one, or shows
 * those of others. Both are known in memory from the open on; kv has a record a snapshot, written
 * lazily, so that looking never touches the disk.
 *
 * Everything changes under st->lock unless it says otherwise. Nothing is made, mounted or removed
 * under it. A committed snapshot's parent, own and base never change, and what has children can't
 * go, so a stack may be read after the lock was dropped as long as the caller counts as a child. */
#ifndef SNAPSHOT_STORE_H
#define SNAPSHOT_STORE_H

#include "base/lock.h"
#include "base/map.h"
#include "base/vec.h"
#include "kv/kv.h"
#include "snapshot/mounts.h"
#include "snapshot/snapshot.h"
#include "sys/file.h"
#include "sys/rmtree.h"

#define SNAPSHOT_TABLE "snapshot"
#define SNAPSHOT_NAME_MAX 128

struct layer {
	uint64_t id;
	size_t refs;
	bool whiteouts; /* may hold some: shown alone it must go through overlayfs */
	bool linked;    /* its files are hard links to those of other layers */
	bool is_join;   /* stands for several that were next to each other in a stack */
	bool clean;     /* nothing in it depends on overlayfs' view of its base: see clean.c */
	/* Of one made from others, for a snapshot that may be on the disk already (joined,
	 * clean_copy): st->n_made when it was whole. */
	uint64_t made;
	struct layer *clean_copy; /* counted; NULL */
};

struct snap {
	enum snapshot_kind kind;
	char *name;
	struct snap *parent; /* counted in its children */
	struct layer *own;
	/* Instead of a parent: the layers shown, topmost first (merges). */
	struct layer **base;
	size_t n_base;
	/* What stands for the whole stack up to here, topmost first: fewer layers. */
	struct layer **joined;
	size_t n_joined;
	/* Native: between these two (counted in their children); lower may be NULL. */
	struct snap *diff_lower, *diff_upper;
	bool is_diff;
	size_t children;
	bool durable;  /* has been on the disk; else gone after a reboot */
	bool awake;    /* may be being written to, so it can't become durable */
	uint64_t made; /* st->n_made when it was made whole */
	bool busy;     /* being made or joined: wait for st->changed */
};

struct layers { /* topmost first */
	struct layer **items;
	size_t len, cap;
};

struct store {
	struct snapshotter base;
	char *dir;
	int dirfd;
	struct kv *kv;
	struct trash *trash;
	char boot_id[FILE_BOOT_ID_LEN + 1];

	struct lock lock;
	struct cond changed;
	struct map snaps; /* name -> struct snap */
	uint64_t next_id;
	uint64_t n_made;      /* counts what is made, for the syncer */
	uint64_t n_synced;    /* what had been made by then is on the disk */
	VEC(uint64_t) doomed; /* layers without a user: store_bury() */

	/* to be written: name -> struct pending */
	struct map pending;
	bool flushing;
	uint64_t gen, flushed_gen;

	/* the thread that makes things durable */
	pthread_t syncer;
	struct ctx *idle; /* never cancelled: for timed waits */
	struct cond sync_cond;
	bool has_syncer, sync_wanted, flush_wanted, closing;
};

/* dir is made if missing. */
struct err *store_open(const char *dir, struct kv *kv, const struct snapshotter_ops *ops,
		       struct store **ret) ERR_RESULT;
void store_free(struct store *st);

static inline struct store *store_of(struct snapshotter *s)
{
	return container_of(s, struct store, base);
}

/* ---- layers ---- */

/* It is whole now. Until it is on the disk no record names it as something that stands for others:
 * a start makes it anew. */
void store_layer_made(struct store *st, struct layer *l);
static inline bool store_layer_is_fresh(const struct store *st, const struct layer *l)
{
	return l->made > st->n_synced;
}
/* A new empty directory with the attributes of `like`'s root, if that is not NULL. One reference.
 */
struct err *store_layer_new(struct store *st, const struct layer *like,
			    struct layer **ret) ERR_RESULT;
struct layer *store_layer_ref_locked(struct layer *l);
void store_layer_unref_locked(struct store *st, struct layer *l);
/* Takes the lock itself, and buries. */
void store_layer_unref(struct store *st, struct layer *l);
/* Directories of layers without a user go to the trash. Call without the lock. */
void store_bury(struct store *st);
/* "<dir>/<id>/fs"; "work" beside it is made by whoever mounts. */
struct str store_layer_path(const struct store *st, const struct layer *l, struct arena *a);
struct err *store_layer_open(const struct store *st, const struct layer *l, int *ret) ERR_RESULT;

/* ---- snapshots ---- */

/* The operations that both snapshotters have alike. */
struct err *store_stat(struct snapshotter *sn, struct arena *a, struct str name,
		       struct snapshot_info *ret) ERR_RESULT;
struct err *store_each(struct snapshotter *sn,
		       struct err *(*fn)(void *arg, const struct snapshot_info *info),
		       void *arg) ERR_RESULT;
struct err *store_commit(struct snapshotter *sn, struct str name, struct str active) ERR_RESULT;
struct err *store_rest(struct snapshotter *sn, struct str name) ERR_RESULT;
struct err *store_wake(struct snapshotter *sn, struct str name) ERR_RESULT;
struct err *store_remove(struct snapshotter *sn, struct str name) ERR_RESULT;
void store_free_op(struct snapshotter *sn);

/* A new, busy snapshot on a committed parent ("" is none). */
struct err *store_add(struct store *st, struct str name, enum snapshot_kind kind, struct str parent,
		      struct snap **ret) ERR_RESULT;
/* It is made: visible, recorded. Or with an error: dropped, and the error is given back. */
struct err *store_finish(struct store *st, struct snap *s, struct err *take_e) ERR_RESULT;

struct err *store_check_name(struct str name) ERR_RESULT;
/* NOT_FOUND "snapshot X does not exist: not found". Waits while it is busy. */
struct err *store_find_locked(struct store *st, struct str name, struct snap **ret) ERR_RESULT;
/* A committed one, for a parent. */
struct err *store_find_parent_locked(struct store *st, struct str name,
				     struct snap **ret) ERR_RESULT;
/* A new, busy one in the map: ALREADY_EXISTS if the name is taken. Counts as a child of parent. */
struct err *store_add_locked(struct store *st, struct str name, enum snapshot_kind kind,
			     struct snap *parent, struct snap **ret) ERR_RESULT;
/* Moves it to another name. */
void store_rename_locked(struct store *st, struct snap *s, struct str name);
/* Out of the map and gone, layers and all. */
void store_drop_locked(struct store *st, struct snap *s);
/* Writes its record with the next flush. */
void store_put_locked(struct store *st, struct snap *s);
/* Its stack, topmost first. raw: without what was joined. The layers are not counted. */
void store_stack_locked(const struct snap *s, bool raw, struct layers *out);
size_t store_stack_len_locked(const struct snap *s);
/* Makes what was put or dropped before visible in kv. Call without the lock. */
struct err *store_flush(struct store *st) ERR_RESULT;
/* The same some time later, by the thread below. */
void store_want_flush_locked(struct store *st);
/* What was made becomes durable some seconds later: see store_sync.c. */
void store_want_sync_locked(struct store *st);
struct err *store_start_syncer(struct store *st) ERR_RESULT;
void store_stop_syncer(struct store *st);
/* One round of it. */
void store_sync_now(struct store *st);

/* The record's bytes, and back: see store_kv.c. */
struct err *store_load(struct store *st) ERR_RESULT;
void store_encode_locked(const struct store *st, const struct snap *s, struct buf *out);

#endif
