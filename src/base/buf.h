/* Growable byte buffer with a maximum. Adding past the maximum adds nothing and
 * sets `overflow`, which sticks: build first, then check once with buf_check().
 * Data is always followed by a NUL that is not part of len (except when data is
 * NULL, i.e. nothing was ever added). Owner: whoever holds the struct. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

#include <stdarg.h>

struct buf {
	char *data;
	size_t len, cap, max;
	bool overflow;
};

#define BUF_INIT(max_) ((struct buf) { .max = (max_) })

void buf_init(struct buf *b, size_t max);
void buf_fini(struct buf *b);
/* Empties, keeps the memory and the maximum; clears overflow. */
void buf_clear(struct buf *b);
void buf_add(struct buf *b, const void *p, size_t len);
void buf_add_str(struct buf *b, struct str s);
void buf_add_cstr(struct buf *b, const char *s);
void buf_add_char(struct buf *b, char c);
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vaddf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
/* Room for len more bytes at data+len, to be filled by the caller and added to
 * len; NULL (and overflow) when that would pass the maximum. */
void *buf_reserve(struct buf *b, size_t len);
/* Drops n bytes from the front. */
void buf_consume(struct buf *b, size_t n);
static inline struct str buf_str(const struct buf *b)
{
	return str_make(b->data, b->len);
}
/* "" for a buffer never written to. */
static inline const char *buf_cstr(const struct buf *b)
{
	return b->data ? b->data : "";
}
/* The heap memory, NUL-terminated; the buffer is empty afterwards. Never NULL. */
char *buf_take(struct buf *b);
/* RESOURCE_EXHAUSTED "<what> is larger than <max> bytes" when overflowed. */
struct err *buf_check(const struct buf *b, const char *what) ERR_RESULT;

#define SCOPED_BUF(name, max_) CLEANUP(buf_fini) struct buf name = BUF_INIT(max_)

#endif
