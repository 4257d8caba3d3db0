#include "content/content.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"

#define COPY_SIZE ((size_t)256 * 1024)

struct err *content_info(struct content *c, struct ctx *ctx, struct arena *a,
			 const struct digest *d, struct content_info *ret)
{
	return c->ops->info(c, ctx, a, d, ret);
}

bool content_has(struct content *c, struct ctx *ctx, const struct digest *d)
{
	SCOPED_ARENA(a);
	SCOPED_ERR(e);
	struct content_info info;

	e = c->ops->info(c, ctx, &a, d, &info);
	return !e;
}

struct err *content_open(struct content *c, struct ctx *ctx, const struct digest *d,
			 struct content_reader **ret)
{
	return c->ops->open(c, ctx, d, ret);
}

struct err *content_writer_open(struct content *c, struct ctx *ctx, struct str ref,
				struct content_writer **ret)
{
	return c->ops->writer(c, ctx, ref, ret);
}

struct err *content_label(struct content *c, struct ctx *ctx, const struct digest *d,
			  const struct content_label *labels, size_t n)
{
	return c->ops->label(c, ctx, d, labels, n);
}

struct err *content_remove(struct content *c, struct ctx *ctx, const struct digest *d)
{
	return c->ops->remove(c, ctx, d);
}

void content_free(struct content *c)
{
	if (c)
		c->ops->free(c);
}

void content_reader_close(struct content_reader *r)
{
	if (r)
		r->close(r);
}

void content_reader_closep(struct content_reader **r)
{
	content_reader_close(*r);
	*r = NULL;
}

struct err *content_commit(struct content_writer *w, uint64_t size, const struct digest *expected,
			   const struct content_label *labels, size_t n, struct digest *ret)
{
	struct digest got;

	return w->commit(w, size, expected, labels, n, ret ? ret : &got);
}

void content_writer_close(struct content_writer *w)
{
	if (w)
		w->io.close(&w->io);
}

void content_writer_closep(struct content_writer **w)
{
	content_writer_close(*w);
	*w = NULL;
}

/* ---- whole blobs ---- */

struct err *content_read_blob(struct content *c, struct ctx *ctx, const struct digest *d,
			      size_t max, struct buf *out)
{
	CLEANUP(content_reader_closep) struct content_reader *r = NULL;
	CLEANUP(hasher_freep) struct hasher *h = NULL;
	char text[DIGEST_TEXT_MAX];
	struct digest got;
	uint64_t at = 0;
	size_t n;
	char *p;

	TRY(content_open(c, ctx, d, &r));
	if (r->size > max)
		return err_new(ERR_RESOURCE_EXHAUSTED, "blob %s is too large (%llu > %zu)",
			       digest_format(d, text), (unsigned long long)r->size, max);
	p = buf_reserve(out, (size_t)r->size);
	if (!p)
		return buf_check(out, digest_format(d, text));
	do {
		TRY(r->read_at(r, p + at, (size_t)(r->size - at), at, &n));
		at += n;
	} while (n && at < r->size);
	h = hasher_new((enum digest_algo)d->algo);
	hasher_add(h, p, (size_t)at);
	got = hasher_sum(h);
	if (at != r->size || !digest_eq(&got, d))
		return err_new(ERR_DATA_LOSS, "content %s: damaged", digest_format(d, text));
	out->len += (size_t)at;
	if (out->data)
		out->data[out->len] = '\0';
	return NULL;
}

struct err *content_write_blob(struct content *c, struct ctx *ctx, struct str data,
			       const struct content_label *labels, size_t n, struct digest *ret)
{
	CLEANUP(content_writer_closep) struct content_writer *w = NULL;
	struct digest d = digest_sha256(data);
	char text[DIGEST_TEXT_MAX], ref[DIGEST_TEXT_MAX + 32];
	struct err *e;

	/* A ref of its own, so that two writers of one blob don't get in each other's way. */
	(void)snprintf(ref, sizeof(ref), "blob-%p-%s", (void *)&d, digest_format(&d, text));
	e = content_has(c, ctx, &d) ? err_new(ERR_ALREADY_EXISTS, "exists") : NULL;
	if (!e)
		e = content_writer_open(c, ctx, str_from(ref), &w);
	if (!e && w->offset) {
		w->discard(w);
		content_writer_closep(&w);
		e = content_writer_open(c, ctx, str_from(ref), &w);
	}
	if (!e)
		e = writer_write(&w->io, data.ptr, data.len);
	if (!e)
		e = content_commit(w, data.len, &d, labels, n, NULL);
	if (err_is(e, ERR_ALREADY_EXISTS)) {
		err_free(e);
		e = n ? content_label(c, ctx, &d, labels, n) : NULL;
	} else if (e && w) {
		w->discard(w);
	}
	if (!e && ret)
		*ret = d;
	return e;
}

struct err *content_copy(struct ctx *ctx, struct content *from, struct content *to,
			 const struct digest *d)
{
	CLEANUP(content_reader_closep) struct content_reader *r = NULL;
	CLEANUP(content_writer_closep) struct content_writer *w = NULL;
	CLEANUP_FREE char *chunk = NULL;
	char text[DIGEST_TEXT_MAX], ref[DIGEST_TEXT_MAX + 8];
	struct err *e;
	uint64_t at;
	size_t n;

	if (content_has(to, ctx, d))
		return NULL;
	TRY(content_open(from, ctx, d, &r));
	(void)snprintf(ref, sizeof(ref), "copy-%s", digest_format(d, text));
	TRY(content_writer_open(to, ctx, str_from(ref), &w));
	if (w->offset > r->size) {
		w->discard(w);
		content_writer_closep(&w);
		TRY(content_writer_open(to, ctx, str_from(ref), &w));
	}
	chunk = mem_alloc(COPY_SIZE);
	for (at = w->offset; at < r->size; at += n) {
		if (ctx_done(ctx))
			return ctx_err(ctx);
		TRY(r->read_at(r, chunk, MIN(COPY_SIZE, (size_t)(r->size - at)), at, &n));
		if (!n)
			return err_new(ERR_DATA_LOSS, "content %s: unexpected EOF", text);
		TRY(writer_write(&w->io, chunk, n));
	}
	e = content_commit(w, r->size, d, NULL, 0, NULL);
	if (err_is(e, ERR_ALREADY_EXISTS))
		err_free(TAKE_PTR(e));
	return e;
}

/* ---- as a stream ---- */

struct stream {
	struct reader base;
	struct content_reader *r;
	uint64_t at;
};

static struct err *stream_read(struct reader *r, void *p, size_t len, size_t *ret_n)
{
	struct stream *s = container_of(r, struct stream, base);

	TRY(s->r->read_at(s->r, p, len, s->at, ret_n));
	s->at += *ret_n;
	return NULL;
}

static void stream_close(struct reader *r)
{
	struct stream *s = container_of(r, struct stream, base);

	content_reader_close(s->r);
	free(s);
}

struct reader *content_as_reader(struct content_reader *r)
{
	struct stream *s = NEW(struct stream);

	*s = (struct stream) { .base = { stream_read, stream_close }, .r = r };
	return &s->base;
}
