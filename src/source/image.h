/* docker-image:// and oci-layout://: images as trees. */
#ifndef SOURCE_IMAGE_H
#define SOURCE_IMAGE_H

#include "registry/registry.h"
#include "source/source.h"

struct image_store;

/* Serves both schemes; what it is given outlives it. images: the worker's own, or NULL. */
struct source *image_source_new(struct cache *c, struct registry *r, struct session_manager *m,
				struct image_store *images);

#endif
