/* OCI image types: descriptors, manifests, indexes, parsed from and written to JSON
 * exactly as Go's encoding/json prints them (order of fields, escaping, indent). Docker's
 * media types are understood alike. Strings live in the given arena.
 *
 * As with Go's slices, a list of no elements is `null` in JSON when its pointer is NULL and
 * `[]` otherwise. */
#ifndef CODEC_OCI_H
#define CODEC_OCI_H

#include "base/arena.h"
#include "base/buf.h"
#include "codec/digest.h"
#include "codec/platform.h"

#define OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define OCI_CONFIG "application/vnd.oci.image.config.v1+json"
#define OCI_LAYER "application/vnd.oci.image.layer.v1.tar"
#define OCI_LAYER_GZIP "application/vnd.oci.image.layer.v1.tar+gzip"
#define OCI_LAYER_ZSTD "application/vnd.oci.image.layer.v1.tar+zstd"
#define OCI_EMPTY "application/vnd.oci.empty.v1+json"
#define DOCKER_LIST "application/vnd.docker.distribution.manifest.list.v2+json"
#define DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define DOCKER_CONFIG "application/vnd.docker.container.image.v1+json"
#define DOCKER_LAYER "application/vnd.docker.image.rootfs.diff.tar"
#define DOCKER_LAYER_GZIP "application/vnd.docker.image.rootfs.diff.tar.gzip"
#define DOCKER_LAYER_ZSTD "application/vnd.docker.image.rootfs.diff.tar.zstd"
#define DOCKER_LAYER_FOREIGN_GZIP "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"

struct oci_kv {
	struct str key, value;
};

struct oci_descriptor {
	struct str media_type;
	struct digest digest;
	int64_t size;
	struct str *urls;
	size_t n_urls;
	struct oci_kv *annotations; /* sorted by key */
	size_t n_annotations;
	bool has_platform;
	struct platform platform;
	struct str artifact_type;
	struct str data; /* decoded inline data */
};

struct oci_manifest {
	struct str media_type, artifact_type;
	struct oci_descriptor config;
	struct oci_descriptor *layers;
	size_t n_layers;
	bool has_subject;
	struct oci_descriptor subject;
	struct oci_kv *annotations;
	size_t n_annotations;
};

struct oci_index {
	struct str media_type, artifact_type;
	struct oci_descriptor *manifests;
	size_t n_manifests;
	bool has_subject;
	struct oci_descriptor subject;
	struct oci_kv *annotations;
	size_t n_annotations;
};

/* What a media type is of. */
bool oci_is_index(struct str media_type);
bool oci_is_manifest(struct str media_type);
bool oci_is_layer(struct str media_type);
bool oci_is_nondistributable(struct str media_type);

/* INVALID_ARGUMENT on junk, on documents over LIMIT_MANIFEST, and in containerd's words
 * ("media-type: ...") on a manifest that is an index or the other way round. */
struct err *oci_parse_manifest(struct arena *a, struct str json,
			       struct oci_manifest *ret) ERR_RESULT;
struct err *oci_parse_index(struct arena *a, struct str json, struct oci_index *ret) ERR_RESULT;
struct err *oci_parse_descriptor(struct arena *a, struct str json,
				 struct oci_descriptor *ret) ERR_RESULT;
/* Indented by two spaces as json.MarshalIndent(v, "", "  "), with mediaType and
 * schemaVersion 2. */
void oci_print_manifest(const struct oci_manifest *m, struct buf *out);
void oci_print_index(const struct oci_index *ix, struct buf *out);
/* Compact. */
void oci_print_descriptor(const struct oci_descriptor *d, struct buf *out);
struct str oci_annotation(const struct oci_descriptor *d, const char *key); /* or empty */
/* Deep copy. */
void oci_descriptor_dup(struct arena *a, const struct oci_descriptor *d,
			struct oci_descriptor *ret);

#endif
