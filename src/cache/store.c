/* Writing records: table "cache", id -> packed record. In the background, many at a time. */
#include "cache/cache_impl.h"

#include "base/buf.h"
#include "base/mem.h"
#include "cache/hashtree.h"
#include "kv/kv.h"

#include <assert.h>

#define STORED_TREE_MAX ((size_t)4 << 30)
#define FLUSH_DELAY_NS (200 * NSEC_PER_MSEC)

static struct err *flush_later(struct ctx *ctx, void *arg)
{
	struct cache *c = arg;

	err_free(ctx_sleep(ctx, FLUSH_DELAY_NS));
	/* A failure leaves all of it to the next one. */
	err_free(cache_flush_now(c, false));
	lock_take(&c->lock);
	c->flush_planned = false;
	cond_broadcast(&c->flushed);
	lock_drop(&c->lock);
	return NULL;
}

static void plan_flush_locked(struct cache *c)
{
	if (c->flush_planned || !ctx_pool(c->ctx) || ctx_done(c->ctx))
		return;
	c->flush_planned = true;
	task_go(c->ctx, "cache flush", flush_later, c);
}

static bool is_kept(const struct record *r)
{
	return !r->is_mutable || r->retain;
}

void cache_mark_dirty_locked(struct record *r)
{
	lock_assert_held(&r->cache->lock);
	if (r->removed || r->dirty || !is_kept(r))
		return;
	r->dirty = r->stored = true;
	list_add_tail(&r->cache->dirty, &r->dirty_link);
	plan_flush_locked(r->cache);
}

void cache_drop_hash_locked(struct record *r)
{
	if (!r->hash_key[0])
		return;
	/* A view and its mutable record may have one tree in common. */
	if (!(r->view && strcmp(r->view->hash_key, r->hash_key) == 0) &&
	    !(r->view_of && strcmp(r->view_of->hash_key, r->hash_key) == 0)) {
		hashtree_free(hashtree_take_unstored_locked(r->cache, r->hash_key));
		vec_push(&r->cache->deleted_hash, mem_strdup(r->hash_key));
		plan_flush_locked(r->cache);
	}
	r->hash_key[0] = '\0';
	assert(!r->hashing);
	hashtree_free(TAKE_PTR(r->tree));
}

void cache_put_tree_locked(struct record *r, struct record_drops *drops)
{
	struct hashtree *t = TAKE_PTR(r->tree);

	if (t->changed && strcmp(t->key, r->hash_key) == 0) {
		list_add_tail(&r->cache->unstored, &t->unstored);
		plan_flush_locked(r->cache);
	} else {
		vec_push(&drops->trees, t);
	}
}

void cache_free_unstored(struct cache *c)
{
	struct list *n;

	while ((n = list_pop(&c->unstored)))
		hashtree_free(list_entry(n, struct hashtree, unstored));
}

void cache_mark_deleted_locked(struct record *r)
{
	lock_assert_held(&r->cache->lock);
	list_del(&r->dirty_link);
	r->dirty = false;
	cache_drop_hash_locked(r);
	if (!r->stored)
		return;
	vec_push(&r->cache->deleted, mem_strdup(r->id));
	plan_flush_locked(r->cache);
}

struct put {
	struct str id, value;
};

struct strs {
	char **items;
	size_t len, cap;
};

struct flush {
	VEC(struct put) puts;
	struct strs deleted, deleted_hash;
	struct arena arena;
	VEC(struct str) keys;
	struct list trees;
	VEC(struct buf) packed; /* of the trees, in order */
};

static bool collect_key(void *arg, struct str key, struct str value)
{
	struct flush *f = arg;

	vec_push(&f->keys, str_dup(&f->arena, key));
	return true;
}

static struct err *delete_prefix(struct kv_txn *t, struct flush *f, struct str prefix)
{
	vec_clear(&f->keys);
	TRY(kv_scan(t, TABLE_HASHES, prefix, collect_key, f));
	vec_each (&f->keys, k)
		TRY(kv_del(t, TABLE_HASHES, *k));
	return NULL;
}

static struct err *write_all(struct kv_txn *t, void *arg)
{
	struct flush *f = arg;
	size_t i = 0;

	for (size_t k = 0; k < f->deleted.len; k++)
		TRY(kv_del(t, TABLE_RECORDS, str_from(f->deleted.items[k])));
	for (size_t k = 0; k < f->deleted_hash.len; k++)
		TRY(delete_prefix(t, f, str_from(f->deleted_hash.items[k])));
	vec_each (&f->puts, p)
		TRY(kv_put(t, TABLE_RECORDS, p->id, p->value));
	list_each (&f->trees, n)
		TRY(hashtree_store_txn(t, list_entry(n, struct hashtree, unstored),
				       buf_str(&f->packed.items[i++])));
	return NULL;
}

static void take_work_locked(struct cache *c, struct flush *f)
{
	struct list *n;

	while ((n = list_pop(&c->dirty))) {
		struct record *r = list_entry(n, struct record, dirty_link);
		struct buf one = BUF_INIT(LIMIT_RECORD_VALUE);

		r->dirty = false;
		record_pack(r, &one);
		if (!one.overflow)
			vec_push(&f->puts, ((struct put) { str_dup(&f->arena, str_from(r->id)),
							   str_dup(&f->arena, buf_str(&one)) }));
		buf_fini(&one);
	}
	while ((n = list_pop(&c->unstored)))
		list_add_tail(&f->trees, n);
	f->deleted = (struct strs) { c->deleted.items, c->deleted.len, c->deleted.cap };
	f->deleted_hash =
		(struct strs) { c->deleted_hash.items, c->deleted_hash.len, c->deleted_hash.cap };
	memset(&c->deleted, 0, sizeof(c->deleted));
	memset(&c->deleted_hash, 0, sizeof(c->deleted_hash));
}

/* After a failure: what is still there is dirty again. */
static void give_back_locked(struct cache *c, struct flush *f)
{
	struct list *n;

	while ((n = list_pop(&f->trees)))
		list_add_tail(&c->unstored, n);
	vec_each (&f->puts, p) {
		struct record *r = record_find_locked(c, p->id);

		if (r)
			cache_mark_dirty_locked(r);
	}
	for (size_t i = 0; i < f->deleted.len; i++)
		vec_push(&c->deleted, f->deleted.items[i]);
	for (size_t i = 0; i < f->deleted_hash.len; i++)
		vec_push(&c->deleted_hash, f->deleted_hash.items[i]);
	f->deleted.len = f->deleted_hash.len = 0;
}

static void free_strs(struct strs *s)
{
	for (size_t i = 0; i < s->len; i++)
		free(s->items[i]);
	vec_fini(s);
}

struct err *cache_flush_now(struct cache *c, bool durable)
{
	struct flush f = { 0 };
	struct err *e = NULL;
	struct list *n;

	list_init(&f.trees);
	lock_take(&c->lock);
	while (c->flushing)
		cond_wait_uninterrupted(&c->flushed, &c->lock);
	c->flushing = true;
	take_work_locked(c, &f);
	lock_drop(&c->lock);

	list_each (&f.trees, m) {
		struct buf b = BUF_INIT(STORED_TREE_MAX);

		hashtree_pack(list_entry(m, struct hashtree, unstored), &b);
		if (b.overflow)
			buf_clear(&b);
		vec_push(&f.packed, b);
	}
	if (!list_empty(&f.trees) || f.puts.len || f.deleted.len || f.deleted_hash.len)
		e = kv_update(c->kv, KV_LAZY, write_all, &f);
	if (!e && durable)
		e = kv_sync(c->kv);

	lock_take(&c->lock);
	if (e)
		give_back_locked(c, &f);
	c->flushing = false;
	cond_broadcast(&c->flushed);
	lock_drop(&c->lock);
	while ((n = list_pop(&f.trees)))
		hashtree_free(list_entry(n, struct hashtree, unstored));
	vec_each (&f.packed, b)
		buf_fini(b);
	vec_fini(&f.packed);
	free_strs(&f.deleted);
	free_strs(&f.deleted_hash);
	vec_fini(&f.puts);
	vec_fini(&f.keys);
	arena_fini(&f.arena);
	return e;
}

struct err *cache_flush(struct cache *c, bool durable)
{
	return cache_flush_now(c, durable);
}
