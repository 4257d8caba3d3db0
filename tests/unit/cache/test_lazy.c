/* Layers known by their blobs: pulled and unpacked when needed; layers of ours as blobs. */
#include "env.h"

#include "codec/compress.h"
#include "codec/tar.h"

#include <stdatomic.h>

struct remote {
	struct env *e;
	atomic_int refs, fetches;
	bool broken;
	struct {
		struct digest digest;
		struct str bytes;
	} blobs[10];
	size_t n;
};

static struct err *fetch(void *arg, struct ctx *ctx, const struct oci_descriptor *d)
{
	struct remote *r = arg;

	r->fetches++;
	if (r->broken)
		return err_new(ERR_UNAVAILABLE, "no network");
	for (size_t i = 0; i < r->n; i++)
		if (digest_eq(&r->blobs[i].digest, &d->digest))
			return content_write_blob(r->e->content, ctx, r->blobs[i].bytes, NULL, 0,
						  NULL);
	return err_new(ERR_NOT_FOUND, "no such blob");
}

static void ref(void *arg)
{
	((struct remote *)arg)->refs++;
}

static void unref(void *arg)
{
	((struct remote *)arg)->refs--;
}

static struct cache_fetcher fetcher_of(struct remote *r)
{
	return (struct cache_fetcher) { fetch, ref, unref, r };
}

static struct digest chain(const struct cache_blob *parent, const struct digest *diff_id)
{
	char a[DIGEST_TEXT_MAX], b[DIGEST_TEXT_MAX], text[2 * DIGEST_TEXT_MAX];

	if (!parent)
		return *diff_id;
	(void)snprintf(text, sizeof(text), "%s %s", digest_format(&parent->chain_id, a),
		       digest_format(diff_id, b));
	return digest_sha256(str_from(text));
}

/* A layer tar with one file, gzipped, put on the remote. */
static struct cache_blob make_blob(struct remote *r, const struct cache_blob *parent,
				   const char *name, const char *text)
{
	struct env *e = r->e;
	struct buf tar = BUF_INIT(1 << 20), packed = BUF_INIT(1 << 20);
	struct writer *out = writer_of_buf(&tar), *z;
	struct tar_writer *t = tar_writer_new(out);
	struct tar_header h = {
		.type = '0', .name = str_from(name), .mode = 0644, .size = strlen(text)
	};
	struct cache_blob b = { 0 };

	OK(tar_write_header(t, &h));
	OK(tar_write(t, text, strlen(text)));
	OK(tar_finish(t));
	tar_writer_free(t);
	writer_close(out);
	out = writer_of_buf(&packed);
	OK(compress_writer(e->ctx, COMPRESSION_GZIP, -1, out, &z));
	OK(writer_write(z, tar.data, tar.len));
	OK(writer_finish(z));
	writer_close(z);
	writer_close(out);
	b.diff_id = digest_sha256(buf_str(&tar));
	b.chain_id = chain(parent, &b.diff_id);
	b.desc.media_type = STR(OCI_LAYER_GZIP);
	b.desc.digest = digest_sha256(buf_str(&packed));
	b.desc.size = (int64_t)packed.len;
	r->blobs[r->n].digest = b.desc.digest;
	r->blobs[r->n++].bytes = str_dup(&e->a, buf_str(&packed));
	buf_fini(&tar);
	buf_fini(&packed);
	return b;
}

static struct cache_ref *get_chain(struct remote *r, const struct cache_blob *b, size_t n)
{
	struct cache_fetcher f = fetcher_of(r);
	struct cache_opts o = { .description = STR("pulled") };
	struct cache_ref *ref_ = NULL, *next;

	for (size_t i = 0; i < n; i++) {
		OK(cache_get_by_blob(r->e->c, r->e->ctx, ref_, &b[i], &f, &o, &next));
		cache_ref_release(ref_);
		ref_ = next;
	}
	return ref_;
}

/* An image that says its layer has the diff id of another, and brings other bytes. */
static void liar(void **state)
{
	struct env *e = *state;
	struct remote r = { .e = e };
	struct cache_compress o = { .type = COMPRESSION_GZIP, .level = -1, .epoch_s = -1 };
	struct cache_blob good = make_blob(&r, NULL, "one", "good");
	struct cache_blob evil = make_blob(&r, NULL, "one", "evil");
	struct cache_ref *a, *b;
	struct cache_layer *l;
	size_t n;

	evil.diff_id = good.diff_id;
	evil.chain_id = good.chain_id;
	a = get_chain(&r, &evil, 1);
	b = get_chain(&r, &good, 1);
	OK(cache_ref_layers(b, e->ctx, &e->a, &o, &l, &n));
	assert_true(digest_eq(&l[0].desc.digest, &good.desc.digest));
	EXPECT(ERR_DATA_LOSS, cache_ref_unlazy(a, e->ctx, NULL));
	env_expect(e, b, "one", "good");
	cache_ref_release(a);
	/* Once the real one is there, the lie has no place. */
	a = get_chain(&r, &evil, 1);
	assert_ptr_equal(a, b);
	OK(cache_ref_layers(a, e->ctx, &e->a, &o, &l, &n));
	assert_true(digest_eq(&l[0].desc.digest, &good.desc.digest));
	cache_ref_release(a);
	cache_ref_release(b);
}

struct heard {
	atomic_int begun, done;
};

static void report(void *arg, const char *id, const char *action, int64_t current, int64_t total,
		   bool done)
{
	struct heard *h = arg;

	(void)current, (void)total;
	assert_memory_equal(id, "sha256:", 7);
	assert_string_equal(action, "extracting");
	if (done)
		h->done++;
	else
		h->begun++;
}

static void pull_and_unpack(void **state)
{
	struct env *e = *state;
	struct remote r = { .e = e };
	struct cache_blob b[3];
	struct cache_ref *top, *again, *child;
	struct heard heard = { 0 };
	struct cache_progress p = { report, &heard };
	char *id;

	b[0] = make_blob(&r, NULL, "one", "1");
	b[1] = make_blob(&r, &b[0], "two", "2");
	b[2] = make_blob(&r, &b[1], "one", "3");
	top = get_chain(&r, b, 3);
	assert_int_equal(r.refs, 3); /* also of layers whose handles are gone */
	assert_int_equal(r.fetches, 0);
	again = get_chain(&r, b, 2);
	assert_ptr_equal(again, cache_ref_parent(top));
	cache_ref_release(again);
	OK(cache_ref_unlazy(top, e->ctx, &p));
	assert_int_equal(r.fetches, 3);
	assert_int_equal(heard.begun, 3);
	assert_int_equal(heard.done, 3);
	env_expect(e, top, "one", "3");
	env_expect(e, top, "two", "2");
	env_expect(e, cache_ref_parent(top), "one", "1");
	child = env_layer(e, top, "four", "4");
	env_expect(e, child, "two", "2");
	cache_ref_release(child);
	id = arena_strdup(&e->a, cache_ref_id(top));
	cache_ref_release(top);
	assert_int_equal(r.refs, 0);
	env_reopen(e);
	top = env_get(e, id);
	env_expect(e, top, "two", "2");
	cache_ref_release(top);
	/* By chain id still. */
	top = get_chain(&r, b, 3);
	assert_string_equal(cache_ref_id(top), id);
	env_expect(e, top, "two", "2");
	cache_ref_release(top);
	assert_int_equal(r.fetches, 3);
}

static void lazy_over_a_restart(void **state)
{
	struct env *e = *state;
	struct remote r = { .e = e };
	struct cache_blob b[2];
	struct cache_ref *top;
	char *id;

	b[0] = make_blob(&r, NULL, "one", "1");
	b[1] = make_blob(&r, &b[0], "two", "2");
	top = get_chain(&r, b, 2);
	id = arena_strdup(&e->a, cache_ref_id(top));
	cache_ref_release(top);
	env_reopen(e);
	/* Known, but nobody to pull it. */
	EXPECT(ERR_NOT_FOUND, cache_get(e->c, e->ctx, str_from(id), &top));
	top = get_chain(&r, b, 2);
	assert_string_equal(cache_ref_id(top), id);
	env_expect(e, top, "two", "2");
	cache_ref_release(top);
}

static void snapshots_gone_blobs_there(void **state)
{
	struct env *e = *state;
	struct remote r = { .e = e };
	struct cache_blob b[2];
	struct cache_ref *top, *child;
	char *id, *parent, *child_id;

	b[0] = make_blob(&r, NULL, "one", "1");
	b[1] = make_blob(&r, &b[0], "two", "2");
	top = get_chain(&r, b, 2);
	OK(cache_ref_unlazy(top, e->ctx, NULL));
	child = env_layer(e, top, "three", "3");
	id = arena_strdup(&e->a, cache_ref_id(top));
	parent = arena_strdup(&e->a, cache_ref_id(cache_ref_parent(top)));
	child_id = arena_strdup(&e->a, cache_ref_id(child));
	cache_ref_release(child);
	cache_ref_release(top);
	OK(cache_flush(e->c, false));
	cache_close(e->c);
	OK(snapshot_remove(e->s, str_from(child_id)));
	OK(snapshot_remove(e->s, str_from(id)));
	OK(snapshot_remove(e->s, str_from(parent)));
	OK(cache_open(e->kv, e->s, e->content, e->tmp, e->ctx, &e->c));
	EXPECT(ERR_NOT_FOUND, cache_get(e->c, e->ctx, str_from(child_id), &child));
	top = env_get(e, id);
	env_expect(e, top, "two", "2");
	cache_ref_release(top);
}

static void failures(void **state)
{
	struct env *e = *state;
	struct remote r = { .e = e, .broken = true };
	struct cache_blob b[2];
	struct cache_ref *top;
	struct digest wrong = digest_sha256(STR("wrong"));
	struct err *err;

	b[0] = make_blob(&r, NULL, "one", "1");
	b[1] = make_blob(&r, &b[0], "two", "2");
	top = get_chain(&r, b, 2);
	EXPECT(ERR_UNAVAILABLE, cache_ref_unlazy(top, e->ctx, NULL));
	r.broken = false;
	env_expect(e, top, "two", "2");
	cache_ref_release(top);

	/* A layer that is not what its diff id says. */
	b[0] = make_blob(&r, NULL, "one", "other");
	b[0].diff_id = b[0].chain_id = wrong;
	top = get_chain(&r, b, 1);
	err = cache_ref_unlazy(top, e->ctx, NULL);
	assert_non_null(err);
	assert_non_null(strstr(err_text(err), "wrong diff id calculated on extraction"));
	err_free(err);
	EXPECT(ERR_DATA_LOSS, cache_ref_unlazy(top, e->ctx, NULL));
	{
		char *id = arena_strdup(&e->a, cache_ref_id(top));

		cache_ref_release(top);
		EXPECT(ERR_NOT_FOUND, cache_get(e->c, e->ctx, str_from(id), &top));
	}
}

static struct err *unlazy(struct ctx *ctx, void *arg)
{
	return cache_ref_unlazy(arg, ctx, NULL);
}

static void many_wait_for_one(void **state)
{
	struct env *e = *state;
	struct remote r = { .e = e };
	struct cache_blob b[4];
	struct cache_ref *top[3];
	struct task_group g;

	for (size_t i = 0; i < 4; i++) {
		char name[8] = { 'f', (char)('0' + i) };

		b[i] = make_blob(&r, i ? &b[i - 1] : NULL, name, name);
	}
	for (size_t i = 0; i < 3; i++)
		top[i] = get_chain(&r, b, i + 2);
	task_group_init(&g, e->ctx, 0);
	for (size_t i = 0; i < 30; i++)
		task_group_go(&g, "unlazy", unlazy, top[i % 3]);
	OK(task_group_wait(&g));
	assert_int_equal(r.fetches, 4);
	for (size_t i = 0; i < 3; i++) {
		env_expect(e, top[i], "f1", "f1");
		cache_ref_release(top[i]);
	}
}

/* ---- layers as blobs ---- */

static bool has_annotation(const struct cache_layer *l)
{
	char text[DIGEST_TEXT_MAX];
	struct str v = oci_annotation(&l->desc, "containerd.io/uncompressed");

	return str_eq_cstr(v, digest_format(&l->diff_id, text));
}

static void blobs(void **state)
{
	struct env *e = *state;
	struct cache_ref *a = env_layer(e, NULL, "one", "1"), *b = env_layer(e, a, "two", "2");
	struct cache_compress o = { .type = COMPRESSION_GZIP, .level = -1, .epoch_s = -1 };
	struct cache_layer *l, *again, *zstd, *plain, *cut, *forced;
	char *id = arena_strdup(&e->a, cache_ref_id(b));
	size_t n;

	OK(cache_ref_layers(b, e->ctx, &e->a, &o, &l, &n));
	assert_int_equal(n, 2);
	for (size_t i = 0; i < n; i++) {
		assert_true(str_eq_cstr(l[i].desc.media_type, OCI_LAYER_GZIP));
		assert_true(content_has(e->content, e->ctx, &l[i].desc.digest));
		assert_true(has_annotation(&l[i]));
	}
	assert_true(str_eq(l[0].description, STR("one")));
	assert_ptr_equal(l[0].ref, a);
	assert_ptr_equal(l[1].ref, b);
	/* Kept, also over a restart; any type will do unless forced. */
	cache_ref_release(a);
	cache_ref_release(b);
	env_reopen(e);
	b = env_get(e, id);
	o.type = COMPRESSION_ZSTD;
	OK(cache_ref_layers(b, e->ctx, &e->a, &o, &again, &n));
	for (size_t i = 0; i < n; i++)
		assert_true(digest_eq(&l[i].desc.digest, &again[i].desc.digest));
	o.force = true;
	OK(cache_ref_layers(b, e->ctx, &e->a, &o, &zstd, &n));
	o.type = COMPRESSION_NONE;
	o.docker_types = true;
	OK(cache_ref_layers(b, e->ctx, &e->a, &o, &plain, &n));
	for (size_t i = 0; i < n; i++) {
		assert_true(str_eq_cstr(zstd[i].desc.media_type, OCI_LAYER_ZSTD));
		assert_true(str_eq_cstr(plain[i].desc.media_type, DOCKER_LAYER));
		assert_true(digest_eq(&zstd[i].diff_id, &l[i].diff_id));
		assert_true(digest_eq(&plain[i].diff_id, &l[i].diff_id));
		assert_true(digest_eq(&plain[i].desc.digest, &plain[i].diff_id));
	}
	/* With times cut off it is another layer. */
	o.epoch_s = 1000;
	OK(cache_ref_layers(b, e->ctx, &e->a, &o, &cut, &n));
	for (size_t i = 0; i < n; i++)
		assert_false(digest_eq(&cut[i].diff_id, &l[i].diff_id));
	/* A blob that is lost is made again. */
	o = (struct cache_compress) {
		.type = COMPRESSION_ZSTD, .level = -1, .epoch_s = -1, .force = true
	};
	OK(content_remove(e->content, e->ctx, &zstd[1].desc.digest));
	OK(cache_ref_layers(b, e->ctx, &e->a, &o, &forced, &n));
	assert_true(digest_eq(&forced[1].desc.digest, &zstd[1].desc.digest));
	assert_true(content_has(e->content, e->ctx, &zstd[1].desc.digest));
	cache_ref_release(b);
}

/* What was built here is found when the same layers are pulled. */
static void found_by_chain(void **state)
{
	struct env *e = *state;
	struct cache_ref *a = env_layer(e, NULL, "one", "1"), *b = env_layer(e, a, "two", "2"),
			 *got;
	struct cache_compress o = { .type = COMPRESSION_GZIP, .level = -1, .epoch_s = -1 };
	struct cache_blob blob[2] = { 0 };
	struct cache_layer *l;
	size_t n;

	OK(cache_ref_layers(b, e->ctx, &e->a, &o, &l, &n));
	for (size_t i = 0; i < n; i++) {
		blob[i].desc = l[i].desc;
		blob[i].diff_id = l[i].diff_id;
		blob[i].chain_id = chain(i ? &blob[0] : NULL, &l[i].diff_id);
	}
	OK(cache_get_by_blob(e->c, e->ctx, a, &blob[1], NULL, NULL, &got));
	assert_ptr_equal(got, b);
	cache_ref_release(got);
	cache_ref_release(a);
	cache_ref_release(b);
}

static void lazy_layers(void **state)
{
	struct env *e = *state;
	struct remote r = { .e = e };
	struct cache_blob b[2];
	struct cache_ref *top, *child;
	struct cache_compress o = {
		.type = COMPRESSION_GZIP, .level = -1, .epoch_s = 5, .lazy_ok = true
	};
	struct oci_kv note = { STR("zzz"), STR("kept") };
	struct cache_layer *l;
	size_t n;

	b[0] = make_blob(&r, NULL, "one", "1");
	b[0].desc.annotations = &note;
	b[0].desc.n_annotations = 1;
	b[1] = make_blob(&r, &b[0], "two", "2");
	top = get_chain(&r, b, 2);
	OK(cache_ref_layers(top, e->ctx, &e->a, &o, &l, &n));
	assert_int_equal(n, 2);
	assert_int_equal(r.fetches, 0);
	assert_true(digest_eq(&l[0].desc.digest, &b[0].desc.digest));
	assert_int_equal(l[0].desc.n_annotations, 2);
	assert_true(has_annotation(&l[0]));
	assert_true(str_eq(l[0].desc.annotations[1].value, STR("kept")));
	o.lazy_ok = false;
	OK(cache_ref_layers(top, e->ctx, &e->a, &o, &l, &n));
	assert_int_equal(r.fetches, 2);
	/* Converted from the blob: the same tar. */
	o.force = true;
	o.type = COMPRESSION_ZSTD;
	OK(cache_ref_layers(top, e->ctx, &e->a, &o, &l, &n));
	assert_true(digest_eq(&l[1].diff_id, &b[1].diff_id));
	assert_true(str_eq_cstr(l[1].desc.media_type, OCI_LAYER_ZSTD));
	child = env_layer(e, top, "three", "3");
	o.force = false;
	o.type = COMPRESSION_GZIP;
	OK(cache_ref_layers(child, e->ctx, &e->a, &o, &l, &n));
	assert_int_equal(n, 3);
	assert_true(digest_eq(&l[0].desc.digest, &b[0].desc.digest));
	cache_ref_release(child);
	cache_ref_release(top);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(pull_and_unpack),
		T(lazy_over_a_restart),
		T(snapshots_gone_blobs_there),
		T(failures),
		T(many_wait_for_one),
		T(blobs),
		T(found_by_chain),
		T(liar),
		T(lazy_layers),
	};

	if (!env_init())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
