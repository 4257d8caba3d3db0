/* Inside cache: accounts of records, for disk usage and prune. */
#ifndef CACHE_USAGE_H
#define CACHE_USAGE_H

#include "cache/cache_impl.h"

/* Is it the one that speaks for its data? Of a view and its mutable record one does. */
bool usage_counts_locked(const struct record *r);
void usage_fill_locked(const struct record *r, struct arena *a, struct cache_usage *ret);
/* Finds out the sizes of those that have none. The records are held. */
struct err *usage_measure(struct cache *c, struct ctx *ctx, const struct record_vec *v) ERR_RESULT;
/* "failed to parse <what> filters [a b]: ..." */
struct err *usage_parse_filters(struct arena *a, const char *what, const struct str *list, size_t n,
				struct filter **ret) ERR_RESULT;
/* Holds every record of which want() is true. */
void usage_collect(struct cache *c, bool (*want)(void *arg, struct record *r), void *arg,
		   struct record_vec *ret);
void usage_release(struct cache *c, struct record_vec *v);

#endif
