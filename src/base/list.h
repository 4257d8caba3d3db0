/* Intrusive doubly linked list. A head is a node that points at itself. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include "base/mem.h"

#include <stdbool.h>

struct list {
	struct list *prev, *next;
};

#define LIST_HEAD_INIT(h)                                                                          \
	{                                                                                          \
		&(h), &(h)                                                                         \
	}

static inline void list_init(struct list *h)
{
	h->prev = h->next = h;
}

static inline bool list_empty(const struct list *h)
{
	return h->next == h;
}

static inline void list_add_tail(struct list *h, struct list *n)
{
	n->prev = h->prev;
	n->next = h;
	h->prev->next = n;
	h->prev = n;
}

static inline void list_add_head(struct list *h, struct list *n)
{
	list_add_tail(h->next, n);
}

/* Leaves n as an empty list, so a second removal is harmless. */
static inline void list_del(struct list *n)
{
	n->prev->next = n->next;
	n->next->prev = n->prev;
	list_init(n);
}

static inline struct list *list_pop(struct list *h)
{
	struct list *n = h->next;

	if (n == h)
		return NULL;
	list_del(n);
	return n;
}

#define list_entry(node, type, member) container_of(node, type, member)
#define list_each(h, node) for (struct list *node = (h)->next; node != (h); node = node->next)
/* The current node may be removed in the body. */
#define list_each_safe(h, node)                                                                    \
	for (struct list *node = (h)->next, *node##_n = node->next; node != (h);                   \
	     node = node##_n, node##_n = node->next)

#endif
