/* The cache exports of a Solve, each a step of its own, all at once after the exporters. */
#ifndef CONTROL_CACHEEXPORT_H
#define CONTROL_CACHEEXPORT_H

#include "control/build.h"

/* Before anything runs: `unknown cache exporter: "X"`, `duplicate cache exports [X]`, ... */
struct err *cacheexport_check(struct control *c,
			      const Moby__Buildkit__V1__SolveRequest *req) ERR_RESULT;
/* keys: of the items. Adds cache.manifest to the response. The inline cache is the exporters'. */
struct err *cacheexport_run(struct build *b, struct ctx *ctx, const struct export_input *in,
			    struct cache_key *const *keys, struct map *response) ERR_RESULT;

#endif
