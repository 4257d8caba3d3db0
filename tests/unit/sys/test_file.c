#include "scratch.h"

#include "base/arena.h"

static void replace_is_whole(void **state)
{
	struct scratch *s = *state;
	struct stat st;

	assert_ok(file_replace(s->fd, "f", STR("one"), 0640, FILE_SYNC));
	assert_ok(file_replace(s->fd, "f", STR("two"), 0604, FILE_NO_SYNC));
	assert_file(s->fd, "f", "two");
	assert_int_equal(fstatat(s->fd, "f", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0604);
	assert_err(file_replace(s->fd, "no/f", STR("x"), 0600, FILE_NO_SYNC), "no such file");
}

static void replace_leaves_nothing_on_failure(void **state)
{
	struct scratch *s = *state;

	assert_int_equal(mkdirat(s->fd, "d", 0700), 0);
	assert_err(file_replace(s->fd, "d", STR("x"), 0600, FILE_NO_SYNC), "rename d: is a dir");
	assert_int_equal(unlinkat(s->fd, "d", AT_REMOVEDIR), 0);
	assert_int_equal(rmdir(s->path), 0); /* empty */
	assert_int_equal(mkdir(s->path, 0700), 0);
}

static void read_has_a_limit(void **state)
{
	struct scratch *s = *state;
	SCOPED_ARENA(a);
	struct str t;

	put_file(s->fd, "f", "12345");
	assert_ok(file_read_str(s->fd, "f", &a, 5, &t));
	assert_true(str_eq(t, STR("12345")));
	assert_err(file_read_str(s->fd, "f", &a, 4, &t), "read f: file is larger than 4 bytes");
	put_file(s->fd, "empty", "");
	assert_ok(file_read_str(s->fd, "empty", &a, 5, &t));
	assert_int_equal(t.len, 0);
	assert_ok(file_read_str(AT_FDCWD, "/proc/self/stat", &a, 4096, &t));
	assert_true(t.len > 10);
}

static void mkdirs(void **state)
{
	struct scratch *s = *state;

	assert_ok(file_mkdirs(s->fd, "a/b//c/", 0755));
	assert_true(file_is_dir(s->fd, "a/b/c"));
	assert_ok(file_mkdirs(s->fd, "a/b/c", 0755));
	put_file(s->fd, "a/f", "");
	assert_err(file_mkdirs(s->fd, "a/f/x", 0755), "mkdir a/f/x: not a directory");
	assert_err(file_mkdirs(s->fd, "a/f", 0755), "mkdir a/f: not a directory");
	assert_false(file_exists(s->fd, "zzz"));
	assert_ok(file_unlink(s->fd, "zzz"));
	assert_ok(file_unlink(s->fd, "a/f"));
	assert_false(file_exists(s->fd, "a/f"));
}

static void lock_is_exclusive(void **state)
{
	struct scratch *s = *state;
	int one = -1, two = -1;

	assert_ok(file_lock(s->fd, "lock", &one));
	assert_err(file_lock(s->fd, "lock", &two), "locked by another");
	(void)close(one);
	assert_ok(file_lock(s->fd, "lock", &two));
	(void)close(two);
}

static void facts(void **state)
{
	struct scratch *s = *state;
	struct file_space sp;
	char id[FILE_BOOT_ID_LEN + 1];

	assert_ok(file_space(s->path, &sp));
	assert_true(sp.total >= sp.free && sp.free >= sp.available);
	assert_ok(file_boot_id(id));
	assert_int_equal(strlen(id), FILE_BOOT_ID_LEN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCRATCH_TEST(replace_is_whole),  SCRATCH_TEST(replace_leaves_nothing_on_failure),
		SCRATCH_TEST(read_has_a_limit),  SCRATCH_TEST(mkdirs),
		SCRATCH_TEST(lock_is_exclusive), SCRATCH_TEST(facts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
