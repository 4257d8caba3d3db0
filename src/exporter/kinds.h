/* Inside of the exporter folder: the makers of each type, and what they share. */
#ifndef EXPORTER_KINDS_H
#define EXPORTER_KINDS_H

#include "exporter/exporter.h"

struct image;

struct err *image_exporter_new(const struct exporter_host *h, const struct exporter_kv *attrs,
			       size_t n, struct exporter **ret) ERR_RESULT;
struct err *oci_exporter_new(const struct exporter_host *h, bool docker,
			     const struct exporter_kv *attrs, size_t n,
			     struct exporter **ret) ERR_RESULT;
struct err *local_exporter_new(const struct exporter_host *h, const struct exporter_kv *attrs,
			       size_t n, struct exporter **ret) ERR_RESULT;
struct err *tar_exporter_new(const struct exporter_host *h, const struct exporter_kv *attrs,
			     size_t n, struct exporter **ret) ERR_RESULT;

/* Deep copy. */
struct exporter_kv *exporter_dup_attrs(struct arena *a, const struct exporter_kv *attrs, size_t n);
/* containerimage.digest and its companions. */
void image_respond(const struct exporter_env *env, const struct image *img, struct str names);
/* The session files go to: 5 s to appear. */
struct err *exporter_session(const struct exporter_env *env, struct session **ret) ERR_RESULT;
/* The responses so far as metadata for FileSend ("exporter-md-..."). */
struct grpc_md *exporter_metadata(const struct exporter_env *env, struct arena *a, size_t *ret_n);

#endif
