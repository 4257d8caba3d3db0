/* docker-image:// and oci-layout://: images as trees. */
#ifndef SOURCE_IMAGE_H
#define SOURCE_IMAGE_H

#include "registry/registry.h"
#include "source/source.h"

/* Serves both schemes; what it is given outlives it. */
struct source *image_source_new(struct cache *c, struct registry *r, struct session_manager *m);

#endif
