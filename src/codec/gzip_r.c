#include "codec/gzip.h"

#include "base/mem.h"

#include <isa-l/igzip_lib.h>

#define IN_SIZE (64 * 1024)

struct gzip_reader {
	struct reader io;
	struct reader *src;
	struct inflate_state state;
	uint64_t offset; /* of the end of `in` in the stream, for messages */
	bool started;    /* within a member */
	bool any;        /* a member has been read */
	bool eof;        /* src is used up */
	bool done;
	uint8_t in[IN_SIZE];
};

static struct err *fill(struct gzip_reader *g)
{
	size_t n;

	if (g->state.avail_in || g->eof)
		return NULL;
	TRY(g->src->read(g->src, g->in, sizeof(g->in), &n));
	g->state.next_in = g->in;
	g->state.avail_in = (uint32_t)n;
	g->offset += n;
	g->eof = n == 0;
	return NULL;
}

/* At the boundary of members: another one, the end, or garbage. */
static struct err *begin_member(struct gzip_reader *g)
{
	TRY(fill(g));
	if (g->eof && !g->state.avail_in) {
		if (!g->any)
			return err_new(ERR_DATA_LOSS, "unexpected EOF");
		g->done = true;
		return NULL;
	}
	/* Resetting keeps the input but forgets the kind of wrapper. */
	isal_inflate_reset(&g->state);
	g->state.crc_flag = ISAL_GZIP;
	g->started = true;
	return NULL;
}

static struct err *inflate_error(const struct gzip_reader *g, int r)
{
	switch (r) {
	case ISAL_INVALID_WRAPPER:
	case ISAL_UNSUPPORTED_METHOD:
		return err_new(ERR_DATA_LOSS, "gzip: invalid header");
	case ISAL_INCORRECT_CHECKSUM:
		return err_new(ERR_DATA_LOSS, "gzip: invalid checksum");
	default:
		return err_new(ERR_DATA_LOSS, "flate: corrupt input before offset %llu",
			       (unsigned long long)(g->offset - g->state.avail_in));
	}
}

static struct err *gzip_read(struct reader *r, void *p, size_t len, size_t *ret_n)
{
	struct gzip_reader *g = container_of(r, struct gzip_reader, io);

	*ret_n = 0;
	if (!len)
		return NULL;
	while (!g->done) {
		uint32_t room = (uint32_t)MIN(len, (size_t)1 << 30);
		size_t got;
		int status;

		if (!g->started) {
			TRY(begin_member(g));
			continue;
		}
		TRY(fill(g));
		g->state.next_out = p;
		g->state.avail_out = room;
		status = isal_inflate(&g->state);
		got = room - g->state.avail_out;
		/* A bad checksum comes with the last of the data. */
		if (status < 0)
			return inflate_error(g, status);
		if (g->state.block_state == ISAL_BLOCK_FINISH) {
			g->started = false;
			g->any = true;
		} else if (!got && g->eof && !g->state.avail_in) {
			return err_new(ERR_DATA_LOSS, "unexpected EOF");
		}
		if (got) {
			*ret_n = got;
			return NULL;
		}
	}
	return NULL;
}

static void gzip_reader_close(struct reader *r)
{
	struct gzip_reader *g = container_of(r, struct gzip_reader, io);

	reader_close(g->src);
	free(g);
}

struct reader *gzip_reader(struct reader *take_src)
{
	/* Not zeroed: most of it is buffers and tables that are written before they are read. */
	struct gzip_reader *g = mem_realloc(NULL, 1, sizeof(*g));

	g->io = (struct reader) { gzip_read, gzip_reader_close };
	g->src = take_src;
	g->offset = 0;
	g->started = g->any = g->eof = g->done = false;
	isal_inflate_init(&g->state);
	g->state.crc_flag = ISAL_GZIP;
	return &g->io;
}
