#include "../base/check.h"

#include "base/task.h"
#include "codec/compress.h"
#include "codec/gzip.h"
#include "codec/oci.h"

#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#define BUF_MAX ((size_t)64 * 1024 * 1024)

static struct task_pool *pool;
static struct ctx *root;
static struct buf sample; /* some megabytes that compress a little */

static int group_setup(void **state)
{
	uint32_t x = 1;

	pool = task_pool_new();
	root = ctx_new_root(pool);
	buf_init(&sample, BUF_MAX);
	while (sample.len < (size_t)9 * 1024 * 1024 + 123) {
		x = x * 1664525 + 1013904223;
		buf_addf(&sample, "%u %s ", x, x % 3 ? "lorem" : "ipsum dolor sit amet");
	}
	return 0;
}

static int group_teardown(void **state)
{
	buf_fini(&sample);
	ctx_unref(root);
	task_pool_free(pool);
	return 0;
}

static void pack(struct ctx *ctx, enum compression c, int level, struct str in, size_t step,
		 struct buf *out)
{
	struct writer *dst = writer_of_buf(out), *w;

	OK(compress_writer(ctx, c, level, dst, &w));
	while (in.len) {
		size_t n = MIN(step, in.len);

		OK(writer_write(w, in.ptr, n));
		in = str_sub(in, n, in.len);
	}
	OK(writer_finish(w));
	writer_close(w);
	writer_close(dst);
}

static struct err *unpack(enum compression c, struct str in, struct buf *out)
{
	struct reader *r;
	struct err *e;

	TRY(decompress_reader(c, reader_of_str(in), &r));
	e = reader_read_all(r, out);
	reader_close(r);
	return e;
}

static void round_trips(void **state)
{
	static const enum compression all[] = { COMPRESSION_NONE, COMPRESSION_GZIP,
						COMPRESSION_ZSTD };
	static const size_t sizes[] = { 0, 1, 1 << 20, (1 << 20) + 1, SIZE_MAX };

	for (size_t c = 0; c < ARRAY_SIZE(all); c++) {
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			struct str in = str_sub(buf_str(&sample), 0, sizes[i]);
			SCOPED_BUF(packed, BUF_MAX);
			SCOPED_BUF(plain, BUF_MAX);
			enum compression found;
			struct reader *r;

			pack(root, all[c], -1, in, 100000, &packed);
			OK(unpack(all[c], buf_str(&packed), &plain));
			assert_true(str_eq(buf_str(&plain), in));
			if (all[c] == COMPRESSION_NONE)
				continue;
			buf_clear(&plain);
			OK(decompress_auto(reader_of_str(buf_str(&packed)), &r, &found));
			assert_int_equal(found, all[c]);
			OK(reader_read_all(r, &plain));
			assert_true(str_eq(buf_str(&plain), in));
			reader_close(r);
		}
	}
}

/* Neither the sizes of writes nor the number of cores may show in the bytes. */
static void deterministic(void **state)
{
	static const enum compression all[] = { COMPRESSION_GZIP, COMPRESSION_ZSTD };
	static const int levels[] = { -1, 1, 9 };
	cpu_set_t cpus, one;

	assert_int_equal(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
	CPU_ZERO(&one);
	for (int i = 0; i < CPU_SETSIZE; i++) {
		if (CPU_ISSET(i, &cpus)) {
			CPU_SET(i, &one);
			break;
		}
	}
	for (size_t c = 0; c < ARRAY_SIZE(all); c++) {
		for (size_t l = 0; l < ARRAY_SIZE(levels); l++) {
			struct ctx *alone = ctx_new_root(NULL);
			SCOPED_BUF(a, BUF_MAX);
			SCOPED_BUF(b, BUF_MAX);

			pack(root, all[c], levels[l], buf_str(&sample), SIZE_MAX, &a);
			(void)sched_setaffinity(0, sizeof(one), &one);
			pack(alone, all[c], levels[l], buf_str(&sample), 7777, &b);
			(void)sched_setaffinity(0, sizeof(cpus), &cpus);
			assert_true(str_eq(buf_str(&a), buf_str(&b)));
			ctx_unref(alone);
		}
	}
}

static void gzip_header(void **state)
{
	SCOPED_BUF(packed, BUF_MAX);

	pack(root, COMPRESSION_GZIP, -1, STR("hello"), 5, &packed);
	/* No name, no time, "unknown" system. */
	assert_memory_equal(packed.data, "\x1f\x8b\x08\0\0\0\0\0\0\xff", 10);
}

static void truncated(void **state)
{
	static const enum compression all[] = { COMPRESSION_GZIP, COMPRESSION_ZSTD };

	for (size_t c = 0; c < ARRAY_SIZE(all); c++) {
		struct str in = str_sub(buf_str(&sample), 0, 300000);
		SCOPED_BUF(packed, BUF_MAX);
		SCOPED_BUF(plain, BUF_MAX);

		pack(root, all[c], -1, in, SIZE_MAX, &packed);
		for (size_t cut = 0; cut < packed.len; cut += cut < 40 ? 1 : 9973) {
			buf_clear(&plain);
			FAILS(unpack(all[c], str_sub(buf_str(&packed), 0, cut), &plain),
			      ERR_DATA_LOSS, "unexpected EOF");
		}
		for (size_t cut = packed.len - 12; cut < packed.len; cut++) {
			buf_clear(&plain);
			FAILS(unpack(all[c], str_sub(buf_str(&packed), 0, cut), &plain),
			      ERR_DATA_LOSS, "unexpected EOF");
		}
	}
}

static void corrupt(void **state)
{
	static const enum compression all[] = { COMPRESSION_GZIP, COMPRESSION_ZSTD };

	for (size_t c = 0; c < ARRAY_SIZE(all); c++) {
		struct str in = str_sub(buf_str(&sample), 0, 30000);
		SCOPED_BUF(packed, BUF_MAX);
		SCOPED_BUF(plain, BUF_MAX);

		pack(root, all[c], -1, in, SIZE_MAX, &packed);
		/* Not the header, where some bits mean nothing. */
		for (size_t i = 20; i < packed.len; i += 501) {
			packed.data[i] ^= 0x10;
			buf_clear(&plain);
			FAILS_CODE(unpack(all[c], buf_str(&packed), &plain), ERR_DATA_LOSS);
			packed.data[i] ^= 0x10;
		}
		for (size_t i = packed.len - 4; i < packed.len; i++) {
			packed.data[i] ^= 1;
			buf_clear(&plain);
			FAILS_CODE(unpack(all[c], buf_str(&packed), &plain), ERR_DATA_LOSS);
			packed.data[i] ^= 1;
		}
	}
}

static void gzip_members(void **state)
{
	SCOPED_BUF(packed, BUF_MAX);
	SCOPED_BUF(plain, BUF_MAX);

	pack(root, COMPRESSION_GZIP, -1, STR("one"), 3, &packed);
	pack(root, COMPRESSION_GZIP, -1, STR(""), 3, &packed);
	pack(root, COMPRESSION_GZIP, -1, STR(" two"), 4, &packed);
	OK(unpack(COMPRESSION_GZIP, buf_str(&packed), &plain));
	BUF_IS(&plain, "one two");
	buf_clear(&plain);
	buf_add_cstr(&packed, "garbage after the end");
	FAILS(unpack(COMPRESSION_GZIP, buf_str(&packed), &plain), ERR_DATA_LOSS,
	      "gzip: invalid header");
	FAILS(unpack(COMPRESSION_GZIP, STR("no gzip at all"), &plain), ERR_DATA_LOSS,
	      "gzip: invalid header");
}

/* Input in the smallest bites. */
struct dribble {
	struct reader io;
	struct str rest;
};

static struct err *dribble_read(struct reader *r, void *p, size_t len, size_t *ret_n)
{
	struct dribble *d = container_of(r, struct dribble, io);

	*ret_n = d->rest.len && len ? 1 : 0;
	if (*ret_n)
		*(char *)p = d->rest.ptr[0];
	d->rest = str_sub(d->rest, *ret_n, d->rest.len);
	return NULL;
}

static void dribble_close(struct reader *r)
{
	free(container_of(r, struct dribble, io));
}

static void small_bites(void **state)
{
	static const enum compression all[] = { COMPRESSION_GZIP, COMPRESSION_ZSTD };

	for (size_t c = 0; c < ARRAY_SIZE(all); c++) {
		struct str in = str_sub(buf_str(&sample), 0, 20000);
		struct dribble *d = NEW(struct dribble);
		SCOPED_BUF(packed, BUF_MAX);
		SCOPED_BUF(plain, BUF_MAX);
		struct reader *r;
		size_t n;

		pack(root, all[c], -1, in, SIZE_MAX, &packed);
		*d = (struct dribble) { { dribble_read, dribble_close }, buf_str(&packed) };
		OK(decompress_auto(&d->io, &r, NULL));
		do {
			char out[3];

			OK(reader_read(r, out, sizeof(out), &n));
			buf_add(&plain, out, n);
		} while (n);
		assert_true(str_eq(buf_str(&plain), in));
		reader_close(r);
	}
}

/* What the real tools write and read. */
static void through_tool(const char *tool, struct str in, struct buf *out)
{
	char dir[] = "/tmp/test-compress-XXXXXX", cmd[256];
	FILE *f;
	char chunk[4096];
	size_t n;

	assert_non_null(mkdtemp(dir));
	(void)snprintf(cmd, sizeof(cmd), "%s/in", dir);
	f = fopen(cmd, "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(in.ptr, 1, in.len, f), in.len);
	(void)fclose(f);
	(void)snprintf(cmd, sizeof(cmd), "%s < %s/in > %s/out", tool, dir, dir);
	assert_int_equal(system(cmd), 0);
	(void)snprintf(cmd, sizeof(cmd), "%s/out", dir);
	f = fopen(cmd, "rb");
	while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
		buf_add(out, chunk, n);
	(void)fclose(f);
	(void)snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	assert_int_equal(system(cmd), 0);
}

static void real_tools(void **state)
{
	static const struct {
		const char *pack, *unpack;
		enum compression c;
	} all[] = {
		{ "gzip -9c", "gzip -dc", COMPRESSION_GZIP },
		{ "zstd -c -19", "zstd -dc", COMPRESSION_ZSTD },
		{ "xz -c", "xz -dc", COMPRESSION_XZ },
		{ "bzip2 -c", "bzip2 -dc", COMPRESSION_BZIP2 },
	};
	struct str in = str_sub(buf_str(&sample), 0, (size_t)3 << 20);

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		SCOPED_BUF(packed, BUF_MAX);
		SCOPED_BUF(plain, BUF_MAX);
		SCOPED_BUF(twice, BUF_MAX);
		enum compression found;
		struct reader *r;

		through_tool(all[i].pack, in, &packed);
		OK(decompress_auto(reader_of_str(buf_str(&packed)), &r, &found));
		assert_int_equal(found, all[i].c);
		OK(reader_read_all(r, &plain));
		assert_true(str_eq(buf_str(&plain), in));
		reader_close(r);
		/* Several streams in one file. */
		buf_add_str(&twice, buf_str(&packed));
		buf_add_str(&twice, buf_str(&packed));
		buf_clear(&plain);
		OK(unpack(all[i].c, buf_str(&twice), &plain));
		assert_int_equal(plain.len, 2 * in.len);
		/* Cut and spoilt. */
		buf_clear(&plain);
		FAILS(unpack(all[i].c, str_sub(buf_str(&packed), 0, packed.len / 2), &plain),
		      ERR_DATA_LOSS, "unexpected EOF");
		packed.data[packed.len / 2] ^= 0x55;
		buf_clear(&plain);
		FAILS_CODE(unpack(all[i].c, buf_str(&packed), &plain), ERR_DATA_LOSS);
		if (all[i].c == COMPRESSION_XZ || all[i].c == COMPRESSION_BZIP2)
			continue;
		buf_clear(&packed);
		buf_clear(&plain);
		pack(root, all[i].c, -1, in, SIZE_MAX, &packed);
		through_tool(all[i].unpack, buf_str(&packed), &plain);
		assert_true(str_eq(buf_str(&plain), in));
	}
}

static struct err *refuse(struct writer *w, const void *p, size_t len)
{
	return err_new(ERR_RESOURCE_EXHAUSTED, "no room");
}

static void close_nothing(struct writer *w)
{
}

/* Dropped without finish, and with a destination that fails. */
static void given_up(void **state)
{
	static const enum compression all[] = { COMPRESSION_GZIP, COMPRESSION_ZSTD };
	struct writer full = { refuse, NULL, close_nothing };
	struct ctx *c = ctx_new(root);

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct err *e = NULL;
		struct writer *w;

		OK(compress_writer(c, all[i], -1, &full, &w));
		for (int k = 0; k < 20 && !e; k++)
			e = writer_write(w, sample.data, sample.len);
		assert_string_equal(err_text(e), "no room");
		err_free(e);
		writer_close(w);
		OK(compress_writer(c, all[i], -1, &full, &w));
		OK(writer_write(w, "x", 1));
		writer_close(w);
	}
	ctx_cancel(c, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct writer *w;

		OK(compress_writer(c, all[i], -1, &full, &w));
		FAILS_CODE(writer_write(w, sample.data, sample.len), ERR_CANCELED);
		writer_close(w);
	}
	ctx_unref(c);
}

static void names(void **state)
{
	static const struct {
		const char *media_type;
		enum compression c;
	} all[] = {
		{ OCI_LAYER, COMPRESSION_NONE },
		{ OCI_LAYER_GZIP, COMPRESSION_GZIP },
		{ OCI_LAYER_ZSTD, COMPRESSION_ZSTD },
		{ DOCKER_LAYER, COMPRESSION_NONE },
		{ DOCKER_LAYER_GZIP, COMPRESSION_GZIP },
		{ DOCKER_LAYER_ZSTD, COMPRESSION_ZSTD },
		{ DOCKER_LAYER_FOREIGN_GZIP, COMPRESSION_GZIP },
		{ OCI_CONFIG, COMPRESSION_UNKNOWN },
		{ "application/vnd.oci.image.layer.v1.tar+lz4", COMPRESSION_UNKNOWN },
	};
	struct writer dst = { refuse, NULL, close_nothing }, *w;
	struct reader *r;
	enum compression c;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		assert_int_equal(compression_of_media_type(str_from(all[i].media_type)), all[i].c);
	assert_true(compression_parse(STR("uncompressed"), &c) && c == COMPRESSION_NONE);
	assert_true(compression_parse(STR("estargz"), &c) && c == COMPRESSION_ESTARGZ);
	assert_false(compression_parse(STR("xz"), &c));
	assert_string_equal(compression_name(COMPRESSION_ZSTD), "zstd");
	assert_int_equal(compression_detect(STR("\x50\x2a\x4d\x18")), COMPRESSION_ZSTD);
	assert_int_equal(compression_detect(STR("\x1f\x8b")), COMPRESSION_NONE);
	assert_int_equal(compression_detect(STR_NONE), COMPRESSION_NONE);
	FAILS(compress_writer(root, COMPRESSION_ESTARGZ, -1, &dst, &w), ERR_UNIMPLEMENTED,
	      "writing estargz compression is not supported");
	FAILS_CODE(decompress_reader(COMPRESSION_UNKNOWN, reader_of_str(STR("")), &r),
		   ERR_UNIMPLEMENTED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trips), cmocka_unit_test(deterministic),
		cmocka_unit_test(gzip_header), cmocka_unit_test(truncated),
		cmocka_unit_test(corrupt),     cmocka_unit_test(gzip_members),
		cmocka_unit_test(small_bites), cmocka_unit_test(real_tools),
		cmocka_unit_test(given_up),    cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
