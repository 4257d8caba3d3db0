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

/* ---- caches of their own ---- */

#define REMOTECACHE_CONFIG "application/vnd.buildkit.cacheconfig.v0"

struct remotecache_item {
	struct cache_key *key;
	struct cache_ref *ref; /* of the key's result; NULL: the empty tree */
};
struct remotecache_form {
	bool max;      /* layers of all results, not only those of the items' own layers */
	bool no_image; /* an index of blobs instead of an image manifest */
	/* No manifest: the config's layers describe themselves, and the config is only given as
	 * text. */
	bool annotated;
	struct cache_compress compress;
};
struct remotecache_written {
	struct oci_descriptor root, config;
	struct str config_text;
	struct oci_descriptor *layers;
	size_t n_layers;
};
/* Writes config and manifest to store, which has the layers then, too. *ret_found false: there is
 * nothing to export. INVALID_ARGUMENT when an image manifest is wanted with Docker's types. */
struct err *remotecache_write(struct ctx *ctx, const struct remotecache_results *results,
			      const struct remotecache_item *items, size_t n,
			      const struct remotecache_form *form, struct content *store,
			      struct arena *a, struct remotecache_written *ret,
			      bool *ret_found) ERR_RESULT;

#endif
