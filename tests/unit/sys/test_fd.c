#include "scratch.h"

#include "base/arena.h"

static void read_and_write(void **state)
{
	struct scratch *s = *state;
	CLEANUP_FD int fd = -1;
	char got[16];
	size_t n;

	assert_ok(fd_open(s->fd, "f", O_RDWR | O_CREAT, 0600, &fd));
	assert_ok(fd_write_all(fd, "hello", 5));
	assert_ok(fd_pwrite_all(fd, "J", 1, 0));
	assert_ok(fd_pread_full(fd, got, sizeof(got), 0, &n));
	assert_int_equal(n, 5);
	assert_memory_equal(got, "Jello", 5);
	assert_ok(fd_read_full(fd, got, sizeof(got), &n));
	assert_int_equal(n, 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_err(fd_open(s->fd, "none", O_RDONLY, 0, &fd),
		   "open none: no such file or directory");
}

static void read_all_is_bounded(void **state)
{
	CLEANUP_FD int fd = -1;
	SCOPED_BUF(exact, 10);
	SCOPED_BUF(small, 9);

	assert_ok(fd_memfd("x", STR("0123456789"), true, &fd));
	assert_ok(fd_read_all(fd, &exact));
	assert_string_equal(buf_cstr(&exact), "0123456789");
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_err(fd_read_all(fd, &small), "larger than 9 bytes");
	assert_int_equal(write(fd, "x", 1), -1); /* sealed */
}

static void read_all_grows(void **state)
{
	struct scratch *s = *state;
	SCOPED_BUF(b, 1 << 20);
	CLEANUP_FREE char *big = mem_alloc(300001);
	CLEANUP_FD int fd = -1;

	memset(big, 'x', 300000);
	put_file(s->fd, "big", big);
	assert_ok(fd_open(s->fd, "big", O_RDONLY, 0, &fd));
	assert_ok(fd_read_all(fd, &b));
	assert_int_equal(b.len, 300000);
	assert_string_equal(buf_cstr(&b), big);
}

static void reopen_makes_a_path_descriptor_readable(void **state)
{
	struct scratch *s = *state;
	CLEANUP_FD int path = -1;
	CLEANUP_FD int fd = -1;
	SCOPED_ARENA(a);
	struct str real;
	char c;
	size_t n;

	put_file(s->fd, "f", "z");
	assert_ok(fd_open(s->fd, "f", O_PATH, 0, &path));
	assert_ok(fd_reopen(path, O_RDONLY, &fd));
	assert_ok(fd_read(fd, &c, 1, &n));
	assert_int_equal(c, 'z');
	assert_ok(fd_real_path(&a, path, &real));
	assert_true(str_has_suffix(real, STR("/f")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCRATCH_TEST(read_and_write),
		SCRATCH_TEST(read_all_is_bounded),
		SCRATCH_TEST(read_all_grows),
		SCRATCH_TEST(reopen_makes_a_path_descriptor_readable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
