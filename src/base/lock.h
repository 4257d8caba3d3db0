/* Mutexes and condition variables with a class and a rank (locks.def). The owner is
 * recorded, so `_locked` functions can assert it; taking a lock of an equal or lower
 * rank than one already held by the thread aborts with both names. No lock is held
 * over I/O or over a call out of its module. */
#ifndef BASE_LOCK_H
#define BASE_LOCK_H

#include "base/cleanup.h"
#include "base/err.h"

#include <pthread.h>

struct ctx;

enum lock_class {
#define LOCK_CLASS(name) LOCK_##name,
#include "base/locks.def"
#undef LOCK_CLASS
	LOCK_N_CLASSES
};

struct lock {
	pthread_mutex_t mutex;
	enum lock_class class;
	bool held;
	pthread_t owner;
};

struct cond {
	pthread_cond_t cond;
};

void lock_init(struct lock *l, enum lock_class class);
void lock_fini(struct lock *l);
void lock_take(struct lock *l);
void lock_drop(struct lock *l);
void lock_assert_held(const struct lock *l);

static inline void lock_dropp(struct lock **l)
{
	lock_drop(*l);
}

/* Held until the end of the scope. */
#define LOCKED_CAT2(a, b) a##b
#define LOCKED_CAT(a, b) LOCKED_CAT2(a, b)
#define LOCKED(l)                                                                                  \
	CLEANUP(lock_dropp) struct lock *LOCKED_CAT(locked_, __LINE__) = (l);                      \
	lock_take(LOCKED_CAT(locked_, __LINE__))

void cond_init(struct cond *c);
void cond_fini(struct cond *c);
void cond_signal(struct cond *c);
void cond_broadcast(struct cond *c);
/* Waits with l held, for a wake-up or the end of ctx: then its error. Spurious
 * wake-ups happen: use in a loop. The lock is held again on return. */
struct err *cond_wait(struct cond *c, struct lock *l, struct ctx *ctx) ERR_RESULT;
/* Also returns, with *ret_timeout true, at a monotonic time (clock_now). */
struct err *cond_wait_until(struct cond *c, struct lock *l, struct ctx *ctx, int64_t when_ns,
			    bool *ret_timeout) ERR_RESULT;
/* Without a ctx: for waits that end by construction. */
void cond_wait_uninterrupted(struct cond *c, struct lock *l);

#endif
