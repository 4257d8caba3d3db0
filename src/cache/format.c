/* The stored form of a record: version, then its fields in order (kv/pack.h). */
#include "cache/cache_impl.h"

#include "base/buf.h"
#include "base/mem.h"
#include "kv/pack.h"

#define VERSION 1

enum flags {
	FLAG_MUTABLE = 1,
	FLAG_RETAIN = 2,
	FLAG_SNAPSHOT = 4,
	FLAG_REMOTE = 8,
	FLAG_HASH_STALE = 16,
};

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

struct record *record_unpack(struct cache *c, struct str id, struct str value, struct arena *a,
			     struct record_links *ret)
{
	struct unpack u = unpack_of(value);
	struct record *r = record_new(c, NULL);
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
	ret->view_of = str_dup(a, unpack_str(&u));
	set_id(r->hash_key, unpack_str(&u), &u);
	r->diff_id = unpack_digest(&u);
	r->chain_id = unpack_digest(&u);
	ret->n_parents = unpack_count(&u, 1);
	ret->parents = ARENA_NEW_N(a, struct str, ret->n_parents);
	for (size_t i = 0; i < ret->n_parents; i++)
		ret->parents[i] = str_dup(a, unpack_str(&u));
	n = unpack_count(&u, 8);
	for (size_t i = 0; i < n && !u.bad; i++)
		vec_push(&r->variants, unpack_variant(&u));
	unpack_metas(r, &u);
	if (u.bad || version != VERSION || kind > RECORD_DIFF) {
		r->removed = true;
		record_free(r);
		return NULL;
	}
	return r;
}
