/* Requests at once to one registry host: so many of any kind and one more for JSON, so that
 * manifests need not wait behind layers. Embedded; thread-safe. */
#ifndef REGISTRY_LIMITER_H
#define REGISTRY_LIMITER_H

#include "base/lock.h"

struct limiter {
	struct lock lock;
	struct cond cond;
	int free, free_json;
};

void limiter_init(struct limiter *l, int max);
void limiter_fini(struct limiter *l);
/* *ret_slot is to be given back. */
struct err *limiter_take(struct limiter *l, struct ctx *ctx, bool json, int *ret_slot) ERR_RESULT;
void limiter_give(struct limiter *l, int slot);

#endif
