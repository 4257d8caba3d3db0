/* A result as an image in the content store: layers, config, manifest, index. */
#ifndef EXPORTER_IMAGEWRITER_H
#define EXPORTER_IMAGEWRITER_H

#include "exporter/annotations.h"
#include "exporter/attrs.h"

struct imagewriter_opts {
	struct cache_compress compression;
	bool docker_types; /* oci-mediatypes=false */
	bool rewrite_timestamp;
	int64_t epoch_s; /* of the attribute */
	bool epoch_set;
	const struct exporter_kv *attrs; /* for annotations */
	size_t n_attrs;
};

struct image_part {
	struct oci_descriptor desc; /* with the platform */
	struct oci_manifest manifest;
	struct digest *diff_ids; /* of its layers */
};

struct image {
	struct oci_descriptor root; /* in the arena */
	bool is_index;
	struct digest config_digest; /* of a single manifest */
	int64_t created_ns;          /* of the (first) config; 0 unknown */
	/* Every blob of it, root last, each once: for archives. */
	struct oci_descriptor *blobs;
	size_t n_blobs;
	/* Of the single or first manifest: for manifest.json. */
	struct oci_manifest manifest;
	/* All manifests; in the arena. */
	struct image_part *parts;
	size_t n_parts;
};

struct err *imagewriter_parse(const struct attrs *attrs, struct imagewriter_opts *ret) ERR_RESULT;
/* Reports "exporting layers", "exporting manifest D", ... */
struct err *imagewriter_write(const struct exporter_env *env, const struct export_input *in,
			      const struct imagewriter_opts *o, struct arena *a,
			      struct image *ret) ERR_RESULT;

#endif
