/* Reading a cache config (application/vnd.buildkit.cacheconfig.v0) that anybody may have written:
 * the records of chains.h with their results, checked. Pure: no I/O. The format is that of the
 * original's cache/remotecache/v1. */
#ifndef REMOTECACHE_PARSE_H
#define REMOTECACHE_PARSE_H

#include "base/json.h"
#include "base/map.h"
#include "codec/oci.h"

/* A layer that can be had. */
struct import_blob {
	struct oci_descriptor desc;
	struct digest diff_id;
	int64_t created_ns; /* 0: unknown */
	struct str description;
};

struct import_result {
	/* Numbers of layers, lowest first; or only the top one, which stands on its parents. */
	const uint32_t *layers;
	size_t n;
	bool explicit;
	int64_t created_ns;
};
struct import_link {
	uint32_t record;
	struct digest selector; /* unset: none */
};
struct import_record {
	struct digest digest;
	struct import_link **inputs; /* for each input the alternatives: one at least */
	size_t *n_links;
	size_t n_inputs;
	struct import_result *results;
	size_t n_results;
};
struct import_layer {
	const struct import_blob *blob; /* NULL: it can't be had */
	int64_t parent;                 /* -1: none */
	uint32_t depth;                 /* with its parents, from 1 */
};
struct import_config {
	struct import_record *records;
	size_t n_records;
	struct import_layer *layers;
	size_t n_layers;
};

/* What the config's layers say of themselves ("annotations": gha, s3, azblob), instead of a
 * manifest: parse them with blobs NULL. Else blobs maps the text of a digest to its struct
 * import_blob. Results whose layers can't be had are left out. Everything lives in the arena, which
 * must outlive blobs' values. INVALID_ARGUMENT on junk, loops and numbers out of range. */
struct err *import_parse(struct arena *a, struct str text, const struct map *blobs,
			 struct import_config *ret) ERR_RESULT;
/* The records of an inline cache (JSON array), whose layers are those given, each on top of the one
 * before. */
struct err *import_parse_inline(struct arena *a, struct str text, const struct import_blob *layers,
				size_t n, struct import_config *ret) ERR_RESULT;
/* The layers of a result, lowest first. */
struct err *import_result_layers(const struct import_config *c, const struct import_result *r,
				 struct arena *a, const struct import_blob ***ret,
				 size_t *ret_n) ERR_RESULT;
/* Fills diff id, time and description from a descriptor's annotations. */
struct err *import_blob_of(const struct oci_descriptor *d, struct import_blob *ret) ERR_RESULT;

#endif
