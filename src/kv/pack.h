/* Compact encoding of kv values: LEB128 numbers, strings with their length in front,
 * digests as algorithm and bytes. Writers append to a buffer; a reader is a cursor whose
 * `bad` flag sticks, so a whole record is read first and checked once. */
#ifndef KV_PACK_H
#define KV_PACK_H

#include "base/buf.h"
#include "codec/digest.h"

void pack_uint(struct buf *b, uint64_t v);
void pack_int(struct buf *b, int64_t v);
void pack_str(struct buf *b, struct str s);
void pack_digest(struct buf *b, const struct digest *d); /* unset: one byte */

struct unpack {
	const char *at, *end;
	bool bad;
};

static inline struct unpack unpack_of(struct str s)
{
	return (struct unpack) { .at = s.ptr, .end = s.ptr + s.len };
}
static inline size_t unpack_left(const struct unpack *u)
{
	return u->bad ? 0 : (size_t)(u->end - u->at);
}
/* 0, empty or unset once bad. */
uint64_t unpack_uint(struct unpack *u);
int64_t unpack_int(struct unpack *u);
struct str unpack_str(struct unpack *u); /* borrowed from the value */
struct digest unpack_digest(struct unpack *u);
/* A count of items of at least min bytes each: bad when they can't be in what is left. */
size_t unpack_count(struct unpack *u, size_t min);

#endif
