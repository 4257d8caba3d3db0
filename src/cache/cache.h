/* Cache records: immutable refs (layers of a result) and mutable ones (work in progress,
 * cache mounts, local source dirs) over a snapshotter and a content store, with metadata
 * in kv. A `cache_ref` is a counted handle: many may exist for one record; a record is in
 * use while it has handles. A `cache_mut` is a unique handle, consumed by commit.
 * Thread-safe. See docs/internals/cache.md. */
#ifndef CACHE_CACHE_H
#define CACHE_CACHE_H

#include "base/ctx.h"
#include "codec/compress.h"
#include "codec/oci.h"
#include "content/content.h"
#include "snapshot/mounts.h"
#include "snapshot/snapshot.h"

struct cache; /* the manager */
struct cache_ref;
struct cache_mut;
struct kv;

/* UsageRecordType, by its wire text: "" reads as regular. */
#define CACHE_TYPE_REGULAR "regular"
#define CACHE_TYPE_INTERNAL "internal"
#define CACHE_TYPE_FRONTEND "frontend"
#define CACHE_TYPE_LOCAL "source.local"
#define CACHE_TYPE_GIT "source.git.checkout"
#define CACHE_TYPE_CACHEMOUNT "exec.cachemount"

struct cache_opts {
	struct str description;
	const char *type; /* CACHE_TYPE_*; NULL is regular */
	bool retain; /* a mutable one is kept when its handle is released (cache mounts, locals) */
	int64_t created_ns; /* 0 is now */
};

struct err *cache_open(struct kv *kv, struct snapshotter *s, struct content *c, const char *tmp_dir,
		       struct ctx *ctx, struct cache **ret) ERR_RESULT;
/* All handles must be released. */
void cache_close(struct cache *c);
/* Records reach kv in the background, a fraction of a second after they were made. This writes
 * them now (at the end of a build); durable: on the disk, too. */
struct err *cache_flush(struct cache *c, bool durable) ERR_RESULT;
struct snapshotter *cache_snapshotter(struct cache *c);
struct content *cache_content(struct cache *c);

/* A new layer on parent (borrowed; NULL is scratch). */
struct err *cache_new(struct cache *c, struct ctx *ctx, struct cache_ref *parent,
		      const struct cache_opts *o, struct cache_mut **ret) ERR_RESULT;
/* By record id: NOT_FOUND when it is gone. A retained mutable one must not be in use (UNAVAILABLE
 * "X: locked"). */
struct err *cache_get(struct cache *c, struct ctx *ctx, struct str id,
		      struct cache_ref **ret) ERR_RESULT;
struct err *cache_get_mut(struct cache *c, struct ctx *ctx, struct str id,
			  struct cache_mut **ret) ERR_RESULT;
/* Lower layers first (MergeOp). One input gives a clone. */
struct err *cache_merge(struct cache *c, struct ctx *ctx, struct cache_ref *const *inputs, size_t n,
			const struct cache_opts *o, struct cache_ref **ret) ERR_RESULT;
/* upper minus lower (DiffOp); either may be NULL. */
struct err *cache_diff(struct cache *c, struct ctx *ctx, struct cache_ref *lower,
		       struct cache_ref *upper, const struct cache_opts *o,
		       struct cache_ref **ret) ERR_RESULT;

/* A lazy layer known by its blob: pulled by `fetch` when first needed. chain_id identifies the
 * stack: an existing record with that chain id is returned instead if it is there in full, or has
 * this very blob. parent is borrowed. */
struct cache_blob {
	struct oci_descriptor desc; /* annotations are kept */
	struct digest diff_id;
	struct digest chain_id; /* of the stack up to here */
};
/* Makes the blob available in the content store. Thread-safe; runs once a blob. `arg` is counted by
 * its owner through the two functions. */
struct cache_fetcher {
	struct err *(*fetch)(void *arg, struct ctx *ctx, const struct oci_descriptor *desc);
	void (*ref)(void *arg);
	void (*unref)(void *arg);
	void *arg;
	/* Told when a layer is unpacked, instead of those who asked for it; may be NULL. */
	void (*unpacking)(void *arg, const struct oci_descriptor *desc, bool done);
	/* Only for a record that has no other way to its tree. For one that holds records of
	 * another cache, which may in turn come to hold this one. */
	bool last_resort;
};
struct err *cache_get_by_blob(struct cache *c, struct ctx *ctx, struct cache_ref *parent,
			      const struct cache_blob *b, const struct cache_fetcher *f,
			      const struct cache_opts *o, struct cache_ref **ret) ERR_RESULT;

/* ---- immutable handles ---- */
struct cache_ref *cache_ref_clone(struct cache_ref *r);
void cache_ref_release(struct cache_ref *r); /* NULL is fine */
void cache_ref_releasep(struct cache_ref **r);
const char *cache_ref_id(const struct cache_ref *r);
const char *cache_ref_description(const struct cache_ref *r);
struct cache_ref *cache_ref_parent(const struct cache_ref *r); /* borrowed, NULL for the lowest */
int64_t cache_ref_created(const struct cache_ref *r);
/* Pulls and unpacks what is lazy; after it the snapshot exists. progress may be NULL. */
struct cache_progress {
	/* current == total at the end; id is the blob digest text, action "extracting" or "". */
	void (*report)(void *arg, const char *id, const char *action, int64_t current,
		       int64_t total, bool done);
	void *arg;
};
struct err *cache_ref_unlazy(struct cache_ref *r, struct ctx *ctx,
			     const struct cache_progress *p) ERR_RESULT;
/* Read-only mounts (unlazies). */
struct err *cache_ref_mounts(struct cache_ref *r, struct ctx *ctx, struct arena *a,
			     struct mounts **ret) ERR_RESULT;
/* The layers of the stack, lowest first, as blobs of this compression (made where missing, in
 * parallel, kept for next time). force: recompress those of another type. The blobs are in the
 * content store unless `lazy_ok` and the layer is a remote one not yet pulled. Descriptors carry
 * the annotation containerd.io/uncompressed = diff id. */
struct cache_layer {
	struct oci_descriptor desc;
	struct digest diff_id;
	struct str description;
	int64_t created_ns;
	int64_t epoch_s;       /* its times were rewritten to this; -1: were not */
	struct cache_ref *ref; /* borrowed from the stack of r */
};
struct cache_compress {
	enum compression type;
	int level; /* -1 default */
	bool force;
	int64_t epoch_s; /* >= 0: rewrite timestamps of layers not from a base image */
	bool lazy_ok;
	bool prefer_nondist;
	bool docker_types; /* Docker instead of OCI layer media types */
};
struct err *cache_ref_layers(struct cache_ref *r, struct ctx *ctx, struct arena *a,
			     const struct cache_compress *o, struct cache_layer **ret,
			     size_t *ret_n) ERR_RESULT;

/* ---- mutable handles ---- */
const char *cache_mut_id(const struct cache_mut *m);
struct err *cache_mut_mounts(struct cache_mut *m, struct ctx *ctx, struct arena *a, bool readonly,
			     struct mounts **ret) ERR_RESULT;
/* Writable mounts of a kept record for one that may find nothing to change: cache_mut_wake() before
 * the first change, or a power loss during it leaves a record that is torn (snapshot_wake). The
 * others wake it themselves. */
struct err *cache_mut_mounts_resting(struct cache_mut *m, struct arena *a,
				     struct mounts **ret) ERR_RESULT;
struct err *cache_mut_wake(struct cache_mut *m) ERR_RESULT;
/* For writers that need nothing of what is below: the new layer's own directory as a plain bind
 * (localmount_open then mounts nothing). What is written there must not meet anything in the
 * lower layers but directories that it makes again. On scratch this is all there is. */
struct err *cache_mut_upper(struct cache_mut *m, struct arena *a, struct mounts **ret) ERR_RESULT;
/* Becomes immutable; m is consumed also on failure. */
struct err *cache_mut_commit(struct cache_mut *take_m, struct ctx *ctx,
			     struct cache_ref **ret) ERR_RESULT;
/* Immutable view of a retained mutable one that keeps on being mutable (local sources, cache mounts
 * as inputs): copies nothing. When the mutable one is opened for writing again, a view without
 * handles or children is dropped; else the view takes over the snapshot and the mutable one goes
 * on in a layer on top of it (LIMIT_VIEW_SPLITS times; then cache_get_mut says "X: locked"). */
struct err *cache_mut_freeze(struct cache_mut *take_m, struct ctx *ctx,
			     struct cache_ref **ret) ERR_RESULT;
/* Undone, unless opts.retain. NULL is fine. */
void cache_mut_release(struct cache_mut *m);
void cache_mut_releasep(struct cache_mut **m);

/* ---- metadata: small strings on a record, with an optional index for look-up ---- */
struct err *cache_meta_set(struct cache *c, struct str id, const char *key, struct str value,
			   struct str index) ERR_RESULT;
struct err *cache_meta_get(struct cache *c, struct str id, const char *key, struct arena *a,
			   struct str *ret, bool *ret_found) ERR_RESULT;
/* Ids of records with that index entry. */
struct err *cache_meta_search(struct cache *c, struct str index, struct arena *a, struct str **ret,
			      size_t *ret_n) ERR_RESULT;

/* ---- disk usage, prune ---- */
struct cache_usage {
	struct str id, description, type;
	bool is_mutable, in_use, shared;
	int64_t size;                     /* bytes */
	int64_t created_ns, last_used_ns; /* 0: never */
	int64_t usage_count;
	struct str *parents;
	size_t n_parents;
};
/* filters: containerd syntax, ORed; NULL/0 is all. age_limit_ns: only those not used for that long.
 */
struct err *cache_disk_usage(struct cache *c, struct ctx *ctx, struct arena *a,
			     const struct str *filters, size_t n_filters, int64_t age_limit_ns,
			     struct cache_usage **ret, size_t *ret_n) ERR_RESULT;
struct cache_prune {
	const struct str *filters;
	size_t n_filters;
	bool all;
	int64_t keep_duration_ns, reserved_space, max_used_space, min_free_space;
	/* No build runs nor starts meanwhile: blobs of no record go at once, not after an hour. */
	bool idle;
};
struct err *cache_prune(struct cache *c, struct ctx *ctx, const struct cache_prune *rules,
			size_t n_rules, struct err *(*each)(void *arg, const struct cache_usage *u),
			void *arg) ERR_RESULT;

#endif
