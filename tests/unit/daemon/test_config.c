#include "daemon/config.h"
#include "daemon/gcpolicy.h"

#include "base/mem.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static char path[] = "/tmp/bkc-config-XXXXXX";

static int setup(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	(void)close(fd);
	return fd < 0;
}

static int teardown(void **state)
{
	(void)state;
	return unlink(path);
}

static struct err *load(struct arena *a, const char *toml, struct config *c, const char *arg1,
			const char *arg2)
{
	char *argv[] = { "buildkitd", "--config", path, (char *)arg1, (char *)arg2, NULL };
	CLEANUP_FD int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	assert_int_equal(write(fd, toml, strlen(toml)), strlen(toml));
	return config_load(a, 3 + !!arg1 + !!arg2, argv, c);
}

#define LOAD(toml) assert_null(load(&a, toml, &c, NULL, NULL))

static void test_defaults(void **state)
{
	SCOPED_ARENA(a);
	struct config c;

	(void)state;
	LOAD("");
	assert_string_equal(c.root, "/var/lib/buildkit");
	assert_int_equal(c.addresses.n, 1);
	assert_true(str_eq_cstr(c.addresses.items[0], "unix:///run/buildkit/buildkitd.sock"));
	assert_string_equal(c.log_level, "info");
	assert_true(c.oci.enabled && c.oci.gc);
	assert_int_equal(c.history_max_entries, 50);
	assert_int_equal(c.oci.n_gc_policies, 4);
	assert_int_equal(c.oci.gc_policies[0].max_used_space, 512000000);
	assert_int_equal(c.oci.gc_policies[0].keep_duration_ns, 48 * 3600 * NSEC_PER_SEC);
	assert_true(c.oci.gc_policies[3].all);
}

static void test_missing_file(void **state)
{
	SCOPED_ARENA(a);
	char *argv[] = { "buildkitd", "--config", "/nonexistent/x.toml", NULL };
	struct config c;

	(void)state;
	assert_null(config_load(&a, 3, argv, &c));
}

static void test_values(void **state)
{
	SCOPED_ARENA(a);
	struct config c;

	(void)state;
	LOAD("root = \"/tmp/x\"\n"
	     "insecure-entitlements = [\"network.host\"]\n"
	     "[log]\nformat = \"json\"\nlevel = \"debug\"\n"
	     "[grpc]\naddress = [\"unix:///a\", \"tcp://b:1\"]\nuid = 5\n"
	     "[grpc.tls]\ncert = \"c\"\nkey = \"k\"\nca = \"a\"\n"
	     "[history]\nmaxEntries = 7\n"
	     "[dns]\nnameservers = [\"1.1.1.1\"]\n"
	     "[worker.oci]\nsnapshotter = \"native\"\nmax-parallelism = 3\nreservedSpace = "
	     "\"512MB\"\n"
	     "maxUsedSpace = 1000\n"
	     "[worker.oci.labels]\n\"a.b\" = \"c\"\n"
	     "[registry.\"docker.io\"]\nmirrors = [\"m:5000\"]\nhttp = true\n"
	     "[[registry.\"docker.io\".keypair]]\nkey = \"K\"\ncert = \"C\"\n");
	assert_string_equal(c.root, "/tmp/x");
	assert_string_equal(c.log_format, "json");
	assert_int_equal(c.addresses.n, 2);
	assert_int_equal(c.uid, 5);
	assert_string_equal(c.tls_key, "k");
	/* A section that is there has no defaults for what it leaves out. */
	assert_int_equal(c.history_max_entries, 7);
	assert_int_equal(c.history_max_age_ns, 0);
	assert_int_equal(c.oci.max_parallelism, 3);
	assert_int_equal(c.oci.gc_policies[1].reserved_space, 512 << 20);
	assert_int_equal(c.oci.gc_policies[1].max_used_space, 1000);
	assert_int_equal(c.oci.n_labels, 1);
	assert_int_equal(c.n_registries, 1);
	assert_int_equal(c.registries[0].http, 1);
	assert_int_equal(c.registries[0].insecure, -1);
	assert_true(str_eq_cstr(c.registries[0].mirrors[0], "m:5000"));
	assert_int_equal(c.registries[0].n_keypairs, 1);
}

static void test_gc_policies(void **state)
{
	SCOPED_ARENA(a);
	struct config c;

	(void)state;
	LOAD("[[worker.oci.gcpolicy]]\nall = true\nkeepDuration = 60\nfilters = [\"type==x\"]\n"
	     "[[worker.oci.gcpolicy]]\nkeepDuration = \"2h\"\nkeepBytes = \"1GB\"\n");
	assert_int_equal(c.oci.n_gc_policies, 2);
	assert_int_equal(c.oci.gc_policies[0].keep_duration_ns, 60 * NSEC_PER_SEC);
	assert_int_equal(c.oci.gc_policies[0].filters.n, 1);
	assert_int_equal(c.oci.gc_policies[1].keep_duration_ns, 7200 * NSEC_PER_SEC);
	assert_int_equal(c.oci.gc_policies[1].reserved_space, 1 << 30);
}

static void test_flags_win(void **state)
{
	SCOPED_ARENA(a);
	struct config c;

	(void)state;
	assert_null(load(&a, "root = \"/tmp/x\"\n", &c, "--root=/tmp/y", "--debug"));
	assert_string_equal(c.root, "/tmp/y");
	assert_string_equal(c.log_level, "debug");
	assert_null(load(&a, "", &c, "--oci-worker-gc-keepstorage", "5,6,7"));
	assert_int_equal(c.oci.gc_policies[2].reserved_space, 5000000);
	assert_int_equal(c.oci.gc_policies[2].min_free_space, 6000000);
	assert_int_equal(c.oci.gc_policies[2].max_used_space, 7000000);
}

static void expect_error(const char *toml, const char *arg, const char *text)
{
	SCOPED_ARENA(a);
	struct config c;
	struct err *e = load(&a, toml, &c, arg, NULL);

	assert_non_null(e);
	if (str_find_str(str_from(err_text(e)), str_from(text)) < 0)
		fail_msg("\"%s\" does not say \"%s\"", err_text(e), text);
	err_free(e);
}

static void test_errors(void **state)
{
	(void)state;
	expect_error("root = 5\n", NULL,
		     "failed to parse config: line 1: key root: expected a string");
	expect_error("x = [\n", NULL, "failed to parse config");
	expect_error("[system]\nmaxRegistryConcurrency = 0\n", NULL,
		     "maxRegistryConcurrency must be greater than zero");
	expect_error("insecure-entitlements = [\"what\"]\n", NULL, "invalid entitlement : what");
	expect_error("", "--nope", "flag provided but not defined: -nope");
	expect_error("", "--oci-worker=x", "invalid value x for --oci-worker");
	expect_error("", "--oci-worker-no-process-sandbox",
		     "can't enable NoProcessSandbox without Rootless");
	expect_error("", "--oci-worker-labels=x", "invalid value x");
	expect_error("", "stray", "unexpected argument: stray");
}

static void test_sizes(void **state)
{
	int64_t v;
	struct err *e;

	(void)state;
	assert_null(config_parse_size(STR("512MB"), 0, &v));
	assert_int_equal(v, 512 << 20);
	assert_null(config_parse_size(STR("3 gib"), 0, &v));
	assert_int_equal(v, INT64_C(3) << 30);
	assert_null(config_parse_size(STR("10%"), UINT64_C(100) << 30, &v));
	assert_int_equal(v, INT64_C(11000000000));
	assert_null(config_parse_size(STR("10%"), 0, &v));
	assert_int_equal(v, INT64_C(2000000000));
	e = config_parse_size(STR("12 parsecs"), 0, &v);
	assert_string_equal(err_text(e), "invalid size: '12 parsecs'");
	err_free(e);
	e = config_parse_size(STR("99999999999TB"), 0, &v);
	assert_non_null(e);
	err_free(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),  cmocka_unit_test(test_missing_file),
		cmocka_unit_test(test_values),    cmocka_unit_test(test_gc_policies),
		cmocka_unit_test(test_flags_win), cmocka_unit_test(test_errors),
		cmocka_unit_test(test_sizes),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
