/* Annotations asked for by attributes and result metadata:
 * annotation[-TYPE][[PLATFORM]].KEY. */
#ifndef EXPORTER_ANNOTATIONS_H
#define EXPORTER_ANNOTATIONS_H

#include "exporter/exporter.h"

enum annotation_type {
	ANNOTATION_MANIFEST,
	ANNOTATION_INDEX,
	ANNOTATION_MANIFEST_DESCRIPTOR,
	ANNOTATION_INDEX_DESCRIPTOR,
};

struct annotation {
	enum annotation_type type;
	struct str platform_id; /* normalised; empty: all */
	struct str key, value;
};

struct annotations {
	struct annotation *items;
	size_t n;
};

/* False when key is no annotation key. `unrecognized annotation type X` */
struct err *annotation_parse(struct arena *a, struct str key, struct str value,
			     struct annotation *ret, bool *ret_is) ERR_RESULT;
/* Of both lists; later ones win. */
struct err *annotations_collect(struct arena *a, const struct exporter_kv *attrs, size_t n_attrs,
				const struct exporter_kv *meta, size_t n_meta,
				struct annotations *ret) ERR_RESULT;
/* Those of a type that apply to a platform, sorted by key. */
void annotations_select(struct arena *a, const struct annotations *all, enum annotation_type type,
			struct str platform_id, struct oci_kv **ret, size_t *ret_n);

#endif
