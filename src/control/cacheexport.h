/* The cache exports of a Solve, each a step of its own after the exporters. */
#ifndef CONTROL_CACHEEXPORT_H
#define CONTROL_CACHEEXPORT_H

#include "control/build.h"

/* Before anything runs. UNIMPLEMENTED `cache exporter "X" is not supported`. */
struct err *cacheexport_check(const Moby__Buildkit__V1__SolveRequest *req) ERR_RESULT;
/* keys: of the items. Adds cache.manifest to the response. The inline cache is the exporters'. */
struct err *cacheexport_run(struct build *b, const struct export_input *in,
			    struct cache_key *const *keys, struct map *response) ERR_RESULT;

#endif
