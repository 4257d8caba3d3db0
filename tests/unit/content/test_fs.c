/* The file store after crashes, reboots and with a full disk. */
#include "content/content_fs.h"

#include "base/mem.h"
#include "base/task.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define OK(expr)                                                                                   \
	do {                                                                                       \
		struct err *ok_ = (expr);                                                          \
		if (ok_)                                                                           \
			fail_msg("%s", err_text(ok_));                                             \
	} while (0)

#define BOOT_A STR("aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa")
#define BOOT_B STR("bbbbbbbb-bbbb-bbbb-bbbb-bbbbbbbbbbbb")
#define NEVER (3600 * NSEC_PER_SEC)

static char dir[64];
static struct kv *kv;
static struct ctx *ctx;

static int setup(void **state)
{
	(void)state;
	ctx = ctx_new_root(NULL);
	(void)snprintf(dir, sizeof(dir), "/tmp/test-content-XXXXXX");
	kv = kv_open_mem();
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	char cmd[128];

	(void)state;
	ctx_unref(ctx);
	OK(kv_close(kv));
	(void)snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

/* As a kill would leave it: nothing is flushed. */
static void drop(struct content *c)
{
	struct content_fs *fs = container_of(c, struct content_fs, base);

	(void)close(fs->blobs_fd);
	fs->blobs_fd = -1;
	/* Its syncfs fails now. */
	fs_free(c);
}

static char *blob_path(const struct digest *d, char out[256])
{
	SCOPED_ARENA(a);

	(void)snprintf(out, 256, "%s/blobs/sha256/%s", dir, digest_hex(d, &a));
	return out;
}

static void reboot_verifies(void **state)
{
	struct digest good, torn, damaged, durable, gone;
	struct content *c;
	char path[256];
	int fd;

	(void)state;
	OK(content_open_fs_as(dir, kv, BOOT_A, NEVER, &c));
	OK(content_write_blob(c, ctx, STR("durable"), NULL, 0, &durable));
	OK(content_sync(c));
	OK(content_write_blob(c, ctx, STR("good"), NULL, 0, &good));
	OK(content_write_blob(c, ctx, STR("torn one"), NULL, 0, &torn));
	OK(content_write_blob(c, ctx, STR("damaged"), NULL, 0, &damaged));
	OK(content_write_blob(c, ctx, STR("gone"), NULL, 0, &gone));
	drop(c);
	assert_int_equal(truncate(blob_path(&torn, path), 4), 0);
	assert_int_equal(unlink(blob_path(&gone, path)), 0);
	fd = open(blob_path(&damaged, path), O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "\0\0", 2, 3), 2);
	(void)close(fd);
	/* A durable blob's bytes are not read again: too many. */
	fd = open(blob_path(&durable, path), O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "D", 1, 0), 1);
	(void)close(fd);

	OK(content_open_fs_as(dir, kv, BOOT_B, NEVER, &c));
	assert_true(content_has(c, ctx, &good));
	assert_true(content_has(c, ctx, &durable));
	assert_false(content_has(c, ctx, &torn));
	assert_false(content_has(c, ctx, &damaged));
	assert_false(content_has(c, ctx, &gone));
	assert_int_equal(access(blob_path(&torn, path), F_OK), -1);
	assert_int_equal(access(blob_path(&damaged, path), F_OK), -1);
	/* And all the same after a boot with nothing in between. */
	drop(c);
	OK(content_open_fs_as(dir, kv, BOOT_A, NEVER, &c));
	assert_true(content_has(c, ctx, &good));
	assert_int_equal(truncate(blob_path(&durable, path), 1), 0);
	drop(c);
	OK(content_open_fs_as(dir, kv, BOOT_B, NEVER, &c));
	assert_false(content_has(c, ctx, &durable));
	content_free(c);
}

static void background_sync(void **state)
{
	struct digest d;
	struct content *c;
	char path[256];
	int fd;

	(void)state;
	OK(content_open_fs_as(dir, kv, BOOT_A, NSEC_PER_MSEC, &c));
	OK(content_write_blob(c, ctx, STR("some bytes"), NULL, 0, &d));
	OK(content_sync(c));
	content_free(c);
	/* Durable, so its bytes are taken as they are. */
	fd = open(blob_path(&d, path), O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "S", 1, 0), 1);
	(void)close(fd);
	OK(content_open_fs_as(dir, kv, BOOT_B, NEVER, &c));
	assert_true(content_has(c, ctx, &d));
	content_free(c);
}

static void torn_in_use(void **state)
{
	SCOPED_BUF(out, 100);
	struct content *c;
	struct digest d, e;
	char path[256];
	struct err *err;

	(void)state;
	OK(content_open_fs_as(dir, kv, BOOT_A, NEVER, &c));
	OK(content_write_blob(c, ctx, STR("first"), NULL, 0, &d));
	OK(content_write_blob(c, ctx, STR("second"), NULL, 0, &e));
	assert_int_equal(truncate(blob_path(&d, path), 2), 0);
	assert_int_equal(unlink(blob_path(&e, path)), 0);
	err = content_read_blob(c, ctx, &d, 100, &out);
	assert_true(err_is(err, ERR_NOT_FOUND));
	err_free(err);
	err = content_read_blob(c, ctx, &e, 100, &out);
	assert_true(err_is(err, ERR_NOT_FOUND));
	err_free(err);
	assert_false(content_has(c, ctx, &d));
	assert_false(content_has(c, ctx, &e));
	/* It can be written anew. */
	OK(content_write_blob(c, ctx, STR("first"), NULL, 0, &d));
	OK(content_read_blob(c, ctx, &d, 100, &out));
	content_free(c);
}

static size_t n_files(const char *sub)
{
	char cmd[128];
	FILE *f;
	size_t n = 0;
	int c;

	(void)snprintf(cmd, sizeof(cmd), "%s/%s", dir, sub);
	{
		char line[256];

		(void)snprintf(line, sizeof(line), "find %s -type f | wc -l > %s/n", cmd, dir);
		assert_int_equal(system(line), 0);
		(void)snprintf(line, sizeof(line), "%s/n", dir);
		f = fopen(line, "re");
	}
	while ((c = fgetc(f)) >= '0')
		n = n * 10 + (size_t)(c - '0');
	(void)fclose(f);
	return n;
}

static void leftovers(void **state)
{
	struct content_writer *w;
	struct content *c;
	struct digest d;
	char path[256];
	struct timespec old[2] = { { .tv_nsec = UTIME_OMIT }, { 0 } };
	int fd;

	(void)state;
	OK(content_open_fs_as(dir, kv, BOOT_A, NEVER, &c));
	OK(content_write_blob(c, ctx, STR("kept"), NULL, 0, &d));
	for (int i = 0; i < 2; i++) {
		OK(content_writer_open(c, ctx, i ? STR("new") : STR("old"), &w));
		OK(writer_write(&w->io, "half", 4));
		content_writer_close(w);
	}
	drop(c);
	/* A kill between the rename and the record. */
	(void)snprintf(path, sizeof(path),
		       "%s/blobs/sha256/"
		       "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
		       dir);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, "hello", 5), 5);
	(void)close(fd);
	(void)snprintf(path, sizeof(path), "%s/blobs/sha256/junk", dir);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	(void)close(fd);
	{
		struct digest r = digest_sha256(STR("old"));
		SCOPED_ARENA(a);

		(void)snprintf(path, sizeof(path), "%s/ingest/%s", dir, digest_hex(&r, &a));
		assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
	}
	OK(content_open_fs_as(dir, kv, BOOT_A, NEVER, &c));
	assert_int_equal(n_files("blobs"), 1);
	assert_int_equal(n_files("ingest"), 1);
	OK(content_writer_open(c, ctx, STR("new"), &w));
	assert_int_equal(w->offset, 4);
	content_writer_close(w);
	drop(c);
	OK(content_open_fs_as(dir, kv, BOOT_B, NEVER, &c));
	assert_int_equal(n_files("ingest"), 0);
	assert_true(content_has(c, ctx, &d));
	content_free(c);
}

static void full_disk(void **state)
{
	CLEANUP_FREE char *big = mem_alloc(100000);
	struct content_writer *w;
	struct err *e = NULL;
	struct content *c;
	struct digest d;

	(void)state;
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		skip();
	assert_int_equal(mount("t", dir, "tmpfs", 0, "size=1m"), 0);
	OK(content_open_fs_as(dir, kv, BOOT_A, NEVER, &c));
	OK(content_writer_open(c, ctx, STR("big"), &w));
	for (int i = 0; !e && i < 100; i++)
		e = writer_write(&w->io, big, 100000);
	assert_true(err_is(e, ERR_RESOURCE_EXHAUSTED));
	assert_int_equal(err_get_errno(e), ENOSPC);
	err_free(e);
	e = content_commit(w, 0, NULL, NULL, 0, &d);
	assert_true(err_is(e, ERR_FAILED_PRECONDITION));
	err_free(e);
	content_writer_close(w);
	/* The room is there again. */
	assert_int_equal(n_files("ingest"), 0);
	OK(content_write_blob(c, ctx, str_make(big, 100000), NULL, 0, &d));
	content_free(c);
	assert_int_equal(umount(dir), 0);
}

struct racer {
	struct content *c;
	size_t i;
};

static struct err *race(struct ctx *tctx, void *arg)
{
	struct racer *r = arg;

	for (size_t i = 0; i < 200; i++) {
		SCOPED_BUF(out, 100);
		struct digest d;
		char text[32];
		struct err *e;

		(void)snprintf(text, sizeof(text), "blob %zu", i % 7);
		OK(content_write_blob(r->c, tctx, str_from(text), NULL, 0, &d));
		e = content_read_blob(r->c, tctx, &d, 100, &out);
		if (!e)
			assert_string_equal(buf_cstr(&out), text);
		else
			assert_true(err_is(e, ERR_NOT_FOUND));
		err_free(e);
		if ((i + r->i) % 3 == 0)
			err_free(content_remove(r->c, tctx, &d));
	}
	return NULL;
}

static void races(void **state)
{
	struct task_pool *pool = task_pool_new();
	struct ctx *root = ctx_new_root(pool);
	struct racer racers[8];
	struct task_group g;
	struct content *c;

	(void)state;
	OK(content_open_fs_as(dir, kv, BOOT_A, NSEC_PER_MSEC, &c));
	task_group_init(&g, root, 0);
	for (size_t i = 0; i < ARRAY_SIZE(racers); i++) {
		racers[i] = (struct racer) { c, i };
		task_group_go(&g, "race", race, &racers[i]);
	}
	OK(task_group_wait(&g));
	content_free(c);
	OK(content_open_fs_as(dir, kv, BOOT_A, NSEC_PER_MSEC, &c));
	content_free(c);
	ctx_unref(root);
	task_pool_free(pool);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(reboot_verifies), T(background_sync), T(torn_in_use),
		T(leftovers),       T(races),           T(full_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
