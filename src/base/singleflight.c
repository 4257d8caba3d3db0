#include "base/singleflight.h"

#include "base/ctx.h"
#include "base/mem.h"
#include "base/task.h"

#include <assert.h>

struct call {
	struct singleflight *s;
	struct ctx *ctx;
	struct cond cond;
	char *key;
	size_t key_len;
	size_t waiters; /* callers that hold on to this */
	bool finished;
	bool run_over; /* the task has let go */
	struct err *err;
	struct err *(*fn)(struct ctx *, void *);
	void *arg;
	void (*free_arg)(void *);
};

void singleflight_init(struct singleflight *s, struct ctx *ctx)
{
	*s = (struct singleflight) { .ctx = ctx };
	lock_init(&s->lock, LOCK_SINGLEFLIGHT);
}

void singleflight_fini(struct singleflight *s)
{
	assert(map_len(&s->calls) == 0);
	map_fini(&s->calls, NULL);
	lock_fini(&s->lock);
}

static void free_call(struct call *c)
{
	ctx_unref(c->ctx);
	cond_fini(&c->cond);
	err_free(c->err);
	free(c->key);
	free(c);
}

static struct err *run_call(struct ctx *ctx, void *arg)
{
	struct call *c = arg;
	struct singleflight *s = c->s;
	struct err *e = c->fn(ctx, c->arg);
	bool last;

	if (c->free_arg)
		c->free_arg(c->arg);
	lock_take(&s->lock);
	c->err = e;
	c->finished = true;
	/* A cancelled call was already taken out, and may have a successor. */
	if (map_get(&s->calls, str_make(c->key, c->key_len)) == c)
		(void)map_del(&s->calls, str_make(c->key, c->key_len));
	cond_broadcast(&c->cond);
	c->run_over = true;
	last = c->waiters == 0;
	lock_drop(&s->lock);
	if (last)
		free_call(c);
	return NULL;
}

struct err *singleflight_do(struct singleflight *s, struct ctx *ctx, struct str key,
			    struct err *(*fn)(struct ctx *, void *), void *arg,
			    void (*free_arg)(void *))
{
	struct err *e = NULL;
	struct call *c;
	bool last, cancel;

	lock_take(&s->lock);
	c = map_get(&s->calls, key);
	if (!c) {
		c = NEW(struct call);
		*c = (struct call) {
			.s = s,
			.ctx = ctx_new(s->ctx),
			.key = mem_strndup(key.ptr, key.len),
			.key_len = key.len,
			.waiters = 1,
			.fn = fn,
			.arg = arg,
			.free_arg = free_arg,
		};
		cond_init(&c->cond);
		(void)map_put(&s->calls, key, c);
		task_go(c->ctx, "singleflight", run_call, c);
	} else {
		c->waiters++;
		if (free_arg) {
			lock_drop(&s->lock);
			free_arg(arg);
			lock_take(&s->lock);
		}
	}
	while (!e && !c->finished)
		e = cond_wait(&c->cond, &s->lock, ctx);
	if (!e)
		e = err_dup(c->err);
	c->waiters--;
	cancel = !c->waiters && !c->finished;
	if (cancel && map_get(&s->calls, key) == c)
		(void)map_del(&s->calls, key);
	if (cancel) {
		struct ctx *cc = ctx_ref(c->ctx);

		lock_drop(&s->lock);
		ctx_cancel(cc, NULL);
		ctx_unref(cc);
		return e;
	}
	last = !c->waiters && c->run_over;
	lock_drop(&s->lock);
	if (last)
		free_call(c);
	return e;
}
