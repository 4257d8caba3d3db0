/* Collection by the worker's policies: after builds, and during them when the disk runs short. */
#include "control/control.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/path.h"
#include "base/task.h"
#include "sys/file.h"

#define GC_DELAY NSEC_PER_SEC
#define GC_PERIOD (60 * NSEC_PER_SEC)
/* A build can fill a disk before it ends, so while there are any the free space is looked at. */
#define WATCH_PERIOD (5 * NSEC_PER_SEC)

static struct err *count_pruned(void *arg, const struct cache_usage *u)
{
	*(int64_t *)arg += u->size;
	return NULL;
}

static void collect(struct control *c, struct ctx *ctx)
{
	int64_t freed = 0;
	struct err *e = NULL;

	lock_take(&c->lock);
	c->last_gc_ns = clock_now();
	lock_drop(&c->lock);
	for (size_t i = 0; i < c->n_workers && !e; i++) {
		const struct control_worker *w = &c->workers[i];

		if (w->gc && w->n_gc_rules)
			e = control_prune_by(c, ctx, w->worker, w->gc_rules, w->n_gc_rules,
					     count_pruned, &freed);
	}
	if (!e && freed)
		e = solver_release_unreferenced(c->solver, ctx);
	if (e && !ctx_done(ctx))
		log_error("gc error: %s", err_text(e));
	else if (freed)
		log_debug("gc cleaned up %lld bytes", (long long)freed);
	err_free(e);
}

/* Less is free than a policy wants. */
static bool is_short(struct control *c)
{
	SCOPED_ARENA(a);
	struct file_space space;
	struct err *e = file_space(str_cstr(&a, path_dir(&a, str_from(c->room_path))), &space);
	bool is = false;

	for (size_t k = 0; !e && k < c->n_workers; k++) {
		const struct control_worker *w = &c->workers[k];

		for (size_t i = 0; w->gc && i < w->n_gc_rules; i++)
			is = is || (int64_t)space.available < w->gc_rules[i].min_free_space;
	}
	err_free(e);
	return is;
}

static struct err *wait_for_turn(struct control *c, struct ctx *ctx)
{
	int64_t when = clock_now() + GC_DELAY;
	struct err *e = NULL;

	lock_take(&c->lock);
	if (c->last_gc_ns)
		when = MAX(when, c->last_gc_ns + GC_PERIOD);
	lock_drop(&c->lock);
	do {
		/* Sooner when there is need. */
		e = ctx_sleep(ctx, MIN(MAX(when - clock_now(), INT64_C(0)), GC_DELAY));
	} while (!e && clock_now() < when && !is_short(c));
	return e;
}

static struct err *run_gc(struct ctx *ctx, void *arg)
{
	struct control *c = arg;

	for (;;) {
		struct err *e = wait_for_turn(c, ctx);

		lock_take(&c->lock);
		c->gc_again = false;
		lock_drop(&c->lock);
		if (!e)
			collect(c, ctx);
		lock_take(&c->lock);
		if (e || !c->gc_again) {
			c->gc_pending = false;
			cond_broadcast(&c->builds_changed);
			lock_drop(&c->lock);
			return e;
		}
		lock_drop(&c->lock);
	}
}

static bool has_rules(const struct control *c)
{
	for (size_t i = 0; i < c->n_workers; i++)
		if (c->workers[i].gc && c->workers[i].n_gc_rules)
			return true;
	return false;
}

void control_schedule_gc(struct control *c)
{
	bool start;

	if (!has_rules(c))
		return;
	lock_take(&c->lock);
	start = !c->gc_pending;
	c->gc_pending = c->gc_again = true;
	lock_drop(&c->lock);
	if (start)
		task_go(c->ctx, "gc", run_gc, c);
}

/* ---- during builds ---- */

static struct err *watch(struct ctx *ctx, void *arg)
{
	struct control *c = arg;

	for (;;) {
		struct err *e = ctx_sleep(ctx, WATCH_PERIOD);

		lock_take(&c->lock);
		if (e || !c->running) {
			c->gc_watching = false;
			cond_broadcast(&c->builds_changed);
			lock_drop(&c->lock);
			return e;
		}
		lock_drop(&c->lock);
		if (is_short(c))
			collect(c, ctx);
	}
}

void control_wait_gc(struct control *c)
{
	LOCKED(&c->lock);
	while (c->gc_pending || c->gc_watching)
		cond_wait_uninterrupted(&c->builds_changed, &c->lock);
}

void control_watch_disk(struct control *c)
{
	bool start;

	if (!has_rules(c) || !c->room_path)
		return;
	lock_take(&c->lock);
	start = !c->gc_watching;
	c->gc_watching = true;
	lock_drop(&c->lock);
	if (start)
		task_go(c->ctx, "gc watch", watch, c);
}
