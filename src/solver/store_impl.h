/* Inside of the key store: rows as they are in kv, and those not written yet. */
#ifndef SOLVER_STORE_IMPL_H
#define SOLVER_STORE_IMPL_H

#include "base/map.h"
#include "base/vec.h"
#include "kv/kv.h"
#include "solver/store.h"

enum keystore_table { LINKS, BACKLINKS, RESULT, BYRESULT, N_TABLES };
extern const char *const keystore_tables[N_TABLES];

/* A stored key is prefix || suffix. Changes that are not written yet are held in memory, grouped by
 * table and prefix, as that is how they are looked up. */
struct row {
	char *suffix; /* value follows it in the same memory */
	uint32_t suffix_len, value_len;
	uint64_t gen; /* of the batch it is written with; 0: not yet in one */
	bool deleted;
};
struct group {
	VEC(struct row) rows;
};

struct store {
	struct cache_source source; /* embedded: its life is ours */
	struct kv *kv;
	const struct result_ops *results;
	bool (*in_use)(void *arg, const struct cache_key_id *key);
	void *in_use_arg;
	struct map groups;
	uint64_t gen;
	size_t n_dirty;
};

/* Longest prefix or suffix: a key, a link with two SHA-512 digests, a result id. */
#define PART_MAX 320

/* ---- store_rows.c ---- */
void row_add_id(struct buf *b, const struct cache_key_id *id);
bool row_take_id(struct str *s, struct cache_key_id *ret);
void row_add_link(struct buf *b, const struct cache_link *l);
bool row_take_link(struct str *s, struct cache_link *ret);

void keystore_set(struct store *s, enum keystore_table t, struct str prefix, struct str suffix,
		  struct str value, bool deleted);
typedef bool (*row_fn)(void *arg, struct str suffix, struct str value);
/* Every row with that prefix; each() returns false to stop and must not change rows. */
void keystore_each(struct store *s, enum keystore_table t, struct str prefix, row_fn each,
		   void *arg);
bool keystore_has(struct store *s, enum keystore_table t, struct str prefix);
void keystore_group_free(void *group);

#endif
