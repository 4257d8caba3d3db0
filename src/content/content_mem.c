/* Blobs in memory: for tests and for small stores that end with a build. */
#include "content/content_impl.h"

#include "base/lock.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/ref.h"

#include <limits.h>

#define BLOB_MAX ((size_t)1 << 30)

struct mem_blob {
	struct ref ref;     /* the store's and readers' */
	struct arena arena; /* of info; under the store's lock */
	struct content_info info;
	struct buf data;
};

struct mem_ingest {
	struct buf data;
	bool locked;
};

struct content_mem {
	struct content base;
	struct lock lock;
	struct map blobs, ingests;
};

struct mem_writer {
	struct content_writer base;
	struct content_mem *store;
	struct mem_ingest *ingest; /* NULL once committed or discarded */
	char *ref;
};

struct mem_reader {
	struct content_reader base;
	struct mem_blob *blob;
};

static struct content_mem *of(struct content *c)
{
	return container_of(c, struct content_mem, base);
}

static void blob_unref(void *p)
{
	struct mem_blob *b = p;

	if (!ref_put(&b->ref))
		return;
	arena_fini(&b->arena);
	buf_fini(&b->data);
	free(b);
}

static struct mem_blob *find_locked(struct content_mem *m, const struct digest *d)
{
	char key[CONTENT_KEY_MAX];

	lock_assert_held(&m->lock);
	return map_get(&m->blobs, content_key(d, key));
}

static void copy_info(struct arena *a, const struct content_info *from, struct content_info *to)
{
	struct content_label *labels = ARENA_NEW_N(a, struct content_label, from->n_labels);

	for (size_t i = 0; i < from->n_labels; i++) {
		labels[i].key = str_dup(a, from->labels[i].key);
		labels[i].value = str_dup(a, from->labels[i].value);
	}
	*to = *from;
	to->labels = labels;
}

static struct err *mem_info(struct content *c, struct ctx *ctx, struct arena *a,
			    const struct digest *d, struct content_info *ret)
{
	struct content_mem *m = of(c);
	struct mem_blob *b;

	LOCKED(&m->lock);
	b = find_locked(m, d);
	if (!b)
		return content_not_found(d);
	copy_info(a, &b->info, ret);
	return NULL;
}

/* ---- reading ---- */

static struct err *mem_read_at(struct content_reader *r, void *p, size_t len, uint64_t offset,
			       size_t *ret_n)
{
	struct mem_reader *mr = container_of(r, struct mem_reader, base);
	const struct buf *data = &mr->blob->data;
	size_t n = offset < data->len ? MIN(len, data->len - (size_t)offset) : 0;

	if (n)
		memcpy(p, data->data + offset, n);
	*ret_n = n;
	return NULL;
}

static void mem_reader_close(struct content_reader *r)
{
	struct mem_reader *mr = container_of(r, struct mem_reader, base);

	blob_unref(mr->blob);
	free(mr);
}

static struct err *mem_open(struct content *c, struct ctx *ctx, const struct digest *d,
			    struct content_reader **ret)
{
	struct content_mem *m = of(c);
	struct mem_reader *r;
	struct mem_blob *b;

	LOCKED(&m->lock);
	b = find_locked(m, d);
	if (!b)
		return content_not_found(d);
	ref_get(&b->ref);
	r = NEW(struct mem_reader);
	*r = (struct mem_reader) {
		.base = { .read_at = mem_read_at,
			  .close = mem_reader_close,
			  .size = b->data.len,
			  .fd = -1 },
		.blob = b,
	};
	*ret = &r->base;
	return NULL;
}

/* ---- writing ---- */

static void free_ingest(void *p)
{
	struct mem_ingest *i = p;

	buf_fini(&i->data);
	free(i);
}

static struct err *mem_write(struct writer *w, const void *p, size_t len)
{
	struct mem_writer *mw = container_of(w, struct mem_writer, base.io);

	if (!mw->ingest)
		return err_new(ERR_FAILED_PRECONDITION, "ref %s: closed", mw->ref);
	buf_add(&mw->ingest->data, p, len);
	TRY(buf_check(&mw->ingest->data, "blob"));
	mw->base.offset += len;
	return NULL;
}

static void drop_ingest(struct mem_writer *mw)
{
	LOCKED(&mw->store->lock);
	(void)map_del(&mw->store->ingests, str_from(mw->ref));
	free_ingest(TAKE_PTR(mw->ingest));
}

static void mem_discard(struct content_writer *w)
{
	struct mem_writer *mw = container_of(w, struct mem_writer, base);

	if (mw->ingest)
		drop_ingest(mw);
}

static struct err *mem_commit(struct content_writer *w, uint64_t size,
			      const struct digest *expected, const struct content_label *labels,
			      size_t n_labels, struct digest *ret)
{
	struct mem_writer *mw = container_of(w, struct mem_writer, base);
	enum digest_algo algo = expected && digest_is_set(expected)
					? (enum digest_algo)expected->algo
					: DIGEST_SHA256;
	CLEANUP(hasher_freep) struct hasher *h = hasher_new(algo);
	struct content_mem *m = mw->store;
	struct err *e = NULL;
	struct mem_blob *b;
	struct digest d;
	char text[DIGEST_TEXT_MAX], key[CONTENT_KEY_MAX];

	if (!mw->ingest)
		return err_new(ERR_FAILED_PRECONDITION, "ref %s: closed", mw->ref);
	hasher_add_str(h, buf_str(&mw->ingest->data));
	d = hasher_sum(h);
	e = content_check_commit(mw->ingest->data.len, &d, size, expected);
	b = NEW(struct mem_blob);
	ref_init(&b->ref);
	b->info = (struct content_info) { .digest = d,
					  .size = mw->ingest->data.len,
					  .created_ns = clock_wall() };
	b->info.updated_ns = b->info.created_ns;
	if (!e)
		e = content_merge_labels(&b->arena, &b->info, labels, n_labels);
	if (!e) {
		copy_info(&b->arena, &b->info, &b->info);
		lock_take(&m->lock);
		if (find_locked(m, &d)) {
			e = err_new(ERR_ALREADY_EXISTS, "content %s: already exists",
				    digest_format(&d, text));
		} else {
			b->data = mw->ingest->data;
			mw->ingest->data = BUF_INIT(BLOB_MAX);
			(void)map_put(&m->blobs, content_key(&d, key), TAKE_PTR(b));
		}
		lock_drop(&m->lock);
	}
	if (b)
		blob_unref(b);
	drop_ingest(mw);
	if (!e || err_is(e, ERR_ALREADY_EXISTS))
		*ret = d;
	return e;
}

static void mem_writer_close(struct writer *w)
{
	struct mem_writer *mw = container_of(w, struct mem_writer, base.io);

	if (mw->ingest && !mw->ingest->data.len)
		drop_ingest(mw);
	if (mw->ingest) {
		LOCKED(&mw->store->lock);
		mw->ingest->locked = false;
	}
	free(mw->ref);
	free(mw);
}

static struct err *mem_writer_open(struct content *c, struct ctx *ctx, struct str ref,
				   struct content_writer **ret)
{
	struct content_mem *m = of(c);
	struct mem_ingest *i;
	struct mem_writer *w;

	if (!ref.len || ref.len > LIMIT_INGEST_REF)
		return err_new(ERR_INVALID_ARGUMENT, "invalid ingest ref");
	LOCKED(&m->lock);
	i = map_get(&m->ingests, ref);
	if (i && i->locked)
		return err_new(ERR_UNAVAILABLE, "ref %.*s locked", STR_ARG(ref));
	if (!i) {
		i = NEW(struct mem_ingest);
		i->data = BUF_INIT(BLOB_MAX);
		(void)map_put(&m->ingests, ref, i);
	}
	i->locked = true;
	w = NEW(struct mem_writer);
	*w = (struct mem_writer) {
		.base = { .io = { .write = mem_write, .close = mem_writer_close },
			  .offset = i->data.len,
			  .commit = mem_commit,
			  .discard = mem_discard },
		.store = m,
		.ingest = i,
		.ref = str_heap(ref),
	};
	*ret = &w->base;
	return NULL;
}

/* ---- the rest ---- */

static struct err *mem_label(struct content *c, struct ctx *ctx, const struct digest *d,
			     const struct content_label *labels, size_t n)
{
	struct content_mem *m = of(c);
	struct arena fresh = ARENA_INIT;
	struct content_info info;
	struct mem_blob *b;
	struct err *e;

	LOCKED(&m->lock);
	b = find_locked(m, d);
	if (!b)
		return content_not_found(d);
	info = b->info;
	info.updated_ns = clock_wall();
	e = content_merge_labels(&fresh, &info, labels, n);
	if (!e)
		copy_info(&fresh, &info, &b->info);
	arena_fini(e ? &fresh : &b->arena);
	if (!e)
		b->arena = fresh;
	return e;
}

static struct err *mem_remove(struct content *c, struct ctx *ctx, const struct digest *d)
{
	struct content_mem *m = of(c);
	char key[CONTENT_KEY_MAX];
	struct mem_blob *b;

	LOCKED(&m->lock);
	b = map_del(&m->blobs, content_key(d, key));
	if (!b)
		return content_not_found(d);
	blob_unref(b);
	return NULL;
}

static struct err *mem_each(struct content *c, struct ctx *ctx,
			    struct err *(*fn)(void *arg, const struct content_info *info),
			    void *arg)
{
	struct content_mem *m = of(c);
	SCOPED_ARENA(a);
	struct content_info *all;
	struct map_entry **sorted;
	size_t n;

	lock_take(&m->lock);
	n = map_len(&m->blobs);
	all = ARENA_NEW_N(&a, struct content_info, n);
	sorted = map_sorted(&m->blobs, &a);
	for (size_t i = 0; i < n; i++)
		copy_info(&a, &((struct mem_blob *)sorted[i]->value)->info, &all[i]);
	lock_drop(&m->lock);
	for (size_t i = 0; i < n; i++)
		TRY(fn(arg, &all[i]));
	return NULL;
}

static void mem_free(struct content *c)
{
	struct content_mem *m = of(c);

	map_fini(&m->blobs, blob_unref);
	map_fini(&m->ingests, free_ingest);
	lock_fini(&m->lock);
	free(m);
}

static const struct content_ops mem_ops = {
	.info = mem_info,
	.open = mem_open,
	.writer = mem_writer_open,
	.label = mem_label,
	.remove = mem_remove,
	.each = mem_each,
	.free = mem_free,
};

struct content *content_new_mem(void)
{
	struct content_mem *m = NEW(struct content_mem);

	m->base.ops = &mem_ops;
	lock_init(&m->lock, LOCK_CONTENT);
	return &m->base;
}
