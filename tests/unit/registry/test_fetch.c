#include "servers.h"

#include "base/limits.h"

/* The blobs of badserver.py. */
#define BLOB_SIZE 300000

struct reports {
	int n;
	int64_t last;
};

static void report(void *arg, const struct oci_descriptor *desc, int64_t current, int64_t total)
{
	struct reports *r = arg;

	assert_true(current >= r->last && current <= total);
	assert_int_equal(total, desc->size);
	r->last = current;
	r->n++;
}

static struct oci_manifest manifest_of(struct fixture *f)
{
	struct imageref ref = fixture_ref(f, "ok:1");
	struct oci_descriptor d;
	struct oci_manifest m;
	SCOPED_BUF(b, LIMIT_MANIFEST);

	OK(registry_resolve(f->reg, f->ctx, &f->arena, &ref, NULL, &d));
	OK(registry_fetch(f->reg, f->ctx, &ref, &d, f->store, NULL, NULL));
	OK(content_read_blob(f->store, f->ctx, &d.digest, LIMIT_MANIFEST, &b));
	OK(oci_parse_manifest(&f->arena, buf_str(&b), &m));
	assert_int_equal(m.layers[0].size, BLOB_SIZE);
	free(badserver_log(&f->server, f->ctx));
	return m;
}

static struct err *fetch(struct fixture *f, const char *name, const struct oci_descriptor *d)
{
	struct imageref ref = fixture_ref(f, name);

	return registry_fetch(f->reg, f->ctx, &ref, d, f->store, NULL, NULL);
}

static struct str label_of(struct fixture *f, const struct digest *d)
{
	struct content_info info;

	OK(content_info(f->store, f->ctx, &f->arena, d, &info));
	for (size_t i = 0; i < info.n_labels; i++)
		if (str_eq_cstr(info.labels[i].key, "containerd.io/distribution.source.127.0.0.1"))
			return info.labels[i].value;
	return STR_NONE;
}

static void test_good(void **state)
{
	struct fixture *f = *state;
	struct oci_manifest m = manifest_of(f);
	struct imageref ref = fixture_ref(f, "ok:1");
	struct reports r = { 0 };
	struct registry_progress p = { report, &r };
	struct oci_descriptor d = m.layers[0];
	char *log;

	OK(registry_fetch(f->reg, f->ctx, &ref, &d, f->store, NULL, &p));
	assert_int_equal(r.last, BLOB_SIZE);
	OK(registry_fetch(f->reg, f->ctx, &ref, &d, f->store, NULL, &p));
	assert_true(content_has(f->store, f->ctx, &d.digest));
	assert_true(str_eq_cstr(label_of(f, &d.digest), "ok"));
	/* Known to be in another repository, too; asked for from there it would be. */
	OK(fetch(f, "also:1", &d));
	assert_true(str_eq_cstr(label_of(f, &d.digest), "also,ok"));
	log = badserver_log(&f->server, f->ctx);
	assert_int_equal(count_of(log, "GET"), 1);
	free(log);
	/* Of no known size. */
	OK(content_remove(f->store, f->ctx, &d.digest));
	d.size = 0;
	OK(fetch(f, "ok:1", &d));
}

static void test_inline(void **state)
{
	struct fixture *f = *state;
	struct oci_descriptor d = { .media_type = STR(OCI_EMPTY), .data = STR("{}"), .size = 2 };

	d.digest = digest_sha256(d.data);
	OK(fetch(f, "missing:1", &d));
	assert_true(content_has(f->store, f->ctx, &d.digest));
	d.data = STR("[]");
	OK(content_remove(f->store, f->ctx, &d.digest));
	FAILS("*could not fetch content descriptor sha256:* (" OCI_EMPTY ") from remote: not found",
	      fetch(f, "missing:1", &d));
}

/* Cut after 100,000 bytes each time: goes on from there. */
static void test_cut(void **state)
{
	struct fixture *f = *state;
	struct oci_descriptor d = manifest_of(f).layers[0];
	char *log;

	OK(fetch(f, "cut:1", &d));
	log = badserver_log(&f->server, f->ctx);
	assert_int_equal(count_of(log, "GET"), 3);
	assert_int_equal(count_of(log, "bytes=100000-"), 1);
	assert_int_equal(count_of(log, "bytes=200000-"), 1);
	free(log);
}

/* A server without ranges sends it all again. */
static void test_no_range(void **state)
{
	struct fixture *f = *state;
	struct oci_descriptor d = manifest_of(f).layers[0];
	char *log;

	OK(fetch(f, "norange:1", &d));
	log = badserver_log(&f->server, f->ctx);
	assert_int_equal(count_of(log, "GET"), 2);
	assert_int_equal(count_of(log, "bytes=100000-"), 1);
	free(log);
	/* Or claims another one. */
	OK(content_remove(f->store, f->ctx, &d.digest));
	OK(fetch(f, "badrange:1", &d));
}

/* What an earlier call has left is used; when it is rubbish, once more from the start. */
static void test_resume(void **state)
{
	struct fixture *f = *state;
	struct oci_descriptor d = manifest_of(f).layers[0];
	char *ref = arena_printf(&f->arena, "layer-%s", digest_text(&d.digest, &f->arena));
	struct content_writer *w;
	char *log;

	OK(content_writer_open(f->store, f->ctx, str_from(ref), &w));
	OK(writer_write(&w->io, "rubbish", 7));
	content_writer_close(w);
	OK(fetch(f, "ok:1", &d));
	log = badserver_log(&f->server, f->ctx);
	assert_int_equal(count_of(log, "bytes=7-"), 1);
	assert_int_equal(count_of(log, "GET"), 2);
	free(log);
}

static void test_bad_content(void **state)
{
	struct fixture *f = *state;
	struct oci_manifest m = manifest_of(f);
	struct oci_descriptor d = m.config, manifest = { .media_type = STR(OCI_MANIFEST) };
	struct imageref ref = fixture_ref(f, "wrongmanifest:1");
	int64_t t = clock_now();

	FAILS("failed commit on ref \"config-sha256:*\": unexpected commit digest sha256:*, "
	      "expected sha256:*: failed precondition",
	      fetch(f, "wrong:1", &d));
	FAILS("failed to copy: httpReadSeeker: read past expected size 78: failed precondition",
	      fetch(f, "long:1", &d));
	OK(registry_resolve(f->reg, f->ctx, &f->arena, &ref, NULL, &manifest));
	OK(content_remove(f->store, f->ctx, &manifest.digest));
	FAILS("failed commit on ref \"manifest-sha256:*\": unexpected commit digest *: failed "
	      "precondition",
	      fetch(f, "wrongmanifest:1", &manifest));
	manifest.size = (int64_t)LIMIT_MANIFEST + 1;
	FAILS("rejecting 4194305 byte manifest for 127.0.0.1:*/huge:1: not found",
	      fetch(f, "huge:1", &manifest));
	manifest.size = 0;
	FAILS("failed to copy: httpReadSeeker: manifest is larger than 4194304 bytes",
	      fetch(f, "huge:1", &manifest));
	assert_false(content_has(f->store, f->ctx, &d.digest));
	assert_false(content_has(f->store, f->ctx, &manifest.digest));
	/* None of these is worth another try. */
	assert_true(clock_now() - t < NSEC_PER_SEC);
	manifest.digest = (struct digest) { 0 };
	FAILS("*descriptor without a digest", fetch(f, "ok:1", &manifest));
}

static void test_statuses(void **state)
{
	struct fixture *f = *state;
	struct oci_manifest m = manifest_of(f);
	struct imageref ref = fixture_ref(f, "ok:1");
	struct oci_descriptor d;

	OK(registry_resolve(f->reg, f->ctx, &f->arena, &ref, NULL, &d));
	OK(content_remove(f->store, f->ctx, &d.digest));
	FAILS("failed to copy: httpReadSeeker: failed open: unexpected status from GET request to "
	      "http://127.0.0.1:*/v2/get-403/manifests/sha256:*: 403 Forbidden",
	      fetch(f, "get-403:1", &d));
	FAILS("failed to copy: httpReadSeeker: failed open: content at http://127.0.0.1:*/v2/"
	      "get-404/manifests/sha256:* not found: not found",
	      fetch(f, "get-404:1", &d));
	FAILS("failed to copy: httpReadSeeker: failed open: could not fetch content descriptor "
	      "sha256:* (application/vnd.oci.image.config.v1+json) from remote: not found",
	      fetch(f, "blob-404:1", &m.config));
	FAILS("*: 403 Forbidden", fetch(f, "blob-403:1", &m.config));
	OK(fetch(f, "flaky-503:1", &m.config));
}

/* 1 s, 2 s, 4 s, and no more. */
static void test_gives_up(void **state)
{
	struct fixture *f = *state;
	struct oci_descriptor d = manifest_of(f).config;
	char *log;

	FAILS("*: 500 Internal Server Error", fetch(f, "blob-500:1", &d));
	log = badserver_log(&f->server, f->ctx);
	assert_int_equal(count_of(log, "GET"), 8);
	free(log);
}

static void test_redirect(void **state)
{
	struct fixture *f = *state;
	struct oci_descriptor d = manifest_of(f).layers[0];
	struct imageref ref = fixture_ref(f, "redirect:1");
	char *log;

	OK(registry_fetch(f->reg, f->ctx, &ref, &d, f->store, &auth_joe, NULL));
	log = badserver_log(&f->server, f->ctx);
	assert_int_equal(count_of(log, "GET"), 2);
	free(log);
}

/* The other host gets no password, and its challenge none either. */
static void test_redirect_secrets(void **state)
{
	struct fixture *f = *state;
	struct oci_descriptor d = manifest_of(f).layers[0];
	struct imageref ref = fixture_ref(f, "basic-away:1");
	struct imageref trap = fixture_ref(f, "trap:1");
	char *log, *secret;

	OK(registry_fetch(f->reg, f->ctx, &ref, &d, f->store, &auth_joe, NULL));
	log = badserver_log(&f->server, f->ctx);
	assert_int_equal(count_of(log, "GET"), 3);
	assert_int_equal(count_of(log, "am9lOnNlY3JldA=="), 1);
	free(log);
	OK(content_remove(f->store, f->ctx, &d.digest));
	FAILS("*unexpected status from GET request to http://127.0.0.1:*: 401 Unauthorized",
	      registry_fetch(f->reg, f->ctx, &trap, &d, f->store, &auth_joe, NULL));
	log = badserver_log(&f->server, f->ctx);
	secret = strstr(log, "am9lOnNlY3JldA==");
	assert_null(secret);
	assert_int_equal(count_of(log, "GET"), 2);
	free(log);
}

static void test_foreign(void **state)
{
	struct fixture *f = *state;
	struct oci_descriptor d = manifest_of(f).layers[0];
	struct str urls[2];

	d.media_type = STR(DOCKER_LAYER_FOREIGN_GZIP);
	urls[0] = str_from(
		arena_printf(&f->arena, "http://127.0.0.1:%d/plain/none", f->server.other_port));
	urls[1] = str_from(arena_printf(&f->arena, "http://127.0.0.1:%d/v2/ok/blobs/%s",
					f->server.other_port, digest_text(&d.digest, &f->arena)));
	d.urls = urls;
	d.n_urls = 1;
	FAILS("*from remote: not found", fetch(f, "missing:1", &d));
	d.n_urls = 2;
	OK(fetch(f, "missing:1", &d));
	urls[0] = STR("file:///etc/passwd");
	d.n_urls = 1;
	OK(content_remove(f->store, f->ctx, &d.digest));
	FAILS("*unsupported protocol scheme \"file\"", fetch(f, "missing:1", &d));
}

static void test_mirrors(void **state)
{
	struct fixture *f = *state;
	struct oci_descriptor d = manifest_of(f).layers[0];
	char *host = arena_printf(&f->arena, "127.0.0.1:%d", f->server.port);
	struct str mirrors[] = {
		STR("127.0.0.1:1"),
		str_from(arena_printf(&f->arena, "127.0.0.1:%d/missing", f->server.other_port)),
		str_from(arena_printf(&f->arena, "127.0.0.1:%d/status-403", f->server.other_port)),
	};
	struct registry_host_config c = {
		.host = str_from(host), .mirrors = mirrors, .n_mirrors = 3, .http = 1, .insecure = 0
	};
	char *log;

	fixture_config(f, &c, 1);
	OK(fetch(f, "ok:1", &d));
	log = badserver_log(&f->server, f->ctx);
	assert_int_equal(count_of(log, "GET"), 3);
	free(log);
}

/* ---- threads ---- */

struct shared {
	struct fixture *f;
	struct oci_descriptor d;
	const char *name;
};

static struct err *fetch_task(struct ctx *ctx, void *arg)
{
	struct shared *s = arg;
	SCOPED_ARENA(a);
	char *text = arena_printf(&a, "127.0.0.1:%d/%s", s->f->server.port, s->name);
	struct imageref ref;

	TRY(imageref_parse(&a, str_from(text), &ref));
	return registry_fetch(s->f->reg, ctx, &ref, &s->d, s->f->store, NULL, NULL);
}

/* Many want the same: one transfer. One token, too. */
static void test_shared(void **state)
{
	struct fixture *f = *state;
	struct shared s = { f, manifest_of(f).layers[0], "bearer-ok:1" };
	struct task_group g;
	char *log;

	task_group_init(&g, f->ctx, 0);
	for (int i = 0; i < 20; i++)
		task_group_go(&g, "fetch", fetch_task, &s);
	OK(task_group_wait(&g));
	log = badserver_log(&f->server, f->ctx);
	assert_int_equal(count_of(log, "/token/"), 1);
	assert_int_equal(count_of(log, "Bearer"), 1);
	free(log);
}

static void test_parallel(void **state)
{
	struct fixture *f = *state;
	struct oci_manifest m = manifest_of(f);
	struct shared s[8];
	static const char *const names[] = { "ok:1", "cut:1", "bearer-ok:1", "missing:1" };
	struct err *errs[8];
	struct task *tasks[8];

	for (int round = 0; round < 5; round++) {
		err_free(content_remove(f->store, f->ctx, &m.layers[0].digest));
		err_free(content_remove(f->store, f->ctx, &m.config.digest));
		for (int i = 0; i < 8; i++) {
			s[i] = (struct shared) { f, i & 4 ? m.config : m.layers[0], names[i & 3] };
			tasks[i] = task_start(f->ctx, "fetch", fetch_task, &s[i]);
		}
		for (int i = 0; i < 8; i++) {
			errs[i] = task_wait(tasks[i]);
			/* One finds nothing, or what another has brought. */
			if ((i & 3) != 3)
				OK(errs[i]);
			err_free(errs[i]);
		}
	}
}

static void test_cancelled(void **state)
{
	struct fixture *f = *state;
	struct oci_descriptor d = manifest_of(f).layers[0];
	struct ctx *ctx = ctx_new_timeout(f->ctx, 300 * NSEC_PER_MSEC);
	struct imageref ref = fixture_ref(f, "slow:1");
	int64_t t = clock_now();
	char *log;

	FAILS("*context deadline exceeded",
	      registry_fetch(f->reg, ctx, &ref, &d, f->store, NULL, NULL));
	assert_true(clock_now() - t < 3 * NSEC_PER_SEC);
	ctx_unref(ctx);
	/* What came before is of use. */
	OK(fetch(f, "ok:1", &d));
	log = badserver_log(&f->server, f->ctx);
	assert_int_equal(count_of(log, "bytes=1000-"), 1);
	free(log);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_good),     T(test_inline),           T(test_cut),       T(test_no_range),
		T(test_resume),   T(test_bad_content),      T(test_statuses),  T(test_gives_up),
		T(test_redirect), T(test_redirect_secrets), T(test_foreign),   T(test_mirrors),
		T(test_shared),   T(test_parallel),         T(test_cancelled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
