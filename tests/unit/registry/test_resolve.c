#include "servers.h"

/* The manifest that badserver.py serves under every name. */
#define SIZE_MIN 100

static struct err *resolve(struct fixture *f, const char *name, const struct registry_auth *auth,
			   struct oci_descriptor *d)
{
	struct imageref ref = fixture_ref(f, name);

	return registry_resolve(f->reg, f->ctx, &f->arena, &ref, auth, d);
}

static void test_good(void **state)
{
	struct fixture *f = *state;
	struct oci_descriptor d, by_digest, hashed, got;
	struct imageref ref = fixture_ref(f, "ok/deep/er:1");
	char *log;

	OK(resolve(f, "ok:1", NULL, &d));
	assert_true(str_eq_cstr(d.media_type, OCI_MANIFEST));
	assert_true(d.size > SIZE_MIN && digest_is_set(&d.digest));
	ref.digest = d.digest;
	OK(registry_resolve(f->reg, f->ctx, &f->arena, &ref, NULL, &by_digest));
	assert_true(digest_eq(&d.digest, &by_digest.digest));
	assert_int_equal(d.size, by_digest.size);
	/* Without the header the document is hashed; without HEAD it is got. */
	OK(resolve(f, "nodigest:1", NULL, &hashed));
	assert_true(digest_eq(&d.digest, &hashed.digest));
	assert_true(str_eq_cstr(hashed.media_type, OCI_MANIFEST));
	OK(resolve(f, "nohead", NULL, &got));
	assert_true(digest_eq(&d.digest, &got.digest));
	log = badserver_log(&f->server, f->ctx);
	assert_int_equal(count_of(log, "\"path\": \"/v2/ok/manifests/1\""), 1);
	assert_int_equal(count_of(log, "/v2/ok/deep/er/manifests/sha256:"), 1);
	assert_int_equal(count_of(log, "/v2/nohead/manifests/latest"), 2);
	assert_int_equal(count_of(log, "\"agent\": \"buildkit/v0\""), 6);
	free(log);
}

static void test_errors(void **state)
{
	struct fixture *f = *state;
	struct oci_descriptor d;
	struct imageref ref;

#define UNEXPECTED "unexpected status from HEAD request to http://127.0.0.1:*/v2/"
	FAILS("127.0.0.1:*/missing:1: not found", resolve(f, "missing:1", NULL, &d));
	FAILS(UNEXPECTED "status-400/manifests/1: 400 Bad Request",
	      resolve(f, "status-400:1", NULL, &d));
	FAILS(UNEXPECTED "status-401/manifests/1: 401 Unauthorized",
	      resolve(f, "status-401:1", NULL, &d));
	FAILS("unexpected status from HEAD request to "
	      "http://127.0.0.1:*/v2/status-403/manifests/1: "
	      "403 Forbidden",
	      resolve(f, "status-403:1", NULL, &d));
	FAILS(UNEXPECTED "status-500/manifests/1: 500 Internal Server Error",
	      resolve(f, "status-500:1", NULL, &d));
	FAILS("unexpected status from GET request to *: 405 Method Not Allowed",
	      resolve(f, "status-405:1", NULL, &d));
	FAILS("failed to do request: Head \"http://127.0.0.1:*/v2/dropped/manifests/1\": EOF",
	      resolve(f, "dropped:1", NULL, &d));
	FAILS("\"sha256:zz\" in header not a valid digest: invalid checksum digest length",
	      resolve(f, "baddigest:1", NULL, &d));
	FAILS("rejecting 10485760 byte manifest for 127.0.0.1:*/huge:1: not found",
	      resolve(f, "huge:1", NULL, &d));
	FAILS("support Docker Image manifest version 2, schema 1 has been removed.*",
	      resolve(f, "schema1:1", NULL, &d));
	ref = fixture_ref(f, "x:1");
	ref.domain = STR("localhost:1");
	FAILS("failed to do request: Head \"http://localhost:1/v2/x/manifests/1\": dial tcp *:1: "
	      "connect: connection refused",
	      registry_resolve(f->reg, f->ctx, &f->arena, &ref, NULL, &d));
	ref.domain = STR("no-such-host.invalid");
	FAILS("failed to do request: Head \"https://no-such-host.invalid/v2/x/manifests/1\": dial "
	      "tcp: lookup no-such-host.invalid*: no such host",
	      registry_resolve(f->reg, f->ctx, &f->arena, &ref, NULL, &d));
}

static void test_retries(void **state)
{
	struct fixture *f = *state;
	struct oci_descriptor d;
	char *log;

	/* Busy twice, then well. */
	OK(resolve(f, "flaky-429:1", NULL, &d));
	/* A failing server is not asked more than twice. */
	FAILS("unexpected status from HEAD request to *: 503 Service Unavailable",
	      resolve(f, "flaky-503:1", NULL, &d));
	log = badserver_log(&f->server, f->ctx);
	assert_int_equal(count_of(log, "flaky-429/manifests"), 3);
	assert_int_equal(count_of(log, "flaky-503/manifests"), 2);
	free(log);
}

static void test_tokens(void **state)
{
	struct fixture *f = *state;
	struct oci_descriptor d;
	char *log;

	OK(resolve(f, "bearer-ok:1", NULL, &d));
	OK(resolve(f, "bearer-ok:2", NULL, &d));
	log = badserver_log(&f->server, f->ctx);
	assert_int_equal(
		count_of(log, "\"/token/ok?scope=repository%3Abearer-ok%3Apull&service=bad\""), 1);
	assert_int_equal(count_of(log, "\"auth\": \"Bearer tok:repository:bearer-ok:pull\""), 2);
	assert_int_equal(count_of(log, "\"auth\": \"\""), 2);
	free(log);
	FAILS("failed to authorize: failed to fetch anonymous token: unexpected status from GET "
	      "request to http://127.0.0.1:*/token/deny?scope=repository%3Abearer-deny%3Apull&"
	      "service=bad: 403 Forbidden",
	      resolve(f, "bearer-deny:1", NULL, &d));
	FAILS("failed to authorize: failed to fetch anonymous token: unable to decode token "
	      "response: *",
	      resolve(f, "bearer-broken:1", NULL, &d));
	FAILS("failed to authorize: failed to fetch anonymous token: authorization server did not "
	      "include a token in the response",
	      resolve(f, "bearer-empty:1", NULL, &d));
	FAILS("pull access denied, repository does not exist or may require authorization: server "
	      "message: insufficient_scope: authorization failed",
	      resolve(f, "insufficient:1", NULL, &d));
	FAILS("unexpected status from HEAD request to *: 401 Unauthorized",
	      resolve(f, "always401:1", NULL, &d));
	/* Twice the same end, with what was learnt in between. */
	FAILS("pull access denied, *", resolve(f, "insufficient:1", NULL, &d));
}

static void test_basic(void **state)
{
	struct fixture *f = *state;
	struct oci_descriptor d;
	char *log;

	FAILS("unexpected status from HEAD request to *: 401 Unauthorized",
	      resolve(f, "basic:1", NULL, &d));
	OK(resolve(f, "basic:1", &auth_joe, &d));
	OK(resolve(f, "basic:1", &auth_joe, &d));
	log = badserver_log(&f->server, f->ctx);
	assert_int_equal(count_of(log, "\"auth\": \"Basic am9lOnNlY3JldA==\""), 2);
	assert_int_equal(count_of(log, "\"method\": \"HEAD\""), 4);
	free(log);
}

static void test_mirrors(void **state)
{
	struct fixture *f = *state;
	struct str mirrors[2] = {
		STR("127.0.0.1:1/none"),
		str_from(arena_printf(&f->arena, "http://127.0.0.1:%d/sub/", f->server.other_port)),
	};
	struct registry_host_config c = { .host = STR("docker.io"),
					  .mirrors = mirrors,
					  .n_mirrors = 2,
					  .http = -1,
					  .insecure = -1 };
	struct oci_descriptor d;
	struct imageref ref;
	char *log;

	fixture_config(f, &c, 1);
	OK(imageref_parse(&f->arena, STR("alpine:3"), &ref));
	OK(registry_resolve(f->reg, f->ctx, &f->arena, &ref, NULL, &d));
	log = badserver_log(&f->server, f->ctx);
	assert_int_equal(count_of(log, "\"/v2/sub/library/alpine/manifests/3?ns=docker.io\""), 1);
	free(log);
	/* A mirror that lacks it: the origin answers, or its silence counts least. */
	c.host = str_from(arena_printf(&f->arena, "127.0.0.1:%d", f->server.port));
	mirrors[0] =
		str_from(arena_printf(&f->arena, "127.0.0.1:%d/missing", f->server.other_port));
	mirrors[1] = STR("127.0.0.1:1");
	fixture_config(f, &c, 1);
	OK(resolve(f, "ok:1", NULL, &d));
	FAILS("failed to do request: Head \"http://127.0.0.1:1/v2/missing/manifests/1?ns=*\": *",
	      resolve(f, "missing:1", NULL, &d));
}

static void test_cancelled(void **state)
{
	struct fixture *f = *state;
	struct ctx *ctx = ctx_new_timeout(f->ctx, 300 * NSEC_PER_MSEC);
	struct imageref ref = fixture_ref(f, "hang:1");
	struct oci_descriptor d;
	int64_t t = clock_now();

	FAILS("failed to do request: Head \"*\": context deadline exceeded",
	      registry_resolve(f->reg, ctx, &f->arena, &ref, NULL, &d));
	assert_true(clock_now() - t < 3 * NSEC_PER_SEC);
	ctx_unref(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_good, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_errors, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_retries, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_tokens, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_basic, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_mirrors, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_cancelled, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
