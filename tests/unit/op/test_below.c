/* Copying below real overlays: the merged view afterwards is what copying through it gives. Needs
 * the right to mount; skipped without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/task.h"
#include "op/file.h"
#include "sys/file.h"
#include "sys/rmtree.h"

#include <fcntl.h>
#include <sys/xattr.h>

#define assert_ok(expr)                                                                            \
	do {                                                                                       \
		struct err *e_ = (expr);                                                           \
		if (e_)                                                                            \
			print_error("%s\n", err_text(e_));                                         \
		assert_null(e_);                                                                   \
	} while (0)

struct fixture {
	char dir[64];
	struct arena arena;
	struct task_pool *pool;
	struct ctx *ctx;
	struct localmount *src, *dst;
	struct mounts src_view, dst_view;
};

static char *at(struct fixture *f, const char *path)
{
	return arena_printf(&f->arena, "%s/%s", f->dir, path);
}

static void shell(struct fixture *f, const char *script)
{
	char *cmd = mem_printf("cd %s && %s", f->dir, script);

	assert_int_equal(system(cmd), 0);
	free(cmd);
}

/* Source: layers s2 over s1. Destination: upper u over d2 over d1. */
static int setup(void **state)
{
	struct fixture *f = NEW(struct fixture);

	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/test-below-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->pool = task_pool_new();
	f->ctx = ctx_new_root(f->pool);
	shell(f,
	      "mkdir s1 s2 d1 d2 u w tmp && "
	      "mkdir -p s1/only1/sub s1/both/one s2/both/two s2/only2/dir s1/gone s2/hidden "
	      "s1/hidden/deep && "
	      "echo 1 > s1/only1/sub/f && echo 2 > s2/only2/dir/f && echo a > s1/both/one/f && "
	      "echo b > s2/both/two/f && mknod s2/only2/removed c 0 0 && mknod s2/gone c 0 0 && "
	      "chmod 0710 s2/only2 && ln s2/only2/dir/f s2/only2/hard && "
	      "mkdir -p d1/app d1/full d2/work/x && echo old > d1/full/old && chmod 0751 d1/app && "
	      "echo y > d1/gone && mknod d2/gone c 0 0");
	f->src_view = (struct mounts) {
		.kind = MOUNT_OVERLAY,
		.readonly = true,
		.lowers = ARENA_NEW_N(&f->arena, struct str, 2),
		.n_lowers = 2,
	};
	f->src_view.lowers[0] = str_from(at(f, "s2"));
	f->src_view.lowers[1] = str_from(at(f, "s1"));
	f->dst_view = (struct mounts) {
		.kind = MOUNT_OVERLAY,
		.lowers = ARENA_NEW_N(&f->arena, struct str, 2),
		.n_lowers = 2,
		.upper = str_from(at(f, "u")),
		.work = str_from(at(f, "w")),
		.is_volatile = true,
	};
	f->dst_view.lowers[0] = str_from(at(f, "d2"));
	f->dst_view.lowers[1] = str_from(at(f, "d1"));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	localmount_close(f->src);
	localmount_close(f->dst);
	assert_ok(rmtree(AT_FDCWD, f->dir));
	task_pool_free(f->pool);
	ctx_unref(f->ctx);
	arena_fini(&f->arena);
	free(f);
	return 0;
}

static bool open_views(struct fixture *f)
{
	struct err *e = localmount_open(&f->src_view, at(f, "tmp"), &f->src);

	if (!e)
		e = localmount_open(&f->dst_view, at(f, "tmp"), &f->dst);
	if (err_get_errno(e) == EPERM || err_get_errno(e) == EINVAL) {
		err_free(e);
		return false;
	}
	assert_ok(e);
	return true;
}

static void leave(void *arg)
{
	struct fixture *f = arg;

	localmount_close(TAKE_PTR(f->dst));
}

/* Was it written below? The view is open again afterwards. */
static bool copy(struct fixture *f, const char *src, const char *dest)
{
	static const struct file_owner nobody;
	struct file_views v = { &f->src_view, &f->dst_view, false, leave, f };
	Pb__FileActionCopy c = PB__FILE_ACTION_COPY__INIT;

	c.src = (char *)src;
	c.dest = (char *)dest;
	c.mode = -1;
	c.timestamp = -1;
	c.dircopycontents = c.createdestpath = true;
	assert_ok(file_copy(f->ctx, localmount_dirfd(f->src), localmount_dirfd(f->dst), &c, &nobody,
			    &v));
	if (v.written) {
		assert_null(f->dst);
		assert_ok(localmount_open(&f->dst_view, at(f, "tmp"), &f->dst));
	}
	return v.written;
}

static void has(struct fixture *f, const char *path, const char *text)
{
	SCOPED_BUF(b, 1000);
	struct err *e = file_read(localmount_dirfd(f->dst), path, &b);

	if (!text) {
		assert_non_null(e);
		err_free(e);
		return;
	}
	assert_ok(e);
	assert_string_equal(buf_cstr(&b), text);
}

static struct stat st_of(struct fixture *f, const char *path)
{
	struct stat st;

	assert_int_equal(fstatat(localmount_dirfd(f->dst), path, &st, AT_SYMLINK_NOFOLLOW), 0);
	return st;
}

static void sources(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *path;
		bool one;
	} cases[] = {
		{ "/only1", true }, { "/only1/sub", true }, { "/only2", true },
		{ "/both", false }, { "/both/one", true },  { "/", false },
		{ "/gone", true },  { "/none", false },     { "/hidden", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int fd = file_source_below(&f->src_view, str_from(cases[i].path));

		assert_int_equal(fd >= 0, cases[i].one);
		if (fd >= 0)
			(void)close(fd);
	}
	assert_int_equal(file_source_below(NULL, STR("/only1")), -1);
	assert_int_equal(file_source_below(&f->dst_view, STR("/app")), -1);
}

static void into_empty(void **state)
{
	struct fixture *f = *state;

	if (!open_views(f))
		skip();
	/* A directory of a lower layer keeps what it is. */
	assert_true(copy(f, "/only2", "/app"));
	has(f, "app/dir/f", "2\n");
	has(f, "full/old", "old\n");
	assert_int_equal(st_of(f, "app").st_mode & 0777, 0751);
	assert_int_equal(st_of(f, "app/dir/f").st_ino, st_of(f, "app/hard").st_ino);
	assert_int_equal(faccessat(localmount_dirfd(f->dst), "app/removed", F_OK, 0), -1);
	/* Into what is not empty any more: through the overlay. */
	assert_false(copy(f, "/both", "/app"));
	has(f, "app/one/f", "a\n");
	has(f, "app/two/f", "b\n");
	has(f, "app/dir/f", "2\n");
	/* A new one, in the place of one that was removed. */
	assert_true(copy(f, "/both", "/gone"));
	has(f, "gone/one/f", "a\n");
	has(f, "gone/two/f", "b\n");
	assert_true(copy(f, "/only1", "/new/deep/dir"));
	has(f, "new/deep/dir/sub/f", "1\n");
	assert_false(copy(f, "/only1", "/full"));
	has(f, "full/old", "old\n");
	has(f, "full/sub/f", "1\n");
	assert_false(copy(f, "/only1", "/"));
	has(f, "sub/f", "1\n");
}

/* What is made without a mount is seen with one. */
static void direct(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *path, *rest;
		bool ok;
	} cases[] = {
		{ "/new", "new", true },      { "/app", "", true },
		{ "/app/a/b", "a/b", true },  { "/full/old", NULL, false },
		{ "/full/new", "new", true }, { "/gone", "gone", true }, /* was removed */
		{ "/gone/x", NULL, false },   /* a file by now */ { "/link/x", NULL, false },
		{ "/marked", NULL, false },   { "/work/x/y", "y", true },
		{ "/hid/old", "old", true },
	};
	struct stat before, after;

	shell(f, "ln -s app d1/link && touch -d @1000 d1/full u && chown 3:4 d1/full && "
		 "mkdir -p d1/hid d2/hid && echo 1 > d1/hid/old && "
		 "mknod u/marked c 0 0");
	assert_int_equal(setxattr(at(f, "d2/hid"), "trusted.overlay.opaque", "y", 1, 0), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP_FD int fd = -1;
		struct str rest;
		bool ok;

		assert_ok(file_direct(&f->dst_view, str_from(cases[i].path), &fd, &rest, &ok));
		if (ok != cases[i].ok)
			print_error("%s\n", cases[i].path);
		assert_int_equal(ok, cases[i].ok);
		if (!ok)
			continue;
		assert_true(str_eq_cstr(rest, cases[i].rest));
		assert_int_equal(fd >= 0, rest.len != 0);
		if (rest.len && str_find(rest, '/') < 0)
			assert_ok(file_write(fd, cases[i].rest, STR("made"), 0644));
	}
	assert_int_equal(stat(at(f, "d1/full"), &before), 0);
	assert_int_equal(stat(at(f, "u/full"), &after), 0);
	assert_int_equal(after.st_uid, 3);
	assert_int_equal(before.st_mode, after.st_mode);
	if (!open_views(f))
		skip();
	has(f, "new", "made");
	has(f, "gone", "made");
	has(f, "full/new", "made");
	has(f, "full/old", "old\n");
	has(f, "work/x/y", "made");
	has(f, "hid/old", "made");
	has(f, "app/a", NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(sources, setup, teardown),
		cmocka_unit_test_setup_teardown(into_empty, setup, teardown),
		cmocka_unit_test_setup_teardown(direct, setup, teardown),
	};

	return cmocka_run_group_tests_name("below", tests, NULL, NULL);
}
