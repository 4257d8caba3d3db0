#include "scratch.h"

#include "sys/mount.h"

#include <linux/fs.h>
#include <sys/ioctl.h>

static void whole_trees(void **state)
{
	struct scratch *s = *state;

	for (const char *d = "t\0t/a\0t/a/b\0t/c\0keep\0"; *d; d += strlen(d) + 1)
		assert_int_equal(mkdirat(s->fd, d, 0755), 0);
	put_file(s->fd, "t/a/b/f", "");
	put_file(s->fd, "keep/f", "k");
	assert_int_equal(symlinkat("../keep", s->fd, "t/link"), 0);
	assert_int_equal(mkfifoat(s->fd, "t/fifo", 0), 0);
	assert_int_equal(fchmodat(s->fd, "t/c", 0, 0), 0);
	assert_ok(rmtree(s->fd, "t"));
	assert_false(file_exists(s->fd, "t"));
	assert_file(s->fd, "keep/f", "k");
	assert_ok(rmtree(s->fd, "t"));
	assert_int_equal(symlinkat("keep", s->fd, "l"), 0);
	assert_ok(rmtree(s->fd, "l"));
	assert_false(file_exists(s->fd, "l"));
	assert_file(s->fd, "keep/f", "k");
	assert_ok(rmtree_content(s->fd));
	assert_false(file_exists(s->fd, "keep"));
}

static void very_deep(void **state)
{
	struct scratch *s = *state;
	int fd = dup(s->fd);

	/* Far beyond PATH_MAX. */
	for (int i = 0; i < 3000; i++) {
		int next;

		assert_int_equal(mkdirat(fd, "directory", 0755), 0);
		if (i % 100 == 0)
			put_file(fd, "file", "");
		next = openat(fd, "directory", O_RDONLY | O_DIRECTORY);
		(void)close(fd);
		fd = next;
	}
	(void)close(fd);
	assert_ok(rmtree(s->fd, "directory"));
	assert_false(file_exists(s->fd, "directory"));
}

static void immutable(void **state)
{
	struct scratch *s = *state;
	CLEANUP_FD int fd = -1;
	int flags = 0;

	need_root();
	assert_int_equal(mkdirat(s->fd, "d", 0755), 0);
	put_file(s->fd, "d/f", "");
	assert_ok(fd_open(s->fd, "d/f", O_RDONLY, 0, &fd));
	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
		skip();
	flags |= FS_IMMUTABLE_FL;
	if (ioctl(fd, FS_IOC_SETFLAGS, &flags) < 0)
		skip();
	assert_ok(rmtree(s->fd, "d"));
	assert_false(file_exists(s->fd, "d"));
}

static void mounts_are_not_entered(void **state)
{
	struct scratch *s = *state;
	char at[128];
	CLEANUP_FD int fs = -1;
	CLEANUP_FD int mnt = -1;

	need_root();
	assert_int_equal(mkdirat(s->fd, "d", 0755), 0);
	assert_int_equal(mkdirat(s->fd, "d/m", 0755), 0);
	(void)snprintf(at, sizeof(at), "%s/d/m", s->path);
	assert_ok(mount_fs_open("tmpfs", &fs));
	assert_ok(mount_fs_make(fs, MOUNT_NODEV, &mnt));
	assert_ok(mount_attach(mnt, AT_FDCWD, at));
	assert_true(mount_is_mountpoint(AT_FDCWD, at));
	put_file(s->fd, "d/m/precious", "p");
	assert_err(rmtree(s->fd, "d"), "usy");
	assert_file(s->fd, "d/m/precious", "p");
	assert_ok(mount_umount_below(s->path));
	assert_false(mount_is_mountpoint(AT_FDCWD, at));
	assert_ok(mount_umount(at, false));
	assert_ok(rmtree(s->fd, "d"));
}

static void trash(void **state)
{
	struct scratch *s = *state;
	struct trash *t = NULL;
	char dir[128];

	(void)snprintf(dir, sizeof(dir), "%s/trash", s->path);
	assert_int_equal(mkdirat(s->fd, "trash", 0700), 0);
	put_file(s->fd, "trash/old", "of an earlier run");
	assert_ok(trash_open(dir, &t));
	for (int i = 0; i < 20; i++) {
		assert_int_equal(mkdirat(s->fd, "d", 0755), 0);
		put_file(s->fd, "d/f", "");
		assert_ok(trash_put(t, s->fd, "d"));
		assert_false(file_exists(s->fd, "d"));
	}
	assert_ok(trash_put(t, s->fd, "missing"));
	trash_flush(t);
	assert_int_equal(unlinkat(s->fd, "trash", AT_REMOVEDIR), 0);
	trash_close(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCRATCH_TEST(whole_trees), SCRATCH_TEST(very_deep),
		SCRATCH_TEST(immutable),   SCRATCH_TEST(mounts_are_not_entered),
		SCRATCH_TEST(trash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
