/* Weighted semaphore, first come first served. Permits are taken by leaf work only
 * and never held across a wait on another vertex, session or frontend. */
#ifndef BASE_SEM_H
#define BASE_SEM_H

#include "base/list.h"
#include "base/lock.h"

struct sem {
	struct lock lock;
	struct cond cond;
	struct list waiters;
	size_t total, free; /* total 0 is unlimited */
};

void sem_init(struct sem *s, size_t total);
void sem_fini(struct sem *s);
/* n above the total counts as the total. */
struct err *sem_take(struct sem *s, struct ctx *ctx, size_t n) ERR_RESULT;
void sem_give(struct sem *s, size_t n);

#endif
