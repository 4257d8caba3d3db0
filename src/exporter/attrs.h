/* Attributes of exporters: readers in the words of the original. */
#ifndef EXPORTER_ATTRS_H
#define EXPORTER_ATTRS_H

#include "exporter/exporter.h"

struct attrs {
	const struct exporter_kv *kv;
	size_t n;
};

/* ptr NULL when it isn't there. */
struct str attrs_get(const struct attrs *a, const char *key);
/* `empty_true`: a key without a value counts as true. "non-bool value specified for KEY" */
struct err *attrs_bool(const struct attrs *a, const char *key, bool empty_true, bool *ret,
		       bool *ret_set) ERR_RESULT;
/* Seconds; *ret_set false when absent, *ret -1 when given empty ("explicitly none"). */
struct err *attrs_epoch(const struct attrs *a, int64_t *ret, bool *ret_set) ERR_RESULT;
/* compression, compression-level, force-compression. */
struct err *attrs_compression(const struct attrs *a, struct cache_compress *ret) ERR_RESULT;
/* The epoch that counts for an item: the attribute's, else the frontend's; -1 none. */
struct err *attrs_item_epoch(int64_t attr_epoch, bool attr_set, const struct export_item *it,
			     int64_t *ret) ERR_RESULT;

#endif
