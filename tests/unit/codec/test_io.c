#include "../base/check.h"

#include "base/task.h"
#include "codec/io.h"

#include <fcntl.h>
#include <unistd.h>

static struct task_pool *pool;
static struct ctx *root;

static int setup(void **state)
{
	pool = task_pool_new();
	root = ctx_new_root(pool);
	return 0;
}

static int teardown(void **state)
{
	ctx_unref(root);
	task_pool_free(pool);
	return 0;
}

static void memory(void **state)
{
	SCOPED_BUF(b, 10);
	struct reader *r = reader_of_str(STR("0123456789"));
	struct writer *w = writer_of_buf(&b);
	char two[2];
	uint64_t n;

	OK(reader_read_full(r, two, 2));
	assert_memory_equal(two, "01", 2);
	OK(io_copy(root, w, r, &n));
	assert_int_equal(n, 8);
	BUF_IS(&b, "23456789");
	FAILS(reader_read_full(r, two, 1), ERR_DATA_LOSS, "unexpected EOF");
	FAILS_CODE(writer_write(w, "abc", 3), ERR_RESOURCE_EXHAUSTED);
	OK(writer_finish(w));
	writer_close(w);
	reader_close(r);
	reader_close(NULL);
	writer_close(NULL);
}

static void read_all_up_to_the_maximum(void **state)
{
	SCOPED_BUF(exact, 10);
	SCOPED_BUF(small, 9);
	SCOPED_BUF(big, 1 << 20);
	SCOPED_BUF(source, 1 << 20);
	struct reader *r = reader_of_str(STR("0123456789"));

	OK(reader_read_all(r, &exact));
	BUF_IS(&exact, "0123456789");
	reader_close(r);
	r = reader_of_str(STR("0123456789"));
	FAILS(reader_read_all(r, &small), ERR_RESOURCE_EXHAUSTED, "input is larger than 9 bytes");
	reader_close(r);
	for (int i = 0; i < 50000; i++)
		buf_addf(&source, "%d,", i);
	r = reader_of_str(buf_str(&source));
	OK(reader_read_all(r, &big));
	assert_true(str_eq(buf_str(&big), buf_str(&source)));
	reader_close(r);
}

static void descriptors(void **state)
{
	SCOPED_BUF(b, 100);
	int fds[2];
	struct reader *r;
	struct writer *w;
	size_t n;
	char c;

	assert_int_equal(pipe(fds), 0);
	r = reader_of_fd(fds[0], true);
	w = writer_of_fd(fds[1], true);
	OK(writer_write(w, "hello", 5));
	OK(writer_finish(w));
	writer_close(w);
	OK(reader_read_all(r, &b));
	BUF_IS(&b, "hello");
	reader_close(r);
	assert_int_equal(fcntl(fds[0], F_GETFD), -1);
	assert_int_equal(fcntl(fds[1], F_GETFD), -1);
	r = reader_of_fd(-1, false);
	FAILS(reader_read(r, &c, 1, &n), ERR_UNKNOWN, "read: bad file descriptor");
	reader_close(r);
}

static void copy_ends_with_ctx(void **state)
{
	SCOPED_BUF(b, 100);
	struct ctx *c = ctx_new(root);
	struct reader *r = reader_of_str(STR("x"));
	struct writer *w = writer_of_buf(&b);

	ctx_cancel(c, NULL);
	FAILS_CODE(io_copy(c, w, r, NULL), ERR_CANCELED);
	reader_close(r);
	writer_close(w);
	ctx_unref(c);
}

/* ---- pipes ---- */

enum { TOTAL = 300000 };

static struct err *write_numbers(struct ctx *ctx, void *arg)
{
	struct writer *w = arg;
	unsigned char chunk[1000];
	unsigned at = 0;
	struct err *e = NULL;

	for (size_t n = 1; at < TOTAL && !e; n = n % sizeof(chunk) + 1) {
		n = MIN(n, (size_t)(TOTAL - at));
		for (size_t i = 0; i < n; i++)
			chunk[i] = (unsigned char)(at++ * 7);
		e = writer_write(w, chunk, n);
	}
	if (!e)
		e = writer_finish(w);
	writer_close(w);
	return e;
}

static void pipe_carries_all(void **state)
{
	static const size_t caps[] = { 1, 3, 512, 100000 };

	for (size_t c = 0; c < ARRAY_SIZE(caps); c++) {
		size_t total = caps[c] < 10 ? 3000 : TOTAL;
		struct reader *r;
		struct writer *w;
		struct task *t;
		unsigned at = 0;
		struct err *e;

		io_pipe(root, caps[c], &r, &w);
		t = task_start(root, "writer", write_numbers, w);
		while (at < total) {
			unsigned char got[777];
			size_t n;

			OK(reader_read(r, got, sizeof(got), &n));
			if (!n)
				break;
			for (size_t i = 0; i < n; i++)
				assert_int_equal(got[i], (unsigned char)(at++ * 7));
		}
		reader_close(r);
		e = task_wait(t);
		/* A reader that has gone makes the writer fail. */
		if (total < TOTAL) {
			assert_string_equal(err_text(e), "io: read/write on closed pipe");
			err_free(e);
		} else {
			OK(e);
			assert_int_equal(at, TOTAL);
		}
	}
}

static void pipe_ends(void **state)
{
	struct reader *r;
	struct writer *w;
	size_t n;
	char c;

	io_pipe(root, 10, &r, &w);
	OK(writer_write(w, "ab", 2));
	OK(writer_finish(w));
	writer_close(w);
	OK(reader_read_full(r, &c, 1));
	OK(reader_read(r, &c, 1, &n));
	assert_int_equal(n, 1);
	OK(reader_read(r, &c, 1, &n));
	assert_int_equal(n, 0);
	reader_close(r);

	/* Without finish what came is still read, then it is an error. */
	io_pipe(root, 10, &r, &w);
	OK(writer_write(w, "a", 1));
	writer_close(w);
	OK(reader_read(r, &c, 1, &n));
	FAILS(reader_read(r, &c, 1, &n), ERR_DATA_LOSS, "unexpected EOF");
	reader_close(r);

	io_pipe(root, 10, &r, &w);
	io_pipe_fail(w, err_new(ERR_ABORTED, "given up"));
	io_pipe_fail(w, err_new(ERR_ABORTED, "second"));
	FAILS(reader_read(r, &c, 1, &n), ERR_ABORTED, "given up");
	FAILS(writer_write(w, "0123456789x", 11), ERR_ABORTED, "given up");
	writer_close(w);
	reader_close(r);
}

static void pipe_ends_with_ctx(void **state)
{
	struct ctx *c = ctx_new_timeout(root, 20 * NSEC_PER_MSEC);
	struct reader *r;
	struct writer *w;
	size_t n;
	char x;

	io_pipe(c, 2, &r, &w);
	FAILS_CODE(reader_read(r, &x, 1, &n), ERR_DEADLINE_EXCEEDED);
	FAILS_CODE(writer_write(w, "abc", 3), ERR_DEADLINE_EXCEEDED);
	reader_close(r);
	writer_close(w);
	ctx_unref(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(memory, setup, teardown),
		cmocka_unit_test_setup_teardown(read_all_up_to_the_maximum, setup, teardown),
		cmocka_unit_test_setup_teardown(descriptors, setup, teardown),
		cmocka_unit_test_setup_teardown(copy_ends_with_ctx, setup, teardown),
		cmocka_unit_test_setup_teardown(pipe_carries_all, setup, teardown),
		cmocka_unit_test_setup_teardown(pipe_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(pipe_ends_with_ctx, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
