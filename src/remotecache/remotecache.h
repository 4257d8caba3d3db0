/* Caches that leave the daemon: what was built, with the keys that lead to it, for other machines.
 *
 * Facts: docs/internals/remotecache.md. Calls run in tasks of the build and may block; the keys are
 * held by the caller. */
#ifndef REMOTECACHE_REMOTECACHE_H
#define REMOTECACHE_REMOTECACHE_H

#include "cache/cache.h"
#include "solver/solver.h"

/* How the operations' results become layers. */
struct remotecache_results {
	struct cache_ref *(*ref_of)(const struct result *r); /* borrowed; NULL: the empty tree */
	void (*unref)(struct result *r);
};

/* The inline cache of one image: the JSON array of records for its config
 * (moby.buildkit.cache.v0), whose layers are those of the image. key: of the image's result; image:
 * its tree. *ret is empty when there is nothing to tell. */
struct err *remotecache_inline(struct ctx *ctx, const struct remotecache_results *results,
			       struct cache_key *key, struct cache_ref *image,
			       const struct cache_compress *compress, struct arena *a,
			       struct str *ret) ERR_RESULT;

#endif
