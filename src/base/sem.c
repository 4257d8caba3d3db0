#include "base/sem.h"

#include "base/ctx.h"
#include "base/mem.h"

struct waiter {
	struct list link;
	size_t n;
};

void sem_init(struct sem *s, size_t total)
{
	*s = (struct sem) { .total = total, .free = total };
	lock_init(&s->lock, LOCK_SEM);
	cond_init(&s->cond);
	list_init(&s->waiters);
}

void sem_fini(struct sem *s)
{
	cond_fini(&s->cond);
	lock_fini(&s->lock);
}

struct err *sem_take(struct sem *s, struct ctx *ctx, size_t n)
{
	struct waiter w = { .n = MIN(n, s->total) };
	struct err *e = NULL;

	if (!s->total)
		return ctx_err(ctx);
	LOCKED(&s->lock);
	list_add_tail(&s->waiters, &w.link);
	while (!e && (s->waiters.next != &w.link || s->free < w.n))
		e = cond_wait(&s->cond, &s->lock, ctx);
	list_del(&w.link);
	if (!e)
		s->free -= w.n;
	/* The next one may be first now. */
	cond_broadcast(&s->cond);
	return e;
}

void sem_give(struct sem *s, size_t n)
{
	if (!s->total)
		return;
	LOCKED(&s->lock);
	s->free += MIN(n, s->total);
	cond_broadcast(&s->cond);
}
