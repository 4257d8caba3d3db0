#include "base/arena.h"

#include "base/mem.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>

/* Many hold next to nothing: one an operation of a build. */
#define CHUNK_MIN ((size_t)448)
#define CHUNK_MAX ((size_t)64 * 1024)
#define ALIGN ((size_t)16)

struct arena_chunk {
	struct arena_chunk *next;
	size_t cap, len;
	alignas(16) char data[];
};

void arena_init(struct arena *a)
{
	*a = ARENA_INIT;
}

void arena_fini(struct arena *a)
{
	struct arena_chunk *c = a->head, *next;

	for (; c; c = next) {
		next = c->next;
		free(c);
	}
	*a = ARENA_INIT;
}

static struct arena_chunk *add_chunk(struct arena *a, size_t need)
{
	size_t cap = a->head ? MIN(a->head->cap * 2, CHUNK_MAX) : CHUNK_MIN;
	struct arena_chunk *c;

	if (need > cap / 2 && a->head) {
		/* A big piece gets a chunk of its own behind the current one,
		 * whose free space stays in use. */
		c = mem_alloc(sizeof(*c) + need);
		c->cap = c->len = need;
		c->next = a->head->next;
		a->head->next = c;
		return c;
	}
	cap = MAX(cap, need);
	c = mem_alloc(sizeof(*c) + cap);
	c->cap = cap;
	c->len = need;
	c->next = a->head;
	a->head = c;
	return c;
}

void *arena_alloc(struct arena *a, size_t size)
{
	size_t need = (MAX(size, (size_t)1) + ALIGN - 1) & ~(ALIGN - 1);
	struct arena_chunk *c = a->head;

	if (need < size)
		abort();
	a->used += need;
	if (c && c->cap - c->len >= need) {
		c->len += need;
		return c->data + c->len - need;
	}
	c = add_chunk(a, need);
	return c->data + c->len - need;
}

void *arena_calloc(struct arena *a, size_t n, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(n, size, &total))
		abort();
	return arena_alloc(a, total);
}

void *arena_dup(struct arena *a, const void *p, size_t len)
{
	void *q = arena_alloc(a, len);

	if (len)
		memcpy(q, p, len);
	return q;
}

char *arena_dup0(struct arena *a, const void *p, size_t len)
{
	char *q = arena_alloc(a, len + 1);

	if (len)
		memcpy(q, p, len);
	return q;
}

char *arena_strdup(struct arena *a, const char *s)
{
	return arena_dup0(a, s, strlen(s));
}

char *arena_vprintf(struct arena *a, const char *fmt, va_list ap)
{
	va_list again;
	char *s;
	int n;

	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n < 0)
		abort();
	s = arena_alloc(a, (size_t)n + 1);
	(void)vsnprintf(s, (size_t)n + 1, fmt, ap);
	return s;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	char *s;

	va_start(ap, fmt);
	s = arena_vprintf(a, fmt, ap);
	va_end(ap);
	return s;
}
