#include "scratch.h"

#include "base/task.h"
#include "sys/copy.h"
#include "sys/xattr.h"

#include <sys/sysmacros.h>

static void fill(int fd)
{
	struct timespec t[2] = { { 1000, 5 }, { 2000, 7 } };
	CLEANUP_FD int f = -1;

	assert_int_equal(mkdirat(fd, "src", 0755), 0);
	assert_int_equal(mkdirat(fd, "dst", 0755), 0);
	assert_int_equal(mkdirat(fd, "src/sub", 0755), 0);
	put_file(fd, "src/sub/one", "1");
	put_file(fd, "src/two", "22");
	assert_int_equal(linkat(fd, "src/two", fd, "src/zwei", 0), 0);
	assert_int_equal(linkat(fd, "src/two", fd, "src/sub/deux", 0), 0);
	assert_int_equal(symlinkat("two", fd, "src/link"), 0);
	assert_int_equal(mkfifoat(fd, "src/fifo", 0600), 0);
	assert_ok(fd_open(fd, "src/sparse", O_WRONLY | O_CREAT, 0600, &f));
	assert_ok(fd_pwrite_all(f, "end", 3, 10 << 20));
	if (geteuid() == 0) {
		assert_int_equal(mknodat(fd, "src/null", S_IFCHR | 0666, makedev(1, 3)), 0);
		assert_int_equal(fchownat(fd, "src/two", 12, 34, 0), 0);
		assert_int_equal(fchownat(fd, "src/link", 56, 78, AT_SYMLINK_NOFOLLOW), 0);
	}
	assert_int_equal(fchmodat(fd, "src/two", 04751, 0), 0);
	assert_int_equal(fchmodat(fd, "src/sub", 01700, 0), 0);
	assert_int_equal(utimensat(fd, "src/link", t, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(utimensat(fd, "src/sub", t, 0), 0);
	assert_int_equal(utimensat(fd, "src/two", t, 0), 0);
}

static void same(int fd, const char *name)
{
	char a[64], b[64];
	struct stat x, y;

	(void)snprintf(a, sizeof(a), "src/%s", name);
	(void)snprintf(b, sizeof(b), "dst/%s", name);
	assert_int_equal(fstatat(fd, a, &x, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(fstatat(fd, b, &y, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(x.st_mode, y.st_mode);
	assert_int_equal(x.st_uid, y.st_uid);
	assert_int_equal(x.st_gid, y.st_gid);
	assert_int_equal(x.st_rdev, y.st_rdev);
	assert_int_equal(file_mtime_ns(&x), file_mtime_ns(&y));
	if (!S_ISDIR(x.st_mode)) {
		assert_int_equal(x.st_size, y.st_size);
		assert_int_equal(x.st_nlink, y.st_nlink);
	}
}

static void check_copy(struct scratch *s)
{
	static const char *const names[] = { "sub",  "sub/one", "two",   "zwei",
					     "link", "fifo",    "sparse" };
	struct stat a, b;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		same(s->fd, names[i]);
	if (geteuid() == 0)
		same(s->fd, "null");
	assert_file(s->fd, "dst/sub/one", "1");
	assert_file(s->fd, "dst/zwei", "22");
	assert_int_equal(fstatat(s->fd, "dst/two", &a, 0), 0);
	assert_int_equal(fstatat(s->fd, "dst/sub/deux", &b, 0), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	assert_int_equal(fstatat(s->fd, "dst/sparse", &a, 0), 0);
	assert_true(a.st_blocks < 1000);
}

static void copy_all(struct scratch *s, struct ctx *ctx, const struct copy_opts *o)
{
	CLEANUP_FD int src = -1;
	CLEANUP_FD int dst = -1;

	assert_ok(fd_open_dir(s->fd, "src", &src));
	assert_ok(fd_open_dir(s->fd, "dst", &dst));
	assert_ok(copy_tree(ctx, src, dst, o));
}

static void tree_inline(void **state)
{
	struct scratch *s = *state;
	struct copy_opts o = { 0 };

	fill(s->fd);
	copy_all(s, NULL, &o);
	check_copy(s);
	/* Once more on top, replacing. */
	o.flags = COPY_REPLACE;
	copy_all(s, NULL, &o);
	check_copy(s);
}

static void tree_with_threads(void **state)
{
	struct scratch *s = *state;
	struct task_pool *pool = task_pool_new();
	struct ctx *ctx = ctx_new_root(pool);
	struct copy_opts o = { .threads = 3 };

	fill(s->fd);
	for (int i = 0; i < 500; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "src/sub/f%d", i);
		put_file(s->fd, name, name);
	}
	struct timespec t[2] = { { 1000, 5 }, { 2000, 7 } };
	assert_int_equal(utimensat(s->fd, "src/sub", t, 0), 0);
	copy_all(s, ctx, &o);
	check_copy(s);
	for (int i = 0; i < 500; i++) {
		char from[32], to[32];

		(void)snprintf(from, sizeof(from), "src/sub/f%d", i);
		(void)snprintf(to, sizeof(to), "dst/sub/f%d", i);
		assert_file(s->fd, to, from);
	}
	ctx_unref(ctx);
	task_pool_free(pool);
}

static struct err *pick(void *arg, struct str path, const struct stat *st, struct copy_attr *attr,
			enum copy_verdict *ret)
{
	*ret = S_ISDIR(st->st_mode)              ? COPY_ON_DEMAND
	       : str_has_suffix(path, STR(".c")) ? COPY_TAKE
						 : COPY_SKIP;
	attr->mode = (attr->mode & S_IFMT) | 0741;
	attr->mtime = (struct timespec) { 77, 0 };
	return NULL;
}

static void filter(void **state)
{
	struct scratch *s = *state;
	struct copy_opts o = { .filter = pick };
	struct stat st;

	for (const char *d = "src\0src/a\0src/a/b\0src/empty\0dst\0"; *d; d += strlen(d) + 1)
		assert_int_equal(mkdirat(s->fd, d, 0755), 0);
	put_file(s->fd, "src/a/b/x.c", "c");
	put_file(s->fd, "src/a/b/x.h", "h");
	put_file(s->fd, "src/empty/y", "y");
	copy_all(s, NULL, &o);
	assert_file(s->fd, "dst/a/b/x.c", "c");
	assert_false(file_exists(s->fd, "dst/a/b/x.h"));
	assert_false(file_exists(s->fd, "dst/empty"));
	assert_int_equal(fstatat(s->fd, "dst/a/b/x.c", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0741);
	assert_int_equal(st.st_mtim.tv_sec, 77);
	assert_int_equal(fstatat(s->fd, "dst/a/b", &st, 0), 0);
	assert_int_equal(st.st_mtim.tv_sec, 77);
}

static void conflicts(void **state)
{
	struct scratch *s = *state;
	struct copy_opts o = { .flags = COPY_REPLACE };
	CLEANUP_FD int src = -1;
	CLEANUP_FD int dst = -1;

	for (const char *d = "src\0src/d\0dst\0dst/f\0dst/f/x\0"; *d; d += strlen(d) + 1)
		assert_int_equal(mkdirat(s->fd, d, 0755), 0);
	put_file(s->fd, "src/f", "file");
	put_file(s->fd, "dst/d", "in the way");
	assert_ok(fd_open_dir(s->fd, "src", &src));
	assert_ok(fd_open_dir(s->fd, "dst", &dst));
	assert_err(copy_tree(NULL, src, dst, &o), "cannot copy to non-directory: d");
	assert_err(copy_entry(src, "f", dst, "f", &o), "cannot replace to directory f with file");
	o.flags = 0;
	assert_err(copy_entry(src, "f", dst, "d", &o), "file exists");
	o.flags = COPY_REPLACE_ANY;
	assert_ok(copy_tree(NULL, src, dst, &o));
	assert_file(s->fd, "dst/f", "file");
	assert_true(file_is_dir(s->fd, "dst/d"));
}

static void symlinks_in_the_destination_are_not_followed(void **state)
{
	struct scratch *s = *state;
	struct copy_opts o = { .flags = COPY_REPLACE };
	CLEANUP_FD int src = -1;
	CLEANUP_FD int dst = -1;

	for (const char *d = "src\0src/d\0dst\0victim\0"; *d; d += strlen(d) + 1)
		assert_int_equal(mkdirat(s->fd, d, 0755), 0);
	put_file(s->fd, "src/d/f", "x");
	put_file(s->fd, "src/g", "x");
	put_file(s->fd, "victim/g", "safe");
	assert_int_equal(symlinkat("../victim", s->fd, "dst/d"), 0);
	assert_int_equal(symlinkat("../victim/g", s->fd, "dst/g"), 0);
	assert_ok(fd_open_dir(s->fd, "src", &src));
	assert_ok(fd_open_dir(s->fd, "dst", &dst));
	assert_err(copy_tree(NULL, src, dst, &o), "non-directory");
	assert_false(file_exists(s->fd, "victim/f"));
	assert_ok(copy_entry(src, "g", dst, "g", &o));
	assert_file(s->fd, "victim/g", "safe");
	assert_file(s->fd, "dst/g", "x");
}

static void xattrs(void **state)
{
	struct scratch *s = *state;
	struct copy_opts o = { 0 };
	SCOPED_ARENA(a);
	struct str v;
	bool found;

	need_root();
	assert_int_equal(mkdirat(s->fd, "src", 0755), 0);
	assert_int_equal(mkdirat(s->fd, "dst", 0755), 0);
	put_file(s->fd, "src/f", "x");
	assert_int_equal(symlinkat("f", s->fd, "src/l"), 0);
	assert_ok(xattr_set(s->fd, "src/f", "user.k", STR("v")));
	assert_ok(xattr_set(s->fd, "src/f", "trusted.overlay.opaque", STR("y")));
	assert_ok(xattr_set(s->fd, "src/l", "trusted.t", STR("link")));
	copy_all(s, NULL, &o);
	assert_ok(xattr_get(s->fd, "dst/f", "user.k", &a, &v, &found));
	assert_true(found && str_eq(v, STR("v")));
	assert_ok(xattr_get(s->fd, "dst/f", "trusted.overlay.opaque", &a, &v, &found));
	assert_false(found);
	assert_ok(xattr_get(s->fd, "dst/l", "trusted.t", &a, &v, &found));
	assert_true(found && str_eq(v, STR("link")));
	assert_ok(xattr_remove(s->fd, "dst/l", "trusted.t"));
	assert_ok(xattr_remove(s->fd, "dst/l", "trusted.t"));
	assert_false(xattr_any(s->fd, "dst/l"));
}

static void hard_links_instead_of_copies(void **state)
{
	struct scratch *s = *state;
	struct copy_opts o = { .flags = COPY_HARDLINK };
	struct stat a, b;

	fill(s->fd);
	copy_all(s, NULL, &o);
	assert_int_equal(fstatat(s->fd, "src/sub/one", &a, 0), 0);
	assert_int_equal(fstatat(s->fd, "dst/sub/one", &b, 0), 0);
	assert_int_equal(a.st_ino, b.st_ino);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCRATCH_TEST(tree_inline),
		SCRATCH_TEST(tree_with_threads),
		SCRATCH_TEST(filter),
		SCRATCH_TEST(conflicts),
		SCRATCH_TEST(symlinks_in_the_destination_are_not_followed),
		SCRATCH_TEST(xattrs),
		SCRATCH_TEST(hard_links_instead_of_copies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
