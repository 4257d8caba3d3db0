#include "solver/store_impl.h"

#include "base/limits.h"
#include "solver/progress_log.h"

/* ---- keys, links, results ---- */

void keystore_add_link(struct store *s, const struct cache_key_id *key,
		       const struct cache_link *link, const struct cache_key_id *target)
{
	SCOPED_BUF(from, PART_MAX);
	SCOPED_BUF(to, PART_MAX);

	row_add_id(&from, key);
	row_add_link(&from, link);
	row_add_id(&to, target);
	if (from.overflow || to.overflow)
		return;
	keystore_set(s, LINKS, buf_str(&from), buf_str(&to), STR_NONE, false);
	keystore_set(s, BACKLINKS, buf_str(&to), buf_str(&from), STR_NONE, false);
}

void keystore_add_result(struct store *s, const struct cache_key_id *key, struct str result_id,
			 int64_t created_ns)
{
	SCOPED_BUF(k, PART_MAX);
	SCOPED_BUF(r, PART_MAX);
	SCOPED_BUF(value, 16);

	row_add_id(&k, key);
	buf_add_str(&r, result_id);
	buf_add_char(&r, '\0');
	wire_int(&value, 1, created_ns);
	if (k.overflow || r.overflow)
		return;
	keystore_set(s, RESULT, buf_str(&k), result_id, buf_str(&value), false);
	keystore_set(s, BYRESULT, buf_str(&r), buf_str(&k), STR_NONE, false);
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

		row_add_id(&k, &id);
		if (s->in_use(s->in_use_arg, &id) || keystore_has(s, RESULT, buf_str(&k)) ||
		    keystore_has(s, LINKS, buf_str(&k)))
			continue;
		keystore_each(s, BACKLINKS, buf_str(&k), gather_row, &back);
		vec_each (&back.rows, from) {
			struct str rest = *from;
			struct cache_key_id source;

			keystore_set(s, LINKS, *from, buf_str(&k), STR_NONE, true);
			keystore_set(s, BACKLINKS, buf_str(&k), *from, STR_NONE, true);
			if (row_take_id(&rest, &source))
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
	keystore_each(s, BYRESULT, buf_str(&r), gather_row, &keys);
	vec_each (&keys.rows, k) {
		struct str rest = *k;
		struct cache_key_id id;

		keystore_set(s, RESULT, *k, result_id, STR_NONE, true);
		keystore_set(s, BYRESULT, buf_str(&r), *k, STR_NONE, true);
		if (row_take_id(&rest, &id))
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

	if (row_take_id(&suffix, &id) && row_take_link(&suffix, &link))
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

	row_add_id(&k, target);
	keystore_each(s, BACKLINKS, buf_str(&k), each_backlink, &b);
}

/* ---- as a cache source ---- */

static void source_backlinks(struct cache_source *src, const struct cache_key_id *key,
			     void (*each)(void *arg, const struct cache_key_id *from,
					  const struct cache_link *link),
			     void *arg)
{
	keystore_backlinks(container_of(src, struct store, source), key, each, arg);
}

struct query {
	void (*each)(void *arg, const struct cache_key_id *id);
	void *arg;
};

static bool each_target(void *arg, struct str suffix, struct str value)
{
	struct query *q = arg;
	struct cache_key_id id;

	if (row_take_id(&suffix, &id))
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

	row_add_id(&from, key);
	row_add_link(&from, link);
	keystore_each(s, LINKS, buf_str(&from), each_target, &q);
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

	row_add_id(&k, key);
	keystore_each(s, RESULT, buf_str(&k), each_result, &r);
}

static struct err *source_load(struct cache_source *src, struct ctx *ctx, void *session,
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
	.backlinks = source_backlinks,
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

void keystore_free(struct store *s)
{
	if (!s)
		return;
	map_fini(&s->groups, keystore_group_free);
	free(s);
}

bool keystore_in_memory(const struct store *s)
{
	return !s->kv;
}
