/* How credentials become headers: by the client, with GET, with POST; how long tokens last. */
#include "registry/auth.h"

#include "registry/scope.h"
#include "servers.h"

#include <stdatomic.h>

struct client {
	const char *user, *secret;
	const char *token; /* NULL: can't */
	int64_t expires_s;
	bool fail;
	atomic_int n_tokens, n_credentials;
};

static struct err *credentials(void *arg, struct ctx *ctx, struct arena *a, struct str host,
			       struct str *ret_user, struct str *ret_secret)
{
	struct client *c = arg;

	atomic_fetch_add(&c->n_credentials, 1);
	if (c->fail)
		return err_new(ERR_UNAVAILABLE, "client is gone");
	assert_true(str_has_prefix(host, STR("127.0.0.1:")));
	*ret_user = str_from(c->user);
	*ret_secret = str_from(c->secret);
	return NULL;
}

static struct err *token(void *arg, struct ctx *ctx, struct arena *a, struct str host,
			 struct str realm, struct str service, const struct str *scopes, size_t n,
			 struct str *ret_token, int64_t *ret_expires_s, bool *ret_supported)
{
	struct client *c = arg;

	*ret_supported = c->token != NULL;
	if (!c->token)
		return NULL;
	atomic_fetch_add(&c->n_tokens, 1);
	assert_true(str_has_prefix(realm, STR("http://127.0.0.1:")));
	assert_true(str_eq_cstr(service, "bad"));
	assert_int_equal(n, 1);
	assert_true(str_has_prefix(scopes[0], STR("repository:bearer-")));
	*ret_token = str_from(c->token);
	*ret_expires_s = c->expires_s;
	return NULL;
}

static struct err *resolve(struct fixture *f, const char *name, struct client *c, const char *key)
{
	struct imageref ref = fixture_ref(f, name);
	struct registry_auth auth = { credentials, token, str_from(key), c };
	struct oci_descriptor d;

	return registry_resolve(f->reg, f->ctx, &f->arena, &ref, &auth, &d);
}

static void test_client_token(void **state)
{
	struct fixture *f = *state;
	struct client c = { .token = "tok:client", .expires_s = 300 };
	char *log;

	OK(resolve(f, "bearer-ok:1", &c, "key"));
	OK(resolve(f, "bearer-ok:2", &c, "key"));
	assert_int_equal(c.n_tokens, 1);
	OK(resolve(f, "bearer-ok:2", &c, "other key"));
	assert_int_equal(c.n_tokens, 2);
	OK(resolve(f, "bearer-two/ok:2", &c, "key"));
	assert_int_equal(c.n_tokens, 3);
	assert_int_equal(c.n_credentials, 0);
	log = badserver_log(&f->server, f->ctx);
	assert_int_equal(count_of(log, "/token/"), 0);
	assert_int_equal(count_of(log, "Bearer tok:client"), 4);
	free(log);
}

static void test_get_and_post(void **state)
{
	struct fixture *f = *state;
	struct client joe = { .user = "joe", .secret = "secret" };
	struct client identity = { .user = "", .secret = "refresh me" };
	char *log;

	OK(resolve(f, "bearer-ok:1", &joe, "joe"));
	log = badserver_log(&f->server, f->ctx);
	assert_int_equal(count_of(log, "\"GET\", \"path\": \"/token/ok?scope="), 1);
	assert_int_equal(count_of(log, "Basic am9lOnNlY3JldA=="), 1);
	free(log);
	/* A server that knows POST only, one that knows GET only. */
	OK(resolve(f, "bearer-noget:1", &joe, "joe"));
	log = badserver_log(&f->server, f->ctx);
	assert_int_equal(
		count_of(log, "client_id=buildkit-client&grant_type=password&password=secret&"
			      "username=joe&scope=repository%3Abearer-noget%3Apull&service=bad"),
		1);
	free(log);
	OK(resolve(f, "bearer-ok/2:1", &identity, "identity"));
	log = badserver_log(&f->server, f->ctx);
	assert_int_equal(count_of(log, "grant_type=refresh_token&refresh_token=refresh+me&"), 1);
	free(log);
	OK(resolve(f, "bearer-nopost:1", &identity, "identity"));
	FAILS("failed to authorize: failed to fetch oauth token: unexpected status from POST "
	      "request to http://127.0.0.1:*/token/unauthorized: 401 Unauthorized",
	      resolve(f, "bearer-unauthorized:1", &joe, "joe"));
	joe.fail = true;
	FAILS("failed to authorize: client is gone", resolve(f, "bearer-ok/3:1", &joe, "joe"));
	FAILS("failed to authorize: client is gone", resolve(f, "basic:1", &joe, "joe"));
}

/* A token that the server takes no more is replaced once, without an end of the request. */
static void test_stale(void **state)
{
	struct fixture *f = *state;
	struct client none = { .user = "", .secret = "" };
	char *log;

	OK(resolve(f, "short:1", &none, "k"));
	/* Another identity's fetch makes the first one's token stale. */
	OK(resolve(f, "short:1", &none, "k2"));
	OK(resolve(f, "short:1", &none, "k"));
	log = badserver_log(&f->server, f->ctx);
	assert_int_equal(count_of(log, "/token/short"), 3);
	assert_int_equal(count_of(log, "HEAD"), 6);
	free(log);
}

static void test_expiry(void **state)
{
	struct fixture *f = *state;
	struct client c = { .token = "tok:client", .expires_s = 1 };

	OK(resolve(f, "bearer-ok:1", &c, "key"));
	OK(resolve(f, "bearer-ok:1", &c, "key"));
	assert_int_equal(c.n_tokens, 1);
	OK(ctx_sleep(f->ctx, 950 * NSEC_PER_MSEC)); /* nine tenths are its life */
	OK(resolve(f, "bearer-ok:1", &c, "key"));
	assert_int_equal(c.n_tokens, 2);
}

/* Many requests with the same needs at once: one token. */
struct crowd {
	struct fixture *f;
	struct client c;
};

static struct err *one_of_many(struct ctx *ctx, void *arg)
{
	struct crowd *x = arg;
	SCOPED_ARENA(a);
	struct registry_auth auth = { credentials, token, STR("k"), &x->c };
	struct imageref ref;
	struct oci_descriptor d;

	TRY(imageref_parse(
		&a, str_from(arena_printf(&a, "127.0.0.1:%d/bearer-ok:1", x->f->server.port)),
		&ref));
	return registry_resolve(x->f->reg, ctx, &a, &ref, &auth, &d);
}

static void test_crowd(void **state)
{
	struct fixture *f = *state;
	struct crowd x = { f, { .token = "tok:x", .expires_s = 300 } };
	struct task_group g;

	task_group_init(&g, f->ctx, 0);
	for (int i = 0; i < 30; i++)
		task_group_go(&g, "resolve", one_of_many, &x);
	OK(task_group_wait(&g));
	assert_int_equal(x.c.n_tokens, 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_client_token), T(test_get_and_post), T(test_stale),
		T(test_expiry),       T(test_crowd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
