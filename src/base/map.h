/* Hash table from byte strings to pointers; keys are copied, values are the
 * owner's. Not thread-safe. Iteration order is insertion order as long as nothing
 * was removed; map_sorted() gives key order. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "base/arena.h"
#include "base/str.h"

struct map_entry {
	char *key; /* NUL-terminated; NULL marks a removed entry */
	size_t key_len;
	uint64_t hash;
	void *value;
};

struct map {
	struct map_entry *entries;
	uint32_t *index;
	size_t n_entries, cap_entries, n_live, index_cap;
};

#define MAP_INIT ((struct map) { 0 })

void map_init(struct map *m);
/* Frees keys and table; each live value goes to free_value if given. */
void map_fini(struct map *m, void (*free_value)(void *));
/* The value, or NULL. */
void *map_get(const struct map *m, struct str key);
bool map_has(const struct map *m, struct str key);
/* Puts or replaces; the old value or NULL. */
void *map_put(struct map *m, struct str key, void *value);
/* Removes; the old value or NULL. */
void *map_del(struct map *m, struct str key);
static inline size_t map_len(const struct map *m)
{
	return m->n_live;
}
/* Iterates live entries: `for (e = map_next(m, NULL); e; e = map_next(m, e))`.
 * Removing the current entry while iterating is allowed, adding is not. */
struct map_entry *map_next(const struct map *m, struct map_entry *prev);
/* Live entries in key order; n is map_len(). Valid until the map changes. */
struct map_entry **map_sorted(const struct map *m, struct arena *a);
static inline struct str map_key(const struct map_entry *e)
{
	return str_make(e->key, e->key_len);
}

#endif
