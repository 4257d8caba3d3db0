#include "servers.h"

#include <stdatomic.h>

struct lines {
	struct lock lock;
	struct buf text;
};

static void log_line(void *arg, const char *text)
{
	struct lines *l = arg;

	lock_take(&l->lock);
	buf_add_cstr(&l->text, text);
	buf_add_char(&l->text, '\n');
	lock_drop(&l->lock);
}

static struct err *push(struct fixture *f, const char *name, const struct oci_descriptor *d,
			const struct registry_auth *auth, struct lines *l)
{
	struct imageref ref = fixture_ref(f, name);
	struct registry_push_opts o = { .log = l ? log_line : NULL, .log_arg = l };

	return registry_push(f->reg, f->ctx, &ref, d, f->store, auth, &o);
}

/* Where in the log of requests it is, from 1. */
static size_t at(const char *log, const char *what)
{
	const char *p = strstr(log, what);

	if (!p)
		fail_msg("no %s in\n%s", what, log);
	return (size_t)(p - log) + 1;
}

static void test_order(void **state)
{
	struct fixture *f = *state;
	struct oci_descriptor list[2] = { image_make(f, "a", 1000), image_make(f, "b", 1000) };
	struct oci_index ix = { .media_type = STR(OCI_INDEX), .manifests = list, .n_manifests = 2 };
	struct oci_descriptor root = { .media_type = STR(OCI_INDEX) };
	char *log, *a = digest_text(&list[0].digest, &f->arena);
	SCOPED_BUF(b, 1 << 20);

	oci_print_index(&ix, &b);
	root.size = (int64_t)b.len;
	OK(content_write_blob(f->store, f->ctx, buf_str(&b), NULL, 0, &root.digest));
	OK(push(f, "store:1", &root, NULL, NULL));
	log = badserver_log(&f->server, f->ctx);
	assert_int_equal(count_of(log, "\"POST\""), 6);
	assert_int_equal(count_of(log, "\"PUT\", \"path\": \"/v2/store/blobs/uploads/"), 6);
	assert_int_equal(count_of(log, "?s=a%20b&digest=sha256%3A"), 6);
	assert_int_equal(count_of(log, "\"PUT\", \"path\": \"/v2/store/manifests/"), 3);
	assert_true(at(log, "uploads/6?") <
		    at(log, "PUT\", \"path\": \"/v2/store/manifests/sha256"));
	assert_true(
		at(log, arena_printf(&f->arena, "PUT\", \"path\": \"/v2/store/manifests/%s", a)) <
		at(log, "PUT\", \"path\": \"/v2/store/manifests/1\""));
	free(log);
	/* Again: nothing is sent. */
	OK(push(f, "store:1", &root, NULL, NULL));
	log = badserver_log(&f->server, f->ctx);
	assert_int_equal(count_of(log, "POST") + count_of(log, "PUT"), 0);
	free(log);
}

static void test_nondistributable(void **state)
{
	struct fixture *f = *state;
	struct oci_descriptor layer = { .media_type = STR(DOCKER_LAYER_FOREIGN_GZIP), .size = 5 };
	struct oci_manifest m = { .media_type = STR(OCI_MANIFEST),
				  .layers = &layer,
				  .n_layers = 1 };
	struct oci_descriptor root = { .media_type = STR(OCI_MANIFEST) };
	SCOPED_BUF(b, 1 << 20);
	char *log;

	layer.digest = digest_sha256(STR("far away"));
	m.config = (struct oci_descriptor) { .media_type = STR(OCI_EMPTY), .size = 2 };
	OK(content_write_blob(f->store, f->ctx, STR("{}"), NULL, 0, &m.config.digest));
	oci_print_manifest(&m, &b);
	root.size = (int64_t)b.len;
	OK(content_write_blob(f->store, f->ctx, buf_str(&b), NULL, 0, &root.digest));
	OK(push(f, "store:1", &root, NULL, NULL));
	log = badserver_log(&f->server, f->ctx);
	assert_null(strstr(log, digest_hex(&layer.digest, &f->arena)));
	free(log);
}

/* From the repository that shares most of the name. */
static void test_mount(void **state)
{
	struct fixture *f = *state;
	struct content_label label = { STR("containerd.io/distribution.source.127.0.0.1"),
				       STR("else/where,mount,mount/of,other/mount") };
	struct imageref from = fixture_ref(f, "ok:1");
	struct oci_descriptor root, d;
	struct oci_manifest m;
	SCOPED_BUF(b, 1 << 20);
	char *log;

	OK(registry_resolve(f->reg, f->ctx, &f->arena, &from, NULL, &root));
	OK(registry_fetch(f->reg, f->ctx, &from, &root, f->store, NULL, NULL));
	OK(content_read_blob(f->store, f->ctx, &root.digest, 1 << 20, &b));
	OK(oci_parse_manifest(&f->arena, buf_str(&b), &m));
	OK(registry_fetch(f->reg, f->ctx, &from, &m.config, f->store, NULL, NULL));
	d = m.layers[0];
	OK(registry_fetch(f->reg, f->ctx, &from, &d, f->store, NULL, NULL));
	OK(content_label(f->store, f->ctx, &d.digest, &label, 1));
	free(badserver_log(&f->server, f->ctx));
	OK(push(f, "mount/of/this:1", &root, NULL, NULL));
	log = badserver_log(&f->server, f->ctx);
	assert_int_equal(count_of(log, "from=mount%2Fof\""), 1);
	assert_int_equal(count_of(log, "from=ok\""), 1);
	assert_int_equal(count_of(log, "PUT"), 1);
	free(log);
	/* A registry that does not mount is sent the blobs. */
	OK(push(f, "store:1", &root, NULL, NULL));
	log = badserver_log(&f->server, f->ctx);
	assert_int_equal(count_of(log, "POST"), 2);
	assert_int_equal(count_of(log, "PUT"), 3);
	free(log);
	/* Nor is it a reason to fail when asking for a mount does. */
	OK(push(f, "nomount:1", &root, NULL, NULL));
}

static void test_refused(void **state)
{
	struct fixture *f = *state;
	struct oci_descriptor root = image_make(f, "x", 1000);

	FAILS("unknown: manifest invalid", push(f, "put-400:1", &root, NULL, NULL));
	FAILS("denied", push(f, "post-403:1", &root, NULL, NULL));
	FAILS("denied: no", push(f, "status-403:1", &root, NULL, NULL));
	FAILS("push access denied, repository does not exist or may require authorization: server "
	      "message: insufficient_scope: authorization failed",
	      push(f, "insufficient:1", &root, NULL, NULL));
	FAILS("unexpected status from HEAD request to http://127.0.0.1:*/v2/basic/blobs/sha256:*: "
	      "401 Unauthorized",
	      push(f, "basic:1", &root, NULL, NULL));
	FAILS("failed to authorize: failed to fetch anonymous token: unexpected status from GET "
	      "request to *bearer-deny%3Apull%2Cpush&service=bad: 403 Forbidden",
	      push(f, "bearer-deny:1", &root, NULL, NULL));
	root.digest = digest_sha256(STR("nothing"));
	FAILS("content sha256:*: not found", push(f, "store:1", &root, NULL, NULL));
}

static void test_token(void **state)
{
	struct fixture *f = *state;
	struct oci_descriptor root = image_make(f, "x", 1000);
	char *log;

	OK(push(f, "bearer-ok:1", &root, NULL, NULL));
	log = badserver_log(&f->server, f->ctx);
	assert_int_equal(count_of(log, "scope=repository%3Abearer-ok%3Apull%2Cpush&service=bad"),
			 1);
	free(log);
}

/* A connection that breaks is taken up again at once. */
static void test_cut(void **state)
{
	struct fixture *f = *state;
	struct oci_descriptor root = image_make(f, "x", 5000000);
	struct lines l = { .text = BUF_INIT(100000) };

	lock_init(&l.lock, LOCK_LEAF);
	OK(push(f, "cutput:1", &root, NULL, &l));
	assert_string_equal(buf_cstr(&l.text), "");
	lock_fini(&l.lock);
	buf_fini(&l.text);
}

static void test_retries(void **state)
{
	struct fixture *f = *state;
	struct oci_descriptor root = image_make(f, "x", 1000);
	struct lines l = { .text = BUF_INIT(100000) };
	const char *text;
	int64_t t = clock_now();

	lock_init(&l.lock, LOCK_LEAF);
	FAILS("unknown: manifest invalid", push(f, "put-500:1", &root, NULL, &l));
	text = buf_cstr(&l.text);
	assert_int_equal(count_of(text, "error: failed commit on ref \"manifest-sha256:"), 4);
	assert_int_equal(count_of(text, "/v2/put-500/manifests/1: 500 Internal Server Error\n"), 4);
	assert_true(at(text, "retrying in 1s\n") < at(text, "retrying in 2s\n"));
	assert_true(at(text, "retrying in 2s\n") < at(text, "retrying in 4s\n"));
	assert_int_equal(count_of(text, "retrying"), 3);
	assert_true(clock_now() - t >= 7 * NSEC_PER_SEC);
	lock_fini(&l.lock);
	buf_fini(&l.text);
}

/* ---- blobs that are somewhere else ---- */

struct lazy {
	struct content *from, *to;
	atomic_int asked;
};

static struct err *need(void *arg, struct ctx *ctx, const struct oci_descriptor *desc)
{
	struct lazy *l = arg;

	atomic_fetch_add(&l->asked, 1);
	return content_copy(ctx, l->from, l->to, &desc->digest);
}

static void count_report(void *arg, const struct oci_descriptor *d, int64_t current, int64_t total)
{
	assert_true(current <= total);
	if (current == total)
		atomic_fetch_add((atomic_int *)arg, 1);
}

static void test_lazy(void **state)
{
	struct fixture *f = *state;
	struct oci_descriptor root = image_make(f, "x", 1000);
	struct lazy l = { f->store, content_new_mem(), 0 };
	atomic_int done = 0;
	struct registry_progress progress = { count_report, &done };
	struct registry_push_opts o = { .need_blob = need, .need_arg = &l, .progress = &progress };
	struct imageref ref = fixture_ref(f, "store:1");

	OK(content_copy(f->ctx, f->store, l.to, &root.digest));
	OK(registry_push(f->reg, f->ctx, &ref, &root, l.to, NULL, &o));
	assert_int_equal(l.asked, 3);
	assert_true(done >= 4);
	/* What the registry has is not asked for. */
	OK(content_copy(f->ctx, f->store, l.to, &root.digest));
	content_free(l.to);
	l.to = content_new_mem();
	l.asked = 0;
	OK(registry_push(f->reg, f->ctx, &ref, &root, l.to, NULL, &o));
	assert_int_equal(l.asked, 1); /* the manifest, which says what there is */
	content_free(l.to);
}

static void test_cancelled(void **state)
{
	struct fixture *f = *state;
	struct oci_descriptor root = image_make(f, "x", 1000);
	struct ctx *ctx = ctx_new_timeout(f->ctx, 300 * NSEC_PER_MSEC);
	struct imageref ref = fixture_ref(f, "hang:1");
	int64_t t = clock_now();

	FAILS("*context deadline exceeded",
	      registry_push(f->reg, ctx, &ref, &root, f->store, NULL, NULL));
	assert_true(clock_now() - t < 3 * NSEC_PER_SEC);
	ctx_unref(ctx);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_order),     T(test_nondistributable),
		T(test_mount),     T(test_refused),
		T(test_token),     T(test_cut),
		T(test_retries),   T(test_lazy),
		T(test_cancelled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
