/* Records in kv: table "cache", id -> packed record. Written in the background, many at a time. */
#include "cache/cache_impl.h"

#include "base/buf.h"
#include "base/mem.h"
#include "cache/hashtree.h"
#include "kv/kv.h"
#include "kv/pack.h"

#include <assert.h>

#define VERSION 1
#define STORED_TREE_MAX ((size_t)4 << 30)
#define FLUSH_DELAY_NS (200 * NSEC_PER_MSEC)

enum flags {
	FLAG_MUTABLE = 1,
	FLAG_RETAIN = 2,
	FLAG_SNAPSHOT = 4,
	FLAG_REMOTE = 8,
	FLAG_HASH_STALE = 16,
};

/* ---- format ---- */

static void pack_variant(const struct variant *v, struct buf *out)
{
	const struct oci_descriptor *d = &v->desc;

	pack_str(out, d->media_type);
	pack_digest(out, &d->digest);
	pack_int(out, d->size);
	pack_digest(out, &v->diff_id);
	pack_int(out, v->epoch_s);
	pack_uint(out, d->n_urls);
	for (size_t i = 0; i < d->n_urls; i++)
		pack_str(out, d->urls[i]);
	pack_uint(out, d->n_annotations);
	for (size_t i = 0; i < d->n_annotations; i++) {
		pack_str(out, d->annotations[i].key);
		pack_str(out, d->annotations[i].value);
	}
}

void record_pack(const struct record *r, struct buf *out)
{
	unsigned flags = (r->is_mutable ? FLAG_MUTABLE : 0U) | (r->retain ? FLAG_RETAIN : 0U) |
			 (r->has_snapshot ? FLAG_SNAPSHOT : 0U) |
			 (r->from_remote ? FLAG_REMOTE : 0U) |
			 (r->hash_stale ? FLAG_HASH_STALE : 0U);

	pack_uint(out, VERSION);
	pack_uint(out, r->kind);
	pack_uint(out, flags);
	pack_str(out, str_from(r->description));
	pack_str(out, str_from(r->type));
	pack_int(out, r->created_ns);
	pack_int(out, r->last_used_ns);
	pack_int(out, r->usage_count);
	pack_int(out, r->size);
	pack_uint(out, r->n_splits);
	pack_str(out, str_from(r->view_of ? r->view_of->id : ""));
	pack_str(out, str_from(r->hash_key));
	pack_digest(out, &r->diff_id);
	pack_digest(out, &r->chain_id);
	pack_uint(out, r->n_parents);
	for (size_t i = 0; i < r->n_parents; i++)
		pack_str(out, str_from(r->parents[i] ? r->parents[i]->id : ""));
	pack_uint(out, r->variants.len);
	vec_each (&r->variants, v)
		pack_variant(*v, out);
	pack_uint(out, r->metas.len);
	vec_each (&r->metas, m) {
		pack_str(out, str_from(m->key));
		pack_str(out, str_make(m->value, m->len));
		pack_str(out, str_from(m->index ? m->index : ""));
	}
}

static struct variant *unpack_variant(struct unpack *u)
{
	SCOPED_ARENA(a);
	struct oci_descriptor d = { 0 };
	struct digest diff_id;
	int64_t epoch_s;

	d.media_type = unpack_str(u);
	d.digest = unpack_digest(u);
	d.size = unpack_int(u);
	diff_id = unpack_digest(u);
	epoch_s = unpack_int(u);
	d.n_urls = unpack_count(u, 1);
	d.urls = ARENA_NEW_N(&a, struct str, d.n_urls);
	for (size_t i = 0; i < d.n_urls; i++)
		d.urls[i] = unpack_str(u);
	d.n_annotations = unpack_count(u, 2);
	d.annotations = ARENA_NEW_N(&a, struct oci_kv, d.n_annotations);
	for (size_t i = 0; i < d.n_annotations; i++) {
		d.annotations[i].key = unpack_str(u);
		d.annotations[i].value = unpack_str(u);
	}
	return variant_new(&d, &diff_id, epoch_s);
}

/* ---- loading ---- */

enum verdict { UNJUDGED, GOOD, BAD };

struct loaded {
	struct record *rec;
	enum verdict verdict;
	struct str view_of;
	struct str *parents;
	size_t n_parents;
};

struct loading {
	struct cache *c;
	struct ctx *ctx;
	struct arena arena;
	VEC(struct loaded *) all;
	struct map by_id;     /* -> struct loaded */
	struct map snapshots; /* name -> struct snap */
	size_t n_bad;
};

struct snap {
	struct str name, parent;
	enum snapshot_kind kind;
	size_t n_children;
	bool wanted, gone;
};

static void unpack_metas(struct record *r, struct unpack *u)
{
	size_t n = unpack_count(u, 3);

	for (size_t i = 0; i < n && !u->bad; i++) {
		struct str key = unpack_str(u), value = unpack_str(u), index = unpack_str(u);

		if (u->bad)
			break;
		vec_push(&r->metas,
			 ((struct meta) { .key = str_heap(key),
					  .value = str_heap(value),
					  .len = value.len,
					  .index = index.len ? str_heap(index) : NULL }));
	}
}

static void set_id(char out[ID_LEN + 1], struct str id, struct unpack *u)
{
	if (id.len > ID_LEN)
		u->bad = true;
	else if (id.len)
		memcpy(out, id.ptr, id.len);
	out[u->bad ? 0 : id.len] = '\0';
}

/* NULL for a record that can't be read: it is dropped. */
static struct loaded *unpack_record(struct loading *l, struct str id, struct str value)
{
	struct unpack u = unpack_of(value);
	struct loaded *x = ARENA_NEW(&l->arena, struct loaded);
	struct record *r = record_new(l->c, NULL);
	uint64_t version = unpack_uint(&u), kind = unpack_uint(&u), flags = unpack_uint(&u);
	size_t n;

	set_id(r->id, id, &u);
	r->stored = true;
	r->kind = (enum record_kind)kind;
	r->is_mutable = flags & FLAG_MUTABLE;
	r->retain = flags & FLAG_RETAIN;
	r->has_snapshot = flags & FLAG_SNAPSHOT;
	r->from_remote = flags & FLAG_REMOTE;
	r->hash_stale = flags & FLAG_HASH_STALE;
	free(r->description);
	r->description = str_heap(unpack_str(&u));
	free(r->type);
	r->type = str_heap(unpack_str(&u));
	r->created_ns = unpack_int(&u);
	r->last_used_ns = unpack_int(&u);
	r->usage_count = unpack_int(&u);
	r->size = unpack_int(&u);
	r->n_splits = (unsigned)unpack_uint(&u);
	x->view_of = str_dup(&l->arena, unpack_str(&u));
	set_id(r->hash_key, unpack_str(&u), &u);
	r->diff_id = unpack_digest(&u);
	r->chain_id = unpack_digest(&u);
	x->n_parents = unpack_count(&u, 1);
	x->parents = ARENA_NEW_N(&l->arena, struct str, x->n_parents);
	for (size_t i = 0; i < x->n_parents; i++)
		x->parents[i] = str_dup(&l->arena, unpack_str(&u));
	n = unpack_count(&u, 8);
	for (size_t i = 0; i < n && !u.bad; i++)
		vec_push(&r->variants, unpack_variant(&u));
	unpack_metas(r, &u);
	if (u.bad || version != VERSION || kind > RECORD_DIFF) {
		record_free(r);
		return NULL;
	}
	x->rec = r;
	return x;
}

static bool load_one(void *arg, struct str key, struct str value)
{
	struct loading *l = arg;
	struct loaded *x = unpack_record(l, key, value);

	if (x) {
		vec_push(&l->all, x);
		(void)map_put(&l->by_id, key, x);
	} else {
		vec_push(&l->c->deleted, str_heap(key));
	}
	return true;
}

static struct err *load_all(struct kv_txn *t, void *arg)
{
	return kv_scan(t, TABLE_RECORDS, STR_NONE, load_one, arg);
}

static struct err *note_snapshot(void *arg, const struct snapshot_info *info)
{
	struct loading *l = arg;
	struct snap *s = ARENA_NEW(&l->arena, struct snap);

	s->name = str_dup(&l->arena, info->name);
	s->parent = str_dup(&l->arena, info->parent);
	s->kind = info->kind;
	(void)map_put(&l->snapshots, s->name, s);
	return NULL;
}

static void drop_missing_blobs(struct loading *l, struct record *r)
{
	for (size_t i = 0; i < r->variants.len;) {
		struct variant *v = r->variants.items[i];

		/* Blobs of images can be pulled again. */
		if (r->from_remote || content_has(l->c->content, l->ctx, &v->desc.digest)) {
			i++;
			continue;
		}
		variant_free(v);
		r->variants.len--;
		memmove(&r->variants.items[i], &r->variants.items[i + 1],
			(r->variants.len - i) * sizeof(v));
		r->size = -1;
	}
}

static bool has_local_blob(struct loading *l, const struct record *r)
{
	vec_each (&r->variants, v) {
		if ((*v)->epoch_s < 0 && content_has(l->c->content, l->ctx, &(*v)->desc.digest))
			return true;
	}
	return false;
}

/* Parents are judged already. */
static bool is_good(struct loading *l, struct loaded *x)
{
	struct record *r = x->rec;
	struct snap *s = map_get(&l->snapshots, str_from(r->id));
	struct loaded *base;

	for (size_t i = 0; i < x->n_parents; i++) {
		struct loaded *p = map_get(&l->by_id, x->parents[i]);

		if (x->parents[i].len && (!p || p->verdict != GOOD))
			return false;
	}
	drop_missing_blobs(l, r);
	if (r->is_mutable)
		return r->retain && s && s->kind == SNAPSHOT_ACTIVE;
	base = x->view_of.len ? map_get(&l->by_id, x->view_of) : NULL;
	if (x->view_of.len && base && base->verdict == GOOD && base->rec->is_mutable)
		return true;
	if (s && s->kind == SNAPSHOT_COMMITTED) {
		r->has_snapshot = true;
		return true;
	}
	if (r->has_snapshot)
		r->size = -1;
	if (r->has_snapshot && r->kind == RECORD_LAYER && !has_local_blob(l, r))
		return false;
	r->has_snapshot = false;
	return r->kind != RECORD_LAYER || r->variants.len;
}

/* Depth first without recursion: chains can be thousands deep. A ring, which only damage could
 * make, is bad as a whole. */
static void judge(struct loading *l, struct loaded *start)
{
	VEC(struct loaded *) stack = VEC_INIT;

	vec_push(&stack, start);
	while (stack.len) {
		struct loaded *x = stack.items[stack.len - 1];
		bool waits = false;

		for (size_t i = 0; x->verdict == UNJUDGED && i <= x->n_parents; i++) {
			struct str id = i < x->n_parents ? x->parents[i] : x->view_of;
			struct loaded *p = id.len ? map_get(&l->by_id, id) : NULL;

			if (!p || p->verdict != UNJUDGED)
				continue;
			if (stack.len > l->all.len) {
				x->verdict = BAD;
				break;
			}
			waits = true;
			vec_push(&stack, p);
			break;
		}
		if (waits)
			continue;
		if (x->verdict == UNJUDGED)
			x->verdict = is_good(l, x) ? GOOD : BAD;
		stack.len--;
	}
	vec_fini(&stack);
}

static void link_good_locked(struct loading *l, struct loaded *x)
{
	struct record **parents = ARENA_NEW_N(&l->arena, struct record *, x->n_parents);
	struct loaded *base = x->view_of.len ? map_get(&l->by_id, x->view_of) : NULL;
	struct snap *s = map_get(&l->snapshots, str_from(x->rec->id));

	for (size_t i = 0; i < x->n_parents; i++) {
		struct loaded *p = map_get(&l->by_id, x->parents[i]);

		parents[i] = p ? p->rec : NULL;
	}
	if (s)
		s->wanted = true;
	if (base && !x->rec->has_snapshot) {
		x->rec->view_of = base->rec;
		base->rec->view = x->rec;
	}
	record_link_locked(x->rec, parents, x->n_parents);
}

static void drop_bad_locked(struct loading *l, struct loaded *x)
{
	struct record *r = x->rec;

	vec_push(&l->c->deleted, mem_strdup(r->id));
	if (r->hash_key[0])
		vec_push(&l->c->deleted_hash, mem_strdup(r->hash_key));
	r->removed = true;
	record_free(r);
	x->rec = NULL;
}

/* Snapshots that no record knows, children before their parents. */
static struct err *drop_strange_snapshots(struct loading *l)
{
	bool any = true;

	for (struct map_entry *e = map_next(&l->snapshots, NULL); e;
	     e = map_next(&l->snapshots, e)) {
		struct snap *s = e->value, *p = map_get(&l->snapshots, s->parent);

		if (s->parent.len && p)
			p->n_children++;
	}
	while (any) {
		any = false;
		for (struct map_entry *e = map_next(&l->snapshots, NULL); e;
		     e = map_next(&l->snapshots, e)) {
			struct snap *s = e->value;

			while (s && !s->wanted && !s->gone && !s->n_children) {
				TRY(snapshot_remove(l->c->snapshotter, s->name));
				s->gone = any = true;
				s = s->parent.len ? map_get(&l->snapshots, s->parent) : NULL;
				if (s)
					s->n_children--;
			}
		}
	}
	return NULL;
}

static void settle(struct loading *l)
{
	LOCKED(&l->c->lock);
	vec_each (&l->all, x) {
		if ((*x)->verdict == GOOD)
			link_good_locked(l, *x);
		else
			drop_bad_locked(l, *x);
	}
}

struct err *cache_load(struct cache *c, struct ctx *ctx)
{
	struct loading l = { .c = c, .ctx = ctx };
	struct err *e = kv_view(c->kv, load_all, &l);

	if (!e)
		e = c->snapshotter->ops->each(c->snapshotter, note_snapshot, &l);
	for (size_t i = 0; !e && i < l.all.len; i++)
		judge(&l, l.all.items[i]);
	if (!e) {
		settle(&l);
		e = drop_strange_snapshots(&l);
	} else {
		vec_each (&l.all, x)
			record_free((*x)->rec);
	}
	if (!e)
		e = cache_flush_now(c, false);
	vec_fini(&l.all);
	map_fini(&l.by_id, NULL);
	map_fini(&l.snapshots, NULL);
	arena_fini(&l.arena);
	return e;
}

/* ---- writing ---- */

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
