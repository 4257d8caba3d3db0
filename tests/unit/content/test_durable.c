#include "content/durable.h"

#include "base/clock.h"
#include "base/mem.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <unistd.h>

#include <cmocka.h>

struct log {
	atomic_size_t n_calls, n_digests;
	atomic_bool fail;
};

static struct err *passed(void *arg, const struct digest *d, size_t n)
{
	struct log *l = arg;

	(void)d;
	l->n_calls++;
	if (l->fail)
		return err_new(ERR_INTERNAL, "no");
	l->n_digests += n;
	return NULL;
}

static void batches(void **state)
{
	CLEANUP_FD int fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct log l = { 0 };
	struct durable *d = durable_new(fd, 3600 * NSEC_PER_SEC, passed, &l);
	struct digest x = digest_sha256(STR("x"));
	struct err *e;

	(void)state;
	assert_null(durable_flush(d));
	for (int i = 0; i < 100; i++)
		durable_note(d, &x);
	assert_int_equal(l.n_calls, 0);
	assert_null(durable_flush(d));
	assert_int_equal(l.n_calls, 1);
	assert_int_equal(l.n_digests, 100);
	l.fail = true;
	durable_note(d, &x);
	e = durable_flush(d);
	assert_non_null(e);
	err_free(e);
	l.fail = false;
	assert_null(durable_flush(d));
	assert_int_equal(l.n_digests, 101);
	durable_note(d, &x);
	durable_free(d);
	assert_int_equal(l.n_digests, 102);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(batches) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
