/* The store in memory: sorted arrays under one reader-writer lock. For tests, and for what
 * needs no disk. */
#include "kv/kv_impl.h"

#include "base/map.h"
#include "base/vec.h"

#include <pthread.h>

struct entry {
	struct str key, value; /* heap */
};

struct table {
	VEC(struct entry) rows;
};

struct undo {
	struct table *table;
	struct str key; /* heap */
	bool had;
	struct str value; /* heap; the value before, if had */
};

struct kv_mem {
	struct kv base;
	pthread_rwlock_t lock; /* fn runs under it, so it is no ranked lock */
	struct map tables;
};

struct mem_txn {
	struct kv_txn base;
	VEC(struct undo) undo;
};

static struct kv_mem *of_txn(struct kv_txn *t)
{
	return container_of(t->kv, struct kv_mem, base);
}

static struct str heap_str(struct str s)
{
	return str_make(mem_dup(s.ptr, s.len), s.len);
}

static void drop_str(struct str s)
{
	free((void *)s.ptr);
}

/* The first row whose key is not below key. */
static size_t lower_bound(const struct table *t, struct str key)
{
	size_t from = 0, to = t->rows.len;

	while (from < to) {
		size_t mid = from + (to - from) / 2;

		if (str_cmp(t->rows.items[mid].key, key) < 0)
			from = mid + 1;
		else
			to = mid;
	}
	return from;
}

static struct entry *find(struct table *t, struct str key)
{
	size_t i = lower_bound(t, key);

	return i < t->rows.len && str_eq(t->rows.items[i].key, key) ? &t->rows.items[i] : NULL;
}

static struct err *mem_get(struct kv_txn *t, const char *table, struct str key, struct str *ret,
			   bool *ret_found)
{
	struct table *tab = map_get(&of_txn(t)->tables, str_from(table));
	struct entry *e = tab ? find(tab, key) : NULL;

	if (e)
		*ret = e->value;
	*ret_found = e;
	return NULL;
}

static void insert(struct table *tab, struct entry e)
{
	size_t i = lower_bound(tab, e.key);

	vec_push(&tab->rows, e);
	memmove(&tab->rows.items[i + 1], &tab->rows.items[i], (tab->rows.len - 1 - i) * sizeof(e));
	tab->rows.items[i] = e;
}

static void erase(struct table *tab, struct entry *e)
{
	drop_str(e->key);
	drop_str(e->value);
	memmove(e, e + 1, (size_t)(tab->rows.items + tab->rows.len - (e + 1)) * sizeof(*e));
	tab->rows.len--;
}

static struct err *mem_put(struct kv_txn *t, const char *table, struct str key, struct str value)
{
	struct kv_mem *m = of_txn(t);
	struct mem_txn *mt = container_of(t, struct mem_txn, base);
	struct table *tab = map_get(&m->tables, str_from(table));
	struct entry *e;

	if (!tab) {
		tab = NEW(struct table);
		(void)map_put(&m->tables, str_from(table), tab);
	}
	e = find(tab, key);
	vec_push(&mt->undo, ((struct undo) { .table = tab,
					     .key = heap_str(key),
					     .had = e,
					     .value = e ? e->value : STR_NONE }));
	if (e)
		e->value = heap_str(value);
	else
		insert(tab, (struct entry) { heap_str(key), heap_str(value) });
	return NULL;
}

static struct err *mem_del(struct kv_txn *t, const char *table, struct str key)
{
	struct mem_txn *mt = container_of(t, struct mem_txn, base);
	struct table *tab = map_get(&of_txn(t)->tables, str_from(table));
	struct entry *e = tab ? find(tab, key) : NULL;

	if (!e)
		return NULL;
	vec_push(&mt->undo, ((struct undo) { .table = tab,
					     .key = heap_str(key),
					     .had = true,
					     .value = heap_str(e->value) }));
	erase(tab, e);
	return NULL;
}

static struct err *mem_scan(struct kv_txn *t, const char *table, struct str prefix,
			    bool (*each)(void *arg, struct str key, struct str value), void *arg)
{
	struct table *tab = map_get(&of_txn(t)->tables, str_from(table));

	if (!tab)
		return NULL;
	for (size_t i = lower_bound(tab, prefix); i < tab->rows.len; i++) {
		struct entry *e = &tab->rows.items[i];

		if (!str_has_prefix(e->key, prefix) || !each(arg, e->key, e->value))
			break;
	}
	return NULL;
}

static struct err *mem_view(struct kv *kv, kv_fn fn, void *arg)
{
	struct kv_mem *m = container_of(kv, struct kv_mem, base);
	struct kv_txn t = { .kv = kv };
	struct err *e;

	(void)pthread_rwlock_rdlock(&m->lock);
	e = fn(&t, arg);
	(void)pthread_rwlock_unlock(&m->lock);
	return e;
}

static void take_back(struct undo *u)
{
	struct entry *e = find(u->table, u->key);

	if (e)
		erase(u->table, e);
	if (u->had)
		insert(u->table, (struct entry) { heap_str(u->key), heap_str(u->value) });
}

static struct err *mem_update(struct kv *kv, enum kv_mode mode, kv_fn fn, void *arg)
{
	struct kv_mem *m = container_of(kv, struct kv_mem, base);
	struct mem_txn t = { .base = { .kv = kv, .writable = true } };
	struct err *e;

	(void)mode;
	(void)pthread_rwlock_wrlock(&m->lock);
	e = fn(&t.base, arg);
	for (size_t i = t.undo.len; i-- > 0;) {
		struct undo *u = &t.undo.items[i];

		if (e)
			take_back(u);
		drop_str(u->key);
		drop_str(u->value);
	}
	vec_fini(&t.undo);
	(void)pthread_rwlock_unlock(&m->lock);
	return e;
}

static struct err *mem_sync(struct kv *kv)
{
	(void)kv;
	return NULL;
}

static void free_table(void *p)
{
	struct table *tab = p;

	vec_each (&tab->rows, e) {
		drop_str(e->key);
		drop_str(e->value);
	}
	vec_fini(&tab->rows);
	free(tab);
}

static struct err *mem_close(struct kv *kv)
{
	struct kv_mem *m = container_of(kv, struct kv_mem, base);

	map_fini(&m->tables, free_table);
	(void)pthread_rwlock_destroy(&m->lock);
	free(m);
	return NULL;
}

static const struct kv_ops mem_ops = {
	.view = mem_view,
	.update = mem_update,
	.sync = mem_sync,
	.close = mem_close,
	.get = mem_get,
	.put = mem_put,
	.del = mem_del,
	.scan = mem_scan,
};

struct kv *kv_open_mem(void)
{
	struct kv_mem *m = NEW(struct kv_mem);

	m->base.ops = &mem_ops;
	(void)pthread_rwlock_init(&m->lock, NULL);
	map_init(&m->tables);
	return &m->base;
}
