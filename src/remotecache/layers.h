/* The table of layers of a cache config: each is a blob on top of another layer, held once. */
#ifndef REMOTECACHE_LAYERS_H
#define REMOTECACHE_LAYERS_H

#include "base/json.h"
#include "base/map.h"
#include "base/vec.h"
#include "codec/oci.h"

struct layer_entry {
	struct oci_descriptor desc; /* in the caller's arena */
	int64_t parent;             /* -1: none */
};
struct layer_table {
	VEC(struct layer_entry) list;
	struct map seen;
};

void layer_table_fini(struct layer_table *t);
/* Its number; parent -1 is none. */
uint32_t layer_table_add(struct layer_table *t, const struct oci_descriptor *desc, int64_t parent);
/* Sorts by blob and then by the blobs below; *ret_new (in a) is the new number of each old one. */
void layer_table_sort(struct layer_table *t, struct arena *a, uint32_t **ret_new);
/* The array of layers; annotated: with what a manifest would say of them. */
void layer_table_print(const struct layer_table *t, bool annotated, struct json_out *j);

#endif
