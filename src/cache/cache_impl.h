/* Inside cache: records and the manager. A record is known by its id for as long as it is in
 * the manager's map; handles and children keep it there.
 *
 * Everything in a record changes under the manager's lock unless it says otherwise. No I/O is
 * done under it. Changes are written to kv some time later, all in one (cache_mark_dirty). */
#ifndef CACHE_CACHE_IMPL_H
#define CACHE_CACHE_IMPL_H

#include "cache/cache.h"
#include "cache/filter.h"

#include "base/id.h"
#include "base/list.h"
#include "base/lock.h"
#include "base/map.h"
#include "base/singleflight.h"
#include "base/task.h"
#include "base/vec.h"

#define LIMIT_RECORD_VALUE ((size_t)15 << 20)
#define LIMIT_META_VALUE ((size_t)1 << 20)
#define LIMIT_VIEW_SPLITS 16 /* layers a retained mutable record may come to stand on */
#define TABLE_RECORDS "cache"
#define TABLE_HASHES "cache.hash"

enum record_kind { RECORD_LAYER, RECORD_MERGE, RECORD_DIFF };

/* A layer as a blob. Never changed once it is in a record. */
struct variant {
	struct arena arena;
	struct oci_descriptor desc;
	struct digest diff_id;
	int64_t epoch_s; /* timestamps were cut to it; -1: as they are */
};

struct meta {
	char *key;
	char *value;
	size_t len;
	char *index; /* NULL: none */
};

struct hashtree;

struct record {
	struct cache *cache;
	struct cache_ref {
		struct record *rec;
	} handle;
	char id[ID_LEN + 1];
	enum record_kind kind;
	bool is_mutable, retain;
	bool removed; /* out of the map */
	bool stored;  /* in kv, or on its way there */
	char *description, *type;
	int64_t created_ns, last_used_ns, usage_count;
	int64_t size; /* -1: not known */

	/* LAYER: none or one. MERGE: lowest first. DIFF: lower and upper, either NULL. */
	struct record **parents;
	size_t n_parents;
	size_t n_children; /* records that have it as a parent */
	size_t n_refs;     /* handles; a mutable one has at most one */
	/* Handles, work under way, and children that are held: in use while there are any. */
	size_t n_holds;

	/* The snapshot has the record's id. Without one, the record is lazy. */
	bool has_snapshot;
	/* The read-only face of a retained mutable record: shows that one's snapshot. */
	struct record *view_of, *view;
	bool splitting;   /* being made independent of each other */
	size_t n_looking; /* who is just asking for the view's mounts */
	unsigned n_splits;

	bool from_remote; /* a layer of an image, by its blob */
	/* Its blob could not be unpacked: not found by id any more. */
	bool broken;
	struct digest diff_id, chain_id;
	VEC(struct variant *) variants; /* the first is the one that was there first */
	VEC(struct variant *) retired;  /* blobs found missing; others may still look at them */
	VEC(struct cache_fetcher) fetchers;
	VEC(struct meta) metas;

	/* Content hashes: the key of the stored tree, "" is none; the tree itself while held. */
	char hash_key[ID_LEN + 1];
	bool hash_stale; /* opened for writing since */
	bool hashing;    /* somebody is computing: the tree is his */
	struct hashtree *tree;

	bool dirty;
	struct list dirty_link;
};

struct record_list { /* of one chain id, or one index */
	VEC(struct record *) records;
};

struct cache {
	struct kv *kv;
	struct snapshotter *snapshotter;
	struct content *content;
	char *tmp_dir;
	struct ctx *ctx; /* ends with the cache: parent of shared work */

	struct lock lock;
	struct map records;  /* id -> record */
	struct map chains;   /* chain id -> struct record_list */
	struct map indexes;  /* metadata index -> struct record_list */
	struct map blobs;    /* digest -> number of variants, as a pointer */
	struct cond changed; /* a mutable record came free, a split ended */
	uint64_t n_freed;    /* counts those, for waiters */

	/* what is to be written */
	struct list dirty;
	VEC(char *) deleted;      /* record ids */
	VEC(char *) deleted_hash; /* hash keys */
	struct list unstored;     /* struct hashtree, of records nobody holds any more */
	bool flush_planned, flushing;
	struct cond flushed;

	struct list subscribers; /* who wants to hear of extracting */
	struct singleflight unlazy, fetch, blob;
};

struct cache_mut {
	struct record *rec;
};

/* ---- record.c ---- */
struct record *record_new(struct cache *c, const struct cache_opts *o);
/* Not in the map any more, without handles and children. */
void record_free(struct record *r);
/* Puts it in the map; takes note of parents (each gains a child). */
void record_link_locked(struct record *r, struct record *const *parents, size_t n_parents);
/* Takes it out again and forgets its chain, blobs, indexes. It stays allocated. */
void record_unlink_locked(struct record *r);
struct record *record_find_locked(struct cache *c, struct str id);
void record_add_variant_locked(struct record *r, struct variant *take_v);
void record_retire_variant_locked(struct record *r, const struct variant *v);
void record_set_chain_locked(struct record *r, const struct digest *diff_id,
			     const struct digest *chain_id);
struct variant *variant_new(const struct oci_descriptor *desc, const struct digest *diff_id,
			    int64_t epoch_s);
void variant_free(struct variant *v);
void record_set_meta_locked(struct record *r, const char *key, struct str value, struct str index);
struct meta *record_get_meta(struct record *r, const char *key);
/* What has a snapshot of its own or shows another's. */
bool record_is_lazy(const struct record *r);
/* Name of its snapshot, in arena. */
struct str record_snapshot_locked(const struct record *r, struct arena *a);

struct record_vec {
	struct record **items;
	size_t len, cap;
};
/* A record that is held can't be pruned, nor can what it stands on; its fetchers and its tree of
 * hashes stay. */
struct record_drops {
	VEC(struct cache_fetcher) fetchers;
	VEC(struct hashtree *) trees;
};
void record_hold_locked(struct record *r);
void record_unhold_locked(struct record *r, struct record_drops *drops);
void record_drops_fini(struct record_drops *d); /* not under the lock */
void record_hold(struct record *r);
void record_unhold(struct record *r);

/* ---- format.c, load.c, store.c: records in kv ---- */
void record_pack(const struct record *r, struct buf *out);
struct record_links { /* by id; empty: none */
	struct str view_of;
	struct str *parents;
	size_t n_parents;
};
/* Not in the map yet. NULL when it can't be read. */
struct record *record_unpack(struct cache *c, struct str id, struct str value, struct arena *a,
			     struct record_links *ret);
struct err *cache_load(struct cache *c, struct ctx *ctx) ERR_RESULT;
/* The record changed: it is written soon, if it is one that is kept. */
void cache_mark_dirty_locked(struct record *r);
void cache_mark_deleted_locked(struct record *r);
void cache_drop_hash_locked(struct record *r);
/* The record's tree is not needed any more: stored if it changed. */
void cache_put_tree_locked(struct record *r, struct record_drops *drops);
void cache_free_unstored(struct cache *c);
/* Writes what is to be written. */
struct err *cache_flush_now(struct cache *c, bool durable) ERR_RESULT;

/* ---- manager.c ---- */
/* Takes the record (without handles or children) out of the map, and its snapshot and blobs away.
 * Errors are of the clean-up only: the record is gone anyway. */
struct err *cache_drop_record(struct record *r, struct ctx *ctx) ERR_RESULT;
/* The same for one that is unlinked already. */
struct err *cache_dispose(struct record *take_r, struct ctx *ctx) ERR_RESULT;
/* Records with holds: none are left at the end. For tests. */
size_t cache_n_held(struct cache *c);
/* Handles. */
struct cache_ref *record_ref_locked(struct record *r);
/* Makes a view and its mutable record two records with snapshots of their own, so that the view can
 * be a parent or outlive a change. The caller has a handle on either. */
struct err *record_split(struct record *view) ERR_RESULT;

/* ---- lazy.c ---- */
/* Makes the blob of this variant present in the content store. NOT_FOUND when nobody can. */
struct err *record_fetch(struct record *r, struct ctx *ctx, const struct variant *v) ERR_RESULT;
void record_add_fetcher_locked(struct record *r, const struct cache_fetcher *f,
			       struct cache_fetcher *ret_drop);

/* ---- hashtree.c, contenthash.c ---- */
void hashtree_free(struct hashtree *t);
struct hashtree *hashtree_take_unstored_locked(struct cache *c, const char *key);

/* ---- filter.c ---- */
bool filter_match(const struct filter *f, const struct cache_usage *u);

#endif
