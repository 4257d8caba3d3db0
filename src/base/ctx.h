/* Cancellation tree with deadlines. A ctx is the first parameter of whatever can
 * block. The creator owns it; children hold a reference on their parent. Cancelling
 * is idempotent, carries a cause and reaches all descendants. All calls are
 * thread-safe.
 *
 * A ctx also names the task pool that task_start() uses, so there is no global one. */
#ifndef BASE_CTX_H
#define BASE_CTX_H

#include "base/clock.h"
#include "base/err.h"
#include "base/list.h"

#include <poll.h>
#include <pthread.h>

struct ctx;
struct task_pool;

/* A pool may be NULL where no task is started. */
struct ctx *ctx_new_root(struct task_pool *pool);
struct ctx *ctx_new(struct ctx *parent);
/* Ends with DEADLINE_EXCEEDED "context deadline exceeded" at a monotonic time, or
 * with the parent's earlier deadline. */
struct ctx *ctx_new_deadline(struct ctx *parent, int64_t when_ns);
struct ctx *ctx_new_timeout(struct ctx *parent, int64_t ns);
struct ctx *ctx_ref(struct ctx *c);
void ctx_unref(struct ctx *c); /* NULL is fine */
void ctx_unrefp(struct ctx **c);

/* A NULL cause is CANCELED "context canceled". */
void ctx_cancel(struct ctx *c, struct err *take_cause);
bool ctx_done(const struct ctx *c);
/* NULL while alive; else a copy of the cause. */
struct err *ctx_err(const struct ctx *c) ERR_RESULT;
/* 0 when there is none. */
int64_t ctx_deadline(const struct ctx *c);
struct task_pool *ctx_pool(const struct ctx *c);

/* Calls fn once, on the cancelling thread, when c is cancelled (not when a deadline
 * passes: waiters look at ctx_deadline). Returns false, without registering, when it
 * already is. fn may take locks but must not block. The watch is the caller's memory. */
struct ctx_watch {
	struct list link;
	void (*fn)(void *arg);
	void *arg;
	bool queued, running;
	pthread_t runner;
};
bool ctx_watch(struct ctx *c, struct ctx_watch *w, void (*fn)(void *), void *arg);
/* After this returns fn is not running and won't be called. Harmless twice and for a
 * watch whose registration failed. */
void ctx_unwatch(struct ctx *c, struct ctx_watch *w);

/* poll(2) that also ends with c: an error then. timeout_ms < 0 waits for ever.
 * *ret_ready is 0 on time-out. */
struct err *ctx_poll(struct ctx *c, struct pollfd *fds, size_t n, int timeout_ms,
		     int *ret_ready) ERR_RESULT;
/* Waits for a time to pass or the ctx to end. For retry delays, not for
 * synchronisation. */
struct err *ctx_sleep(struct ctx *c, int64_t ns) ERR_RESULT;

#endif
