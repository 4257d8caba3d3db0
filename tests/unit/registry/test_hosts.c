#include "registry/hosts.h"

#include "servers.h"

#include <sys/stat.h>
#include <unistd.h>

static struct endpoint *endpoints(struct arena *a, const struct registry_host_config *c, size_t n,
				  const char *domain, bool push, bool insecure, size_t *ret_n)
{
	struct hosts h;
	struct endpoint *e;

	hosts_init(&h, c, n);
	OK(hosts_endpoints(&h, a, str_from(domain), push, insecure, &e, ret_n));
	hosts_fini(&h);
	return e;
}

static void expect(const char *domain, int http, int insecure, const char *base, bool tls,
		   bool try_plain)
{
	SCOPED_ARENA(a);
	struct registry_host_config c = { .host = str_from(domain),
					  .http = http,
					  .insecure = insecure };
	size_t n;
	struct endpoint *e = endpoints(&a, &c, 1, domain, false, false, &n);

	assert_int_equal(n, 1);
	assert_true(str_eq_cstr(e->base, base));
	assert_int_equal(e->has_tls, tls);
	assert_int_equal(e->tls.insecure, insecure == 1);
	assert_int_equal(e->try_plain, try_plain);
	assert_int_equal(e->ns.len, 0);
}

static void test_schemes(void **state)
{
	SCOPED_ARENA(a);
	struct endpoint *e;
	size_t n;

	expect("h.example:5000", -1, -1, "https://h.example:5000/v2", true, false);
	expect("h.example", 1, -1, "http://h.example/v2", false, false);
	expect("h.example", -1, 1, "https://h.example/v2", true, false);
	expect("h.example", 1, 1, "https://h.example/v2", true, true);
	expect("localhost:5000", -1, -1, "http://localhost:5000/v2", false, false);
	expect("localhost:5000", 0, -1, "https://localhost:5000/v2", true, false);
	expect("127.0.0.1", -1, 1, "https://127.0.0.1/v2", true, true);
	/* Without any configuration. */
	e = endpoints(&a, NULL, 0, "docker.io", false, false, &n);
	assert_int_equal(n, 1);
	assert_true(str_eq_cstr(e->base, "https://registry-1.docker.io/v2"));
	assert_true(str_eq_cstr(e->host, "registry-1.docker.io"));
	assert_false(e->has_tls);
	e = endpoints(&a, NULL, 0, "localhost:1", false, false, &n);
	assert_true(str_eq_cstr(e->base, "http://localhost:1/v2"));
	/* registry.insecure of one push. */
	e = endpoints(&a, NULL, 0, "h.example", true, true, &n);
	assert_true(str_eq_cstr(e->base, "https://h.example/v2"));
	assert_true(e->tls.insecure && e->try_plain);
}

static void test_mirrors(void **state)
{
	SCOPED_ARENA(a);
	struct str mirrors[] = { STR("m.example"), STR("https://n.example:1/a/b/"),
				 STR("localhost:5000"), STR("registry-1.docker.io") };
	struct registry_host_config c[] = {
		{ .host = STR("docker.io"),
		  .mirrors = mirrors,
		  .n_mirrors = 4,
		  .http = -1,
		  .insecure = -1 },
		{ .host = STR("m.example"), .http = 1, .insecure = -1 },
	};
	struct endpoint *e;
	size_t n;

	e = endpoints(&a, c, 2, "docker.io", false, false, &n);
	assert_int_equal(n, 5);
	assert_true(str_eq_cstr(e[0].base, "http://m.example/v2"));
	assert_true(str_eq_cstr(e[0].ns, "docker.io"));
	assert_true(str_eq_cstr(e[1].base, "https://n.example:1/v2/a/b"));
	assert_true(str_eq_cstr(e[1].host, "n.example:1"));
	assert_true(str_eq_cstr(e[2].base, "http://localhost:5000/v2"));
	assert_true(str_eq_cstr(e[3].base, "https://registry-1.docker.io/v2"));
	assert_int_equal(e[3].ns.len, 0);
	assert_true(str_eq_cstr(e[4].base, "https://registry-1.docker.io/v2"));
	/* Never for pushing. */
	e = endpoints(&a, c, 2, "docker.io", true, false, &n);
	assert_int_equal(n, 1);
	assert_true(str_eq_cstr(e[0].base, "https://registry-1.docker.io/v2"));
}

static void put_file(const char *dir, const char *name, const char *text)
{
	char path[128];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "we");
	assert_non_null(f);
	(void)fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static void test_tls_files(void **state)
{
	SCOPED_ARENA(a);
	char dir[] = "/tmp/test-hosts-XXXXXX";
	struct str dirs[2], file;
	struct httpc_tls t, same, other;

	assert_non_null(mkdtemp(dir));
	put_file(dir, "one.crt", "PEM 1");
	put_file(dir, "two.crt", "PEM 2");
	put_file(dir, "c.cert", "cert");
	put_file(dir, "c.key", "key");
	put_file(dir, "readme", "no");
	dirs[0] = str_from(dir);
	dirs[1] = STR("/nonexistent/dir");
	OK(httpc_tls_load(&a, NULL, 0, NULL, NULL, 0, dirs, 2, false, &t));
	assert_true(str_find_str(t.ca_pem, STR("PEM 1\n")) >= 0);
	assert_true(str_find_str(t.ca_pem, STR("PEM 2\n")) >= 0);
	assert_int_equal(t.ca_pem.len, 12);
	assert_int_equal(t.n_keypairs, 1);
	assert_string_equal(t.keypairs[0].key, arena_printf(&a, "%s/c.key", dir));
	OK(httpc_tls_load(&a, NULL, 0, NULL, NULL, 0, dirs, 1, false, &same));
	assert_string_equal(t.id, same.id);
	OK(httpc_tls_load(&a, NULL, 0, NULL, NULL, 0, dirs, 1, true, &other));
	assert_string_not_equal(t.id, other.id);
	file = str_from(arena_printf(&a, "%s/none", dir));
	FAILS("open /tmp/test-hosts-*/none: no such file or directory",
	      httpc_tls_load(&a, &file, 1, NULL, NULL, 0, NULL, 0, false, &other));
	for (size_t i = 0; i < 5; i++) {
		static const char *const names[] = { "one.crt", "two.crt", "c.cert", "c.key",
						     "readme" };

		(void)unlink(arena_printf(&a, "%s/%s", dir, names[i]));
	}
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_schemes),
		cmocka_unit_test(test_mirrors),
		cmocka_unit_test(test_tls_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
