/* io_pipe(): a ring of bytes between two threads. */
#include "codec/io.h"

#include "base/lock.h"
#include "base/mem.h"

#include <assert.h>

struct pipe {
	struct reader r;
	struct writer w;
	struct lock lock;
	struct cond readable, writable;
	struct ctx *ctx;
	char *ring;
	size_t cap, head, len; /* head: where the next read starts */
	bool finished, reader_gone, writer_gone;
	bool reader_waits, writer_waits;
	struct err *err; /* for the reader, in place of the end */
};

static void pipe_free(struct pipe *p)
{
	err_free(p->err);
	cond_fini(&p->readable);
	cond_fini(&p->writable);
	lock_fini(&p->lock);
	ctx_unref(p->ctx);
	free(p->ring);
	free(p);
}

static struct err *pipe_read(struct reader *r, void *to, size_t len, size_t *ret_n)
{
	struct pipe *p = container_of(r, struct pipe, r);
	size_t n, first;

	LOCKED(&p->lock);
	while (!p->len && !p->finished && !p->writer_gone && !p->err) {
		struct err *e;

		p->reader_waits = true;
		e = cond_wait(&p->readable, &p->lock, p->ctx);
		p->reader_waits = false;
		TRY(e);
	}
	if (p->err)
		return err_dup(p->err);
	if (!p->len && !p->finished)
		return err_new(ERR_DATA_LOSS, "unexpected EOF");
	n = MIN(len, p->len);
	first = MIN(n, p->cap - p->head);
	if (n) {
		memcpy(to, p->ring + p->head, first);
		memcpy((char *)to + first, p->ring, n - first);
	}
	p->head = (p->head + n) % p->cap;
	p->len -= n;
	/* Waking the writer for a few bytes of room would cost a switch each. */
	if (p->writer_waits && p->len <= p->cap / 2)
		cond_signal(&p->writable);
	*ret_n = n;
	return NULL;
}

static struct err *pipe_write(struct writer *w, const void *from, size_t len)
{
	struct pipe *p = container_of(w, struct pipe, w);

	LOCKED(&p->lock);
	while (len) {
		size_t at, n, first;

		while (p->len == p->cap && !p->reader_gone && !p->err) {
			struct err *e;

			p->writer_waits = true;
			e = cond_wait(&p->writable, &p->lock, p->ctx);
			p->writer_waits = false;
			TRY(e);
		}
		if (p->reader_gone)
			return err_new(ERR_ABORTED, "io: read/write on closed pipe");
		if (p->err)
			return err_dup(p->err);
		at = (p->head + p->len) % p->cap;
		n = MIN(len, p->cap - p->len);
		first = MIN(n, p->cap - at);
		memcpy(p->ring + at, from, first);
		memcpy(p->ring, (const char *)from + first, n - first);
		p->len += n;
		from = (const char *)from + n;
		len -= n;
		if (p->reader_waits)
			cond_signal(&p->readable);
	}
	return NULL;
}

static struct err *pipe_finish(struct writer *w)
{
	struct pipe *p = container_of(w, struct pipe, w);

	LOCKED(&p->lock);
	p->finished = true;
	cond_signal(&p->readable);
	return NULL;
}

static void leave(struct pipe *p, bool *side)
{
	bool last;

	lock_take(&p->lock);
	*side = true;
	last = p->reader_gone && p->writer_gone;
	cond_signal(&p->readable);
	cond_signal(&p->writable);
	lock_drop(&p->lock);
	if (last)
		pipe_free(p);
}

static void pipe_reader_close(struct reader *r)
{
	struct pipe *p = container_of(r, struct pipe, r);

	leave(p, &p->reader_gone);
}

static void pipe_writer_close(struct writer *w)
{
	struct pipe *p = container_of(w, struct pipe, w);

	leave(p, &p->writer_gone);
}

void io_pipe(struct ctx *ctx, size_t cap, struct reader **ret_r, struct writer **ret_w)
{
	struct pipe *p = NEW(struct pipe);

	assert(cap > 0);
	*p = (struct pipe) {
		.r = { pipe_read, pipe_reader_close },
		.w = { pipe_write, pipe_finish, pipe_writer_close },
		.ctx = ctx_ref(ctx),
		.ring = mem_realloc(NULL, cap, 1),
		.cap = cap,
	};
	lock_init(&p->lock, LOCK_PIPELINE);
	cond_init(&p->readable);
	cond_init(&p->writable);
	*ret_r = &p->r;
	*ret_w = &p->w;
}

void io_pipe_fail(struct writer *w, struct err *take_e)
{
	struct pipe *p = container_of(w, struct pipe, w);

	lock_take(&p->lock);
	if (!p->err)
		p->err = TAKE_PTR(take_e);
	cond_signal(&p->readable);
	cond_signal(&p->writable);
	lock_drop(&p->lock);
	err_free(take_e);
}
