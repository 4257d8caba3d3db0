/* Against Debian's docker-registry: http, https with a private CA, basic authorization. */
#include "servers.h"

struct real {
	struct fixture f; /* its server is not badserver.py here */
	bool there;
};

static int setup(void **state, enum registry_kind kind)
{
	struct real *r = NEW(struct real);

	*state = &r->f;
	r->there = docker_registry_start(&r->f.server, kind);
	r->f.pool = task_pool_new();
	r->f.ctx = ctx_new_root(r->f.pool);
	r->f.store = content_new_mem();
	OK(registry_new(NULL, 0, 0, "buildkit/v0", &r->f.reg));
	return 0;
}

static int setup_http(void **state)
{
	return setup(state, REGISTRY_HTTP);
}

static int setup_tls(void **state)
{
	return setup(state, REGISTRY_TLS);
}

static int setup_mutual(void **state)
{
	return setup(state, REGISTRY_MUTUAL);
}

static int setup_auth(void **state)
{
	return setup(state, REGISTRY_BASIC);
}

static void need_server(struct fixture *f)
{
	if (!((struct real *)f)->there)
		skip();
}

static struct err *push_pull(struct fixture *f, struct imageref ref, struct oci_descriptor root,
			     const struct registry_auth *auth, const struct registry_push_opts *o)
{
	struct content *store = content_new_mem();
	struct oci_descriptor d = { 0 };
	SCOPED_BUF(b, 1 << 20);
	struct oci_manifest m;
	struct err *e;

	e = registry_push(f->reg, f->ctx, &ref, &root, f->store, auth, o);
	if (!e)
		e = registry_resolve(f->reg, f->ctx, &f->arena, &ref, auth, &d);
	if (!e) {
		assert_true(digest_eq(&d.digest, &root.digest));
		assert_int_equal(d.size, root.size);
		e = registry_fetch(f->reg, f->ctx, &ref, &d, store, auth, NULL);
	}
	if (!e)
		e = content_read_blob(store, f->ctx, &d.digest, 1 << 20, &b);
	if (!e)
		e = oci_parse_manifest(&f->arena, buf_str(&b), &m);
	if (!e)
		e = registry_fetch(f->reg, f->ctx, &ref, &m.config, store, auth, NULL);
	for (size_t i = 0; !e && i < m.n_layers; i++)
		e = registry_fetch(f->reg, f->ctx, &ref, &m.layers[i], store, auth, NULL);
	content_free(store);
	return e;
}

static void test_http(void **state)
{
	struct fixture *f = *state;
	struct registry_push_opts by_digest = { .by_digest = true };
	struct oci_descriptor root, got, index;
	struct oci_descriptor list[2];
	struct oci_index ix = { .media_type = STR(OCI_INDEX), .manifests = list, .n_manifests = 2 };
	struct imageref ref;
	SCOPED_BUF(b, 1 << 20);

	need_server(f);
	ref = fixture_ref(f, "a/image:1");
	root = image_make(f, "one", 3 << 20);
	OK(push_pull(f, ref, root, NULL, NULL));
	OK(push_pull(f, ref, root, NULL, NULL)); /* all there */
	/* Another repository: blobs are mounted or sent again. */
	OK(push_pull(f, fixture_ref(f, "b/image:1"), root, NULL, NULL));
	/* By digest no tag is made. */
	ref = fixture_ref(f, "c/image");
	OK(registry_push(f->reg, f->ctx, &ref, &root, f->store, NULL, &by_digest));
	FAILS("127.0.0.1:*/c/image: not found",
	      registry_resolve(f->reg, f->ctx, &f->arena, &ref, NULL, &got));
	ref.digest = root.digest;
	OK(registry_resolve(f->reg, f->ctx, &f->arena, &ref, NULL, &got));
	/* An index. */
	list[0] = root;
	list[1] = image_make(f, "two", 1000);
	oci_print_index(&ix, &b);
	index = (struct oci_descriptor) { .media_type = STR(OCI_INDEX), .size = (int64_t)b.len };
	OK(content_write_blob(f->store, f->ctx, buf_str(&b), NULL, 0, &index.digest));
	ref = fixture_ref(f, "d/image:multi");
	OK(registry_push(f->reg, f->ctx, &ref, &index, f->store, NULL, NULL));
	OK(registry_resolve(f->reg, f->ctx, &f->arena, &ref, NULL, &got));
	assert_true(digest_eq(&got.digest, &index.digest));
	assert_true(str_eq_cstr(got.media_type, OCI_INDEX));
	FAILS("127.0.0.1:*/nothing:1: not found", ({
		      ref = fixture_ref(f, "nothing:1");
		      registry_resolve(f->reg, f->ctx, &f->arena, &ref, NULL, &got);
	      }));
}

static void test_tls(void **state)
{
	struct fixture *f = *state;
	struct registry_push_opts insecure = { .insecure = true };
	struct registry_host_config c = { .http = 0, .insecure = -1 };
	struct oci_descriptor root, got;
	struct imageref ref;
	struct str ca;

	need_server(f);
	ref = fixture_ref(f, "a/image:1");
	root = image_make(f, "tls", 100000);
	c.host = ref.domain;
	fixture_config(f, &c, 1);
	FAILS("failed to do request: Head \"https://*\": tls: failed to verify certificate: x509: "
	      "certificate signed by unknown authority",
	      registry_push(f->reg, f->ctx, &ref, &root, f->store, NULL, NULL));
	OK(registry_push(f->reg, f->ctx, &ref, &root, f->store, NULL, &insecure));
	ca = str_from(arena_printf(&f->arena, "%s/ca.pem", f->server.dir));
	c.ca_files = &ca;
	c.n_ca_files = 1;
	fixture_config(f, &c, 1);
	OK(push_pull(f, ref, image_make(f, "tls2", 100000), NULL, NULL));
	/* A directory, whose CAs end in .crt, does as well; one that is missing does not hurt. */
	c.n_ca_files = 0;
	c.insecure = 1;
	fixture_config(f, &c, 1);
	OK(registry_resolve(f->reg, f->ctx, &f->arena, &ref, NULL, &got));
	ca = str_from(arena_printf(&f->arena, "%s/none", f->server.dir));
	c.tls_config_dirs = &ca;
	c.n_tls_config_dirs = 1;
	fixture_config(f, &c, 1);
	OK(registry_resolve(f->reg, f->ctx, &f->arena, &ref, NULL, &got));
	c.insecure = -1;
	fixture_config(f, &c, 1);
	FAILS("*unknown authority", registry_resolve(f->reg, f->ctx, &f->arena, &ref, NULL, &got));
	ca = str_from(arena_printf(&f->arena, "%s/none.pem", f->server.dir));
	c.ca_files = &ca;
	c.n_ca_files = 1;
	fixture_config(f, &c, 1);
	FAILS("open *none.pem: no such file or directory",
	      registry_resolve(f->reg, f->ctx, &f->arena, &ref, NULL, &got));
	/* Plain http to a port with TLS. */
	fixture_config(f, NULL, 0);
	FAILS("unexpected status from HEAD request to http://*: 400 Bad Request",
	      registry_resolve(f->reg, f->ctx, &f->arena, &ref, NULL, &got));
}

/* The server wants to know the client; of several pairs the one that it takes is used. */
static void test_mutual_tls(void **state)
{
	struct fixture *f = *state;
	struct registry_host_config c = { .http = 0, .insecure = -1 };
	struct str ca, certs[2], keys[2];
	struct oci_descriptor root, got;
	struct imageref ref;

	need_server(f);
	ref = fixture_ref(f, "a/image:1");
	root = image_make(f, "mutual", 1000);
	c.host = ref.domain;
	ca = str_from(arena_printf(&f->arena, "%s/ca.pem", f->server.dir));
	c.ca_files = &ca;
	c.n_ca_files = 1;
	fixture_config(f, &c, 1);
	FAILS("failed to do request: Head \"https://*\": remote error: tls: *certificate*",
	      registry_resolve(f->reg, f->ctx, &f->arena, &ref, NULL, &got));
	for (int i = 0; i < 2; i++) {
		const char *name = i ? "client" : "other";

		certs[i] = str_from(arena_printf(&f->arena, "%s/%s.pem", f->server.dir, name));
		keys[i] = str_from(arena_printf(&f->arena, "%s/%s.key", f->server.dir, name));
	}
	c.cert_files = certs;
	c.key_files = keys;
	c.n_keypairs = 1;
	fixture_config(f, &c, 1);
	FAILS("*remote error: tls: *certificate*",
	      registry_resolve(f->reg, f->ctx, &f->arena, &ref, NULL, &got));
	c.n_keypairs = 2;
	fixture_config(f, &c, 1);
	OK(push_pull(f, ref, root, NULL, NULL));
	keys[1] = STR("/nonexistent.key");
	fixture_config(f, &c, 1);
	FAILS("*tls: client certificate: *",
	      registry_resolve(f->reg, f->ctx, &f->arena, &ref, NULL, &got));
}

static void test_fallback(void **state)
{
	struct fixture *f = *state;
	struct registry_push_opts insecure = { .insecure = true };
	struct registry_host_config c = { .http = 0, .insecure = -1 };
	struct oci_descriptor root, got;
	struct imageref ref;

	need_server(f);
	ref = fixture_ref(f, "a/image:1");
	root = image_make(f, "fallback", 1000);
	OK(registry_push(f->reg, f->ctx, &ref, &root, f->store, NULL, &insecure));
	c.host = ref.domain;
	fixture_config(f, &c, 1);
	FAILS("failed to do request: Head \"https://*\": http: server gave HTTP response to HTTPS "
	      "client",
	      registry_resolve(f->reg, f->ctx, &f->arena, &ref, NULL, &got));
	c.http = c.insecure = 1;
	fixture_config(f, &c, 1);
	OK(registry_resolve(f->reg, f->ctx, &f->arena, &ref, NULL, &got));
	c.http = -1; /* loopback: http is allowed */
	fixture_config(f, &c, 1);
	OK(registry_resolve(f->reg, f->ctx, &f->arena, &ref, NULL, &got));
}

static void test_auth(void **state)
{
	struct fixture *f = *state;
	struct imageref ref;
	struct oci_descriptor root;

	need_server(f);
	ref = fixture_ref(f, "a/image:1");
	root = image_make(f, "auth", 1000);
	FAILS("unexpected status from HEAD request to *: 401 Unauthorized",
	      push_pull(f, ref, root, NULL, NULL));
	OK(push_pull(f, ref, root, &auth_joe, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_http, setup_http, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_tls, setup_tls, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_mutual_tls, setup_mutual, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_fallback, setup_http, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_auth, setup_auth, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
