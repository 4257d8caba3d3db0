/* Region allocator: memory with the life of its owner (a request, a job, a vertex
 * state), freed as one. Embedded in the owner; not thread-safe: one thread at a
 * time. Pointers into an arena never enter reference-counted objects.
 * Memory is zeroed and aligned to 16 bytes. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/cleanup.h"
#include "base/str.h"

#include <stdarg.h>

struct arena_chunk;

struct arena {
	struct arena_chunk *head;
	size_t used; /* bytes handed out, for limits and accounting */
};

#define ARENA_INIT ((struct arena) { 0 })

void arena_init(struct arena *a);
void arena_fini(struct arena *a);
void *arena_alloc(struct arena *a, size_t size) __attribute__((returns_nonnull));
void *arena_calloc(struct arena *a, size_t n, size_t size) __attribute__((returns_nonnull));
void *arena_dup(struct arena *a, const void *p, size_t len) __attribute__((returns_nonnull));
/* As arena_dup with a NUL after the last byte. */
char *arena_dup0(struct arena *a, const void *p, size_t len) __attribute__((returns_nonnull));
char *arena_strdup(struct arena *a, const char *s) __attribute__((returns_nonnull));
char *arena_printf(struct arena *a, const char *fmt, ...)
	__attribute__((returns_nonnull, format(printf, 2, 3)));
char *arena_vprintf(struct arena *a, const char *fmt, va_list ap)
	__attribute__((returns_nonnull, format(printf, 2, 0)));

#define ARENA_NEW(a, type) ((type *)arena_alloc((a), sizeof(type)))
#define ARENA_NEW_N(a, type, n) ((type *)arena_calloc((a), (n), sizeof(type)))
/* `SCOPED_ARENA(a);` is an arena freed at the end of the scope. */
#define SCOPED_ARENA(name) CLEANUP(arena_fini) struct arena name = ARENA_INIT

#endif
