/* A parsed cache config as a cache source. */
#ifndef REMOTECACHE_SOURCE_H
#define REMOTECACHE_SOURCE_H

#include "remotecache/import.h"

/* arena (taken) holds the config and all that it points at. */
struct cache_source *import_source_new(const struct remotecache_origin *o, struct arena *take_a,
				       const struct import_config *c);

#endif
