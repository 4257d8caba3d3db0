#include "kv/pack.h"

void pack_uint(struct buf *b, uint64_t v)
{
	unsigned char out[10];
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		out[n++] = (unsigned char)(v | 0x80);
	out[n++] = (unsigned char)v;
	buf_add(b, out, n);
}

void pack_int(struct buf *b, int64_t v)
{
	pack_uint(b, ((uint64_t)v << 1) ^ (uint64_t)(v >> 63));
}

void pack_str(struct buf *b, struct str s)
{
	pack_uint(b, s.len);
	buf_add_str(b, s);
}

void pack_digest(struct buf *b, const struct digest *d)
{
	buf_add_char(b, (char)d->algo);
	buf_add(b, d->bytes, digest_size((enum digest_algo)d->algo));
}

uint64_t unpack_uint(struct unpack *u)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64 && !u->bad; shift += 7) {
		unsigned char c;

		if (u->at == u->end)
			break;
		c = (unsigned char)*u->at++;
		v |= (uint64_t)(c & 0x7f) << shift;
		if (!(c & 0x80))
			return v;
	}
	u->bad = true;
	return 0;
}

int64_t unpack_int(struct unpack *u)
{
	uint64_t v = unpack_uint(u);

	return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

struct str unpack_str(struct unpack *u)
{
	uint64_t n = unpack_uint(u);
	struct str s = STR_NONE;

	if (n > unpack_left(u)) {
		u->bad = true;
		return s;
	}
	if (u->bad)
		return s;
	s = str_make(u->at, (size_t)n);
	u->at += n;
	return s;
}

struct digest unpack_digest(struct unpack *u)
{
	struct digest d = { 0 };
	unsigned char algo;
	size_t n;

	if (!unpack_left(u)) {
		u->bad = true;
		return d;
	}
	algo = (unsigned char)*u->at++;
	n = algo <= DIGEST_RANDOM ? digest_size((enum digest_algo)algo) : SIZE_MAX;
	if (n > unpack_left(u)) {
		u->bad = true;
		return d;
	}
	d.algo = algo;
	if (n)
		memcpy(d.bytes, u->at, n);
	u->at += n;
	return d;
}

size_t unpack_count(struct unpack *u, size_t min)
{
	uint64_t n = unpack_uint(u);

	if (n > unpack_left(u) / min) {
		u->bad = true;
		return 0;
	}
	return (size_t)n;
}
