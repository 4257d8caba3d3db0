#include "scratch.h"

#include "sys/walk.h"

static void list(int dirfd, unsigned flags, const char *skip, char *out, size_t size)
{
	struct walk *w = NULL;
	const struct walk_entry *e;

	out[0] = '\0';
	assert_ok(walk_open(dirfd, flags, &w));
	for (;;) {
		size_t n = strlen(out);

		assert_ok(walk_next(w, &e));
		if (!e)
			break;
		(void)snprintf(out + n, size - n, "%s%s ", e->leave ? "-" : "", e->path.ptr);
		if (skip && str_eq_cstr(e->path, skip))
			walk_skip(w);
	}
	walk_close(w);
}

static void order(void **state)
{
	struct scratch *s = *state;
	char got[500];

	assert_int_equal(mkdirat(s->fd, "a", 0755), 0);
	assert_int_equal(mkdirat(s->fd, "a/b", 0755), 0);
	put_file(s->fd, "a/b/c", "");
	put_file(s->fd, "a.txt", "");
	put_file(s->fd, "a-x", "");
	assert_int_equal(mkdirat(s->fd, "B", 0755), 0);
	assert_int_equal(symlinkat("a", s->fd, "link"), 0);
	list(s->fd, 0, NULL, got, sizeof(got));
	assert_string_equal(got, "B a a/b a/b/c a-x a.txt link ");
	list(s->fd, WALK_LEAVE | WALK_NO_STAT, NULL, got, sizeof(got));
	assert_string_equal(got, "B -B a a/b a/b/c -a/b -a a-x a.txt link ");
	list(s->fd, WALK_LEAVE, "a", got, sizeof(got));
	assert_string_equal(got, "B -B a a-x a.txt link ");
}

static void deeper_than_the_open_descriptors(void **state)
{
	struct scratch *s = *state;
	struct walk *w = NULL;
	const struct walk_entry *e;
	size_t files = 0, leaves = 0;
	int fd = dup(s->fd);

	for (int i = 0; i < 100; i++) {
		int next;

		assert_int_equal(mkdirat(fd, "d", 0755), 0);
		put_file(fd, "z", "");
		next = openat(fd, "d", O_RDONLY | O_DIRECTORY);
		(void)close(fd);
		fd = next;
	}
	(void)close(fd);
	assert_ok(walk_open(s->fd, WALK_LEAVE, &w));
	for (;;) {
		struct stat st;

		assert_ok(walk_next(w, &e));
		if (!e)
			break;
		assert_int_equal(fstatat(e->dirfd, e->name, &st, AT_SYMLINK_NOFOLLOW), 0);
		assert_int_equal(st.st_ino, e->st.st_ino);
		files += S_ISREG(e->st.st_mode);
		leaves += e->leave;
	}
	walk_close(w);
	assert_int_equal(files, 100);
	assert_int_equal(leaves, 100);
}

static void many_names(void **state)
{
	struct scratch *s = *state;
	struct walk_names n;
	CLEANUP_FD int fd = -1;

	for (int i = 0; i < 3000; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "file-with-a-name-%d", i);
		assert_int_equal(mknodat(s->fd, name, S_IFREG | 0600, 0), 0);
	}
	assert_ok(fd_open_dir(s->fd, ".", &fd));
	assert_ok(walk_read_names(fd, true, &n));
	assert_int_equal(n.n, 3000);
	for (size_t i = 1; i < n.n; i++)
		assert_true(strcmp(n.items[i - 1].name, n.items[i].name) < 0);
	walk_names_fini(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCRATCH_TEST(order),
		SCRATCH_TEST(deeper_than_the_open_descriptors),
		SCRATCH_TEST(many_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
