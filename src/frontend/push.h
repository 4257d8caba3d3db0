/* Growable arrays in an arena: {items, n, cap} as three members of something. What an array leaves
 * behind when it grows stays in the arena, so sizes double. */
#ifndef FRONTEND_PUSH_H
#define FRONTEND_PUSH_H

#include "base/arena.h"

/* Room for one more element. */
#define ARENA_GROW(a, items, n, cap)                                                               \
	do {                                                                                       \
		if ((n) == (cap)) {                                                                \
			void *old_ = (items);                                                      \
			(cap) = (cap) ? (cap)*2 : 8;                                               \
			(items) = arena_calloc((a), (cap), sizeof(*(items)));                      \
			if (n)                                                                     \
				memcpy((items), old_, (n) * sizeof(*(items)));                     \
		}                                                                                  \
	} while (0)

#define ARENA_PUSH(a, items, n, cap, item)                                                         \
	do {                                                                                       \
		ARENA_GROW((a), (items), (n), (cap));                                              \
		(items)[(n)++] = (item);                                                           \
	} while (0)

#endif
