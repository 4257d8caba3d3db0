/* Byte streams as small vtables, embedded as the first member of an implementation.
 * A reader or writer belongs to one thread at a time. */
#ifndef CODEC_IO_H
#define CODEC_IO_H

#include "base/ctx.h"
#include "base/err.h"

struct buf;

struct reader {
	/* Up to len bytes; *ret_n == 0 only at the end. */
	struct err *(*read)(struct reader *r, void *p, size_t len, size_t *ret_n);
	/* Releases the implementation. */
	void (*close)(struct reader *r);
};

struct writer {
	/* All of it or an error. */
	struct err *(*write)(struct writer *w, const void *p, size_t len);
	/* Flushes and ends the stream; called once, before close. May be NULL. */
	struct err *(*finish)(struct writer *w);
	/* Releases; without a finish before it, drops what was written. */
	void (*close)(struct writer *w);
};

struct err *reader_read(struct reader *r, void *p, size_t len, size_t *ret_n) ERR_RESULT;
/* Exactly len bytes, else DATA_LOSS "unexpected EOF". */
struct err *reader_read_full(struct reader *r, void *p, size_t len) ERR_RESULT;
/* Up to the end, into a buffer with its own maximum. */
struct err *reader_read_all(struct reader *r, struct buf *out) ERR_RESULT;
void reader_close(struct reader *r); /* NULL is fine */
void reader_closep(struct reader **r);
struct err *writer_write(struct writer *w, const void *p, size_t len) ERR_RESULT;
struct err *writer_finish(struct writer *w) ERR_RESULT;
void writer_close(struct writer *w); /* NULL is fine */
void writer_closep(struct writer **w);
/* Copies up to the end or the end of ctx; *ret_n (may be NULL) counts bytes. */
struct err *io_copy(struct ctx *ctx, struct writer *w, struct reader *r,
		    uint64_t *ret_n) ERR_RESULT;

/* Over a descriptor, which is closed with it if own. */
struct reader *reader_of_fd(int fd, bool own);
struct writer *writer_of_fd(int fd, bool own);
/* Over memory that outlives the reader. */
struct reader *reader_of_str(struct str s);
/* Into a buffer that outlives the writer. */
struct writer *writer_of_buf(struct buf *b);
/* In-memory pipe between two threads, bounded to cap bytes. Closing the writer without
 * finish makes the reader fail with take-over of err (may be set with pipe_fail);
 * closing the reader makes writes fail. */
void io_pipe(struct ctx *ctx, size_t cap, struct reader **ret_r, struct writer **ret_w);
/* Makes the reading end fail with this error. */
void io_pipe_fail(struct writer *w, struct err *take_e);

#endif
