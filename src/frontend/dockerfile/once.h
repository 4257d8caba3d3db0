/* Work that several builds of one session share: done by who asks first, waited for by the others.
 */
#ifndef FRONTEND_DOCKERFILE_ONCE_H
#define FRONTEND_DOCKERFILE_ONCE_H

#include "base/ctx.h"
#include "base/lock.h"

struct once {
	struct lock lock;
	struct cond cond;
	enum { ONCE_NEW, ONCE_RUNNING, ONCE_DONE } state;
	struct err *err;
};

void once_init(struct once *o);
void once_fini(struct once *o);
/* Everyone gets the outcome of the one run, a failure too. */
struct err *once_do(struct once *o, struct ctx *ctx, struct err *(*fn)(struct ctx *ctx, void *arg),
		    void *arg) ERR_RESULT;

#endif
