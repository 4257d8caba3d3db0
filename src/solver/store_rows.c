#include "solver/store_impl.h"

#include "base/limits.h"

#include <assert.h>

const char *const keystore_tables[N_TABLES] = {
	[LINKS] = "solver_links",
	[BACKLINKS] = "solver_backlinks",
	[RESULT] = "solver_result",
	[BYRESULT] = "solver_byresult",
};

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

void row_add_id(struct buf *b, const struct cache_key_id *id)
{
	buf_add_char(b, (char)id->len);
	buf_add(b, id->bytes, id->len);
}

bool row_take_id(struct str *s, struct cache_key_id *ret)
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

void row_add_link(struct buf *b, const struct cache_link *l)
{
	add_u32(b, l->input);
	add_u32(b, l->output);
	add_digest(b, &l->digest);
	add_digest(b, &l->selector);
}

bool row_take_link(struct str *s, struct cache_link *ret)
{
	return take_u32(s, &ret->input) && take_u32(s, &ret->output) &&
	       take_digest(s, &ret->digest) && take_digest(s, &ret->selector);
}

/* ---- rows in memory ---- */

static struct str group_name(struct buf *b, enum keystore_table t, struct str prefix)
{
	buf_add_char(b, (char)t);
	buf_add_str(b, prefix);
	return buf_str(b);
}

static struct group *find_group(const struct store *s, enum keystore_table t, struct str prefix)
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

void keystore_set(struct store *s, enum keystore_table t, struct str prefix, struct str suffix,
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

struct scan {
	struct store *s;
	enum keystore_table table;
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

	return kv_scan(t, keystore_tables[c->table], c->prefix, scan_one, c);
}

void keystore_each(struct store *s, enum keystore_table t, struct str prefix, row_fn each,
		   void *arg)
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

bool keystore_has(struct store *s, enum keystore_table t, struct str prefix)
{
	bool found = false;

	keystore_each(s, t, prefix, stop_at_first, &found);
	return found;
}

void keystore_group_free(void *arg)
{
	struct group *g = arg;

	vec_each (&g->rows, r)
		free(r->suffix);
	vec_fini(&g->rows);
	free(g);
}

/* ---- writing ---- */

struct batch_row {
	enum keystore_table table;
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
					 (enum keystore_table)e->key[0],
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
		const char *table = keystore_tables[r->table];

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
			keystore_group_free(g);
			map_del(&s->groups, map_key(e));
		}
	}
	if (!ok)
		s->n_dirty++;
	arena_fini(&b->arena);
	vec_fini(&b->rows);
	free(b);
}
