#include "base/buf.h"

#include "base/mem.h"

#include <stdio.h>

void buf_init(struct buf *b, size_t max)
{
	*b = BUF_INIT(max);
}

void buf_fini(struct buf *b)
{
	free(b->data);
	*b = BUF_INIT(b->max);
}

void buf_clear(struct buf *b)
{
	b->len = 0;
	b->overflow = false;
	if (b->data)
		b->data[0] = '\0';
}

void *buf_reserve(struct buf *b, size_t len)
{
	if (len > b->max - MIN(b->len, b->max)) {
		b->overflow = true;
		return NULL;
	}
	if (b->cap - b->len < len + 1 || !b->data) {
		size_t cap = MAX(b->cap + b->cap / 2, b->len + len + 1);

		cap = MAX(cap, (size_t)64);
		b->data = mem_realloc(b->data, cap, 1);
		b->cap = cap;
	}
	/* Both for a caller that fills all of it and for one that fills nothing. */
	b->data[b->len] = '\0';
	b->data[b->len + len] = '\0';
	return b->data + b->len;
}

void buf_add(struct buf *b, const void *p, size_t len)
{
	void *to = buf_reserve(b, len);

	if (!to)
		return;
	if (len)
		memcpy(to, p, len);
	b->len += len;
	b->data[b->len] = '\0';
}

void buf_add_str(struct buf *b, struct str s)
{
	buf_add(b, s.ptr, s.len);
}

void buf_add_cstr(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void buf_add_char(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

void buf_vaddf(struct buf *b, const char *fmt, va_list ap)
{
	va_list again;
	char *to;
	int n;

	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n < 0)
		abort();
	to = buf_reserve(b, (size_t)n);
	if (!to)
		return;
	(void)vsnprintf(to, (size_t)n + 1, fmt, ap);
	b->len += (size_t)n;
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(b, fmt, ap);
	va_end(ap);
}

void buf_consume(struct buf *b, size_t n)
{
	n = MIN(n, b->len);
	if (!n)
		return;
	memmove(b->data, b->data + n, b->len - n + 1);
	b->len -= n;
}

char *buf_take(struct buf *b)
{
	char *p = b->data ? b->data : mem_strdup("");

	p[b->len] = '\0';
	*b = BUF_INIT(b->max);
	return p;
}

struct err *buf_check(const struct buf *b, const char *what)
{
	if (b->overflow)
		return err_new(ERR_RESOURCE_EXHAUSTED, "%s is larger than %zu bytes", what, b->max);
	return NULL;
}
