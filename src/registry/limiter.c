#include "registry/limiter.h"

enum { SLOT_ANY = 1, SLOT_JSON };

void limiter_init(struct limiter *l, int max)
{
	lock_init(&l->lock, LOCK_REGISTRY_HOST);
	cond_init(&l->cond);
	l->free = max;
	l->free_json = 1;
}

void limiter_fini(struct limiter *l)
{
	cond_fini(&l->cond);
	lock_fini(&l->lock);
}

struct err *limiter_take(struct limiter *l, struct ctx *ctx, bool json, int *ret_slot)
{
	LOCKED(&l->lock);
	while (!l->free && !(json && l->free_json))
		TRY(cond_wait(&l->cond, &l->lock, ctx));
	if (l->free) {
		l->free--;
		*ret_slot = SLOT_ANY;
	} else {
		l->free_json--;
		*ret_slot = SLOT_JSON;
	}
	return NULL;
}

void limiter_give(struct limiter *l, int slot)
{
	LOCKED(&l->lock);
	if (slot == SLOT_ANY)
		l->free++;
	else
		l->free_json++;
	/* All, not one: the one woken might be unable to use this kind. */
	cond_broadcast(&l->cond);
}
