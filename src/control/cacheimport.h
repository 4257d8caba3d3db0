/* The cache imports of a Solve: each is read once, in a step of its own beside the build. A failure
 * shows in that step and nowhere else. */
#ifndef CONTROL_CACHEIMPORT_H
#define CONTROL_CACHEIMPORT_H

#include "control/build.h"

struct cacheimport;

/* Begins to read it unless the build has done so; lives as long as the build. */
struct cacheimport *cacheimport_start(struct build *b,
				      const Moby__Buildkit__V1__Frontend__CacheOptionsEntry *e);
/* Waits for them; *ret is what they brought, borrowed from the build. */
struct err *cacheimport_wait(struct build *b, struct ctx *ctx, struct cacheimport *const *list,
			     size_t n, struct arena *a, struct cache_source ***ret,
			     size_t *ret_n) ERR_RESULT;
/* Ends what is still being read. The build's ctx has ended, its job is still there. */
void cacheimport_stop(struct build *b);

#endif
