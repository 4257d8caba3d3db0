/* Where earlier results are looked up: the local store and imported caches, behind one vtable.
 *
 * A cache is a graph of keys. A root key is named by a digest (an operation without inputs, or the
 * content of an input) and is the same in every source. Other keys have ids that mean something
 * in their source only, and are found by following links: (key of an input, which input, output,
 * digest of the operation, selector) leads to keys. Keys have results.
 *
 * query and results are called on the scheduler's thread: they answer from memory or a mapped
 * file and never block; a source is complete before it is handed to a build. */
#ifndef SOLVER_CACHESOURCE_H
#define SOLVER_CACHESOURCE_H

#include "solver/types.h"

#define CACHE_KEY_ID_MAX 80

/* A root key's id is the algorithm byte and the 32 bytes of sha256("<digest>@<output>"); others are
 * up to 64 bytes. Of content keys the output is CACHE_CONTENT_OUTPUT ("-1"), and links from them
 * have no selector. */
#define CACHE_CONTENT_OUTPUT UINT32_MAX
struct cache_key_id {
	uint8_t len, bytes[CACHE_KEY_ID_MAX - 1];
};
struct cache_key_id cache_key_root(const struct digest *d, uint32_t output);
/* The digest in a root key's id; false for others. */
bool cache_key_root_digest(const struct cache_key_id *id, struct digest *ret);

struct cache_link {
	uint32_t input, output;
	struct digest digest, selector;
};

struct cache_hit {
	struct str result_id; /* in the source's own terms; valid during the call */
	int64_t created_ns;
};

struct cache_source {
	const struct cache_source_ops *ops;
	struct ref ref;
};
struct cache_source_ops {
	/* Calls each() with the id of every key that key leads to by link. */
	void (*query)(struct cache_source *s, const struct cache_key_id *key,
		      const struct cache_link *link,
		      void (*each)(void *arg, const struct cache_key_id *id), void *arg);
	/* Calls each() with the results of a key. */
	void (*results)(struct cache_source *s, const struct cache_key_id *key,
			void (*each)(void *arg, const struct cache_hit *hit), void *arg);
	/* Calls each() with what leads to a key: for exports. The digest in link may be left out.
	 */
	void (*backlinks)(struct cache_source *s, const struct cache_key_id *key,
			  void (*each)(void *arg, const struct cache_key_id *from,
				       const struct cache_link *link),
			  void *arg);
	/* In a task. The result may be lazy. session: of those who build it (struct op_env), NULL
	 * for none; a lazy result may keep it through a reference of its own kind. */
	struct err *(*load)(struct cache_source *s, struct ctx *ctx, void *session,
			    const struct cache_key_id *key, struct str result_id,
			    struct result **ret);
	void (*free)(struct cache_source *s);
};
struct cache_source *cache_source_ref(struct cache_source *s);
void cache_source_unref(struct cache_source *s); /* NULL is fine */

#endif
