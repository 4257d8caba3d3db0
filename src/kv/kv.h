/* Ordered key-value store with transactions: one environment for all metadata. Back ends:
 * LMDB (kv_open) and memory (kv_open_mem, tests). Tables are created on first use.
 * Keys are 1..500 bytes, values up to LIMIT: 16 MiB.
 *
 * Updates are committed in groups, one group at a time: every kv_update waiting at that
 * moment shares one transaction and one sync; a lone one runs at once on its own thread.
 * KV_LAZY updates return after they
 * are visible to readers; they reach the disk with the next durable commit or within a
 * second. An update function that fails has none of its own changes kept; those of others
 * in the group are (nested transactions or redo).
 * The map grows by itself; a mostly free file is compacted at open.
 *
 * After a kill everything that was visible is there; after a power loss everything durable
 * is, and nothing in half. A failed commit (full disk, I/O error) keeps none of its updates
 * and leaves the store working. */
#ifndef KV_KV_H
#define KV_KV_H

#include "base/ctx.h"
#include "base/err.h"

struct kv;
struct kv_txn;

enum kv_mode { KV_DURABLE, KV_LAZY };

/* dir is made if missing and holds nothing else; one process at a time. */
struct err *kv_open(const char *dir, struct kv **ret) ERR_RESULT;
struct kv *kv_open_mem(void);
/* A part of a store as a store: its tables are `whole`'s tables "<name>/<table>". Its kv_close
 * leaves the whole one open, which is closed after it. */
struct kv *kv_scope(struct kv *whole, const char *name);
/* Commits and syncs what is lazy. */
struct err *kv_close(struct kv *take) ERR_RESULT;
/* Makes every earlier lazy update durable. */
struct err *kv_sync(struct kv *kv) ERR_RESULT;

typedef struct err *(*kv_fn)(struct kv_txn *t, void *arg);
/* A consistent view. fn must not block for long nor start another transaction. */
struct err *kv_view(struct kv *kv, kv_fn fn, void *arg) ERR_RESULT;
/* fn runs on some caller's thread, no two at a time (possibly more than once: it must be a function
 * of the store), must not block and must not start another transaction. */
struct err *kv_update(struct kv *kv, enum kv_mode mode, kv_fn fn, void *arg) ERR_RESULT;

/* Values are valid until the next change or the end of the transaction. Miss: false. */
struct err *kv_get(struct kv_txn *t, const char *table, struct str key, struct str *ret,
		   bool *ret_found) ERR_RESULT;
struct err *kv_put(struct kv_txn *t, const char *table, struct str key,
		   struct str value) ERR_RESULT;
/* No error when there is none. */
struct err *kv_del(struct kv_txn *t, const char *table, struct str key) ERR_RESULT;
/* In key order, those that start with prefix; each() returns false to stop. The table must
 * not be changed meanwhile. */
struct err *kv_scan(struct kv_txn *t, const char *table, struct str prefix,
		    bool (*each)(void *arg, struct str key, struct str value),
		    void *arg) ERR_RESULT;

/* One-shot conveniences. The value is copied into arena. */
struct err *kv_get1(struct kv *kv, const char *table, struct str key, struct arena *a,
		    struct str *ret, bool *ret_found) ERR_RESULT;
struct err *kv_put1(struct kv *kv, enum kv_mode mode, const char *table, struct str key,
		    struct str value) ERR_RESULT;
struct err *kv_del1(struct kv *kv, enum kv_mode mode, const char *table, struct str key) ERR_RESULT;

#endif
