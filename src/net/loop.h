/* The loop thread: one epoll thread that does the I/O of every connection on it, runs
 * timers and calls posted by other threads. It never blocks and never runs handlers.
 *
 * Functions marked (loop) may be called on the loop thread only, which is asserted.
 * Callbacks run on the loop thread with no lock held. */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include "base/err.h"
#include "base/list.h"

#include <sys/types.h>

struct loop;

struct err *loop_start(struct loop **ret) ERR_RESULT;
/* Runs what was posted before, then ends the thread. */
void loop_stop(struct loop *l);
bool loop_is_here(const struct loop *l);

/* ---- calls: the caller's memory, queued at most once at a time ---- */
struct loop_call {
	struct list link;
	void (*fn)(void *arg);
	void *arg;
};
void loop_call_init(struct loop_call *c, void (*fn)(void *), void *arg);
/* From any thread. c may be posted again as soon as fn has begun. Many posts cost one
 * wake-up. */
void loop_post(struct loop *l, struct loop_call *c);
/* (loop) Runs c after the events and posted calls of this turn, before the thread sleeps. */
void loop_later(struct loop *l, struct loop_call *c);
/* (loop) Not run any more; harmless when not queued by loop_later. */
void loop_later_cancel(struct loop_call *c);
/* Runs fn on the loop thread and waits for it; at once when already there. */
void loop_run(struct loop *l, void (*fn)(void *), void *arg);

/* ---- descriptors (loop), level-triggered ---- */
struct loop_io {
	int fd;
	void (*fn)(void *arg, uint32_t epoll_events);
	void *arg;
};
struct err *loop_io_add(struct loop *l, struct loop_io *io, uint32_t epoll_events) ERR_RESULT;
void loop_io_mod(struct loop *l, struct loop_io *io, uint32_t epoll_events);
/* No more events, not even those already fetched. The descriptor stays open. */
void loop_io_del(struct loop *l, struct loop_io *io);

/* ---- timers (loop) ---- */
struct loop_timer {
	size_t at; /* position in the heap + 1; 0: not set */
	int64_t when_ns;
	void (*fn)(void *arg);
	void *arg;
};
/* Sets or moves it; monotonic time. Runs once. */
void loop_timer_set(struct loop *l, struct loop_timer *t, int64_t when_ns);
void loop_timer_cancel(struct loop *l, struct loop_timer *t);

/* (loop) A scratch buffer for reads, valid until the callback returns. */
uint8_t *loop_scratch(struct loop *l, size_t *ret_size);

#endif
