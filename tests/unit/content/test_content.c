/* What every store promises, held against the memory and the file store. */
#include "content/content.h"

#include "base/buf.h"
#include "base/mem.h"
#include "kv/kv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#define OK(expr)                                                                                   \
	do {                                                                                       \
		struct err *ok_ = (expr);                                                          \
		if (ok_)                                                                           \
			fail_msg("%s", err_text(ok_));                                             \
	} while (0)

#define EXPECT(code, text, expr)                                                                   \
	do {                                                                                       \
		struct err *e_ = (expr);                                                           \
		assert_non_null(e_);                                                               \
		assert_int_equal(err_code(e_), code);                                              \
		if (text)                                                                          \
			assert_string_equal(err_text(e_), text);                                   \
		err_free(e_);                                                                      \
	} while (0)

struct fixture {
	struct content *c;
	struct kv *kv;
	struct ctx *ctx;
	char dir[64];
};

#define HELLO "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"

static int setup_mem(void **state)
{
	struct fixture *f = NEW(struct fixture);

	f->ctx = ctx_new_root(NULL);
	f->c = content_new_mem();
	*state = f;
	return 0;
}

static int setup_fs(void **state)
{
	struct fixture *f = NEW(struct fixture);

	f->ctx = ctx_new_root(NULL);
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/test-content-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	f->kv = kv_open_mem();
	OK(content_open_fs(f->dir, f->kv, &f->c));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	content_free(f->c);
	ctx_unref(f->ctx);
	if (f->dir[0]) {
		char cmd[128];

		OK(kv_close(f->kv));
		(void)snprintf(cmd, sizeof(cmd), "rm -rf %s", f->dir);
		if (system(cmd))
			return -1;
	}
	free(f);
	return 0;
}

static struct digest parse(const char *text)
{
	struct digest d;

	OK(digest_parse(str_from(text), &d));
	return d;
}

static void write_and_read(void **state)
{
	struct fixture *f = *state;
	SCOPED_ARENA(a);
	SCOPED_BUF(out, 1000);
	SCOPED_BUF(streamed, 1000);
	struct content_label labels[] = { { STR("b"), STR("2") }, { STR("a"), STR("1") } };
	struct digest hello = parse(HELLO), got;
	struct content_reader *r;
	struct content_info info;
	struct reader *stream;
	char text[DIGEST_TEXT_MAX], piece[8];
	size_t n;

	assert_false(content_has(f->c, f->ctx, &hello));
	EXPECT(ERR_NOT_FOUND, "content " HELLO ": not found",
	       content_info(f->c, f->ctx, &a, &hello, &info));
	EXPECT(ERR_NOT_FOUND, "content " HELLO ": not found",
	       content_open(f->c, f->ctx, &hello, &r));
	EXPECT(ERR_NOT_FOUND, "content " HELLO ": not found", content_remove(f->c, f->ctx, &hello));
	EXPECT(ERR_NOT_FOUND, "content " HELLO ": not found",
	       content_label(f->c, f->ctx, &hello, labels, 2));
	OK(content_write_blob(f->c, f->ctx, STR("hello"), labels, 2, &got));
	assert_string_equal(digest_format(&got, text), HELLO);
	assert_true(content_has(f->c, f->ctx, &hello));
	OK(content_info(f->c, f->ctx, &a, &hello, &info));
	assert_int_equal(info.size, 5);
	assert_int_equal(info.n_labels, 2);
	assert_true(str_eq(info.labels[0].key, STR("a")));
	assert_true(str_eq(info.labels[1].value, STR("2")));
	assert_true(info.created_ns && info.updated_ns == info.created_ns);
	assert_true(digest_eq(&info.digest, &hello));

	OK(content_open(f->c, f->ctx, &hello, &r));
	assert_int_equal(r->size, 5);
	OK(r->read_at(r, piece, sizeof(piece), 3, &n));
	assert_int_equal(n, 2);
	assert_memory_equal(piece, "lo", 2);
	OK(r->read_at(r, piece, sizeof(piece), 5, &n));
	assert_int_equal(n, 0);
	OK(r->read_at(r, piece, sizeof(piece), 500, &n));
	assert_int_equal(n, 0);
	stream = content_as_reader(r);
	OK(reader_read_all(stream, &streamed));
	assert_string_equal(buf_cstr(&streamed), "hello");
	reader_close(stream);

	OK(content_read_blob(f->c, f->ctx, &hello, 5, &out));
	assert_string_equal(buf_cstr(&out), "hello");
	EXPECT(ERR_RESOURCE_EXHAUSTED, "blob " HELLO " is too large (5 > 4)",
	       content_read_blob(f->c, f->ctx, &hello, 4, &out));
	/* Again is fine, and adds its labels. */
	labels[0].value = STR("3");
	OK(content_write_blob(f->c, f->ctx, STR("hello"), labels, 1, &got));
	OK(content_info(f->c, f->ctx, &a, &hello, &info));
	assert_true(str_eq(info.labels[1].value, STR("3")));
	OK(content_remove(f->c, f->ctx, &hello));
	assert_false(content_has(f->c, f->ctx, &hello));
	/* The empty blob. */
	OK(content_write_blob(f->c, f->ctx, STR_NONE, NULL, 0, &got));
	buf_clear(&out);
	OK(content_read_blob(f->c, f->ctx, &got, 0, &out));
}

static void resume_and_discard(void **state)
{
	struct fixture *f = *state;
	struct content_writer *w, *second;
	struct digest hello = parse(HELLO), got;
	struct digest other = digest_sha256(STR("other"));

	OK(content_writer_open(f->c, f->ctx, STR("r/1"), &w));
	assert_int_equal(w->offset, 0);
	EXPECT(ERR_UNAVAILABLE, "ref r/1 locked",
	       content_writer_open(f->c, f->ctx, STR("r/1"), &second));
	OK(writer_write(&w->io, "hel", 3));
	assert_int_equal(w->offset, 3);
	content_writer_close(w);
	OK(content_writer_open(f->c, f->ctx, STR("r/1"), &w));
	assert_int_equal(w->offset, 3);
	OK(writer_write(&w->io, "lo", 2));
	OK(content_commit(w, 5, &hello, NULL, 0, &got));
	assert_true(digest_eq(&got, &hello));
	EXPECT(ERR_FAILED_PRECONDITION, NULL, writer_write(&w->io, "x", 1));
	content_writer_close(w);

	OK(content_writer_open(f->c, f->ctx, STR("r/1"), &w));
	assert_int_equal(w->offset, 0);
	OK(writer_write(&w->io, "hello", 5));
	EXPECT(ERR_ALREADY_EXISTS, "content " HELLO ": already exists",
	       content_commit(w, 0, NULL, NULL, 0, &got));
	content_writer_close(w);

	OK(content_writer_open(f->c, f->ctx, STR("r/2"), &w));
	OK(writer_write(&w->io, "hell", 4));
	EXPECT(ERR_FAILED_PRECONDITION, "unexpected commit size 4, expected 5",
	       content_commit(w, 5, NULL, NULL, 0, &got));
	content_writer_close(w);
	OK(content_writer_open(f->c, f->ctx, STR("r/2"), &w));
	assert_int_equal(w->offset, 0);
	OK(writer_write(&w->io, "hello", 5));
	EXPECT(ERR_FAILED_PRECONDITION,
	       "unexpected commit digest " HELLO
	       ", expected sha256:d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa",
	       content_commit(w, 5, &other, NULL, 0, &got));
	content_writer_close(w);

	OK(content_writer_open(f->c, f->ctx, STR("r/3"), &w));
	OK(writer_write(&w->io, "hello", 5));
	w->discard(w);
	content_writer_close(w);
	OK(content_writer_open(f->c, f->ctx, STR("r/3"), &w));
	assert_int_equal(w->offset, 0);
	content_writer_close(w);
}

static void sha512(void **state)
{
	struct fixture *f = *state;
	CLEANUP(hasher_freep) struct hasher *h = hasher_new(DIGEST_SHA512);
	SCOPED_BUF(out, 100);
	struct content_writer *w;
	struct digest want, got;

	hasher_add_str(h, STR("hello"));
	want = hasher_sum(h);
	OK(content_writer_open(f->c, f->ctx, STR("r"), &w));
	OK(writer_write(&w->io, "hello", 5));
	OK(content_commit(w, 5, &want, NULL, 0, &got));
	content_writer_close(w);
	assert_true(digest_eq(&want, &got));
	OK(content_read_blob(f->c, f->ctx, &want, 100, &out));
	assert_string_equal(buf_cstr(&out), "hello");
}

static void labels(void **state)
{
	struct fixture *f = *state;
	SCOPED_ARENA(a);
	struct content_label set[] = { { STR("z"), STR("1") }, { STR("m"), STR("2") } };
	struct content_label change[] = { { STR("m"), STR("") }, { STR("a"), STR("3") } };
	struct content_info info;
	struct digest d;

	OK(content_write_blob(f->c, f->ctx, STR("x"), set, 2, &d));
	OK(content_label(f->c, f->ctx, &d, change, 2));
	OK(content_info(f->c, f->ctx, &a, &d, &info));
	assert_int_equal(info.n_labels, 2);
	assert_true(str_eq(info.labels[0].key, STR("a")));
	assert_true(str_eq(info.labels[1].key, STR("z")));
}

static struct err *tally(void *arg, const struct content_info *info)
{
	*(uint64_t *)arg += info->size;
	return NULL;
}

static bool keep_pairs(void *arg, const struct content_info *info)
{
	return info->size == 2;
}

static void each_copy_gc(void **state)
{
	struct fixture *f = *state;
	struct content *other = content_new_mem();
	struct content_label root = { STR(CONTENT_LABEL_ROOT), STR("1") };
	struct digest d[4];
	uint64_t sum = 0, bytes;

	OK(content_write_blob(f->c, f->ctx, STR("a"), NULL, 0, &d[0]));
	OK(content_write_blob(f->c, f->ctx, STR("bb"), NULL, 0, &d[1]));
	OK(content_write_blob(f->c, f->ctx, STR("cccc"), &root, 1, &d[2]));
	OK(f->c->ops->each(f->c, f->ctx, tally, &sum));
	assert_int_equal(sum, 7);
	OK(content_copy(f->ctx, f->c, other, &d[2]));
	OK(content_copy(f->ctx, f->c, other, &d[2]));
	assert_true(content_has(other, f->ctx, &d[2]));
	OK(content_remove(f->c, f->ctx, &d[2]));
	OK(content_copy(f->ctx, other, f->c, &d[2]));
	OK(content_label(f->c, f->ctx, &d[2], &root, 1));
	OK(content_gc(f->c, f->ctx, NSEC_PER_SEC * 100, keep_pairs, NULL, &bytes));
	assert_int_equal(bytes, 0);
	OK(content_gc(f->c, f->ctx, 0, keep_pairs, NULL, &bytes));
	assert_int_equal(bytes, 1);
	assert_false(content_has(f->c, f->ctx, &d[0]));
	assert_true(content_has(f->c, f->ctx, &d[1]));
	assert_true(content_has(f->c, f->ctx, &d[2]));
	content_free(other);
}

#define BOTH(f)                                                                                    \
	cmocka_unit_test_setup_teardown(f, setup_mem, teardown),                                   \
		cmocka_unit_test_setup_teardown(f, setup_fs, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(write_and_read), BOTH(resume_and_discard), BOTH(sha512),
		BOTH(labels),         BOTH(each_copy_gc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
