/* Atomic reference count, embedded in shared objects. */
#ifndef BASE_REF_H
#define BASE_REF_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>

struct ref {
	atomic_int n;
};

static inline void ref_init(struct ref *r)
{
	atomic_init(&r->n, 1);
}

static inline void ref_get(struct ref *r)
{
	int old = atomic_fetch_add_explicit(&r->n, 1, memory_order_relaxed);

	assert(old > 0);
	(void)old;
}

/* For objects found through a weak pointer: false when the last reference is gone. */
static inline bool ref_tryget(struct ref *r)
{
	int n = atomic_load_explicit(&r->n, memory_order_relaxed);

	while (n > 0)
		if (atomic_compare_exchange_weak(&r->n, &n, n + 1))
			return true;
	return false;
}

/* True when this was the last reference. */
static inline bool ref_put(struct ref *r)
{
	int old = atomic_fetch_sub_explicit(&r->n, 1, memory_order_acq_rel);

	assert(old > 0);
	return old == 1;
}

#endif
