#include "exec/native_plan.h"

#include <string.h>

void plan_put_num(struct buf *b, uint64_t v)
{
	buf_add(b, &v, sizeof(v));
}

void plan_put_str(struct buf *b, struct str s)
{
	plan_put_num(b, s.len);
	buf_add_str(b, s);
	buf_add_char(b, '\0');
}

enum plan_op plan_get_op(struct plan_reader *r)
{
	unsigned char op;

	if (r->bad || r->p == r->end) {
		r->bad = true;
		return PLAN_END;
	}
	op = (unsigned char)*r->p++;
	if (op > PLAN_EXEC)
		r->bad = true;
	return r->bad ? PLAN_END : (enum plan_op)op;
}

uint64_t plan_get_num(struct plan_reader *r)
{
	uint64_t v;

	if (r->bad || (size_t)(r->end - r->p) < sizeof(v)) {
		r->bad = true;
		return 0;
	}
	memcpy(&v, r->p, sizeof(v));
	r->p += sizeof(v);
	return v;
}

struct str plan_get_str(struct plan_reader *r)
{
	uint64_t n = plan_get_num(r);
	struct str s;

	if (r->bad || n >= (size_t)(r->end - r->p) || r->p[n]) {
		r->bad = true;
		return STR("");
	}
	s = str_make(r->p, (size_t)n);
	r->p += n + 1;
	return s;
}
