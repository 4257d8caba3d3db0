/* Growable array of any type. `VEC(struct foo) v = VEC_INIT;`; zero value is empty.
 * Owner frees with vec_fini; elements are the owner's business. */
#ifndef BASE_VEC_H
#define BASE_VEC_H

#include "base/mem.h"

#include <stdlib.h>

#define VEC(type)                                                                                  \
	struct {                                                                                   \
		type *items;                                                                       \
		size_t len, cap;                                                                   \
	}
#define VEC_INIT                                                                                   \
	{                                                                                          \
		NULL, 0, 0                                                                         \
	}

#define vec_push(v, item)                                                                          \
	do {                                                                                       \
		__typeof__(v) vec_ = (v);                                                          \
		if (vec_->len == vec_->cap) {                                                      \
			vec_->cap = vec_->cap ? vec_->cap * 2 : 8;                                 \
			vec_->items = mem_realloc(vec_->items, vec_->cap, sizeof(*vec_->items));   \
		}                                                                                  \
		vec_->items[vec_->len++] = (item);                                                 \
	} while (0)
#define vec_pop(v) ((v)->items[--(v)->len])
#define vec_clear(v) ((v)->len = 0)
#define vec_fini(v)                                                                                \
	do {                                                                                       \
		free((v)->items);                                                                  \
		(v)->items = NULL;                                                                 \
		(v)->len = (v)->cap = 0;                                                           \
	} while (0)
#define vec_each(v, it)                                                                            \
	for (__typeof__(*(v)->items) *it = (v)->items; it && it < (v)->items + (v)->len; it++)

#endif
