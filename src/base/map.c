#include "base/map.h"

#include "base/mem.h"

/* Open addressing over indexes into a dense entry array: small, ordered, and
 * quick to walk. A slot holds entry number + 1; 0 is free, and a removed entry
 * keeps its slot until the next rebuild. */

void map_init(struct map *m)
{
	*m = MAP_INIT;
}

void map_fini(struct map *m, void (*free_value)(void *))
{
	for (size_t i = 0; i < m->n_entries; i++) {
		struct map_entry *e = &m->entries[i];

		if (!e->key)
			continue;
		if (free_value)
			free_value(e->value);
		free(e->key);
	}
	free(m->entries);
	free(m->index);
	*m = MAP_INIT;
}

static struct map_entry *lookup(const struct map *m, struct str key, uint64_t hash)
{
	size_t mask = m->index_cap - 1;

	if (!m->index_cap)
		return NULL;
	for (size_t i = hash & mask; m->index[i]; i = (i + 1) & mask) {
		struct map_entry *e = &m->entries[m->index[i] - 1];

		if (e->key && e->hash == hash && str_eq(map_key(e), key))
			return e;
	}
	return NULL;
}

void *map_get(const struct map *m, struct str key)
{
	struct map_entry *e = lookup(m, key, str_hash(key));

	return e ? e->value : NULL;
}

bool map_has(const struct map *m, struct str key)
{
	return lookup(m, key, str_hash(key)) != NULL;
}

static void link_entry(struct map *m, size_t n)
{
	size_t mask = m->index_cap - 1, i = m->entries[n].hash & mask;

	while (m->index[i])
		i = (i + 1) & mask;
	m->index[i] = (uint32_t)n + 1;
}

static void rebuild(struct map *m)
{
	size_t n = 0, cap = 16;

	for (size_t i = 0; i < m->n_entries; i++)
		if (m->entries[i].key)
			m->entries[n++] = m->entries[i];
	m->n_entries = n;
	/* A quarter stays free, lest a map near its capacity be rebuilt for every addition. */
	while (cap < (n + n / 4 + 1) * 2)
		cap *= 2;
	if (cap / 2 > UINT32_MAX - 1)
		abort();
	free(m->index);
	m->index = mem_calloc(cap, sizeof(*m->index));
	m->index_cap = cap;
	m->cap_entries = cap / 2;
	m->entries = mem_realloc(m->entries, m->cap_entries, sizeof(*m->entries));
	for (size_t i = 0; i < n; i++)
		link_entry(m, i);
}

void *map_put(struct map *m, struct str key, void *value)
{
	uint64_t hash = str_hash(key);
	struct map_entry *e = lookup(m, key, hash);
	void *old = NULL;

	if (e) {
		old = e->value;
		e->value = value;
		return old;
	}
	if (m->n_entries == m->cap_entries)
		rebuild(m);
	m->entries[m->n_entries] = (struct map_entry) {
		.key = mem_strndup(key.ptr, key.len),
		.key_len = key.len,
		.hash = hash,
		.value = value,
	};
	link_entry(m, m->n_entries++);
	m->n_live++;
	return old;
}

void *map_del(struct map *m, struct str key)
{
	struct map_entry *e = lookup(m, key, str_hash(key));
	void *old;

	if (!e)
		return NULL;
	old = e->value;
	free(e->key);
	e->key = NULL;
	e->value = NULL;
	m->n_live--;
	return old;
}

struct map_entry *map_next(const struct map *m, struct map_entry *prev)
{
	struct map_entry *e = prev ? prev + 1 : m->entries;

	for (; e && e < m->entries + m->n_entries; e++)
		if (e->key)
			return e;
	return NULL;
}

static int by_key(const void *a, const void *b)
{
	return str_cmp(map_key(*(struct map_entry *const *)a),
		       map_key(*(struct map_entry *const *)b));
}

struct map_entry **map_sorted(const struct map *m, struct arena *a)
{
	struct map_entry **out = ARENA_NEW_N(a, struct map_entry *, m->n_live + 1);
	size_t n = 0;

	for (struct map_entry *e = map_next(m, NULL); e; e = map_next(m, e))
		out[n++] = e;
	if (n)
		qsort(out, n, sizeof(*out), by_key);
	return out;
}
