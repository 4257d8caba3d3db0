#include "solver/progress_log.h"

void wire_varint(struct buf *out, uint64_t v)
{
	char b[10];
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		b[n++] = (char)(v | 0x80);
	b[n++] = (char)v;
	buf_add(out, b, n);
}

void wire_bytes(struct buf *out, int field, struct str s)
{
	wire_varint(out, (uint64_t)field << 3 | 2);
	wire_varint(out, s.len);
	buf_add_str(out, s);
}

void wire_int(struct buf *out, int field, int64_t v)
{
	if (!v)
		return;
	wire_varint(out, (uint64_t)field << 3);
	wire_varint(out, (uint64_t)v);
}

void wire_time(struct buf *out, int field, int64_t wall_ns)
{
	SCOPED_BUF(b, 32);

	if (!wall_ns)
		return;
	wire_int(&b, 1, wall_ns / NSEC_PER_SEC);
	wire_int(&b, 2, wall_ns % NSEC_PER_SEC);
	wire_bytes(out, field, buf_str(&b));
}
