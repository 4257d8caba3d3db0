/* What the lazy layers of an image keep: where their blobs come from, and the step that shows what
 * is done for them, whoever needs them. */
#ifndef SOURCE_IMAGEFETCH_H
#define SOURCE_IMAGEFETCH_H

#include "cache/cache.h"
#include "source/imagemeta.h"
#include "source/source.h"

/* A fetcher with a reference of its own, to be given back with its unref. tracker may be NULL. */
struct cache_fetcher imagefetch_new(struct image_origin *o, struct source_tracker *tracker);

#endif
