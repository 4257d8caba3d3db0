#include "frontend/dockerfile/once.h"

void once_init(struct once *o)
{
	lock_init(&o->lock, LOCK_FRONTEND);
	cond_init(&o->cond);
	o->state = ONCE_NEW;
	o->err = NULL;
}

void once_fini(struct once *o)
{
	err_free(o->err);
	cond_fini(&o->cond);
	lock_fini(&o->lock);
}

static struct err *wait_done(struct once *o, struct ctx *ctx, bool *ret_mine)
{
	LOCKED(&o->lock);

	*ret_mine = o->state == ONCE_NEW;
	if (*ret_mine)
		o->state = ONCE_RUNNING;
	while (!*ret_mine && o->state != ONCE_DONE)
		TRY(cond_wait(&o->cond, &o->lock, ctx));
	return o->err ? err_dup(o->err) : NULL;
}

struct err *once_do(struct once *o, struct ctx *ctx, struct err *(*fn)(struct ctx *ctx, void *arg),
		    void *arg)
{
	struct err *e;
	bool mine;

	TRY(wait_done(o, ctx, &mine));
	if (!mine)
		return NULL;
	e = fn(ctx, arg);
	lock_take(&o->lock);
	o->err = e ? err_dup(e) : NULL;
	o->state = ONCE_DONE;
	cond_broadcast(&o->cond);
	lock_drop(&o->lock);
	return e;
}
