#include "remotecache/objstore.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/task.h"
#include "base/vec.h"

static struct str key_of(const struct objstore *s, struct arena *a, struct str prefix,
			 struct str name)
{
	struct str key = str_from(arena_printf(a, "%.*s%.*s", STR_ARG(prefix), STR_ARG(name)));

	return s->clean_keys ? path_clean(a, key) : key;
}

static struct str blob_key(const struct objstore *s, struct arena *a, const struct digest *d)
{
	return key_of(s, a, s->blobs, str_from(digest_text(d, a)));
}

/* ---- fetching ---- */

static struct err *write_piece(void *arg, const void *p, size_t len)
{
	struct content_writer *w = arg;

	return writer_write(&w->io, p, len);
}

static struct err *download(struct objstore *s, struct ctx *ctx, struct content *to,
			    const struct oci_descriptor *d)
{
	CLEANUP(content_writer_closep) struct content_writer *w = NULL;
	SCOPED_ARENA(a);
	char *name = digest_text(&d->digest, &a);
	struct err *e;
	bool found;

	TRY(content_writer_open(to, ctx, str_from(arena_printf(&a, "objstore-%s", name)), &w));
	if (w->offset) {
		w->discard(w);
		content_writer_closep(&w);
		TRY(content_writer_open(to, ctx, str_from(arena_printf(&a, "objstore-%s", name)),
					&w));
	}
	e = s->ops->get(s, ctx, blob_key(s, &a, &d->digest), write_piece, w, &found);
	if (!e && !found)
		e = err_new(ERR_NOT_FOUND, "blob %s not found", name);
	if (!e)
		e = content_commit(w, (uint64_t)d->size, &d->digest, NULL, 0, NULL);
	else
		w->discard(w);
	if (err_is(e, ERR_ALREADY_EXISTS))
		err_free(TAKE_PTR(e));
	return e;
}

/* What a lazy layer keeps: the store, and where its blob is to go. */
struct origin {
	struct ref ref;
	struct objstore *store;
	struct content *content;
};

static void origin_ref(void *arg)
{
	struct origin *o = arg;

	ref_get(&o->ref);
}

static void origin_unref(void *arg)
{
	struct origin *o = arg;

	if (!ref_put(&o->ref))
		return;
	objstore_unref(o->store);
	free(o);
}

static struct err *origin_fetch(void *arg, struct ctx *ctx, const struct oci_descriptor *d)
{
	struct origin *o = arg;

	if (content_has(o->content, ctx, &d->digest))
		return NULL;
	return download(o->store, ctx, o->content, d);
}

static struct err *origin_check(void *arg, struct ctx *ctx, const struct oci_descriptor *d)
{
	struct origin *o = arg;
	struct objstat st;
	SCOPED_ARENA(a);

	if (content_has(o->content, ctx, &d->digest))
		return NULL;
	TRY(o->store->ops->stat(o->store, ctx, blob_key(o->store, &a, &d->digest), &st));
	return st.found ? NULL
			: err_new(ERR_NOT_FOUND, "blob %s: not found", digest_text(&d->digest, &a));
}

/* ---- import ---- */

static struct err *gather(void *arg, const void *p, size_t len)
{
	struct buf *b = arg;

	buf_add(b, p, len);
	return buf_check(b, "cache manifest");
}

static struct err *import_one(struct objstore *s, const struct remotecache_origin *o,
			      struct ctx *ctx, struct str name, struct cache_source **ret)
{
	SCOPED_BUF(text, LIMIT_MANIFEST);
	SCOPED_ARENA(a);
	bool found;

	*ret = NULL;
	TRY(s->ops->get(s, ctx, key_of(s, &a, s->manifests, name), gather, &text, &found));
	return found ? remotecache_import_config(o, buf_str(&text), ret) : NULL;
}

struct err *objcache_import(struct objstore *s, struct cache *c,
			    struct result *(*result_of)(void *arg, struct cache_ref *take_ref),
			    void *arg, struct ctx *ctx, struct arena *a, struct cache_source ***ret,
			    size_t *ret_n)
{
	struct origin *origin = NEW(struct origin);
	struct remotecache_origin o = {
		.cache = c,
		.result_of = result_of,
		.arg = arg,
		.fetch = { origin_fetch, origin_ref, origin_unref, origin },
		.check = origin_check,
	};
	size_t n_names = s->read_all ? s->n_names : MIN(s->n_names, (size_t)1), n = 0;
	struct cache_source **out = ARENA_NEW_N(a, struct cache_source *, n_names + 1);
	struct err *e = NULL;

	ref_init(&origin->ref);
	origin->store = objstore_ref(s);
	origin->content = cache_content(c);
	for (size_t i = 0; i < n_names && !e; i++) {
		e = import_one(s, &o, ctx, s->names[i], &out[n]);
		if (e)
			e = err_wrap(e, "failed to load cache manifest %.*s", STR_ARG(s->names[i]));
		else if (out[n])
			n++;
	}
	origin_unref(origin);
	if (e) {
		for (size_t i = 0; i < n; i++)
			cache_source_unref(out[i]);
		return e;
	}
	*ret = out;
	*ret_n = n;
	return NULL;
}

/* ---- export ---- */

struct upload {
	struct objstore *store;
	struct content *from;
	const struct oci_descriptor *desc;
	struct vprogress *v;
};

static struct err *send_layer(struct ctx *ctx, struct upload *u, struct str key, struct arena *a)
{
	struct objbody body = {
		.ctx = ctx,
		.content = u->from,
		.blob = u->desc,
		.sha256 = u->desc->digest,
	};
	struct str status =
		str_from(arena_printf(a, "writing layer %s", digest_text(&u->desc->digest, a)));
	int64_t started = progress_status_begin(u->v, status);

	TRYW(u->store->ops->put(u->store, ctx, key, &body, true), "error writing layer blob");
	progress_status_done(u->v, status, started);
	return NULL;
}

static struct err *upload_layer(struct ctx *ctx, void *arg)
{
	struct upload *u = arg;
	struct objstore *s = u->store;
	struct objstat st;
	SCOPED_ARENA(a);
	struct str key = blob_key(s, &a, &u->desc->digest);

	TRYW(s->ops->stat(s, ctx, key, &st), "failed to check file presence in cache");
	if (!st.found)
		return send_layer(ctx, u, key, &a);
	if (s->ops->touch && st.modified_ns && clock_wall() - st.modified_ns > s->touch_age_ns)
		TRYW(s->ops->touch(s, ctx, key, st.size), "failed to touch file");
	return NULL;
}

struct err *objcache_export(struct objstore *s, struct ctx *ctx, struct content *from,
			    const struct remotecache_written *w, struct vprogress *v)
{
	SCOPED_ARENA(a);
	struct upload *u = ARENA_NEW_N(&a, struct upload, w->n_layers + 1);
	struct objbody body = { .text = w->config_text, .sha256 = digest_sha256(w->config_text) };
	struct task_group g;

	task_group_init(&g, ctx, s->parallel);
	for (size_t i = 0; i < w->n_layers; i++) {
		u[i] = (struct upload) { s, from, &w->layers[i], v };
		task_group_go(&g, "cache layer", upload_layer, &u[i]);
	}
	TRY(task_group_wait(&g));
	for (size_t i = 0; i < s->n_names; i++)
		TRYW(s->ops->put(s, ctx, key_of(s, &a, s->manifests, s->names[i]), &body, false),
		     "error writing manifest %.*s", STR_ARG(s->names[i]));
	return NULL;
}
