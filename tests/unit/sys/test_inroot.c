#include "scratch.h"

#include "base/limits.h"
#include "sys/inroot.h"

/* s/root is the root, s/outside must stay out of reach. */
static int make_root(struct scratch *s)
{
	int fd = -1;

	assert_int_equal(mkdirat(s->fd, "root", 0755), 0);
	assert_int_equal(mkdirat(s->fd, "root/a", 0755), 0);
	assert_int_equal(mkdirat(s->fd, "root/a/b", 0755), 0);
	put_file(s->fd, "root/a/file", "in");
	put_file(s->fd, "outside", "out");
	assert_int_equal(symlinkat("/a", s->fd, "root/abs"), 0);
	assert_int_equal(symlinkat("../../../a", s->fd, "root/a/up"), 0);
	assert_int_equal(symlinkat("../outside", s->fd, "root/leak"), 0);
	assert_int_equal(symlinkat("/not/there", s->fd, "root/dangling"), 0);
	assert_int_equal(symlinkat("loop", s->fd, "root/loop"), 0);
	assert_ok(fd_open_dir(s->fd, "root", &fd));
	return fd;
}

static void resolved(int root, const char *path, bool follow, const char *want)
{
	SCOPED_ARENA(a);
	struct str got;

	assert_ok(inroot_resolve(root, str_from(path), follow, &a, &got));
	assert_string_equal(str_cstr(&a, got), want);
}

static void resolve(void **state)
{
	CLEANUP_FD int root = make_root(*state);
	SCOPED_ARENA(a);
	struct str got;

	resolved(root, "", true, "/");
	resolved(root, "/", true, "/");
	resolved(root, "..", true, "/");
	resolved(root, "a/b", true, "/a/b");
	resolved(root, "/a//./b/", true, "/a/b");
	resolved(root, "abs/b", true, "/a/b");
	resolved(root, "abs", true, "/a");
	resolved(root, "abs", false, "/abs");
	resolved(root, "abs/", false, "/abs");
	resolved(root, "abs/../abs/up/b", true, "/a/b");
	resolved(root, "a/up/up/up", true, "/a");
	resolved(root, "leak", true, "/outside");
	resolved(root, "dangling/x", true, "/not/there/x");
	resolved(root, "new/../abs/y", true, "/a/y");
	resolved(root, "a/file/x", true, "/a/file/x");
	resolved(root, "../../../etc/passwd", true, "/etc/passwd");
	assert_err(inroot_resolve(root, STR("loop"), true, &a, &got), "oo many levels");
	resolved(root, "loop", false, "/loop");
}

static void open_stays_inside(void **state)
{
	struct scratch *s = *state;
	CLEANUP_FD int root = make_root(s);
	SCOPED_BUF(b, 100);
	struct stat st;
	int fd = -1;

	assert_ok(inroot_open(root, STR("/abs/file"), O_RDONLY, 0, &fd));
	assert_ok(fd_read_all(fd, &b));
	(void)close(fd);
	assert_string_equal(buf_cstr(&b), "in");
	assert_err(inroot_open(root, STR("leak"), O_RDONLY, 0, &fd), "no such file");
	assert_err(inroot_open(root, STR("../outside"), O_RDONLY, 0, &fd), "no such file");
	/* Made in the root, not outside. */
	assert_ok(inroot_open(root, STR("../new"), O_WRONLY | O_CREAT, 0600, &fd));
	(void)close(fd);
	assert_true(file_exists(s->fd, "root/new"));
	assert_ok(inroot_stat(root, STR("abs"), true, &st));
	assert_true(S_ISDIR(st.st_mode));
	assert_ok(inroot_stat(root, STR("abs"), false, &st));
	assert_true(S_ISLNK(st.st_mode));
	assert_err(inroot_stat(root, str_make("a\0b", 3), false, &st), "NUL");
	assert_err(inroot_open(root, STR("loop"), O_RDONLY, 0, &fd), "loop");
}

static void parent(void **state)
{
	CLEANUP_FD int root = make_root(*state);
	SCOPED_ARENA(a);
	const char *base;
	struct stat st, want;
	int fd = -1;

	assert_ok(inroot_stat(root, STR("a"), true, &want));
	assert_ok(inroot_parent(root, STR("abs/new/"), &a, &fd, &base));
	assert_string_equal(base, "new");
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_ino, want.st_ino);
	(void)close(fd);
	assert_ok(inroot_parent(root, STR("a/b/.."), &a, &fd, &base));
	assert_string_equal(base, "a");
	(void)close(fd);
	assert_err(inroot_parent(root, STR("/"), &a, &fd, &base), "is the root");
	assert_err(inroot_parent(root, STR("a/../.."), &a, &fd, &base), "is the root");
	assert_err(inroot_parent(root, STR("no/x"), &a, &fd, &base), "no such file");
}

struct made {
	char text[200];
};

static void note(void *arg, struct str path)
{
	struct made *m = arg;
	size_t n = strlen(m->text);

	(void)snprintf(m->text + n, sizeof(m->text) - n, "%.*s ", STR_ARG(path));
}

static void mkdirs(void **state)
{
	struct scratch *s = *state;
	CLEANUP_FD int root = make_root(s);
	struct made m = { 0 };
	struct inroot_mkdirs_opts o = { .mode = 02750,
					.uid = (uid_t)-1,
					.gid = (gid_t)-1,
					.set_mtime = true,
					.mtime_ns = 1500000000123456789,
					.created = note,
					.arg = &m };
	struct stat st;
	int fd = -1;

	assert_ok(inroot_mkdirs(root, STR("/abs/x/y"), &o, &fd));
	(void)close(fd);
	assert_string_equal(m.text, "/a/x /a/x/y ");
	for (const char *p = "root/a/x/y"; p; p = strcmp(p, "root/a/x") ? "root/a/x" : NULL) {
		assert_int_equal(fstatat(s->fd, p, &st, 0), 0);
		assert_int_equal(st.st_mode & 07777, 02750);
		assert_int_equal(file_mtime_ns(&st), o.mtime_ns);
	}
	m.text[0] = '\0';
	assert_ok(inroot_mkdirs(root, STR("dangling/z"), &o, NULL));
	assert_string_equal(m.text, "/not /not/there /not/there/z ");
	m.text[0] = '\0';
	assert_ok(inroot_mkdirs(root, STR("a/b"), &o, NULL));
	assert_string_equal(m.text, "");
	assert_err(inroot_mkdirs(root, STR("a/file/x"), &o, NULL), "not a directory");
	assert_ok(inroot_mkdirs(root, STR("../../outside/dir"), &o, NULL));
	assert_true(file_is_dir(s->fd, "root/outside/dir"));
	assert_file(s->fd, "outside", "out");
}

static void long_names_are_refused(void **state)
{
	CLEANUP_FD int root = make_root(*state);
	struct inroot_mkdirs_opts o = { .mode = 0700, .uid = (uid_t)-1, .gid = (gid_t)-1 };
	CLEANUP_FREE char *p = mem_alloc(LIMIT_PATH + 10);
	int fd = -1;

	memset(p, 'x', 300);
	assert_err(inroot_mkdirs(root, str_from(p), &o, NULL), "ame too long");
	memset(p, '/', LIMIT_PATH + 5);
	assert_err(inroot_open(root, str_from(p), O_PATH, 0, &fd), "ame too long");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCRATCH_TEST(resolve), SCRATCH_TEST(open_stays_inside),      SCRATCH_TEST(parent),
		SCRATCH_TEST(mkdirs),  SCRATCH_TEST(long_names_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
