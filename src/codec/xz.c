#include "codec/decompress.h"

#include "base/mem.h"

#include <lzma.h>

#define IN_SIZE (64 * 1024)
/* xz -9 takes 65 MiB to unpack. */
#define MEMORY_MAX (UINT64_C(160) * 1024 * 1024)

struct xz_reader {
	struct reader io;
	struct reader *src;
	lzma_stream stream;
	bool eof, done;
	uint8_t in[IN_SIZE];
};

static struct err *xz_error(lzma_ret r)
{
	switch (r) {
	case LZMA_FORMAT_ERROR:
		return err_new(ERR_DATA_LOSS, "xz: invalid header magic bytes");
	case LZMA_MEMLIMIT_ERROR:
		return err_new(ERR_RESOURCE_EXHAUSTED, "xz: dictionary is too large");
	case LZMA_OPTIONS_ERROR:
		return err_new(ERR_DATA_LOSS, "xz: unsupported options");
	case LZMA_BUF_ERROR:
		return err_new(ERR_DATA_LOSS, "unexpected EOF");
	case LZMA_MEM_ERROR:
		abort();
	default:
		return err_new(ERR_DATA_LOSS, "xz: data is corrupt");
	}
}

static struct err *xz_read(struct reader *r, void *p, size_t len, size_t *ret_n)
{
	struct xz_reader *x = container_of(r, struct xz_reader, io);
	lzma_stream *s = &x->stream;

	s->next_out = p;
	s->avail_out = len;
	while (len && s->avail_out == len && !x->done) {
		lzma_ret status;

		if (!s->avail_in && !x->eof) {
			TRY(x->src->read(x->src, x->in, sizeof(x->in), &s->avail_in));
			s->next_in = x->in;
			x->eof = s->avail_in == 0;
		}
		status = lzma_code(s, x->eof ? LZMA_FINISH : LZMA_RUN);
		if (status == LZMA_STREAM_END)
			x->done = true;
		else if (status != LZMA_OK)
			return xz_error(status);
	}
	*ret_n = len - s->avail_out;
	return NULL;
}

static void xz_reader_close(struct reader *r)
{
	struct xz_reader *x = container_of(r, struct xz_reader, io);

	lzma_end(&x->stream);
	reader_close(x->src);
	free(x);
}

struct reader *xz_reader(struct reader *take_src)
{
	struct xz_reader *x = NEW(struct xz_reader);

	x->io = (struct reader) { xz_read, xz_reader_close };
	x->src = take_src;
	x->stream = (lzma_stream)LZMA_STREAM_INIT;
	if (lzma_stream_decoder(&x->stream, MEMORY_MAX, LZMA_CONCATENATED) != LZMA_OK)
		abort();
	return &x->io;
}
