/* Reading the records at start, and dropping what does not hold any more: those whose snapshot or
 * blob is gone, what stands on them, and snapshots no record knows. */
#include "cache/cache_impl.h"

#include "base/mem.h"
#include "kv/kv.h"

enum verdict { UNJUDGED, GOOD, BAD };

struct loaded {
	struct record *rec;
	enum verdict verdict;
	struct record_links links;
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

static bool load_one(void *arg, struct str key, struct str value)
{
	struct loading *l = arg;
	struct loaded *x = ARENA_NEW(&l->arena, struct loaded);

	x->rec = record_unpack(l->c, key, value, &l->arena, &x->links);
	if (x->rec) {
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

/* Snapshots are recorded a moment before the records: after a kill in between, one that was split
 * may stand on what no record knows. */
static struct snap *find_snapshot(struct loading *l, const struct loaded *x)
{
	struct snap *s = map_get(&l->snapshots, str_from(x->rec->id));

	if (s && x->rec->kind == RECORD_LAYER &&
	    !str_eq(s->parent, x->links.n_parents ? x->links.parents[0] : STR_NONE))
		return NULL;
	return s;
}

/* Parents are judged already. */
static bool is_good(struct loading *l, struct loaded *x)
{
	struct record *r = x->rec;
	struct snap *s = find_snapshot(l, x);
	struct loaded *base;

	for (size_t i = 0; i < x->links.n_parents; i++) {
		struct loaded *p = map_get(&l->by_id, x->links.parents[i]);

		if (x->links.parents[i].len && (!p || p->verdict != GOOD))
			return false;
	}
	drop_missing_blobs(l, r);
	if (r->is_mutable)
		return r->retain && s && s->kind == SNAPSHOT_ACTIVE;
	/* First, since a view that took the snapshot over may still be recorded as one. */
	if (s && s->kind == SNAPSHOT_COMMITTED) {
		r->has_snapshot = true;
		return true;
	}
	base = x->links.view_of.len ? map_get(&l->by_id, x->links.view_of) : NULL;
	if (x->links.view_of.len && base && base->verdict == GOOD && base->rec->is_mutable)
		return true;
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

		for (size_t i = 0; x->verdict == UNJUDGED && i <= x->links.n_parents; i++) {
			struct str id =
				i < x->links.n_parents ? x->links.parents[i] : x->links.view_of;
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
	struct record **parents = ARENA_NEW_N(&l->arena, struct record *, x->links.n_parents);
	struct loaded *base = x->links.view_of.len ? map_get(&l->by_id, x->links.view_of) : NULL;
	struct snap *s = find_snapshot(l, x);

	for (size_t i = 0; i < x->links.n_parents; i++) {
		struct loaded *p = map_get(&l->by_id, x->links.parents[i]);

		parents[i] = p ? p->rec : NULL;
	}
	if (s)
		s->wanted = true;
	if (base && !x->rec->has_snapshot) {
		x->rec->view_of = base->rec;
		base->rec->view = x->rec;
	}
	record_link_locked(x->rec, parents, x->links.n_parents);
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

/* Whoever wrote to it is gone; what it left is what there is. */
static void let_rest(struct loading *l)
{
	vec_each (&l->all, x)
		if ((*x)->rec && (*x)->rec->is_mutable)
			err_free(snapshot_rest(l->c->snapshotter, str_from((*x)->rec->id)));
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
		let_rest(&l);
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
