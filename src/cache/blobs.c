/* The layers of a stack as blobs. What is missing is made: the tar of the layer is hashed (diff
 * id), compressed and hashed again (digest) in one pass, several layers at a time. What was made
 * stays with the record, one variant for each compression. */
#include "cache/cache_impl.h"

#include "base/mem.h"
#include "cache/materialise.h"
#include "snapshot/diff.h"

#define ANNOTATION_DIFF_ID "containerd.io/uncompressed"
#define LAYERS_AT_ONCE 4

/* ---- making one ---- */

struct make {
	struct record *rec; /* held */
	enum compression type;
	int level;
	int64_t epoch_s;
	const struct variant *from; /* converted from this one; NULL: from the snapshot */
};

/* Hashes on its way to the compressor. */
struct tee {
	struct writer base;
	struct hasher *hasher;
	struct writer *next;
};

static struct err *tee_write(struct writer *w, const void *p, size_t len)
{
	struct tee *t = container_of(w, struct tee, base);

	hasher_add(t->hasher, p, len);
	return writer_write(t->next, p, len);
}

static const char *media_type_of(enum compression type, bool docker)
{
	switch (type) {
	case COMPRESSION_NONE:
		return docker ? DOCKER_LAYER : OCI_LAYER;
	case COMPRESSION_ZSTD:
		return docker ? DOCKER_LAYER_ZSTD : OCI_LAYER_ZSTD;
	default:
		return docker ? DOCKER_LAYER_GZIP : OCI_LAYER_GZIP;
	}
}

static struct err *write_from_blob(const struct make *m, struct ctx *ctx, struct writer *out)
{
	CLEANUP(reader_closep) struct reader *tar = NULL;
	struct content_reader *blob;
	enum compression type;

	TRY(record_fetch(m->rec, ctx, m->from));
	TRY(content_open(m->rec->cache->content, ctx, &m->from->desc.digest, &blob));
	TRY(decompress_auto(content_as_reader(blob), &tar, &type));
	return io_copy(ctx, out, tar, NULL);
}

static struct err *make_real(struct record *r, struct ctx *ctx)
{
	if (!r)
		return NULL;
	TRY(materialise(r, ctx));
	return record_split(r);
}

/* Everything that is in lower is deleted: rare enough for a snapshot just to compare with. */
static struct err *diff_with_nothing(const struct make *m, struct ctx *ctx, struct str lower,
				     struct writer *out)
{
	struct snapshotter *s = m->rec->cache->snapshotter;
	SCOPED_ARENA(a);
	struct str empty = str_from(arena_printf(&a, "%s-empty", m->rec->id));
	struct err *e;

	TRY(snapshot_prepare(s, empty, STR_NONE));
	e = snapshot_commit(s, empty, empty);
	if (!e)
		e = snapshot_diff(s, ctx, lower, empty, m->epoch_s, out);
	return err_first(e, snapshot_remove(s, empty));
}

static struct err *write_from_snapshot(const struct make *m, struct ctx *ctx, struct writer *out)
{
	struct record *r = m->rec, *lower = r->n_parents ? r->parents[0] : NULL, *upper = r;

	if (r->kind == RECORD_DIFF)
		upper = r->parents[1];
	TRY(make_real(lower, ctx));
	TRY(make_real(upper, ctx));
	if (!upper)
		return diff_with_nothing(m, ctx, str_from(lower->id), out);
	return snapshot_diff(r->cache->snapshotter, ctx, str_from(lower ? lower->id : ""),
			     str_from(upper->id), m->epoch_s, out);
}

static struct err *compress_into(const struct make *m, struct ctx *ctx, struct content_writer *w,
				 struct digest *ret_diff_id)
{
	CLEANUP(writer_closep) struct writer *packer = NULL;
	CLEANUP(hasher_freep) struct hasher *h = hasher_new(DIGEST_SHA256);
	struct tee tee = { .base = { .write = tee_write }, .hasher = h };

	if (m->type == COMPRESSION_NONE) {
		tee.next = &w->io;
	} else {
		TRY(compress_writer(ctx, m->type, m->level, &w->io, &packer));
		tee.next = packer;
	}
	TRY(m->from ? write_from_blob(m, ctx, &tee.base) : write_from_snapshot(m, ctx, &tee.base));
	if (packer)
		TRY(writer_finish(packer));
	*ret_diff_id = hasher_sum(h);
	return NULL;
}

static struct err *write_blob(const struct make *m, struct ctx *ctx, struct digest *ret_digest,
			      struct digest *ret_diff_id, uint64_t *ret_size)
{
	CLEANUP(content_writer_closep) struct content_writer *w = NULL;
	struct content *content = m->rec->cache->content;
	char ref[ID_LEN + 64];
	struct err *e;

	(void)snprintf(ref, sizeof(ref), "layer-%s-%s-%lld", m->rec->id, compression_name(m->type),
		       (long long)m->epoch_s);
	TRY(content_writer_open(content, ctx, str_from(ref), &w));
	if (w->offset) {
		/* Of an earlier run: it can't be gone on with. */
		w->discard(w);
		content_writer_closep(&w);
		TRY(content_writer_open(content, ctx, str_from(ref), &w));
	}
	e = compress_into(m, ctx, w, ret_diff_id);
	if (!e) {
		*ret_size = w->offset;
		e = content_commit(w, 0, NULL, NULL, 0, ret_digest);
	}
	if (err_is(e, ERR_ALREADY_EXISTS))
		err_free(TAKE_PTR(e));
	else if (e)
		w->discard(w);
	return e;
}

static struct digest chain_of(const struct record *parent, const struct digest *diff_id)
{
	char a[DIGEST_TEXT_MAX], b[DIGEST_TEXT_MAX];
	SCOPED_ARENA(arena);

	if (!parent)
		return *diff_id;
	return digest_sha256(str_from(arena_printf(
		&arena, "%s %s", digest_format(&parent->chain_id, a), digest_format(diff_id, b))));
}

/* Chain ids of what now has all its diff ids, from r downwards. */
static void set_chains_locked(struct record *r)
{
	struct record_vec todo = { 0 };

	for (; r && r->kind == RECORD_LAYER && digest_is_set(&r->diff_id) &&
	       !digest_is_set(&r->chain_id);
	     r = r->n_parents ? r->parents[0] : NULL)
		vec_push(&todo, r);
	while (todo.len) {
		struct record *x = vec_pop(&todo), *p = x->n_parents ? x->parents[0] : NULL;
		struct digest chain_id;

		if (p && !digest_is_set(&p->chain_id))
			break;
		chain_id = chain_of(p, &x->diff_id);
		record_set_chain_locked(x, &x->diff_id, &chain_id);
		cache_mark_dirty_locked(x);
	}
	vec_fini(&todo);
}

static void free_make(void *arg)
{
	struct make *m = arg;

	record_unhold(m->rec);
	free(m);
}

static struct err *run_make(struct ctx *ctx, void *arg)
{
	struct make *m = arg;
	struct record *r = m->rec;
	struct oci_descriptor d = { .media_type = str_from(media_type_of(m->type, false)) };
	struct digest diff_id;
	struct variant *v;
	uint64_t size = 0;

	TRYW(write_blob(m, ctx, &d.digest, &diff_id, &size), "failed to compute blob of %s", r->id);
	d.size = (int64_t)size;
	v = variant_new(&d, &diff_id, m->epoch_s);
	LOCKED(&r->cache->lock);
	if (m->epoch_s < 0 && !digest_is_set(&r->diff_id))
		r->diff_id = diff_id;
	record_add_variant_locked(r, v);
	cache_mark_dirty_locked(r);
	return NULL;
}

/* ---- choosing ---- */

struct want {
	struct record *rec;
	const struct cache_compress *o;
	int64_t epoch_s;
	const struct variant *got;
};

static enum compression type_of(const struct variant *v)
{
	return compression_of_media_type(v->desc.media_type);
}

/* The best there is, and what another one could be converted from. */
static const struct variant *choose_locked(const struct want *w, const struct variant **ret_from)
{
	const struct variant *any = NULL;

	*ret_from = NULL;
	vec_each (&w->rec->variants, it) {
		const struct variant *v = *it;

		if (v->epoch_s != w->epoch_s)
			continue;
		if (type_of(v) == w->o->type)
			return v;
		if (!any)
			any = v;
	}
	if (any && !w->o->force)
		return any;
	*ret_from = any;
	return NULL;
}

static bool can_fetch(struct record *r)
{
	LOCKED(&r->cache->lock);
	return r->fetchers.len;
}

static void forget_variant(struct record *r, const struct variant *v)
{
	LOCKED(&r->cache->lock);
	record_retire_variant_locked(r, v);
	cache_mark_dirty_locked(r);
}

/* True when v will do: it is in the store, or may stay remote, or could be fetched. */
static struct err *is_usable(struct want *w, struct ctx *ctx, const struct variant *v, bool *ret)
{
	*ret = true;
	if (content_has(w->rec->cache->content, ctx, &v->desc.digest))
		return NULL;
	if (can_fetch(w->rec))
		return w->o->lazy_ok ? NULL : record_fetch(w->rec, ctx, v);
	/* Gone for good: made again from the snapshot, if there is one. */
	*ret = false;
	return NULL;
}

static struct err *make_it(struct want *w, struct ctx *ctx, const struct variant *from)
{
	struct record *r = w->rec;
	struct make *m = NEW(struct make);
	SCOPED_ARENA(a);
	const char *key;

	*m = (struct make) { .rec = r,
			     .type = w->o->type,
			     .level = w->o->level,
			     .epoch_s = w->epoch_s,
			     .from = from };
	record_hold(r);
	key = arena_printf(&a, "%s:%d:%lld", r->id, (int)w->o->type, (long long)w->epoch_s);
	return singleflight_do(&r->cache->blob, ctx, str_from(key), run_make, m, free_make);
}

static struct err *find_or_make(struct ctx *ctx, void *arg)
{
	struct want *w = arg;
	struct record *r = w->rec;

	for (;;) {
		const struct variant *from, *v;
		bool usable = true, lazy;

		lock_take(&r->cache->lock);
		v = choose_locked(w, &from);
		lazy = record_is_lazy(r) && r->kind == RECORD_LAYER;
		lock_drop(&r->cache->lock);
		if (!v && from) {
			TRY(is_usable(w, ctx, from, &usable));
			if (usable)
				TRY(make_it(w, ctx, from));
		} else if (v) {
			TRY(is_usable(w, ctx, v, &usable));
			if (usable) {
				w->got = v;
				return NULL;
			}
		} else {
			TRY(make_it(w, ctx, NULL));
		}
		if (usable)
			continue;
		if (lazy)
			return record_fetch(r, ctx, v ? v : from);
		forget_variant(r, v ? v : from);
	}
}

/* ---- what is handed out ---- */

static const char *plain_media_type(const struct oci_descriptor *d, const struct cache_compress *o)
{
	enum compression type = compression_of_media_type(d->media_type);

	if (type == COMPRESSION_UNKNOWN || type == COMPRESSION_ESTARGZ || type == COMPRESSION_XZ ||
	    type == COMPRESSION_BZIP2)
		return NULL;
	return media_type_of(type, o->docker_types);
}

static void hand_out(const struct want *w, struct arena *a, struct cache_layer *ret)
{
	const struct variant *v = w->got;
	struct oci_descriptor *d = &ret->desc;
	char text[DIGEST_TEXT_MAX];
	struct oci_kv *all;
	size_t n = 0, at;

	ret->epoch_s = w->epoch_s;
	oci_descriptor_dup(a, &v->desc, d);
	if (!w->o->prefer_nondist || !oci_is_nondistributable(d->media_type)) {
		const char *type = plain_media_type(d, w->o);

		if (type)
			d->media_type = str_from(type);
		d->urls = NULL;
		d->n_urls = 0;
	}
	all = ARENA_NEW_N(a, struct oci_kv, d->n_annotations + 1);
	for (size_t i = 0; i < d->n_annotations; i++)
		if (!str_eq_cstr(d->annotations[i].key, ANNOTATION_DIFF_ID))
			all[n++] = d->annotations[i];
	for (at = n; at > 0 && str_cmp(all[at - 1].key, STR(ANNOTATION_DIFF_ID)) > 0; at--)
		all[at] = all[at - 1];
	all[at].key = STR(ANNOTATION_DIFF_ID);
	all[at].value = str_dup(a, str_from(digest_format(&v->diff_id, text)));
	d->annotations = all;
	d->n_annotations = n + 1;
	ret->diff_id = v->diff_id;
	ret->description = str_dup(a, str_from(w->rec->description));
	ret->created_ns = w->rec->created_ns;
	ret->ref = &w->rec->handle;
}

struct err *cache_ref_layers(struct cache_ref *ref, struct ctx *ctx, struct arena *a,
			     const struct cache_compress *o, struct cache_layer **ret,
			     size_t *ret_n)
{
	struct cache *c = ref->rec->cache;
	struct record_vec list = { 0 };
	struct cache_layer *layers;
	struct task_group g;
	struct want *wants;
	struct err *e;

	e = record_flatten(ref->rec, &list);
	if (e) {
		vec_fini(&list);
		return e;
	}
	wants = ARENA_NEW_N(a, struct want, list.len);
	layers = ARENA_NEW_N(a, struct cache_layer, list.len);
	task_group_init(&g, ctx, LAYERS_AT_ONCE);
	for (size_t i = 0; i < list.len; i++) {
		struct record *r = list.items[i];

		wants[i] = (struct want) { .rec = r, .o = o };
		wants[i].epoch_s = o->epoch_s >= 0 && !r->from_remote ? o->epoch_s : -1;
		task_group_go(&g, "layer blob", find_or_make, &wants[i]);
	}
	e = task_group_wait(&g);
	if (!e) {
		LOCKED(&c->lock);
		set_chains_locked(ref->rec);
		for (size_t i = 0; i < list.len; i++)
			hand_out(&wants[i], a, &layers[i]);
		*ret = layers;
		*ret_n = list.len;
	}
	vec_fini(&list);
	return e;
}
