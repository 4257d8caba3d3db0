/* Caches of other machines as places to look in: a manifest (or an image with an inline cache)
 * becomes cache sources for the solver. */
#ifndef REMOTECACHE_IMPORT_H
#define REMOTECACHE_IMPORT_H

#include "cache/cache.h"
#include "remotecache/parse.h"
#include "solver/cachesource.h"

/* Where a cache is and what its results become; strings and args outlive the sources, except for
 * what is counted. */
struct remotecache_origin {
	struct cache *cache;
	/* An operation's result of that tree. */
	struct result *(*result_of)(void *arg, struct cache_ref *take_ref);
	void *arg;
	/* Brings a blob into the cache's content store. Counted: the sources keep it. */
	struct cache_fetcher fetch;
	/* The same fetcher for the sessions of another build: a reference. NULL: sessions do not
	 * matter. */
	void *(*for_session)(void *fetch_arg, void *session);
	/* Is the blob there? An error keeps a result from being used; NULL: not to be asked. */
	struct err *(*check)(void *fetch_arg, struct ctx *ctx, const struct oci_descriptor *desc);
	/* Results are fetched and unpacked when they are found, because the origin may be gone when
	 * they are needed. */
	bool eager;
};

/* Reads what root names: a cache manifest or index, else an image or an index of images with inline
 * caches. progress: a status text that the caller shows, in the arena. The sources are the caller's
 * to unref. Errors in the original's words: `blob D is too large (N > 1048576)`, ... */
struct err *remotecache_import(const struct remotecache_origin *o, struct ctx *ctx, struct arena *a,
			       const struct oci_descriptor *root, struct cache_source ***ret,
			       size_t *ret_n, struct str *ret_progress) ERR_RESULT;
/* A config whose layers describe themselves (gha, s3, azblob). */
struct err *remotecache_import_config(const struct remotecache_origin *o, struct str text,
				      struct cache_source **ret) ERR_RESULT;

#endif
