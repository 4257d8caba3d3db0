/* The records of a cache config (application/vnd.buildkit.cacheconfig.v0): which keys lead to which
 * layers, as importers of any BuildKit read them. Pure: no I/O. The output depends on the records
 * only, not on their order among equals, so that equal caches have equal bytes. */
#ifndef REMOTECACHE_CHAINS_H
#define REMOTECACHE_CHAINS_H

#include "base/json.h"
#include "solver/solver.h"

/* Where a record's result lies; n 0: there is none. */
struct chain_result {
	const uint32_t *layers; /* numbers in the table of layers */
	size_t n;
	bool explicit; /* all layers are listed; else the one given, whose parents are in the table
			*/
	int64_t created_ns;
};

/* Prints the array of records. Left out are random keys and what depends on them alone, records
 * that lead to no result, and copies. results: one a record. False, and nothing printed, when no
 * result is left. */
bool chains_print(const struct export_record *records, size_t n, const struct chain_result *results,
		  struct json_out *j);

#endif
