/* Tasks: blocking work on an elastic pool of threads (256 KiB stacks). There is no
 * upper bound on threads, so a task that waits for another can't starve it; idle
 * threads retire after a few seconds. Nothing cancels a task but its ctx. */
#ifndef BASE_TASK_H
#define BASE_TASK_H

#include "base/ctx.h"
#include "base/lock.h"

struct task;
struct task_pool;

typedef struct err *(*task_fn)(struct ctx *ctx, void *arg);

struct task_pool *task_pool_new(void);
/* Waits for every task to end. */
void task_pool_free(struct task_pool *p);
/* Tasks now running or queued: for tests and debug dumps. */
size_t task_pool_active(struct task_pool *p);

/* Runs fn(ctx, arg) on a thread of ctx's pool. Holds a reference on ctx meanwhile.
 * name is a literal. The task must be waited for or detached. */
struct task *task_start(struct ctx *ctx, const char *name, task_fn fn, void *arg);
/* The task's error. Frees the task. Not interruptible: cancel its ctx first. */
struct err *task_wait(struct task *take_t) ERR_RESULT;
/* Its error is dropped; frees itself. */
void task_detach(struct task *take_t);
/* start + detach */
void task_go(struct ctx *ctx, const char *name, task_fn fn, void *arg);

/* Tasks under one ctx: the first failure cancels the others and is the result. */
struct task_group {
	struct ctx *ctx;
	struct lock lock;
	struct cond done;
	size_t running, limit; /* limit 0 is none */
	struct err *err;
};
void task_group_init(struct task_group *g, struct ctx *parent, size_t limit);
/* Blocks while `limit` tasks of the group run. */
void task_group_go(struct task_group *g, const char *name, task_fn fn, void *arg);
/* Waits for all of them, frees what the group holds, gives the first error. */
struct err *task_group_wait(struct task_group *g) ERR_RESULT;

#endif
