#include "codec/gzip.h"

#include "base/mem.h"
#include "base/task.h"

#include <assert.h>
#include <libdeflate.h>
#include <sched.h>

/* The bytes written depend on it: never to be changed. */
#define PIECE ((size_t)1024 * 1024)
#define MAX_SLOTS 32

/* A piece on its way: filled by the writer, compressed by a task, written out in order. */
struct slot {
	struct libdeflate_compressor *compressor;
	struct task *task; /* NULL when compressed in place */
	char *in, *out;
	size_t in_len, out_cap, out_len;
};

struct gzip_writer {
	struct writer io;
	struct ctx *ctx;
	struct writer *dst;
	int level;
	/* A ring: slots from head on are under way, the one behind them is being filled. */
	struct slot slots[MAX_SLOTS + 1];
	size_t n_slots, head, under_way;
	bool any;
};

static size_t slots_for_cpus(void)
{
	cpu_set_t set;
	int n = 1;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		n = CPU_COUNT(&set);
	return MIN((size_t)n * 2, (size_t)MAX_SLOTS);
}

static struct err *compress_piece(struct ctx *ctx, void *arg)
{
	struct slot *s = arg;

	s->out_len = libdeflate_gzip_compress(s->compressor, s->in, s->in_len, s->out, s->out_cap);
	assert(s->out_len > 0);
	return NULL;
}

static struct slot *filling(struct gzip_writer *g)
{
	return &g->slots[(g->head + g->under_way) % (g->n_slots + 1)];
}

static void prepare(struct gzip_writer *g, struct slot *s)
{
	if (s->compressor)
		return;
	s->compressor = libdeflate_alloc_compressor(g->level);
	assert(s->compressor);
	s->out_cap = libdeflate_gzip_compress_bound(s->compressor, PIECE);
	s->in = mem_realloc(NULL, PIECE, 1);
	s->out = mem_realloc(NULL, s->out_cap, 1);
}

static void settle(struct slot *s)
{
	if (s->task)
		err_free(task_wait(TAKE_PTR(s->task)));
}

static struct err *write_oldest(struct gzip_writer *g)
{
	struct slot *s = &g->slots[g->head];
	struct err *e;

	settle(s);
	e = writer_write(g->dst, s->out, s->out_len);
	s->in_len = 0;
	g->head = (g->head + 1) % (g->n_slots + 1);
	g->under_way--;
	return e;
}

static struct err *send_piece(struct gzip_writer *g)
{
	struct slot *s = filling(g);

	prepare(g, s);
	g->any = true;
	if (ctx_pool(g->ctx))
		s->task = task_start(g->ctx, "gzip", compress_piece, s);
	else
		TRY(compress_piece(g->ctx, s));
	g->under_way++;
	if (g->under_way == g->n_slots)
		return write_oldest(g);
	return NULL;
}

static struct err *gzip_write(struct writer *w, const void *p, size_t len)
{
	struct gzip_writer *g = container_of(w, struct gzip_writer, io);
	const char *from = p;

	while (len) {
		struct slot *s = filling(g);
		size_t n = MIN(len, PIECE - s->in_len);

		prepare(g, s);
		memcpy(s->in + s->in_len, from, n);
		s->in_len += n;
		from += n;
		len -= n;
		if (s->in_len == PIECE) {
			TRY(ctx_err(g->ctx));
			TRY(send_piece(g));
		}
	}
	return NULL;
}

static struct err *gzip_finish(struct writer *w)
{
	struct gzip_writer *g = container_of(w, struct gzip_writer, io);

	/* Nothing at all is one empty member. */
	if (filling(g)->in_len || !g->any)
		TRY(send_piece(g));
	while (g->under_way)
		TRY(write_oldest(g));
	return NULL;
}

static void gzip_writer_close(struct writer *w)
{
	struct gzip_writer *g = container_of(w, struct gzip_writer, io);

	for (size_t i = 0; i <= g->n_slots; i++) {
		struct slot *s = &g->slots[i];

		settle(s);
		if (s->compressor)
			libdeflate_free_compressor(s->compressor);
		free(s->in);
		free(s->out);
	}
	ctx_unref(g->ctx);
	free(g);
}

struct writer *gzip_writer(struct ctx *ctx, struct writer *dst, int level)
{
	struct gzip_writer *g = NEW(struct gzip_writer);

	g->io = (struct writer) { gzip_write, gzip_finish, gzip_writer_close };
	g->ctx = ctx_ref(ctx);
	g->dst = dst;
	g->level = level < 0 ? 6 : MIN(level, 9);
	g->n_slots = slots_for_cpus();
	return &g->io;
}
