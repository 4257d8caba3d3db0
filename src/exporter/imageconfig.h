/* Image configs: the one that a frontend made becomes the one of the image. */
#ifndef EXPORTER_IMAGECONFIG_H
#define EXPORTER_IMAGECONFIG_H

#include "cache/cache.h"

struct imageconfig_layer {
	struct digest diff_id;
	struct str description;
	int64_t created_ns; /* 0: unknown */
};

/* Every member of config stays as it is (raw bytes), but rootfs and history, which are made from
 * the layers, and created. config empty: a minimal one for the platform. epoch_s >= 0 clamps the
 * times that the build made; history of the base image (base_config) is left alone. Appends JSON
 * with sorted keys to out. INVALID_ARGUMENT "invalid image config for export: missing os" etc. */
struct err *imageconfig_patch(struct str config, struct str base_config, struct platform platform,
			      const struct imageconfig_layer *layers, size_t n, int64_t epoch_s,
			      struct str inline_cache, struct buf *out) ERR_RESULT;
/* os and architecture of a config, for descriptors. */
struct err *imageconfig_platform(struct str config, struct arena *a,
				 struct platform *ret) ERR_RESULT;

#endif
