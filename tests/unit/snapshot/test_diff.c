#include "archive.h"

#include "codec/digest.h"

/* Two steps, whose layers the original daemon (v0.34.2, overlayfs) gave these diff ids. */
static const char step_one[] = "umask 022\n"
			       "mkdir -p t/a/b t/opq/sub t/d t/gone/x\n"
			       "echo hello > t/a/f\n"
			       "ln t/a/f t/a/link\n"
			       "ln t/a/f t/zlink\n"
			       "ln -s ../x t/a/sym\n"
			       "mkfifo t/a/fifo\n"
			       "mknod t/null c 1 3\n"
			       "chmod 4755 t/a/f\n"
			       "chown -h 12:34 t/a/sym t/a/fifo\n"
			       "chown 3000000:4000000 t/d\n"
			       "chmod 1777 t/d\n"
			       "echo 1 > t/opq/one\n"
			       "echo 2 > t/opq/sub/two\n"
			       "echo 2 > t/opq/same\n"
			       "echo > t/gone/x/y\n"
			       "echo x > t/del\n"
			       "n=$(printf 'l%.0s' $(seq 1 120))\n"
			       "mkdir t/$n\n"
			       "echo long > t/$n/$n\n"
			       "ln -s $n t/a/$n\n"
			       "echo > t/ü\n"
			       "echo b > t/a/b/c\n"
			       "find t -depth -exec touch -h -d '2017-07-14 02:40:00' {} +\n";
static const char step_two[] = "umask 022\n"
			       "rm t/del t/ü\n"
			       "rm -r t/gone t/opq\n"
			       "mkdir -p t/opq/sub\n"
			       "echo 2 > t/opq/same\n"
			       "echo 3 > t/opq/sub/three\n"
			       "ln t/a/b/c t/c2\n"
			       "echo more >> t/a/f\n"
			       "chmod 700 t/a/b\n"
			       "echo file > t/gone\n"
			       "rm t/l*/l*\n"
			       "mkdir t/a/new\n"
			       "chmod 1700 t/d\n"
			       "find t -depth -exec touch -h -d '2018-07-14 02:40:01' {} +\n";
#define DIFF_ID_ONE "sha256:813bafd03d470de62ba4bafe4c4583fc5ab47802fa0cb46af53d3a5b3e83c331"
#define DIFF_ID_TWO "sha256:a510749630ddb56217c1241591a9287ef7804c3e4d565509af980c4b099721e4"

static void layer_is(struct shot *t, const char *lower, const char *upper, const char *want)
{
	SCOPED_BUF(b, 10 << 20);
	struct writer *w = writer_of_buf(&b);
	char text[DIGEST_TEXT_MAX];
	struct digest d;

	assert_ok(snapshot_diff(t->s, t->ctx, str_from(lower), str_from(upper), -1, w));
	writer_close(w);
	d = digest_sha256(buf_str(&b));
	assert_string_equal(digest_format(&d, text), want);
}

/* Names and kinds in a layer. */
static void layer_has(struct shot *t, const char *lower, const char *upper, int64_t epoch,
		      const char *want)
{
	SCOPED_BUF(b, 10 << 20);
	SCOPED_BUF(out, 10000);
	SCOPED_ARENA(a);
	struct writer *w = writer_of_buf(&b);
	struct reader *r;
	struct tar_reader *tar;

	assert_ok(snapshot_diff(t->s, t->ctx, str_from(lower), str_from(upper), epoch, w));
	writer_close(w);
	r = reader_of_str(buf_str(&b));
	tar = tar_reader_new(r);
	for (;;) {
		struct tar_header h;
		bool eof;

		assert_ok(tar_next(tar, &a, &h, &eof));
		if (eof)
			break;
		buf_addf(&out, "%c%.*s", h.type, STR_ARG(h.name));
		if (h.linkname.len)
			buf_addf(&out, ">%.*s", STR_ARG(h.linkname));
		if (epoch >= 0)
			buf_addf(&out, "@%lld", (long long)(h.mtime_ns / 1000000000));
		buf_add_char(&out, ' ');
	}
	tar_reader_free(tar);
	reader_close(r);
	assert_string_equal(buf_cstr(&out), want);
}

static void golden(void **state)
{
	struct shot *t = *state;

	make(t, "base", "", "mkdir bin; echo > bin/sh");
	make(t, "one", "base", step_one);
	make(t, "two", "one", step_two);
	layer_is(t, "base", "one", DIFF_ID_ONE);
	layer_is(t, "one", "two", DIFF_ID_TWO);
	/* The lowest layer has no overlay. */
	make(t, "lowest", "", step_one);
	layer_is(t, "", "lowest", DIFF_ID_ONE);
	/* What was unpacked gives the same again. */
	make(t, "two-again", "lowest", step_two);
	layer_is(t, "lowest", "two-again", DIFF_ID_TWO);
}

static void changes(void **state)
{
	struct shot *t = *state;

	make(t, "base", "",
	     "mkdir -p d/e f; echo 1 > d/x; echo 1 > d/e/y; echo 1 > f/z;"
	     "echo 1 > linked; ln linked other; touch -d @10 f d/x; echo > same");
	make(t, "top", "base",
	     "echo 22 > d/e/y; chmod 700 f; rm -r d/x; : >> same;"
	     "python3 -c 'import socket; socket.socket(1).bind(\"sock\")';"
	     "ln linked third; mkdir new");
	layer_has(t, "base", "top", -1,
		  t->native ? "5d/ 5d/e/ 0d/e/y 0d/.wh.x 5f/ 5new/ 0third "
			      "1linked>third 1other>third "
			    : "5d/ 5d/e/ 0d/e/y 0d/.wh.x 5f/ 5new/ 0third ");
	layer_has(t, "top", "top", -1, "");
	/* Backwards: a whole walk. */
	layer_has(t, "top", "base", -1, "5d/ 5d/e/ 0d/e/y 0d/x 5f/ 0.wh.new 0.wh.sock 0.wh.third ");
	layer_has(t, "", "base", 5,
		  "5d/@5 5d/e/@5 0d/e/y@5 0d/x@5 5f/@5 0f/z@5 0linked@5 1other>linked@5 0same@5 ");
	layer_has(t, "", "base", 1,
		  "5d/@1 5d/e/@1 0d/e/y@1 0d/x@1 5f/@1 0f/z@1 0linked@1 1other>linked@1 0same@1 ");
}

static void capabilities(void **state)
{
	struct shot *t = *state;
	/* cap_net_raw=ep, version 2 */
	const char cap[] = "\1\0\0\2\0\40\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
	SCOPED_BUF(b, 1 << 20);
	struct writer *w = writer_of_buf(&b);
	struct localmount *l = NULL;
	struct mounts *m;
	SCOPED_ARENA(a);
	struct str v;
	bool found;
	int fd;

	make(t, "base", "", "echo > f; touch -d @7 f");
	assert_ok(snapshot_prepare(t->s, STR("a"), STR("base")));
	assert_ok(snapshot_mounts(t->s, &a, STR("a"), &m));
	assert_ok(localmount_open(m, NULL, &l));
	fd = localmount_dirfd(l);
	assert_ok(xattr_set(fd, "f", "security.capability", str_make(cap, 20)));
	localmount_close(l);
	assert_ok(snapshot_commit(t->s, STR("a"), STR("a")));
	assert_ok(snapshot_diff(t->s, t->ctx, STR("base"), STR("a"), -1, w));
	writer_close(w);
	assert_non_null(memmem(b.data, b.len, "SCHILY.xattr.security.capability=", 33));
	/* And back. */
	assert_int_equal(mkdirat(t->scratch.fd, "root", 0755), 0);
	assert_ok(fd_open_dir(t->scratch.fd, "root", &fd));
	const struct apply_opts o = { .lower_fd = -1 };
	struct reader *r = reader_of_str(buf_str(&b));
	assert_ok(snapshot_apply(t->ctx, fd, r, &o, NULL));
	reader_close(r);
	assert_ok(xattr_get(fd, "f", "security.capability", &a, &v, &found));
	assert_true(found && v.len == 20 && memcmp(v.ptr, cap, 20) == 0);
	(void)close(fd);
}

int main(void)
{
	const struct CMUnitTest overlay[] = {
		SHOT_TEST(golden),
		SHOT_TEST(changes),
		SHOT_TEST(capabilities),
	};
	const struct CMUnitTest native[] = {
		SHOT_TEST(changes),
		SHOT_TEST(capabilities),
	};
	int r;

	if (!may_mount())
		return 77;
	r = cmocka_run_group_tests_name("overlay", overlay, NULL, NULL);
	shot_native = true;
	return r | cmocka_run_group_tests_name("native", native, NULL, NULL);
}
