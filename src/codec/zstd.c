#include "codec/decompress.h"

#include "base/mem.h"

#include <sched.h>
#include <zstd.h>

/* The bytes written depend on these: never to be changed. */
#define JOB_SIZE (4 * 1024 * 1024)
#define OVERLAP_LOG 6 /* libzstd's default for most levels */

/* 128 MiB: what the zstd tool reads without being told to use more memory. */
#define WINDOW_LOG_MAX 27
#define MAX_WORKERS 16

/* ---- reading ---- */

struct zstd_reader {
	struct reader io;
	struct reader *src;
	ZSTD_DCtx *ctx;
	ZSTD_inBuffer in;
	size_t in_cap;
	bool in_frame, any, eof;
	char buf[];
};

static struct err *zstd_read(struct reader *r, void *p, size_t len, size_t *ret_n)
{
	struct zstd_reader *z = container_of(r, struct zstd_reader, io);
	ZSTD_outBuffer out = { p, len, 0 };

	*ret_n = 0;
	while (len && !out.pos) {
		size_t left;

		if (z->in.pos == z->in.size && !z->eof) {
			TRY(z->src->read(z->src, z->buf, z->in_cap, &z->in.size));
			z->in.pos = 0;
			z->eof = z->in.size == 0;
		}
		if (z->eof && !z->in_frame)
			return z->any ? NULL : err_new(ERR_DATA_LOSS, "unexpected EOF");
		left = ZSTD_decompressStream(z->ctx, &out, &z->in);
		if (ZSTD_isError(left))
			return err_new(ERR_DATA_LOSS, "zstd: %s", ZSTD_getErrorName(left));
		z->in_frame = left != 0;
		z->any = true;
		if (z->eof && z->in_frame && !out.pos)
			return err_new(ERR_DATA_LOSS, "unexpected EOF");
	}
	*ret_n = out.pos;
	return NULL;
}

static void zstd_reader_close(struct reader *r)
{
	struct zstd_reader *z = container_of(r, struct zstd_reader, io);

	reader_close(z->src);
	(void)ZSTD_freeDCtx(z->ctx);
	free(z);
}

struct reader *zstd_reader(struct reader *take_src)
{
	size_t cap = ZSTD_DStreamInSize();
	struct zstd_reader *z = mem_alloc(sizeof(*z) + cap);

	z->io = (struct reader) { zstd_read, zstd_reader_close };
	z->src = take_src;
	z->in_cap = cap;
	z->in.src = z->buf;
	z->ctx = ZSTD_createDCtx();
	if (!z->ctx)
		abort();
	(void)ZSTD_DCtx_setParameter(z->ctx, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
	return &z->io;
}

/* ---- writing ---- */

struct zstd_writer {
	struct writer io;
	struct ctx *ctx;
	struct writer *dst;
	ZSTD_CCtx *cctx;
	size_t out_cap;
	char out[];
};

static struct err *run(struct zstd_writer *z, ZSTD_inBuffer *in, ZSTD_EndDirective mode)
{
	size_t left;

	do {
		ZSTD_outBuffer out = { z->out, z->out_cap, 0 };

		left = ZSTD_compressStream2(z->cctx, &out, in, mode);
		if (ZSTD_isError(left))
			return err_new(ERR_INTERNAL, "zstd: %s", ZSTD_getErrorName(left));
		if (out.pos)
			TRY(writer_write(z->dst, out.dst, out.pos));
	} while (mode == ZSTD_e_end ? left != 0 : in->pos < in->size);
	return NULL;
}

static struct err *zstd_write(struct writer *w, const void *p, size_t len)
{
	struct zstd_writer *z = container_of(w, struct zstd_writer, io);
	ZSTD_inBuffer in = { p, len, 0 };

	TRY(ctx_err(z->ctx));
	return run(z, &in, ZSTD_e_continue);
}

static struct err *zstd_finish(struct writer *w)
{
	struct zstd_writer *z = container_of(w, struct zstd_writer, io);
	ZSTD_inBuffer in = { NULL, 0, 0 };

	return run(z, &in, ZSTD_e_end);
}

static void zstd_writer_close(struct writer *w)
{
	struct zstd_writer *z = container_of(w, struct zstd_writer, io);

	(void)ZSTD_freeCCtx(z->cctx);
	ctx_unref(z->ctx);
	free(z);
}

static void set(ZSTD_CCtx *c, ZSTD_cParameter p, int value)
{
	/* Fails only for a libzstd without threads, whose bytes would differ. */
	if (ZSTD_isError(ZSTD_CCtx_setParameter(c, p, value)))
		abort();
}

struct writer *zstd_writer(struct ctx *ctx, struct writer *dst, int level)
{
	size_t cap = ZSTD_CStreamOutSize();
	struct zstd_writer *z = mem_alloc(sizeof(*z) + cap);
	cpu_set_t cpus;
	int n = 1;

	if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
		n = CPU_COUNT(&cpus);
	z->io = (struct writer) { zstd_write, zstd_finish, zstd_writer_close };
	z->ctx = ctx_ref(ctx);
	z->dst = dst;
	z->out_cap = cap;
	z->cctx = ZSTD_createCCtx();
	if (!z->cctx)
		abort();
	set(z->cctx, ZSTD_c_compressionLevel, MIN(level, ZSTD_maxCLevel()));
	/* The highest levels would want 128 MiB a worker, and of whoever reads it. */
	if (level > 19)
		set(z->cctx, ZSTD_c_windowLog, 23);
	set(z->cctx, ZSTD_c_checksumFlag, 1);
	/* Even one CPU gets a worker: without any libzstd cuts its input differently. */
	set(z->cctx, ZSTD_c_nbWorkers, MIN(MAX(n, 1), MAX_WORKERS));
	set(z->cctx, ZSTD_c_jobSize, JOB_SIZE);
	set(z->cctx, ZSTD_c_overlapLog, OVERLAP_LOG);
	return &z->io;
}
