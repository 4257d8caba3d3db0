#include "archive.h"

#include <sys/sysmacros.h>

/* Unpacks into scratch/root. */
static int root_dir(struct shot *t)
{
	int fd = -1;

	(void)mkdirat(t->scratch.fd, "root", 0755);
	assert_ok(fd_open_dir(t->scratch.fd, "root", &fd));
	return fd;
}

static struct err *unpack(struct shot *t, struct archive *a, bool overlay)
{
	int fd = root_dir(t);
	struct err *e = unpack_at(t, fd, a, overlay, -1);

	(void)close(fd);
	return e;
}

static struct stat lstat_of(struct shot *t, const char *path)
{
	char p[200];
	struct stat st;

	(void)snprintf(p, sizeof(p), "root/%s", path);
	if (fstatat(t->scratch.fd, p, &st, AT_SYMLINK_NOFOLLOW) < 0)
		fail_msg("%s: %s", path, strerror(errno));
	return st;
}

static bool has(struct shot *t, const char *path)
{
	char p[200];

	(void)snprintf(p, sizeof(p), "root/%s", path);
	return file_exists(t->scratch.fd, p);
}

static void content_is(struct shot *t, const char *path, const char *text)
{
	char p[200];

	(void)snprintf(p, sizeof(p), "root/%s", path);
	assert_file(t->scratch.fd, p, text);
}

static void all_kinds(void **state)
{
	struct shot *t = *state;
	struct archive a;
	struct tar_xattr x[] = { { STR("trusted.bad"), STR("v") }, { STR("user.k"), STR("v\0w") } };
	struct tar_header h = { .type = '0',
				.name = STR("x"),
				.mode = 0600,
				.uid = 1,
				.gid = 2,
				.mtime_ns = 5000000001,
				.xattrs = x,
				.n_xattrs = 2 };
	struct tar_header dev = {
		.type = '3', .name = STR("null"), .mode = 0666, .devmajor = 1, .devminor = 3
	};
	struct stat st;
	SCOPED_ARENA(ar);
	struct str v;
	bool found;

	archive_begin(&a);
	put_entry(&a, '5', "./", NULL, 0700);
	put_entry(&a, '5', "d/", NULL, 01777);
	put_entry(&a, '0', "d/f", "data", 0644);
	put_entry(&a, '0', "/suid", "data", 06755);
	put_entry(&a, '0', "empty", "", 0);
	put_entry(&a, '1', "d/hard", "d/f", 0644);
	put_entry(&a, '2', "sym", "../../etc", 0777);
	put_entry(&a, '6', "fifo", NULL, 0600);
	put_entry(&a, '0', "implied/deep/f", "i", 0644);
	put_header(&a, &h, "xattrs");
	put_header(&a, &dev, NULL);
	assert_ok(unpack(t, &a, false));
	st = lstat_of(t, "d");
	assert_int_equal(st.st_mode, S_IFDIR | 01777);
	assert_int_equal(st.st_mtim.tv_sec, 1234567890);
	st = lstat_of(t, "d/f");
	assert_int_equal(st.st_mode, S_IFREG | 0644);
	assert_int_equal(st.st_nlink, 2);
	assert_int_equal(st.st_mtim.tv_sec, 1234567890);
	assert_int_equal(lstat_of(t, "d/hard").st_ino, st.st_ino);
	assert_int_equal(lstat_of(t, "suid").st_mode, S_IFREG | 06755);
	assert_int_equal(lstat_of(t, "empty").st_mode, S_IFREG);
	st = lstat_of(t, "sym");
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(st.st_mtim.tv_sec, 1234567890);
	assert_true(S_ISFIFO(lstat_of(t, "fifo").st_mode));
	assert_int_equal(lstat_of(t, "implied/deep").st_mode, S_IFDIR | 0755);
	st = lstat_of(t, "x");
	assert_int_equal(st.st_uid, 1);
	assert_int_equal(st.st_gid, 2);
	assert_int_equal(file_mtime_ns(&st), 5000000001);
	assert_ok(xattr_get(t->scratch.fd, "root/x", "user.k", &ar, &v, &found));
	assert_true(found && str_eq(v, STR("v\0w")));
	assert_ok(xattr_get(t->scratch.fd, "root/x", "trusted.bad", &ar, &v, &found));
	assert_false(found);
	st = lstat_of(t, "null");
	assert_int_equal(st.st_mode, S_IFCHR | 0666);
	assert_int_equal(st.st_rdev, makedev(1, 3));
	assert_int_equal(fstatat(t->scratch.fd, "root", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0755); /* the root is left alone */
}

static void later_entries_win(void **state)
{
	struct shot *t = *state;
	struct archive a;

	archive_begin(&a);
	put_entry(&a, '0', "f", "1", 0600);
	put_entry(&a, '0', "f", "2", 0644);
	put_entry(&a, '5', "d/", NULL, 0755);
	put_entry(&a, '0', "d/x", "x", 0644);
	put_entry(&a, '0', "d", "now a file", 0644);
	put_entry(&a, '0', "e", "file", 0644);
	put_entry(&a, '5', "e/", NULL, 0711);
	put_entry(&a, '0', "e/y", "y", 0644);
	put_entry(&a, '5', "e/", NULL, 0700);
	put_entry(&a, '2', "s", "f", 0777);
	put_entry(&a, '0', "s", "not through the link", 0644);
	put_entry(&a, '1', "f", "./f", 0644);
	assert_ok(unpack(t, &a, false));
	content_is(t, "f", "2");
	content_is(t, "d", "now a file");
	content_is(t, "e/y", "y");
	assert_int_equal(lstat_of(t, "e").st_mode & 07777, 0700);
	content_is(t, "s", "not through the link");
}

static void stays_in_the_root(void **state)
{
	struct shot *t = *state;
	struct archive a;
	static const char *const bad[] = { "../f", "d/../../f", "/../f", ".." };

	put_file(t->scratch.fd, "victim", "safe");
	assert_int_equal(mkdirat(t->scratch.fd, "outside", 0755), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		archive_begin(&a);
		put_entry(&a, '0', bad[i], "x", 0644);
		if (bad[i][0] == '/') /* cleaned, it is inside */
			assert_ok(unpack(t, &a, false));
		else
			assert_err(unpack(t, &a, false), "out of the root");
	}
	archive_begin(&a);
	put_entry(&a, '2', "up", "../outside", 0777);
	put_entry(&a, '2', "abs", "/outside2", 0777);
	put_entry(&a, '0', "up/f", "x", 0644);
	put_entry(&a, '0', "abs/f", "x", 0644);
	assert_ok(unpack(t, &a, false));
	assert_false(file_exists(t->scratch.fd, "outside/f"));
	content_is(t, "outside/f", "x");
	content_is(t, "outside2/f", "x");
	archive_begin(&a);
	put_entry(&a, '2', "v", "../victim", 0777);
	put_entry(&a, '1', "w", "v", 0777);
	put_entry(&a, '0', "w", "x", 0644);
	put_entry(&a, '1', "z", "../victim", 0644);
	assert_err(unpack(t, &a, false), "failed to extract z: link to ../victim leads out");
	assert_file(t->scratch.fd, "victim", "safe");
	archive_begin(&a);
	put_entry(&a, '1', "z2", "/victim", 0644);
	assert_err(unpack(t, &a, false), "no such file");
	archive_begin(&a);
	put_entry(&a, '0', "file", "x", 0644);
	put_entry(&a, '0', "file/below", "x", 0644);
	assert_err(unpack(t, &a, false), "failed to extract file/below");
}

static void whiteouts_delete(void **state)
{
	struct shot *t = *state;
	struct archive a;

	archive_begin(&a);
	put_entry(&a, '0', "d/x", "x", 0644);
	put_entry(&a, '0', "d/y/z", "z", 0644);
	put_entry(&a, '0', "keep", "k", 0644);
	put_entry(&a, '0', "o/old", "old", 0644);
	put_entry(&a, '0', "o/sub/old", "old", 0644);
	assert_ok(unpack(t, &a, false));
	archive_begin(&a);
	put_entry(&a, '0', "d/.wh.x", "", 0);
	put_entry(&a, '0', "d/.wh.y", "", 0);
	put_entry(&a, '0', ".wh.none", "", 0);
	put_entry(&a, '0', "keep", "new", 0644);
	put_entry(&a, '0', ".wh.keep", "", 0);
	put_entry(&a, '0', "o/sub/new", "new", 0644);
	put_entry(&a, '0', "o/.wh..wh..opq", "", 0);
	put_entry(&a, '0', ".wh..wh.aufs", "", 0);
	assert_ok(unpack(t, &a, false));
	assert_false(has(t, "d/x"));
	assert_false(has(t, "d/y"));
	content_is(t, "keep", "new");
	assert_false(has(t, "o/old"));
	assert_false(has(t, "o/sub"));
	assert_false(has(t, ".wh..wh.aufs"));
	for (const char *bad = ".wh.\0.wh..\0.wh...\0"; *bad; bad += strlen(bad) + 1) {
		archive_begin(&a);
		put_entry(&a, '0', bad, "", 0);
		assert_err(unpack(t, &a, false), "invalid whiteout name");
	}
}

static void whiteouts_of_overlays(void **state)
{
	struct shot *t = *state;
	struct archive a;
	SCOPED_ARENA(ar);
	struct str v;
	bool found;

	archive_begin(&a);
	put_entry(&a, '0', "d/.wh.x", "", 0);
	put_entry(&a, '0', "o/.wh..wh..opq", "", 0);
	put_entry(&a, '0', ".wh.again", "", 0);
	put_entry(&a, '5', "again/", NULL, 0755);
	put_entry(&a, '5', "before/", NULL, 0755);
	put_entry(&a, '0', ".wh.before", "", 0);
	assert_ok(unpack(t, &a, true));
	assert_int_equal(lstat_of(t, "d/x").st_mode & S_IFMT, S_IFCHR);
	assert_int_equal(lstat_of(t, "d/x").st_rdev, 0);
	for (const char *o = "o\0again\0before\0"; *o; o += strlen(o) + 1) {
		char p[40];

		(void)snprintf(p, sizeof(p), "root/%s", o);
		assert_ok(xattr_get(t->scratch.fd, p, "trusted.overlay.opaque", &ar, &v, &found));
		assert_true(found && str_eq(v, STR("y")));
	}
}

static void lower_layers_are_asked(void **state)
{
	struct shot *t = *state;
	struct archive a;
	CLEANUP_FD int lower = -1;
	CLEANUP_FD int root = root_dir(t);
	struct timespec ts[2] = { { 100, 0 }, { 200, 0 } };
	struct stat st;

	assert_int_equal(mkdirat(t->scratch.fd, "lower", 0755), 0);
	assert_int_equal(mkdirat(t->scratch.fd, "lower/d", 0750), 0);
	assert_int_equal(fchownat(t->scratch.fd, "lower/d", 11, 12, 0), 0);
	put_file(t->scratch.fd, "lower/d/target", "below");
	put_file(t->scratch.fd, "lower/top", "top");
	assert_int_equal(symlinkat("d", t->scratch.fd, "lower/s"), 0);
	assert_int_equal(utimensat(t->scratch.fd, "lower/d", ts, 0), 0);
	assert_ok(fd_open_dir(t->scratch.fd, "lower", &lower));
	archive_begin(&a);
	put_entry(&a, '0', "d/new", "n", 0644);
	put_entry(&a, '1', "link", "d/target", 0644);
	put_entry(&a, '1', "e/link", "top", 0644);
	put_entry(&a, '0', "s/f", "n", 0644);
	assert_ok(unpack_at(t, root, &a, true, lower));
	st = lstat_of(t, "d");
	assert_int_equal(st.st_mode & 07777, 0750);
	assert_int_equal(st.st_uid, 11);
	assert_int_equal(st.st_gid, 12);
	assert_int_equal(st.st_mtim.tv_sec, 200);
	content_is(t, "link", "below");
	assert_int_equal(lstat_of(t, "link").st_ino, lstat_of(t, "d/target").st_ino);
	content_is(t, "top", "top");
	assert_int_equal(lstat_of(t, "s").st_mode, S_IFDIR | 0755);
	archive_begin(&a);
	put_entry(&a, '1', "bad", "d/none", 0644);
	assert_err(unpack_at(t, root, &a, true, lower), "failed to extract bad");
}

static void aufs_links(void **state)
{
	struct shot *t = *state;
	struct archive a;

	archive_begin(&a);
	put_entry(&a, '5', ".wh..wh.plnk/", NULL, 0700);
	put_entry(&a, '0', ".wh..wh.plnk/1.2", "linked", 0640);
	put_entry(&a, '1', "a", ".wh..wh.plnk/1.2", 0640);
	put_entry(&a, '1', "d/b", "/.wh..wh.plnk/1.2", 0640);
	assert_ok(unpack(t, &a, false));
	content_is(t, "a", "linked");
	content_is(t, "d/b", "linked");
	assert_int_equal(lstat_of(t, "a").st_ino, lstat_of(t, "d/b").st_ino);
	assert_int_equal(lstat_of(t, "a").st_mode & 07777, 0640);
	assert_false(has(t, ".wh..wh.plnk"));
	archive_begin(&a);
	put_entry(&a, '1', "c", ".wh..wh.plnk/9", 0640);
	assert_err(unpack(t, &a, false), "no such file");
}

static void big_and_many(void **state)
{
	struct shot *t = *state;
	struct archive a;
	CLEANUP_FREE char *big = mem_alloc((3 << 20) + 8);
	struct stat st;

	memset(big, 'b', 3 << 20);
	memset(big + (1 << 20), 0, 1 << 20);
	archive_begin(&a);
	struct tar_header h = { .type = '0', .name = STR("big"), .mode = 0644, .size = 3 << 20 };
	h.format = TAR_FORMAT_PAX;
	assert_ok(tar_write_header(a.t, &h));
	assert_ok(tar_write(a.t, big, 3 << 20));
	for (int i = 0; i < 2000; i++) {
		char name[40], link[40];

		(void)snprintf(name, sizeof(name), "d%d/f%d", i % 7, i);
		(void)snprintf(link, sizeof(link), "l%d", i);
		put_entry(&a, '0', name, name, 0644);
		if (i % 100 == 0)
			put_entry(&a, '1', link, name, 0644);
	}
	assert_ok(unpack(t, &a, false));
	st = lstat_of(t, "big");
	assert_int_equal(st.st_size, 3 << 20);
	assert_true(st.st_blocks * 512 < (3 << 20)); /* a hole */
	for (int i = 0; i < 2000; i++) {
		char name[40];

		(void)snprintf(name, sizeof(name), "d%d/f%d", i % 7, i);
		content_is(t, name, name);
	}
	content_is(t, "l300", "d6/f300");
}

static void truncated(void **state)
{
	struct shot *t = *state;
	struct archive a;
	int fd = root_dir(t);

	archive_begin(&a);
	put_entry(&a, '0', "f", "some data", 0644);
	struct str whole = archive_end(&a);
	for (size_t n = 1; n < 512 + 9; n += 40) {
		const struct apply_opts o = { .lower_fd = -1 };
		struct reader *r = reader_of_str(str_sub(whole, 0, n));

		assert_err(snapshot_apply(t->ctx, fd, r, &o, NULL), "");
		reader_close(r);
	}
	buf_fini(&a.b);
	(void)close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SHOT_TEST(all_kinds),
		SHOT_TEST(later_entries_win),
		SHOT_TEST(stays_in_the_root),
		SHOT_TEST(whiteouts_delete),
		SHOT_TEST(whiteouts_of_overlays),
		SHOT_TEST(lower_layers_are_asked),
		SHOT_TEST(aufs_links),
		SHOT_TEST(big_and_many),
		SHOT_TEST(truncated),
	};

	if (!may_mount())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
