#include "cli/status.h"

#include "base/limits.h"
#include "base/list.h"
#include "base/lock.h"
#include "base/mem.h"
#include "base/task.h"
#include "codec/io.h"
#include "grpc/message.h"

/* The receiving task hands messages over, so that the display can also move by itself. */
struct feed {
	struct lock lock;
	struct cond cond;
	struct list queue;
	bool ended;
	struct err *err;
	struct grpc_stream *stream;
};

struct item {
	struct list link;
	struct arena arena;
	Moby__Buildkit__V1__StatusResponse *msg;
};

static struct err *receive(struct ctx *ctx, void *arg)
{
	struct feed *f = arg;
	struct err *e = NULL;

	for (;;) {
		struct item *it = NEW(struct item);
		bool eof = false;

		e = grpc_recv_msg(f->stream, ctx, &it->arena,
				  &moby__buildkit__v1__status_response__descriptor, &it->msg, &eof);
		if (e || eof) {
			arena_fini(&it->arena);
			free(it);
			break;
		}
		lock_take(&f->lock);
		list_add_tail(&f->queue, &it->link);
		cond_signal(&f->cond);
		lock_drop(&f->lock);
	}
	lock_take(&f->lock);
	f->ended = true;
	f->err = e;
	cond_signal(&f->cond);
	lock_drop(&f->lock);
	return NULL;
}

static void show(struct item *it, struct display *p, int trace_fd)
{
	display_update(p, it->msg);
	if (trace_fd >= 0) {
		SCOPED_BUF(line, 256 * MIB);
		struct writer *w = writer_of_fd(trace_fd, false);

		display_rawjson(it->msg, &line);
		err_free(writer_write(w, line.data, line.len));
		writer_close(w);
	}
	arena_fini(&it->arena);
	free(it);
}

struct err *cli_follow(struct cli *c, struct ctx *ctx, const char *ref, struct display *p,
		       int trace_fd)
{
	Moby__Buildkit__V1__StatusRequest req = MOBY__BUILDKIT__V1__STATUS_REQUEST__INIT;
	CLEANUP(grpc_stream_freep) struct grpc_stream *s = NULL;
	struct feed f = { 0 };
	struct task *t;
	struct list *n;

	req.ref = (char *)ref;
	TRY(grpc_call(c->client, ctx, "/moby.buildkit.v1.Control/Status", NULL, 0, &s));
	TRY(grpc_send_msg(s, ctx, &req));
	TRY(grpc_close_send(s));
	lock_init(&f.lock, LOCK_CLI);
	cond_init(&f.cond);
	list_init(&f.queue);
	f.stream = s;
	t = task_start(ctx, "status", receive, &f);
	lock_take(&f.lock);
	for (;;) {
		int64_t every = display_interval(p);

		while ((n = list_pop(&f.queue))) {
			lock_drop(&f.lock);
			show(list_entry(n, struct item, link), p, trace_fd);
			lock_take(&f.lock);
		}
		if (f.ended)
			break;
		if (every) {
			bool timeout = false;

			/* The end of ctx ends the receiver, which sets `ended`. */
			err_free(cond_wait_until(&f.cond, &f.lock, c->ctx, clock_now() + every,
						 &timeout));
			if (ctx_done(c->ctx))
				while (!f.ended)
					cond_wait_uninterrupted(&f.cond, &f.lock);
			lock_drop(&f.lock);
			display_tick(p);
			lock_take(&f.lock);
		} else {
			cond_wait_uninterrupted(&f.cond, &f.lock);
		}
	}
	lock_drop(&f.lock);
	err_free(task_wait(t));
	cond_fini(&f.cond);
	lock_fini(&f.lock);
	return f.err;
}
