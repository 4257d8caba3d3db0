/* Filters in containerd's syntax: of records (disk usage, prune) and of workers. The grammar is in
 * filter.c. A parsed filter is read-only and may be matched from any thread. */
#ifndef CACHE_FILTER_H
#define CACHE_FILTER_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

struct filter;
/* ORed. INVALID_ARGUMENT with the position on bad syntax. NULL list: matches all. */
struct err *filter_parse(struct arena *a, const struct str *list, size_t n,
			 struct filter **ret) ERR_RESULT;
void filter_free(struct filter *f); /* NULL is fine */
void filter_freep(struct filter **f);
/* The value of a field whose path is joined by "."; false when it is not present. join is room for
 * a value that has to be put together. */
typedef bool (*filter_field)(const void *of, struct str field, struct buf *join, struct str *ret);
bool filter_match_fields(const struct filter *f, filter_field get, const void *of);

#endif
