#include "../base/check.h"

#include "base/clock.h"
#include "codec/digest.h"
#include "codec/tar.h"

#define OUT_MAX ((size_t)4 << 20)

static void write_header(struct buf *out, const struct tar_header *h)
{
	struct writer *w = writer_of_buf(out);
	struct tar_writer *t = tar_writer_new(w);

	OK(tar_write_header(t, h));
	tar_writer_free(t);
	writer_close(w);
}

/* Lengths and digests of what archive/tar of Go writes for the same header. */
static void same_bytes_as_go(void **state)
{
	static const struct {
		enum tar_format format;
		char type;
		const char *name, *linkname, *uname;
		uint32_t mode;
		uint64_t uid, size;
		int64_t mtime, atime;
		const char *xattr, *record, *field_record;
		size_t len;
		const char *digest;
	} all[] = {
		{ TAR_FORMAT_ANY, '0', "a", "", "", 0644, 0, 5, 1700000000000000000, 0, "", "", "",
		  512, "24152733b732b325281dc6cf0e6a8208233bf29cdbb7bd7c451dbabbfb237111" },
		{ TAR_FORMAT_ANY, '0', "a", "", "", 0644, 0, 5, 1700000000500000000, 7000000000, "",
		  "", "", 512, "44f94e3b73ca85128d22cc275fe49f6e6a57ecc74b04e80b64c3c6dc373257d2" },
		{ TAR_FORMAT_PAX, '0', "a", "", "", 0644, 0, 5, 1700000000000000000, 0, "", "", "",
		  512, "24152733b732b325281dc6cf0e6a8208233bf29cdbb7bd7c451dbabbfb237111" },
		{ TAR_FORMAT_PAX, '0', "a", "", "", 0644, 0, 5, 1700000000123456700, 0, "", "", "",
		  1536, "7a07a5c24df23123e854a8fe525704be91ed06588882c66dccba1ef86159a185" },
		{ TAR_FORMAT_PAX, '0', "a", "", "", 0644, 0, 5, 1700000000000000000, 7000000000, "",
		  "", "", 1536,
		  "7f7ecdf825b45c6e247057fd30f2190856e6ae6b0174eded40b8bfe24d1755f5" },
		{ TAR_FORMAT_PAX, '5', "d/", "", "", 0755, 1000, 0, -500000000, 0, "", "", "", 1536,
		  "6c8b9059f79627846c939a7421bf8241b0dc876ebdf0875f60513e6f6373e3ab" },
		{ TAR_FORMAT_ANY, '5',
		  "dir/dir/dir/dir/dir/dir/dir/dir/dir/dir/dir/dir/dir/dir/dir/dir/dir/dir/dir/dir/"
		  "dir/dir/dir/dir/dir/dir/dir/dir/dir/dir/",
		  "", "root", 0755, 1000, 0, 0, 0, "", "", "", 512,
		  "ff0a9c7beea6461adade56758b768813e42bb0069e704f7d2a8342b02923edf8" },
		{ TAR_FORMAT_ANY, '0',
		  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		  "xxxxxxxxxxxxxxxxxxxxx",
		  "", "", 0755, 1000, 0, 0, 0, "", "", "", 1536,
		  "6f37d6dfd3ffee4179daaff3b2fdfc3906ab20cfcad682ca17c1c7b240c1a0b9" },
		{ TAR_FORMAT_ANY, '2', "l",
		  "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"
		  "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy",
		  "", 0777, 0, 0, 0, 0, "", "", "", 1536,
		  "5cc2e943634af57abd005835a745e7596e4bd20b063dfa1ebffc7137fee20e50" },
		{ TAR_FORMAT_ANY, '1', "l\303\251", "a/", "", 0777, 0, 0, 0, 0, "", "", "", 1536,
		  "e1befbac2cf85ee62f6282f366dc80bf01c5bbac2e7d4c64e2e7a78971627da7" },
		{ TAR_FORMAT_ANY, '0', "big", "", "", 07777, 4194304, 17179869184,
		  INT64_C(8589934592000000000), 0, "", "", "", 1536,
		  "a92303d0a7397d9da91dd66d5f241aac508590b215ab1ae0c50885c1ebb947e6" },
		{ TAR_FORMAT_ANY, '0',
		  "dir/dir/dir/dir/dir/dir/dir/dir/dir/dir/dir/dir/dir/dir/dir/dir/dir/dir/dir/dir/"
		  "dir/dir/dir/dir/dir/dir/dir/dir/dir/dir/f",
		  "", "", 0644, 0, 0, 1000000000, 0, "user.k", "", "", 1536,
		  "813fe404e412655d9f511ab5f4201180dcd2b95b38489fde7ee91ba86d70761a" },
		{ TAR_FORMAT_ANY, '0', "n", "", "", 0644, 0, 0, 1000000000, 0, "", "comment", "",
		  1536, "2777511e00bdfcb2fc2ad6af6650f6dc3f8d584a6e8bdff42e96fe36c68e9ecb" },
		{ TAR_FORMAT_ANY, '0', "n", "", "", 0644, 0, 0, 1000000000, 0, "", "path", "", 512,
		  "19601c3e74b59cf49cdd3d865b90322e6f48289e173e17e01636772e1a4afc44" },
		{ TAR_FORMAT_ANY, '0', "n", "", "", 0644, 0, 0, 1000000000, 0, "", "", "mtime",
		  1536, "25557f8cd77830b7f229cf6ab794bb6d611e7df138bf6ac70311d988df08547e" },
		{ TAR_FORMAT_ANY, '0', "n", "", "uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu", 0644, 0, 0,
		  1000000000, 0, "", "", "", 1536,
		  "458ec73ddd6702b58f5fd5568ebee8b6c9e16c6c5025099afb45bdd9451a1347" },
		{ TAR_FORMAT_ANY, '5',
		  "qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq"
		  "qqqqqqqqqqqqqqqqqqq/",
		  "", "", 0644, 0, 0, 1000000000, 0, "b", "", "", 1536,
		  "b4dbc51d09461afdbf1cc9878a2a9dc48acb984e1cffe46f773445cc1795c1fc" },
		{ TAR_FORMAT_ANY, '5',
		  "qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq"
		  "qqqqqqqqqqqqqqqqqqq/r/",
		  "", "", 0644, 0, 0, 1000000000, 0, "b", "", "", 1536,
		  "4c3bbc299e286eb36b13644fb66bb59c8fcade25e9016ccc20c1f06622e7a7ca" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct tar_xattr x = { str_from(all[i].xattr), STR("v\0w") };
		struct tar_record r = { str_from(all[i].record), STR("rec") };
		struct tar_record f = { str_from(all[i].field_record), STR("1") };
		struct tar_header h = {
			.format = all[i].format,
			.type = all[i].type,
			.name = str_from(all[i].name),
			.linkname = str_from(all[i].linkname),
			.uname = str_from(all[i].uname),
			.mode = all[i].mode,
			.uid = all[i].uid,
			.size = all[i].size,
			.mtime_ns = all[i].mtime,
			.atime_ns = all[i].atime,
			.xattrs = &x,
			.n_xattrs = x.name.len > 0,
			.records = &r,
			.n_records = r.key.len > 0,
			.field_records = &f,
			.n_field_records = f.key.len > 0,
		};
		SCOPED_BUF(out, OUT_MAX);
		SCOPED_ARENA(a);
		struct digest d;

		write_header(&out, &h);
		d = digest_sha256(buf_str(&out));
		if (out.len != all[i].len || strcmp(digest_hex(&d, &a), all[i].digest) != 0)
			fail_msg("case %zu: %zu bytes, %s", i, out.len, digest_hex(&d, &a));
	}
}

static void refused(void **state)
{
	SCOPED_BUF(out, OUT_MAX);
	SCOPED_BUF(huge, OUT_MAX);
	struct writer *w = writer_of_buf(&out);
	CLEANUP(tar_writer_freep) struct tar_writer *t = tar_writer_new(w);
	struct tar_xattr x = { STR("a=b"), STR("v") };
	struct tar_header h = { .type = '0', .name = STR("a/") };

	FAILS(tar_write_header(t, &h), ERR_INVALID_ARGUMENT,
	      "archive/tar: cannot encode header: filename may not have trailing slash");
	h.name = STR("a\0b");
	FAILS_CODE(tar_write_header(t, &h), ERR_INVALID_ARGUMENT);
	h.name = STR("a");
	h.mode = 1 << 21;
	FAILS_CODE(tar_write_header(t, &h), ERR_INVALID_ARGUMENT);
	h.mode = 0;
	h.xattrs = &x;
	h.n_xattrs = 1;
	FAILS(tar_write_header(t, &h), ERR_INVALID_ARGUMENT,
	      "archive/tar: cannot encode header: invalid PAX record");
	x.name = STR("a");
	while (huge.len < ((size_t)1 << 20))
		buf_add_cstr(&huge, "0123456789abcdef");
	x.value = buf_str(&huge);
	FAILS_CODE(tar_write_header(t, &h), ERR_INVALID_ARGUMENT);
	h.n_xattrs = 0;
	h.format = TAR_FORMAT_USTAR;
	h.uid = 1 << 22;
	FAILS(tar_write_header(t, &h), ERR_INVALID_ARGUMENT,
	      "archive/tar: cannot encode header: Format specifies USTAR");
	/* Still usable. */
	assert_int_equal(out.len, 0);
	h.uid = 0;
	h.size = 3;
	OK(tar_write_header(t, &h));
	FAILS(tar_write(t, "1234", 4), ERR_INVALID_ARGUMENT, "archive/tar: write too long");
	OK(tar_write(t, "12", 2));
	FAILS(tar_finish(t), ERR_FAILED_PRECONDITION, "archive/tar: missed writing 1 bytes");
	FAILS(tar_write_header(t, &h), ERR_FAILED_PRECONDITION,
	      "archive/tar: missed writing 1 bytes");
	OK(tar_write(t, "3", 1));
	OK(tar_finish(t));
	assert_int_equal(out.len, 4 * 512);
	writer_close(w);
}

/* A link has no data, whatever its size says. */
static void header_only(void **state)
{
	SCOPED_BUF(out, OUT_MAX);
	struct writer *w = writer_of_buf(&out);
	CLEANUP(tar_writer_freep) struct tar_writer *t = tar_writer_new(w);
	struct tar_header h = { .type = '1', .name = STR("l"), .linkname = STR("x"), .size = 9 };

	OK(tar_write_header(t, &h));
	FAILS_CODE(tar_write(t, "x", 1), ERR_INVALID_ARGUMENT);
	OK(tar_finish(t));
	assert_int_equal(out.len, 3 * 512);
	writer_close(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_bytes_as_go),
		cmocka_unit_test(refused),
		cmocka_unit_test(header_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
