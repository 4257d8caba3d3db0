#include "solver/store_impl.h"

struct garbage_scan {
	struct store *s;
	struct store_garbage *g;
	struct kv_txn *txn;
	VEC(struct str) results;
	VEC(struct cache_key_id) keys;
	struct str last;
	bool found;
};

static bool found_one(void *arg, struct str key, struct str value)
{
	*(bool *)arg = true;
	return false;
}

static bool check_result(void *arg, struct str key, struct str value)
{
	struct garbage_scan *g = arg;
	const struct result_ops *ops = g->s->results;
	struct str id = str_sub(key, 0, key.len);
	ptrdiff_t nul = str_find(key, '\0');

	if (nul >= 0)
		id = str_sub(key, 0, (size_t)nul);
	if (str_eq(id, g->last))
		return true;
	g->last = str_dup(&g->g->arena, id);
	if (!ops->exists(ops->arg, id))
		vec_push(&g->results, g->last);
	return true;
}

static bool check_key(void *arg, struct str key, struct str value)
{
	struct garbage_scan *g = arg;
	struct str rest = key, k;
	struct cache_key_id id;
	bool found = false;

	if (!row_take_id(&rest, &id))
		return true;
	k = str_sub(key, 0, key.len - rest.len);
	if (str_eq(k, g->last))
		return true;
	g->last = str_dup(&g->g->arena, k);
	if (!g->txn) {
		found = keystore_has(g->s, RESULT, k) || keystore_has(g->s, LINKS, k);
	} else {
		err_free(kv_scan(g->txn, keystore_tables[RESULT], k, found_one, &found));
		if (!found)
			err_free(kv_scan(g->txn, keystore_tables[LINKS], k, found_one, &found));
	}
	if (!found)
		vec_push(&g->keys, id);
	return true;
}

static struct err *scan_garbage(struct kv_txn *t, void *arg)
{
	struct garbage_scan *g = arg;

	g->txn = t;
	TRY(kv_scan(t, keystore_tables[BYRESULT], STR_NONE, check_result, g));
	g->last = STR_NONE;
	return kv_scan(t, keystore_tables[BACKLINKS], STR_NONE, check_key, g);
}

static void scan_memory(struct garbage_scan *g)
{
	for (struct map_entry *e = map_next(&g->s->groups, NULL); e;
	     e = map_next(&g->s->groups, e)) {
		struct str prefix = str_sub(map_key(e), 1, e->key_len);
		const struct group *rows = e->value;

		if (!rows->rows.len)
			continue;
		if (e->key[0] == BYRESULT)
			(void)check_result(g, prefix, STR_NONE);
		else if (e->key[0] == BACKLINKS)
			(void)check_key(g, prefix, STR_NONE);
	}
}

struct err *keystore_find_garbage(struct store *s, struct store_garbage *ret)
{
	struct garbage_scan g = { .s = s, .g = ret };
	struct err *e = NULL;

	*ret = (struct store_garbage) { 0 };
	if (s->kv)
		e = kv_view(s->kv, scan_garbage, &g);
	else
		scan_memory(&g);
	if (!e) {
		ret->results = ARENA_NEW_N(&ret->arena, struct str, g.results.len + 1);
		vec_each (&g.results, r)
			ret->results[ret->n_results++] = *r;
		ret->keys = ARENA_NEW_N(&ret->arena, struct cache_key_id, g.keys.len + 1);
		vec_each (&g.keys, k)
			ret->keys[ret->n_keys++] = *k;
	} else {
		arena_fini(&ret->arena);
	}
	vec_fini(&g.results);
	vec_fini(&g.keys);
	return e;
}

void keystore_garbage_fini(struct store_garbage *g)
{
	arena_fini(&g->arena);
}
