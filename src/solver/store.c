#include "solver/store.h"

#include "base/limits.h"
#include "base/map.h"
#include "base/vec.h"
#include "kv/kv.h"
#include "solver/progress_log.h"

#include <assert.h>

enum table { LINKS, BACKLINKS, RESULT, BYRESULT, N_TABLES };
static const char *const table_names[N_TABLES] = {
	[LINKS] = "solver_links",
	[BACKLINKS] = "solver_backlinks",
	[RESULT] = "solver_result",
	[BYRESULT] = "solver_byresult",
};

/* A stored key is prefix || suffix. Changes that are not written yet are held in memory, grouped by
 * table and prefix, as that is how they are looked up. */
struct row {
	char *suffix; /* value follows it in the same memory */
	uint32_t suffix_len, value_len;
	uint64_t gen; /* of the batch it is written with; 0: not yet in one */
	bool deleted;
};
struct group {
	VEC(struct row) rows;
};

struct store {
	struct cache_source source; /* embedded: its life is ours */
	struct kv *kv;
	const struct result_ops *results;
	bool (*in_use)(void *arg, const struct cache_key_id *key);
	void *in_use_arg;
	struct map groups;
	uint64_t gen;
	size_t n_dirty;
};

/* Longest prefix or suffix: a key, a link with two SHA-512 digests, a result id. */
#define PART_MAX 320

/* ---- encoding of rows ---- */

static void add_digest(struct buf *b, const struct digest *d)
{
	buf_add_char(b, (char)d->algo);
	buf_add(b, d->bytes, digest_size(d->algo));
}

static bool take_digest(struct str *s, struct digest *ret)
{
	size_t n;

	*ret = (struct digest) { 0 };
	if (!s->len || (unsigned char)s->ptr[0] > DIGEST_RANDOM)
		return false;
	ret->algo = (uint8_t)s->ptr[0];
	n = digest_size(ret->algo);
	if (s->len < 1 + n)
		return false;
	memcpy(ret->bytes, s->ptr + 1, n);
	*s = str_sub(*s, 1 + n, s->len);
	return true;
}

static void add_u32(struct buf *b, uint32_t v)
{
	char c[4] = { (char)(v >> 24), (char)(v >> 16), (char)(v >> 8), (char)v };

	buf_add(b, c, 4);
}

static bool take_u32(struct str *s, uint32_t *ret)
{
	const unsigned char *c = (const unsigned char *)s->ptr;

	if (s->len < 4)
		return false;
	*ret = (uint32_t)c[0] << 24 | (uint32_t)c[1] << 16 | (uint32_t)c[2] << 8 | c[3];
	*s = str_sub(*s, 4, s->len);
	return true;
}

static void add_id(struct buf *b, const struct cache_key_id *id)
{
	buf_add_char(b, (char)id->len);
	buf_add(b, id->bytes, id->len);
}

static bool take_id(struct str *s, struct cache_key_id *ret)
{
	size_t n;

	if (!s->len)
		return false;
	n = (unsigned char)s->ptr[0];
	if (n > sizeof(ret->bytes) || s->len < 1 + n)
		return false;
	*ret = (struct cache_key_id) { .len = (uint8_t)n };
	memcpy(ret->bytes, s->ptr + 1, n);
	*s = str_sub(*s, 1 + n, s->len);
	return true;
}

static void add_link(struct buf *b, const struct cache_link *l)
{
	add_u32(b, l->input);
	add_u32(b, l->output);
	add_digest(b, &l->digest);
	add_digest(b, &l->selector);
}

static bool take_link(struct str *s, struct cache_link *ret)
{
	return take_u32(s, &ret->input) && take_u32(s, &ret->output) &&
	       take_digest(s, &ret->digest) && take_digest(s, &ret->selector);
}

/* ---- rows in memory ---- */

static struct str group_name(struct buf *b, enum table t, struct str prefix)
{
	buf_add_char(b, (char)t);
	buf_add_str(b, prefix);
	return buf_str(b);
}

static struct group *find_group(const struct store *s, enum table t, struct str prefix)
{
	SCOPED_BUF(b, PART_MAX + 1);

	return map_get(&s->groups, group_name(&b, t, prefix));
}

static struct row *find_row(const struct group *g, struct str suffix)
{
	if (g)
		vec_each (&g->rows, r)
			if (str_eq(str_make(r->suffix, r->suffix_len), suffix))
				return r;
	return NULL;
}

static void set_row(struct store *s, enum table t, struct str prefix, struct str suffix,
		    struct str value, bool deleted)
{
	SCOPED_BUF(b, PART_MAX + 1);
	struct str name = group_name(&b, t, prefix);
	struct group *g = map_get(&s->groups, name);
	struct row *r;

	if (prefix.len + suffix.len > 500)
		return; /* longer than kv takes: not stored */
	r = find_row(g, suffix);
	if (!s->kv && deleted) {
		if (r) {
			free(r->suffix);
			*r = vec_pop(&g->rows);
		}
		return;
	}
	if (!g) {
		g = NEW(struct group);
		map_put(&s->groups, name, g);
	}
	if (!r) {
		vec_push(&g->rows, (struct row) { 0 });
		r = &g->rows.items[g->rows.len - 1];
		s->n_dirty++;
	} else {
		if (r->gen)
			s->n_dirty++; /* in a batch that is being written: once more */
		free(r->suffix);
	}
	*r = (struct row) {
		.suffix = mem_alloc(suffix.len + value.len + 1),
		.suffix_len = (uint32_t)suffix.len,
		.value_len = (uint32_t)value.len,
		.deleted = deleted,
	};
	memcpy(r->suffix, suffix.ptr, suffix.len);
	if (value.len)
		memcpy(r->suffix + suffix.len, value.ptr, value.len);
}

typedef bool (*row_fn)(void *arg, struct str suffix, struct str value);

struct scan {
	struct store *s;
	enum table table;
	struct str prefix;
	const struct group *group;
	row_fn each;
	void *arg;
};

static bool scan_one(void *arg, struct str key, struct str value)
{
	struct scan *c = arg;
	struct str suffix = str_sub(key, c->prefix.len, key.len);

	if (find_row(c->group, suffix))
		return true; /* what is in memory is newer */
	return c->each(c->arg, suffix, value);
}

static struct err *scan_kv(struct kv_txn *t, void *arg)
{
	struct scan *c = arg;

	return kv_scan(t, table_names[c->table], c->prefix, scan_one, c);
}

/* Every row with that prefix; each() returns false to stop and must not change rows. */
static void each_row(struct store *s, enum table t, struct str prefix, row_fn each, void *arg)
{
	struct scan c = { s, t, prefix, find_group(s, t, prefix), each, arg };

	if (c.group)
		vec_each (&c.group->rows, r)
			if (!r->deleted && !each(arg, str_make(r->suffix, r->suffix_len),
						 str_make(r->suffix + r->suffix_len, r->value_len)))
				return;
	/* A store that can't be read is as good as an empty one. */
	if (s->kv)
		err_free(kv_view(s->kv, scan_kv, &c));
}

static bool stop_at_first(void *arg, struct str suffix, struct str value)
{
	*(bool *)arg = true;
	return false;
}

static bool has_rows(struct store *s, enum table t, struct str prefix)
{
	bool found = false;

	each_row(s, t, prefix, stop_at_first, &found);
	return found;
}

/* ---- keys, links, results ---- */

void keystore_add_link(struct store *s, const struct cache_key_id *key,
		       const struct cache_link *link, const struct cache_key_id *target)
{
	SCOPED_BUF(from, PART_MAX);
	SCOPED_BUF(to, PART_MAX);

	add_id(&from, key);
	add_link(&from, link);
	add_id(&to, target);
	if (from.overflow || to.overflow)
		return;
	set_row(s, LINKS, buf_str(&from), buf_str(&to), STR_NONE, false);
	set_row(s, BACKLINKS, buf_str(&to), buf_str(&from), STR_NONE, false);
}

void keystore_add_result(struct store *s, const struct cache_key_id *key, struct str result_id,
			 int64_t created_ns)
{
	SCOPED_BUF(k, PART_MAX);
	SCOPED_BUF(r, PART_MAX);
	SCOPED_BUF(value, 16);

	add_id(&k, key);
	buf_add_str(&r, result_id);
	buf_add_char(&r, '\0');
	wire_int(&value, 1, created_ns);
	if (k.overflow || r.overflow)
		return;
	set_row(s, RESULT, buf_str(&k), result_id, buf_str(&value), false);
	set_row(s, BYRESULT, buf_str(&r), buf_str(&k), STR_NONE, false);
}

struct gather {
	struct arena *arena;
	VEC(struct str) rows;
};

static bool gather_row(void *arg, struct str suffix, struct str value)
{
	struct gather *g = arg;

	vec_push(&g->rows, str_dup(g->arena, suffix));
	return true;
}

/* Removes keys that have neither results nor dependants, then those they stood on, ... */
static void drop_keys(struct store *s, struct arena *a, struct cache_key_id first)
{
	VEC(struct cache_key_id) todo = VEC_INIT;

	vec_push(&todo, first);
	while (todo.len) {
		struct cache_key_id id = vec_pop(&todo);
		struct gather back = { a, VEC_INIT };
		SCOPED_BUF(k, PART_MAX);

		add_id(&k, &id);
		if (s->in_use(s->in_use_arg, &id) || has_rows(s, RESULT, buf_str(&k)) ||
		    has_rows(s, LINKS, buf_str(&k)))
			continue;
		each_row(s, BACKLINKS, buf_str(&k), gather_row, &back);
		vec_each (&back.rows, from) {
			struct str rest = *from;
			struct cache_key_id source;

			set_row(s, LINKS, *from, buf_str(&k), STR_NONE, true);
			set_row(s, BACKLINKS, buf_str(&k), *from, STR_NONE, true);
			if (take_id(&rest, &source))
				vec_push(&todo, source);
		}
		vec_fini(&back.rows);
	}
	vec_fini(&todo);
}

void keystore_drop_key(struct store *s, const struct cache_key_id *key)
{
	SCOPED_ARENA(a);

	drop_keys(s, &a, *key);
}

void keystore_drop_result(struct store *s, struct str result_id)
{
	SCOPED_ARENA(a);
	struct gather keys = { &a, VEC_INIT };
	SCOPED_BUF(r, PART_MAX);

	buf_add_str(&r, result_id);
	buf_add_char(&r, '\0');
	if (r.overflow)
		return;
	each_row(s, BYRESULT, buf_str(&r), gather_row, &keys);
	vec_each (&keys.rows, k) {
		struct str rest = *k;
		struct cache_key_id id;

		set_row(s, RESULT, *k, result_id, STR_NONE, true);
		set_row(s, BYRESULT, buf_str(&r), *k, STR_NONE, true);
		if (take_id(&rest, &id))
			drop_keys(s, &a, id);
	}
	vec_fini(&keys.rows);
}

struct backlink_scan {
	void (*each)(void *arg, const struct cache_key_id *key, const struct cache_link *link);
	void *arg;
};

static bool each_backlink(void *arg, struct str suffix, struct str value)
{
	struct backlink_scan *b = arg;
	struct cache_key_id id;
	struct cache_link link;

	if (take_id(&suffix, &id) && take_link(&suffix, &link))
		b->each(b->arg, &id, &link);
	return true;
}

void keystore_backlinks(struct store *s, const struct cache_key_id *target,
			void (*each)(void *arg, const struct cache_key_id *key,
				     const struct cache_link *link),
			void *arg)
{
	struct backlink_scan b = { each, arg };
	SCOPED_BUF(k, PART_MAX);

	add_id(&k, target);
	each_row(s, BACKLINKS, buf_str(&k), each_backlink, &b);
}

/* ---- as a cache source ---- */

struct query {
	void (*each)(void *arg, const struct cache_key_id *id);
	void *arg;
};

static bool each_target(void *arg, struct str suffix, struct str value)
{
	struct query *q = arg;
	struct cache_key_id id;

	if (take_id(&suffix, &id))
		q->each(q->arg, &id);
	return true;
}

static void source_query(struct cache_source *src, const struct cache_key_id *key,
			 const struct cache_link *link,
			 void (*each)(void *arg, const struct cache_key_id *id), void *arg)
{
	struct store *s = container_of(src, struct store, source);
	struct query q = { each, arg };
	SCOPED_BUF(from, PART_MAX);

	add_id(&from, key);
	add_link(&from, link);
	each_row(s, LINKS, buf_str(&from), each_target, &q);
}

struct result_scan {
	void (*each)(void *arg, const struct cache_hit *hit);
	void *arg;
};

static bool each_result(void *arg, struct str suffix, struct str value)
{
	struct result_scan *r = arg;
	struct cache_hit hit = { .result_id = suffix };
	uint64_t v = 0;

	/* Field 1, a varint. */
	for (size_t i = 1; i < value.len && i < 11; i++)
		v |= (uint64_t)((unsigned char)value.ptr[i] & 0x7f) << (7 * (i - 1));
	hit.created_ns = (int64_t)v;
	r->each(r->arg, &hit);
	return true;
}

static void source_results(struct cache_source *src, const struct cache_key_id *key,
			   void (*each)(void *arg, const struct cache_hit *hit), void *arg)
{
	struct store *s = container_of(src, struct store, source);
	struct result_scan r = { each, arg };
	SCOPED_BUF(k, PART_MAX);

	add_id(&k, key);
	each_row(s, RESULT, buf_str(&k), each_result, &r);
}

static struct err *source_load(struct cache_source *src, struct ctx *ctx,
			       const struct cache_key_id *key, struct str result_id,
			       struct result **ret)
{
	struct store *s = container_of(src, struct store, source);

	return s->results->load(s->results->arg, ctx, result_id, ret);
}

static void source_free(struct cache_source *src)
{
	/* The store's last reference goes with the store. */
}

static const struct cache_source_ops source_ops = {
	.query = source_query,
	.results = source_results,
	.load = source_load,
	.free = source_free,
};

struct cache_source *keystore_source(struct store *s)
{
	return &s->source;
}

struct store *keystore_new(struct kv *kv, const struct result_ops *results,
			   bool (*in_use)(void *arg, const struct cache_key_id *key), void *arg)
{
	struct store *s = NEW(struct store);

	s->source.ops = &source_ops;
	ref_init(&s->source.ref);
	s->kv = kv;
	s->results = results;
	s->in_use = in_use;
	s->in_use_arg = arg;
	return s;
}

static void group_free(void *arg)
{
	struct group *g = arg;

	vec_each (&g->rows, r)
		free(r->suffix);
	vec_fini(&g->rows);
	free(g);
}

void keystore_free(struct store *s)
{
	if (!s)
		return;
	map_fini(&s->groups, group_free);
	free(s);
}

bool keystore_in_memory(const struct store *s)
{
	return !s->kv;
}

/* ---- garbage ---- */

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

	if (!take_id(&rest, &id))
		return true;
	k = str_sub(key, 0, key.len - rest.len);
	if (str_eq(k, g->last))
		return true;
	g->last = str_dup(&g->g->arena, k);
	if (!g->txn) {
		found = has_rows(g->s, RESULT, k) || has_rows(g->s, LINKS, k);
	} else {
		err_free(kv_scan(g->txn, table_names[RESULT], k, found_one, &found));
		if (!found)
			err_free(kv_scan(g->txn, table_names[LINKS], k, found_one, &found));
	}
	if (!found)
		vec_push(&g->keys, id);
	return true;
}

static struct err *scan_garbage(struct kv_txn *t, void *arg)
{
	struct garbage_scan *g = arg;

	g->txn = t;
	TRY(kv_scan(t, table_names[BYRESULT], STR_NONE, check_result, g));
	g->last = STR_NONE;
	return kv_scan(t, table_names[BACKLINKS], STR_NONE, check_key, g);
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

/* ---- writing ---- */

struct batch_row {
	enum table table;
	struct str key, value;
	bool deleted;
};

struct store_batch {
	struct kv *kv;
	uint64_t gen;
	struct arena arena;
	VEC(struct batch_row) rows;
};

bool keystore_dirty(const struct store *s)
{
	return s->kv && s->n_dirty;
}

struct store_batch *keystore_batch(struct store *s)
{
	struct store_batch *b;

	if (!keystore_dirty(s))
		return NULL;
	b = NEW(struct store_batch);
	b->kv = s->kv;
	b->gen = ++s->gen;
	for (struct map_entry *e = map_next(&s->groups, NULL); e; e = map_next(&s->groups, e)) {
		struct group *g = e->value;
		size_t prefix = e->key_len - 1;

		vec_each (&g->rows, r) {
			char *p = arena_alloc(&b->arena, prefix + r->suffix_len + r->value_len + 1);

			memcpy(p, e->key + 1, prefix);
			memcpy(p + prefix, r->suffix, r->suffix_len + r->value_len);
			vec_push(&b->rows,
				 ((struct batch_row) {
					 (enum table)e->key[0],
					 str_make(p, prefix + r->suffix_len),
					 str_make(p + prefix + r->suffix_len, r->value_len),
					 r->deleted,
				 }));
			r->gen = b->gen;
		}
	}
	s->n_dirty = 0;
	return b;
}

static struct err *write_rows(struct kv_txn *t, void *arg)
{
	struct store_batch *b = arg;

	vec_each (&b->rows, r) {
		const char *table = table_names[r->table];

		if (r->deleted)
			TRY(kv_del(t, table, r->key));
		else
			TRY(kv_put(t, table, r->key, r->value));
	}
	return NULL;
}

struct err *keystore_write(struct store_batch *b)
{
	return kv_update(b->kv, KV_LAZY, write_rows, b);
}

void keystore_written(struct store *s, struct store_batch *b, bool ok)
{
	for (struct map_entry *e = map_next(&s->groups, NULL); ok && e;
	     e = map_next(&s->groups, e)) {
		struct group *g = e->value;

		for (size_t i = 0; i < g->rows.len;) {
			struct row *r = &g->rows.items[i];

			if (r->gen != b->gen) {
				i++;
				continue;
			}
			free(r->suffix);
			*r = vec_pop(&g->rows);
		}
		if (!g->rows.len) {
			group_free(g);
			map_del(&s->groups, map_key(e));
		}
	}
	if (!ok)
		s->n_dirty++;
	arena_fini(&b->arena);
	vec_fini(&b->rows);
	free(b);
}
