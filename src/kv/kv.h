/* Ordered key-value store with transactions: one environment for all metadata. Back ends:
 * LMDB (kv_open) and memory (kv_open_mem, tests). Tables are created on first use.
 * Keys are 1..500 bytes, values up to LIMIT: 16 MiB.
 *
 * Updates go through one writer thread that commits in groups: every kv_update waiting
 * at that moment shares one transaction and one sync. KV_LAZY updates return after they
 * are visible to readers; they reach the disk with the next durable commit or within a
 * second. An update function that fails has none of its own changes kept; those of others
 * in the group are (nested transactions or redo).
 * The map grows by itself; a mostly free file is compacted at open. */
#ifndef KV_KV_H
#define KV_KV_H

#include "base/ctx.h"
#include "base/err.h"

struct kv;
struct kv_txn;

enum kv_mode { KV_DURABLE, KV_LAZY };

struct err *kv_open(const char *path, struct kv **ret) ERR_RESULT;
struct kv *kv_open_mem(void);
/* Commits and syncs what is lazy. */
struct err *kv_close(struct kv *take) ERR_RESULT;
/* Makes every earlier lazy update durable. */
struct err *kv_sync(struct kv *kv) ERR_RESULT;

typedef struct err *(*kv_fn)(struct kv_txn *t, void *arg);
/* A consistent view. fn must not block for long nor start another transaction. */
struct err *kv_view(struct kv *kv, kv_fn fn, void *arg) ERR_RESULT;
/* fn runs on the writer thread (possibly more than once: it must be a function of the
 * store), must not block and must not start another transaction. */
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
