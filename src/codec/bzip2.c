#include "codec/decompress.h"

#include "base/mem.h"

#include <bzlib.h>

#define IN_SIZE (64 * 1024)

struct bzip2_reader {
	struct reader io;
	struct reader *src;
	bz_stream stream;
	bool started, any, eof;
	char in[IN_SIZE];
};

static struct err *fill(struct bzip2_reader *b)
{
	size_t n;

	if (b->stream.avail_in || b->eof)
		return NULL;
	TRY(b->src->read(b->src, b->in, sizeof(b->in), &n));
	b->stream.next_in = b->in;
	b->stream.avail_in = (unsigned)n;
	b->eof = n == 0;
	return NULL;
}

static struct err *bzip2_read(struct reader *r, void *p, size_t len, size_t *ret_n)
{
	struct bzip2_reader *b = container_of(r, struct bzip2_reader, io);
	bz_stream *s = &b->stream;
	unsigned room = (unsigned)MIN(len, (size_t)1 << 30);

	*ret_n = 0;
	while (room) {
		int status;

		TRY(fill(b));
		if (!b->started) {
			if (b->eof)
				return b->any ? NULL : err_new(ERR_DATA_LOSS, "unexpected EOF");
			/* The next stream of several. */
			if (BZ2_bzDecompressInit(s, 0, 0) != BZ_OK)
				abort();
			b->started = true;
		}
		s->next_out = p;
		s->avail_out = room;
		status = BZ2_bzDecompress(s);
		*ret_n = room - s->avail_out;
		if (status == BZ_STREAM_END) {
			(void)BZ2_bzDecompressEnd(s);
			b->started = false;
			b->any = true;
		} else if (status == BZ_MEM_ERROR) {
			abort();
		} else if (status == BZ_DATA_ERROR_MAGIC) {
			return err_new(ERR_DATA_LOSS, "bzip2 data invalid: bad magic value");
		} else if (status != BZ_OK) {
			return err_new(ERR_DATA_LOSS, "bzip2 data invalid: corrupt block");
		} else if (!*ret_n && b->eof) {
			return err_new(ERR_DATA_LOSS, "unexpected EOF");
		}
		if (*ret_n)
			break;
	}
	return NULL;
}

static void bzip2_reader_close(struct reader *r)
{
	struct bzip2_reader *b = container_of(r, struct bzip2_reader, io);

	if (b->started)
		(void)BZ2_bzDecompressEnd(&b->stream);
	reader_close(b->src);
	free(b);
}

struct reader *bzip2_reader(struct reader *take_src)
{
	struct bzip2_reader *b = NEW(struct bzip2_reader);

	b->io = (struct reader) { bzip2_read, bzip2_reader_close };
	b->src = take_src;
	return &b->io;
}
