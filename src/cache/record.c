#include "cache/cache_impl.h"

#include "base/mem.h"

#include <assert.h>

struct record *record_new(struct cache *c, const struct cache_opts *o)
{
	struct record *r = NEW(struct record);

	r->cache = c;
	r->handle.rec = r;
	id_make(r->id);
	list_init(&r->dirty_link);
	r->size = -1;
	r->description = str_heap(o ? o->description : STR_NONE);
	r->type = mem_strdup(o && o->type && *o->type ? o->type : CACHE_TYPE_REGULAR);
	r->retain = o && o->retain;
	r->created_ns = o && o->created_ns ? o->created_ns : clock_wall();
	return r;
}

/* ---- blobs ---- */

struct variant *variant_new(const struct oci_descriptor *desc, const struct digest *diff_id,
			    int64_t epoch_s)
{
	struct variant *v = NEW(struct variant);

	oci_descriptor_dup(&v->arena, desc, &v->desc);
	v->diff_id = *diff_id;
	v->epoch_s = epoch_s;
	return v;
}

void variant_free(struct variant *v)
{
	arena_fini(&v->arena);
	free(v);
}

static struct str digest_key(const struct digest *d)
{
	return str_make(d, digest_size((enum digest_algo)d->algo) + 1);
}

static void count_blob_locked(struct cache *c, const struct digest *d, intptr_t change)
{
	struct str key = digest_key(d);
	intptr_t n = (intptr_t)map_get(&c->blobs, key) + change;

	if (n)
		(void)map_put(&c->blobs, key, (void *)n);
	else
		(void)map_del(&c->blobs, key);
}

void record_add_variant_locked(struct record *r, struct variant *v)
{
	lock_assert_held(&r->cache->lock);
	vec_each (&r->variants, it) {
		if (digest_eq(&(*it)->desc.digest, &v->desc.digest) &&
		    (*it)->epoch_s == v->epoch_s) {
			variant_free(v);
			return;
		}
	}
	vec_push(&r->variants, v);
	if (!r->removed)
		count_blob_locked(r->cache, &v->desc.digest, 1);
	r->size = -1;
}

void record_retire_variant_locked(struct record *r, const struct variant *v)
{
	lock_assert_held(&r->cache->lock);
	for (size_t i = 0; i < r->variants.len; i++) {
		if (r->variants.items[i] != v)
			continue;
		count_blob_locked(r->cache, &v->desc.digest, -1);
		vec_push(&r->retired, r->variants.items[i]);
		r->variants.len--;
		memmove(&r->variants.items[i], &r->variants.items[i + 1],
			(r->variants.len - i) * sizeof(v));
		r->size = -1;
		return;
	}
}

/* ---- look-up by chain id and by metadata index ---- */

static void chain_add_locked(struct record *r)
{
	struct str key = digest_key(&r->chain_id);
	struct record_list *e;

	if (!digest_is_set(&r->chain_id))
		return;
	e = map_get(&r->cache->chains, key);
	if (!e) {
		e = NEW(struct record_list);
		(void)map_put(&r->cache->chains, key, e);
	}
	vec_push(&e->records, r);
}

static void chain_remove_locked(struct record *r)
{
	struct str key = digest_key(&r->chain_id);
	struct record_list *e = map_get(&r->cache->chains, key);

	for (size_t i = 0; e && i < e->records.len; i++) {
		if (e->records.items[i] != r)
			continue;
		e->records.items[i] = vec_pop(&e->records);
		break;
	}
	if (e && !e->records.len) {
		(void)map_del(&r->cache->chains, key);
		vec_fini(&e->records);
		free(e);
	}
}

void record_set_chain_locked(struct record *r, const struct digest *diff_id,
			     const struct digest *chain_id)
{
	lock_assert_held(&r->cache->lock);
	if (digest_is_set(&r->chain_id) && !r->removed)
		chain_remove_locked(r);
	r->diff_id = *diff_id;
	r->chain_id = *chain_id;
	if (!r->removed)
		chain_add_locked(r);
}

static void index_add_locked(struct record *r, const char *index)
{
	struct record_list *e = map_get(&r->cache->indexes, str_from(index));

	if (!e) {
		e = NEW(struct record_list);
		(void)map_put(&r->cache->indexes, str_from(index), e);
	}
	vec_push(&e->records, r);
}

static void index_remove_locked(struct record *r, const char *index)
{
	struct record_list *e = map_get(&r->cache->indexes, str_from(index));

	for (size_t i = 0; e && i < e->records.len; i++) {
		if (e->records.items[i] != r)
			continue;
		/* Searches answer in the order of entry. */
		e->records.len--;
		memmove(&e->records.items[i], &e->records.items[i + 1],
			(e->records.len - i) * sizeof(r));
		break;
	}
	if (e && !e->records.len) {
		(void)map_del(&r->cache->indexes, str_from(index));
		vec_fini(&e->records);
		free(e);
	}
}

struct meta *record_get_meta(struct record *r, const char *key)
{
	vec_each (&r->metas, m) {
		if (strcmp(m->key, key) == 0)
			return m;
	}
	return NULL;
}

static void meta_fini(struct meta *m)
{
	free(m->key);
	free(m->value);
	free(m->index);
}

void record_set_meta_locked(struct record *r, const char *key, struct str value, struct str index)
{
	struct meta *m = record_get_meta(r, key);

	if (m && m->index && !r->removed)
		index_remove_locked(r, m->index);
	if (m && !value.len && !index.len) {
		meta_fini(m);
		*m = vec_pop(&r->metas);
		return;
	}
	if (!value.len && !index.len)
		return;
	if (m) {
		free(m->value);
		free(m->index);
	} else {
		vec_push(&r->metas, ((struct meta) { .key = mem_strdup(key) }));
		m = &r->metas.items[r->metas.len - 1];
	}
	m->value = str_heap(value);
	m->len = value.len;
	m->index = index.len ? str_heap(index) : NULL;
	if (m->index && !r->removed)
		index_add_locked(r, m->index);
}

/* Ids, in arena, in the order in which they were entered. */
static void list_ids(struct record_list *e, struct arena *a, struct str **ret, size_t *ret_n)
{
	size_t n = e ? e->records.len : 0;
	struct str *ids = ARENA_NEW_N(a, struct str, n);

	for (size_t i = 0; i < n; i++)
		ids[i] = str_dup(a, str_from(e->records.items[i]->id));
	*ret = ids;
	*ret_n = n;
}

/* ---- the metadata calls ---- */

static struct err *not_found(struct str id)
{
	return err_new(ERR_NOT_FOUND, "%.*s: not found", STR_ARG(id));
}

struct err *cache_meta_set(struct cache *c, struct str id, const char *key, struct str value,
			   struct str index)
{
	struct record *r;

	if (value.len > LIMIT_META_VALUE || index.len > LIMIT_META_VALUE)
		return err_new(ERR_RESOURCE_EXHAUSTED, "metadata %s of %.*s is too large", key,
			       STR_ARG(id));
	LOCKED(&c->lock);
	r = record_find_locked(c, id);
	if (!r)
		return not_found(id);
	record_set_meta_locked(r, key, value, index);
	cache_mark_dirty_locked(r);
	return NULL;
}

struct err *cache_meta_get(struct cache *c, struct str id, const char *key, struct arena *a,
			   struct str *ret, bool *ret_found)
{
	struct record *r;
	struct meta *m;

	LOCKED(&c->lock);
	r = record_find_locked(c, id);
	if (!r)
		return not_found(id);
	m = record_get_meta(r, key);
	if (m)
		*ret = str_dup(a, str_make(m->value, m->len));
	*ret_found = m;
	return NULL;
}

struct err *cache_meta_search(struct cache *c, struct str index, struct arena *a, struct str **ret,
			      size_t *ret_n)
{
	LOCKED(&c->lock);
	list_ids(map_get(&c->indexes, index), a, ret, ret_n);
	return NULL;
}

/* ---- in and out of the map ---- */

struct record *record_find_locked(struct cache *c, struct str id)
{
	lock_assert_held(&c->lock);
	return map_get(&c->records, id);
}

void record_link_locked(struct record *r, struct record *const *parents, size_t n_parents)
{
	lock_assert_held(&r->cache->lock);
	r->parents = mem_calloc(n_parents, sizeof(struct record *));
	r->n_parents = n_parents;
	for (size_t i = 0; i < n_parents; i++) {
		r->parents[i] = parents[i];
		if (parents[i])
			parents[i]->n_children++;
	}
	(void)map_put(&r->cache->records, str_from(r->id), r);
	chain_add_locked(r);
	vec_each (&r->variants, v)
		count_blob_locked(r->cache, &(*v)->desc.digest, 1);
	vec_each (&r->metas, m) {
		if (m->index)
			index_add_locked(r, m->index);
	}
}

void record_unlink_locked(struct record *r)
{
	lock_assert_held(&r->cache->lock);
	assert(!r->removed && !r->n_children && !r->n_holds);
	(void)map_del(&r->cache->records, str_from(r->id));
	if (digest_is_set(&r->chain_id))
		chain_remove_locked(r);
	vec_each (&r->variants, v)
		count_blob_locked(r->cache, &(*v)->desc.digest, -1);
	vec_each (&r->metas, m) {
		if (m->index)
			index_remove_locked(r, m->index);
	}
	for (size_t i = 0; i < r->n_parents; i++)
		if (r->parents[i])
			r->parents[i]->n_children--;
	if (r->view_of)
		r->view_of->view = NULL;
	if (r->view)
		r->view->view_of = NULL;
	cache_mark_deleted_locked(r);
	r->removed = true;
}

void record_free(struct record *r)
{
	if (!r)
		return;
	assert(list_empty(&r->dirty_link));
	vec_each (&r->variants, v)
		variant_free(*v);
	vec_fini(&r->variants);
	vec_each (&r->retired, v)
		variant_free(*v);
	vec_fini(&r->retired);
	vec_each (&r->metas, m)
		meta_fini(m);
	vec_fini(&r->metas);
	vec_each (&r->fetchers, f)
		f->unref(f->arg);
	vec_fini(&r->fetchers);
	hashtree_free(r->tree);
	free(r->parents);
	free(r->description);
	free(r->type);
	free(r);
}

/* ---- holding ---- */

struct record_stack {
	struct record **items;
	size_t len, cap;
};

static void push_parents(struct record_stack *s, const struct record *r)
{
	for (size_t i = 0; i < r->n_parents; i++)
		if (r->parents[i])
			vec_push(s, r->parents[i]);
}

void record_hold_locked(struct record *r)
{
	struct record_stack todo = { 0 };

	lock_assert_held(&r->cache->lock);
	assert(!r->removed);
	if (r->n_holds++)
		return;
	push_parents(&todo, r);
	while (todo.len) {
		struct record *p = vec_pop(&todo);

		if (!p->n_holds++)
			push_parents(&todo, p);
	}
	vec_fini(&todo);
}

void record_unhold_locked(struct record *r, struct record_drops *drops)
{
	struct record_stack todo = { 0 };

	lock_assert_held(&r->cache->lock);
	vec_push(&todo, r);
	while (todo.len) {
		struct record *p = vec_pop(&todo);

		assert(p->n_holds > 0);
		if (--p->n_holds)
			continue;
		vec_each (&p->fetchers, f)
			vec_push(&drops->fetchers, *f);
		vec_fini(&p->fetchers);
		if (p->tree)
			cache_put_tree_locked(p, drops);
		push_parents(&todo, p);
	}
	vec_fini(&todo);
}

void record_drops_fini(struct record_drops *d)
{
	vec_each (&d->fetchers, f)
		f->unref(f->arg);
	vec_fini(&d->fetchers);
	vec_each (&d->trees, t)
		hashtree_free(*t);
	vec_fini(&d->trees);
}

void record_hold(struct record *r)
{
	LOCKED(&r->cache->lock);
	record_hold_locked(r);
}

void record_unhold(struct record *r)
{
	struct record_drops drops = { 0 };

	lock_take(&r->cache->lock);
	record_unhold_locked(r, &drops);
	lock_drop(&r->cache->lock);
	record_drops_fini(&drops);
}

/* ---- facts ---- */

bool record_is_lazy(const struct record *r)
{
	return !r->has_snapshot && !r->view_of;
}

struct str record_snapshot_locked(const struct record *r, struct arena *a)
{
	return str_dup(a, str_from(r->has_snapshot || !r->view_of ? r->id : r->view_of->id));
}
