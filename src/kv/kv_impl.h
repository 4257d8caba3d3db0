/* Inside kv: what a back end provides. */
#ifndef KV_KV_IMPL_H
#define KV_KV_IMPL_H

#include "kv/kv.h"

#include "base/arena.h"

#define KV_KEY_MAX 500
#define KV_VALUE_MAX ((size_t)16 << 20)
#define KV_TABLE_NAME_MAX 64

struct kv_ops {
	struct err *(*view)(struct kv *kv, kv_fn fn, void *arg);
	struct err *(*update)(struct kv *kv, enum kv_mode mode, kv_fn fn, void *arg);
	struct err *(*sync)(struct kv *kv);
	struct err *(*close)(struct kv *take);
	struct err *(*get)(struct kv_txn *t, const char *table, struct str key, struct str *ret,
			   bool *ret_found);
	struct err *(*put)(struct kv_txn *t, const char *table, struct str key, struct str value);
	struct err *(*del)(struct kv_txn *t, const char *table, struct str key);
	struct err *(*scan)(struct kv_txn *t, const char *table, struct str prefix,
			    bool (*each)(void *arg, struct str key, struct str value), void *arg);
};

struct kv {
	const struct kv_ops *ops;
};

struct kv_txn {
	struct kv *kv;
	bool writable;
};

/* kv_open with a boot id given, and the size the map starts with (0: the usual), for tests. */
struct err *kv_open_as(const char *dir, struct str boot_id, size_t map_size,
		       struct kv **ret) ERR_RESULT;

#endif
