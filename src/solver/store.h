/* The local cache: keys, links and results in kv. Owned by the scheduler thread.
 *
 * Changes are visible at once, from memory; a task writes them to kv in batches (lazily: all of it
 * can be made again). Reads merge both. Without a kv all stays in memory.
 *
 * Tables: solver_links      key, link -> key (a row each)
 *         solver_backlinks  the same rows from the other end
 *         solver_result     key, result id -> created
 *         solver_byresult   result id, key */
#ifndef SOLVER_STORE_H
#define SOLVER_STORE_H

#include "base/buf.h"
#include "solver/cachesource.h"

struct kv;
struct store;

/* in_use: is that key held by a build? It is kept then even if nothing stands on it. */
struct store *keystore_new(struct kv *kv, const struct result_ops *results,
			   bool (*in_use)(void *arg, const struct cache_key_id *key), void *arg);
/* Nothing may be under way; unwritten changes are lost: write first. */
void keystore_free(struct store *s);
struct cache_source *keystore_source(struct store *s); /* borrowed */

void keystore_add_link(struct store *s, const struct cache_key_id *key,
		       const struct cache_link *link, const struct cache_key_id *target);
void keystore_add_result(struct store *s, const struct cache_key_id *key, struct str result_id,
			 int64_t created_ns);
/* Of every key that has it; keys that nothing stands on any more go too. */
void keystore_drop_result(struct store *s, struct str result_id);
/* The key, if nothing stands on it. */
void keystore_drop_key(struct store *s, const struct cache_key_id *key);
void keystore_backlinks(struct store *s, const struct cache_key_id *target,
			void (*each)(void *arg, const struct cache_key_id *key,
				     const struct cache_link *link),
			void *arg);

/* What could be dropped: results that don't exist, keys that nothing stands on. Looks only at what
 * is written (in memory-only mode at everything), so with a kv any thread may call it. */
struct store_garbage {
	struct arena arena;
	struct str *results;
	size_t n_results;
	struct cache_key_id *keys;
	size_t n_keys;
};
struct err *keystore_find_garbage(struct store *s, struct store_garbage *ret) ERR_RESULT;
void keystore_garbage_fini(struct store_garbage *g);
bool keystore_in_memory(const struct store *s);

/* ---- writing ---- */
bool keystore_dirty(const struct store *s);
/* What is to be written now, or NULL; hand it to keystore_write on any thread, then to
 * keystore_written on the owner's. One batch at a time. */
struct store_batch;
struct store_batch *keystore_batch(struct store *s);
struct err *keystore_write(struct store_batch *b) ERR_RESULT;
/* On failure the rows are kept, and written again with the next batch. */
void keystore_written(struct store *s, struct store_batch *take_b, bool ok);

#endif
