/* Inside kv: the LMDB back end. All tables are one LMDB tree, each with a byte of its own
 * in front of its keys, so a commit over several tables rewrites one path and readers need
 * no table handles. Byte 0 holds the table names.
 *
 * kv_lmdb.c: reading, changing, opening. lmdb_env.c: the environment and its files. batch.c: group
 * commit and syncing. */
#ifndef KV_KV_LMDB_H
#define KV_KV_LMDB_H

#include "kv/kv_impl.h"
#include "kv/mark.h"

#include "base/list.h"
#include "base/lock.h"

#include <lmdb.h>
#include <stdatomic.h>

#define READERS_MAX 120 /* views at a time; more wait */
#define TABLES_MAX 250
#define MAP_MIN ((size_t)64 << 20)

struct kv_lmdb {
	struct kv base;
	char *dir;
	int dirfd;
	char boot_id[MARK_BOOT_ID];
	size_t map_size;

	/* Changed only by whoever has the gate (no views) and the write baton. */
	MDB_env *env;
	MDB_dbi dbi;
	uint64_t generation;
	const unsigned char *meta; /* the two meta pages, mapped */
	size_t page_size;

	/* Append-only; n_tables is what readers may look at. */
	char *tables[TABLES_MAX];
	atomic_size_t n_tables;

	struct lock lock;
	/* views */
	MDB_txn *idle[READERS_MAX];
	size_t n_idle, n_readers, n_views;
	bool gated; /* no new views: the environment is being changed */
	struct cond views_cond;

	/* the write baton */
	struct list queue; /* of struct update */
	bool writing;
	uint64_t commit_seq;    /* counts commits, this process */
	struct cond baton_cond; /* for those who want the baton without an update */
	size_t n_baton_waiters;
	atomic_bool must_reopen; /* LMDB gave up on the environment */

	/* syncing: marks and pin belong to whoever has set `syncing` */
	struct mark_file marks;
	/* A read transaction at the marked state: keeps LMDB from using its pages again. */
	MDB_txn *pin, *spare_pin;
	bool syncing, must_rotate;
	int64_t looked_ns; /* when it was looked whether the file is mostly free */
	uint64_t synced_seq, tried_seq, sync_round;
	struct err *sync_err; /* of the last round */
	struct cond sync_cond;

	/* the thread that syncs lazy commits */
	pthread_t timer;
	bool timer_runs, timer_idle, stopping;
	struct cond timer_cond;
	struct ctx *timer_ctx;
};

struct lmdb_txn {
	struct kv_txn base;
	MDB_txn *mdb;
	size_t n_changes, n_new_tables;
	bool full;   /* the map must grow */
	bool broken; /* nothing of it can be kept */
};

struct err *lmdb_err(int rc, const char *what) ERR_RESULT;
/* Opens data.<generation>. */
struct err *lmdb_env_open(struct kv_lmdb *k, uint64_t generation) ERR_RESULT;
/* With the gate and the baton, or alone: closes the environment and all that stands on it. */
void lmdb_env_close(struct kv_lmdb *k);
/* Stops views and waits for those under way. The caller has the baton. */
void lmdb_gate_close(struct kv_lmdb *k);
void lmdb_gate_open(struct kv_lmdb *k);
/* Pages of the file that were read count as memory of the process until they are let go of: what is
 * needed again comes back from the page cache. With no lock held. */
void lmdb_trim(struct kv_lmdb *k);
/* Doubles the map. The caller has the baton and no transaction. */
struct err *lmdb_grow(struct kv_lmdb *k) ERR_RESULT;
/* Copies what is in use into a data file of the next generation, and goes on with that. With the
 * gate, baton and sync round, or alone. */
struct err *lmdb_rotate(struct kv_lmdb *k) ERR_RESULT;
/* Is it large enough to matter, and is most of it free? With the baton. */
struct err *lmdb_is_mostly_free(struct kv_lmdb *k, bool *ret) ERR_RESULT;
/* After a power loss or reboot: the file as it was when it was last marked. Before lmdb_env_open.
 */
struct err *lmdb_restore(struct kv_lmdb *k) ERR_RESULT;
/* Is the last mark of this boot? */
bool lmdb_same_boot(const struct kv_lmdb *k);
void lmdb_drop_generation(struct kv_lmdb *k, uint64_t generation);
/* The data file of the generation before or after, from a copy that was cut off. */
void lmdb_drop_leftovers(struct kv_lmdb *k, uint64_t keep);
/* Names of the tables, at open. */
struct err *lmdb_load_tables(struct kv_lmdb *k, MDB_txn *txn) ERR_RESULT;
/* The meta page of the last commit, and a pin on it. With the baton. */
struct err *lmdb_capture(struct kv_lmdb *k, struct mark *ret, MDB_txn **ret_pin) ERR_RESULT;

struct err *lmdb_update(struct kv *kv, enum kv_mode mode, kv_fn fn, void *arg) ERR_RESULT;
struct err *lmdb_sync(struct kv *kv) ERR_RESULT;
/* Syncs what the data file holds now and marks it. */
struct err *lmdb_sync_now(struct kv_lmdb *k) ERR_RESULT;
/* Marks a store just made, without syncing. */
struct err *lmdb_mark_new(struct kv_lmdb *k) ERR_RESULT;
void lmdb_timer_start(struct kv_lmdb *k);
void lmdb_timer_stop(struct kv_lmdb *k);

#endif
