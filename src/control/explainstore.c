#include "control/explain.h"

#include "base/mem.h"
#include "base/vec.h"
#include "codec/compress.h"
#include "codec/io.h"
#include "kv/kv.h"

#define TABLE "explain"
#define PLAIN_MAX (16 * KIB) /* longer ones are compressed */
#define VALUE_MAX (8 * MIB)

struct stored {
	uint64_t number;
	size_t size;
};

struct explain_store {
	struct kv *kv;
	struct lock lock;
	bool loaded;
	uint64_t next;
	size_t total;
	VEC(struct stored) builds; /* oldest first */
};

struct explain_store *explain_store_new(struct kv *kv)
{
	struct explain_store *s = NEW(struct explain_store);

	s->kv = kv;
	s->next = 1;
	lock_init(&s->lock, LOCK_HISTORY);
	return s;
}

void explain_store_free(struct explain_store *s)
{
	if (!s)
		return;
	vec_fini(&s->builds);
	lock_fini(&s->lock);
	free(s);
}

struct number_key {
	char bytes[8];
};

static struct str key_of(uint64_t number, struct number_key *k)
{
	for (int i = 0; i < 8; i++)
		k->bytes[i] = (char)(number >> (56 - 8 * i));
	return str_make(k->bytes, sizeof(k->bytes));
}

static uint64_t number_of(struct str key)
{
	uint64_t n = 0;

	for (size_t i = 0; i < key.len && i < 8; i++)
		n = n << 8 | (unsigned char)key.ptr[i];
	return n;
}

/* ---- what is there ---- */

static bool load_one(void *arg, struct str key, struct str value)
{
	struct explain_store *s = arg;

	vec_push(&s->builds, ((struct stored) { number_of(key), value.len }));
	s->total += value.len;
	s->next = number_of(key) + 1;
	return true;
}

static struct err *load_all(struct kv_txn *t, void *arg)
{
	struct explain_store *s = arg;

	vec_clear(&s->builds);
	s->total = 0;
	return kv_scan(t, TABLE, STR_NONE, load_one, s);
}

static struct err *load_locked(struct explain_store *s)
{
	if (!s->loaded)
		TRY(kv_view(s->kv, load_all, s));
	s->loaded = true;
	return NULL;
}

/* ---- adding ---- */

static struct err *compressed(struct ctx *ctx, struct str plain, struct buf *out)
{
	CLEANUP(writer_closep) struct writer *w = NULL;
	struct writer *to = writer_of_buf(out);
	struct err *e = compress_writer(ctx, COMPRESSION_ZSTD, 1, to, &w);

	if (!e)
		e = writer_write(w, plain.ptr, plain.len);
	if (!e)
		e = writer_finish(w);
	writer_closep(&w);
	writer_close(to);
	return e ? e : buf_check(out, "explanation");
}

struct change {
	struct explain_store *store;
	struct str value;
	uint64_t number;
	size_t n_old; /* so many of the oldest go */
};

static struct err *write_change(struct kv_txn *t, void *arg)
{
	const struct change *c = arg;
	struct number_key k;

	for (size_t i = 0; i < c->n_old; i++)
		TRY(kv_del(t, TABLE, key_of(c->store->builds.items[i].number, &k)));
	return kv_put(t, TABLE, key_of(c->number, &k), c->value);
}

static struct err *put(struct explain_store *s, struct str value)
{
	struct change c = { .store = s, .value = value };
	size_t total;

	LOCKED(&s->lock);
	TRY(load_locked(s));
	total = s->total + value.len;
	while (c.n_old < s->builds.len &&
	       (total > EXPLAIN_STORED_MAX || s->builds.len - c.n_old >= EXPLAIN_BUILDS_MAX))
		total -= s->builds.items[c.n_old++].size;
	c.number = s->next;
	TRY(kv_update(s->kv, KV_LAZY, write_change, &c));
	s->next++;
	s->total = total;
	s->builds.len -= c.n_old;
	memmove(s->builds.items, s->builds.items + c.n_old,
		s->builds.len * sizeof(*s->builds.items));
	vec_push(&s->builds, ((struct stored) { c.number, value.len }));
	return NULL;
}

void explain_store_add(struct explain_store *s, struct ctx *ctx, Buildkitc__V1__StoredBuild *build)
{
	SCOPED_BUF(plain, EXPLAIN_BUILD_MAX);
	SCOPED_BUF(value, VALUE_MAX);
	struct err *e = NULL;

	buf_add_char(&plain, 0);
	proto_pack(build, &plain);
	if (plain.overflow)
		return;
	if (plain.len <= PLAIN_MAX) {
		e = put(s, buf_str(&plain));
	} else {
		buf_add_char(&value, 1);
		e = compressed(ctx, str_sub(buf_str(&plain), 1, plain.len), &value);
		if (!e)
			e = put(s, buf_str(&value));
	}
	err_free(e);
}

/* ---- reading ---- */

static struct err *unpack(struct arena *a, struct str value, Buildkitc__V1__StoredBuild **ret)
{
	SCOPED_BUF(plain, EXPLAIN_BUILD_MAX);
	struct reader *r;
	struct err *e;

	if (!value.len)
		return err_new(ERR_DATA_LOSS, "empty record");
	if (!value.ptr[0])
		return PROTO_UNPACK(a, buildkitc__v1__stored_build, str_sub(value, 1, value.len),
				    ret);
	TRY(decompress_reader(COMPRESSION_ZSTD, reader_of_str(str_sub(value, 1, value.len)), &r));
	e = reader_read_all(r, &plain);
	reader_close(r);
	return e ? e : PROTO_UNPACK(a, buildkitc__v1__stored_build, buf_str(&plain), ret);
}

struct err *explain_store_each(struct explain_store *s, struct ctx *ctx, uint64_t before,
			       bool (*each)(void *arg, uint64_t number,
					    const Buildkitc__V1__StoredBuild *b, struct arena *a),
			       void *arg)
{
	VEC(uint64_t) numbers = VEC_INIT;
	struct err *e;
	bool more = true;

	lock_take(&s->lock);
	e = load_locked(s);
	vec_each (&s->builds, b)
		if (b->number < before)
			vec_push(&numbers, b->number);
	lock_drop(&s->lock);
	while (!e && more && numbers.len) {
		uint64_t number = vec_pop(&numbers);
		Buildkitc__V1__StoredBuild *b;
		struct arena a;
		struct number_key k;
		struct str value;
		struct err *broken;
		bool found;

		arena_init(&a);
		e = kv_get1(s->kv, TABLE, key_of(number, &k), &a, &value, &found);
		if (!e && found) {
			broken = unpack(&a, value, &b);
			if (!broken)
				more = each(arg, number, b, &a);
			err_free(broken);
		}
		arena_fini(&a);
		if (!e)
			e = ctx_err(ctx);
	}
	vec_fini(&numbers);
	return e;
}
