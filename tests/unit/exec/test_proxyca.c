/* The proxy's authority in a root's bundle, and out of it again. */
#include "place.h"

#include "base/limits.h"
#include "exec/proxyca.h"

#define BUNDLE "etc/ssl/certs/ca-certificates.crt"
#define PEM "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"

static int rootfd = -1;

static int setup(void **state)
{
	(void)snprintf(here.dir, sizeof(here.dir), "/tmp/bk-ca-XXXXXX");
	assert_non_null(mkdtemp(here.dir));
	assert_ok(fd_open_dir(AT_FDCWD, here.dir, &rootfd));
	assert_ok(file_mkdirs(rootfd, "etc/ssl/certs", 0755));
	return 0;
}

static int teardown(void **state)
{
	(void)close(rootfd);
	assert_ok(rmtree(AT_FDCWD, here.dir));
	return 0;
}

static void assert_bundle(const char *path, const char *wanted)
{
	SCOPED_ARENA(a);
	struct str text;

	assert_ok(file_read_str(rootfd, path, &a, 64 * MIB, &text));
	assert_string_equal(text.ptr, wanted);
}

static void in_and_out(void **state)
{
	struct proxyca c;
	struct stat before, after;

	assert_ok(file_write(rootfd, BUNDLE, STR("old\n"), 0640));
	assert_int_equal(fstatat(rootfd, BUNDLE, &before, 0), 0);
	assert_ok(proxyca_add(rootfd, STR(PEM), &c));
	assert_bundle(BUNDLE, "old\n\n# buildkit proxy CA begin\n" PEM "# buildkit proxy CA end\n");
	assert_ok(proxyca_remove(rootfd, &c));
	assert_bundle(BUNDLE, "old\n");
	assert_int_equal(fstatat(rootfd, BUNDLE, &after, 0), 0);
	assert_int_equal(before.st_mode, after.st_mode);
	assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
	/* Once is enough. */
	assert_ok(proxyca_remove(rootfd, &c));
}

static void what_the_step_did_stays(void **state)
{
	struct proxyca c;

	assert_ok(file_write(rootfd, BUNDLE, STR("old\n"), 0644));
	assert_ok(proxyca_add(rootfd, STR(PEM), &c));
	/* Rebuilt by the step, with a copy of the authority before the marked one. */
	assert_ok(file_write(rootfd, BUNDLE,
			     STR(PEM "new\n\n# buildkit proxy CA begin\n" PEM
				     "# buildkit proxy CA end\nmore\n" PEM "end"),
			     0644));
	assert_ok(proxyca_remove(rootfd, &c));
	assert_bundle(BUNDLE, "new\nmore\nend");
}

static void hostile(void **state)
{
	struct proxyca c;
	struct err *e;
	int fd;

	/* Nothing to add to: nothing is made. */
	assert_ok(proxyca_add(rootfd, STR(PEM), &c));
	assert_null(c.bundle);
	assert_ok(proxyca_remove(rootfd, &c));
	/* A fifo is no bundle, and nobody waits for it. */
	assert_int_equal(mkfifoat(rootfd, BUNDLE, 0644), 0);
	assert_ok(proxyca_add(rootfd, STR(PEM), &c));
	assert_null(c.bundle);
	assert_int_equal(unlinkat(rootfd, BUNDLE, 0), 0);
	/* Links lead to places in the root only. */
	assert_int_equal(symlinkat("/../../../etc/passwd", rootfd, BUNDLE), 0);
	assert_ok(file_write(rootfd, "etc/passwd", STR("inside\n"), 0644));
	assert_ok(proxyca_add(rootfd, STR(PEM), &c));
	assert_non_null(c.bundle);
	assert_ok(proxyca_remove(rootfd, &c));
	assert_bundle("etc/passwd", "inside\n");
	/* While it ran it became a fifo, then nothing, then huge. */
	assert_ok(proxyca_add(rootfd, STR(PEM), &c));
	assert_int_equal(unlinkat(rootfd, BUNDLE, 0), 0);
	assert_int_equal(mkfifoat(rootfd, BUNDLE, 0644), 0);
	assert_ok(proxyca_remove(rootfd, &c));
	assert_int_equal(unlinkat(rootfd, BUNDLE, 0), 0);
	c.bundle = "/" BUNDLE;
	assert_ok(proxyca_remove(rootfd, &c));
	assert_ok(fd_open(rootfd, BUNDLE, O_WRONLY | O_CREAT, 0644, &fd));
	assert_int_equal(ftruncate(fd, 11 * (off_t)MIB), 0);
	(void)close(fd);
	c.bundle = "/" BUNDLE;
	e = proxyca_remove(rootfd, &c);
	assert_string_equal(err_text(e), BUNDLE " exceeds 10485760 bytes");
	err_free(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(in_and_out, setup, teardown),
		cmocka_unit_test_setup_teardown(what_the_step_did_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(hostile, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
