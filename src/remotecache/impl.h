/* Inside of the folder. */
#ifndef REMOTECACHE_IMPL_H
#define REMOTECACHE_IMPL_H

#include "remotecache/remotecache.h"

/* A record's result to export, to be given back with results->unref; NULL: it has none. Sources
 * have none, they are found again without a cache. */
struct err *record_load(struct ctx *ctx, const struct remotecache_results *results,
			struct cache_key *key, const struct export_record *rec,
			struct result **ret) ERR_RESULT;

#endif
