/* Shared work by key: callers with the same key join one run of fn. The run has its
 * own ctx, which ends when the last waiting caller leaves; a caller whose own ctx
 * ends leaves with that error while the others go on waiting. */
#ifndef BASE_SINGLEFLIGHT_H
#define BASE_SINGLEFLIGHT_H

#include "base/lock.h"
#include "base/map.h"

struct singleflight {
	struct lock lock;
	struct map calls;
	struct ctx *ctx; /* parent of every run; borrowed, outlives this */
};

void singleflight_init(struct singleflight *s, struct ctx *ctx);
/* No call may be under way. */
void singleflight_fini(struct singleflight *s);
/* fn runs as a task; each caller gets a copy of its error. fn's arg must stay valid
 * until fn ends, which can be after its caller left: free_arg (may be NULL) is called
 * once with it, also when the call joined another and arg was not used. Results go
 * through state that fn and the callers share. */
struct err *singleflight_do(struct singleflight *s, struct ctx *ctx, struct str key,
			    struct err *(*fn)(struct ctx *, void *), void *arg,
			    void (*free_arg)(void *)) ERR_RESULT;

#endif
