#include "codec/io.h"

#include "base/buf.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>

/* Big enough that a system call's cost is lost in the copying. */
#define COPY_SIZE ((size_t)128 * 1024)

struct err *reader_read(struct reader *r, void *p, size_t len, size_t *ret_n)
{
	return r->read(r, p, len, ret_n);
}

struct err *reader_read_full(struct reader *r, void *p, size_t len)
{
	char *to = p;

	while (len) {
		size_t n;

		TRY(r->read(r, to, len, &n));
		if (!n)
			return err_new(ERR_DATA_LOSS, "unexpected EOF");
		to += n;
		len -= n;
	}
	return NULL;
}

struct err *reader_read_all(struct reader *r, struct buf *out)
{
	for (;;) {
		size_t room = out->max - MIN(out->len, out->max), n;
		char probe;
		void *to;

		if (!room) {
			/* Full: fine if nothing more comes. */
			TRY(r->read(r, &probe, 1, &n));
			if (!n)
				return NULL;
			out->overflow = true;
			return buf_check(out, "input");
		}
		if (out->cap - out->len > 4096)
			room = MIN(room, out->cap - out->len - 1);
		else
			room = MIN(room, MAX(out->len, (size_t)16 * 1024));
		to = buf_reserve(out, room);
		TRY(r->read(r, to, room, &n));
		out->len += n;
		out->data[out->len] = '\0';
		if (!n)
			return NULL;
	}
}

void reader_close(struct reader *r)
{
	if (r)
		r->close(r);
}

void reader_closep(struct reader **r)
{
	reader_close(*r);
	*r = NULL;
}

struct err *writer_write(struct writer *w, const void *p, size_t len)
{
	return w->write(w, p, len);
}

struct err *writer_finish(struct writer *w)
{
	return w->finish ? w->finish(w) : NULL;
}

void writer_close(struct writer *w)
{
	if (w)
		w->close(w);
}

void writer_closep(struct writer **w)
{
	writer_close(*w);
	*w = NULL;
}

struct err *io_copy(struct ctx *ctx, struct writer *w, struct reader *r, uint64_t *ret_n)
{
	CLEANUP_FREE char *p = mem_realloc(NULL, COPY_SIZE, 1);
	uint64_t total = 0;

	for (;;) {
		size_t n;

		TRY(ctx_err(ctx));
		TRY(r->read(r, p, COPY_SIZE, &n));
		if (!n)
			break;
		TRY(w->write(w, p, n));
		total += n;
	}
	if (ret_n)
		*ret_n = total;
	return NULL;
}

/* ---- descriptors ---- */

struct fd_reader {
	struct reader io;
	int fd;
	bool own;
};

static struct err *fd_read(struct reader *r, void *p, size_t len, size_t *ret_n)
{
	struct fd_reader *f = container_of(r, struct fd_reader, io);
	ssize_t n;

	do {
		n = read(f->fd, p, len);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_errno(errno, "read");
	*ret_n = (size_t)n;
	return NULL;
}

static void fd_reader_close(struct reader *r)
{
	struct fd_reader *f = container_of(r, struct fd_reader, io);

	if (f->own)
		(void)close(f->fd);
	free(f);
}

struct reader *reader_of_fd(int fd, bool own)
{
	struct fd_reader *f = NEW(struct fd_reader);

	*f = (struct fd_reader) { { fd_read, fd_reader_close }, fd, own };
	return &f->io;
}

struct fd_writer {
	struct writer io;
	int fd;
	bool own;
};

static struct err *fd_write(struct writer *w, const void *p, size_t len)
{
	struct fd_writer *f = container_of(w, struct fd_writer, io);
	const char *from = p;

	while (len) {
		ssize_t n = write(f->fd, from, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(errno, "write");
		from += n;
		len -= (size_t)n;
	}
	return NULL;
}

static void fd_writer_close(struct writer *w)
{
	struct fd_writer *f = container_of(w, struct fd_writer, io);

	if (f->own)
		(void)close(f->fd);
	free(f);
}

struct writer *writer_of_fd(int fd, bool own)
{
	struct fd_writer *f = NEW(struct fd_writer);

	*f = (struct fd_writer) { { fd_write, NULL, fd_writer_close }, fd, own };
	return &f->io;
}

/* ---- memory ---- */

struct str_reader {
	struct reader io;
	struct str rest;
};

static struct err *str_read(struct reader *r, void *p, size_t len, size_t *ret_n)
{
	struct str_reader *s = container_of(r, struct str_reader, io);
	size_t n = MIN(len, s->rest.len);

	if (n)
		memcpy(p, s->rest.ptr, n);
	s->rest = str_sub(s->rest, n, s->rest.len);
	*ret_n = n;
	return NULL;
}

static void str_reader_close(struct reader *r)
{
	free(container_of(r, struct str_reader, io));
}

struct reader *reader_of_str(struct str s)
{
	struct str_reader *r = NEW(struct str_reader);

	*r = (struct str_reader) { { str_read, str_reader_close }, s };
	return &r->io;
}

struct buf_writer {
	struct writer io;
	struct buf *buf;
};

static struct err *buf_write(struct writer *w, const void *p, size_t len)
{
	struct buf *b = container_of(w, struct buf_writer, io)->buf;

	buf_add(b, p, len);
	return buf_check(b, "output");
}

static void buf_writer_close(struct writer *w)
{
	free(container_of(w, struct buf_writer, io));
}

struct writer *writer_of_buf(struct buf *b)
{
	struct buf_writer *w = NEW(struct buf_writer);

	*w = (struct buf_writer) { { buf_write, NULL, buf_writer_close }, b };
	return &w->io;
}
