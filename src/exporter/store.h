/* Written images in the worker's image store. */
#ifndef EXPORTER_STORE_H
#define EXPORTER_STORE_H

#include "exporter/imagewriter.h"

/* All content of the image is in the worker's content store. env->host->images is not NULL. */
struct err *image_store_add(const struct exporter_env *env, const struct image *img,
			    const struct imageref *names, size_t n, bool unpack) ERR_RESULT;

#endif
