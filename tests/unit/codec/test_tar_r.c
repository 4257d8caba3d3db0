/* Reads what the real tools write, and refuses what nobody should write. */
#include "../base/check.h"

#include "base/clock.h"
#include "base/limits.h"
#include "codec/digest.h"
#include "codec/tar.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define BIG ((size_t)64 << 20)

/* ---- archives of our own making ---- */

struct archive {
	struct buf bytes;
	struct writer *w;
	struct tar_writer *t;
};

static void archive_begin(struct archive *ar)
{
	*ar = (struct archive) { .bytes = BUF_INIT(BIG) };
	ar->w = writer_of_buf(&ar->bytes);
	ar->t = tar_writer_new(ar->w);
}

static void archive_end(struct archive *ar)
{
	OK(tar_finish(ar->t));
}

static void archive_fini(struct archive *ar)
{
	tar_writer_free(ar->t);
	writer_close(ar->w);
	buf_fini(&ar->bytes);
}

static void add_file(struct archive *ar, const char *name, struct str data)
{
	struct tar_header h = {
		.type = '0', .name = str_from(name), .mode = 0644, .size = data.len
	};

	OK(tar_write_header(ar->t, &h));
	OK(tar_write(ar->t, data.ptr, data.len));
}

/* Sets the checksum of the block at an offset right again. */
static void seal(struct buf *b, size_t at)
{
	unsigned sum = 0;
	char text[8];

	memset(b->data + at + 148, ' ', 8);
	for (size_t i = 0; i < 512; i++)
		sum += (unsigned char)b->data[at + i];
	(void)snprintf(text, sizeof(text), "%06o", sum);
	memcpy(b->data + at + 148, text, 7);
}

static struct err *read_through(struct str bytes, size_t *ret_entries, uint64_t *ret_data)
{
	struct reader *r = reader_of_str(bytes);
	struct tar_reader *t = tar_reader_new(r);
	struct err *e = NULL;
	bool eof = false;

	*ret_entries = 0;
	*ret_data = 0;
	while (!e) {
		SCOPED_ARENA(a);
		struct tar_header h;
		char data[1000];
		size_t n;

		e = tar_next(t, &a, &h, &eof);
		if (e || eof)
			break;
		++*ret_entries;
		do {
			e = tar_read(t, data, sizeof(data), &n);
			if (!e)
				*ret_data += n;
		} while (!e && n);
	}
	tar_reader_free(t);
	reader_close(r);
	return e;
}

static void round_trip(void **state)
{
	struct tar_xattr xattrs[] = { { STR("security.capability"), STR("\1\0\0\2") },
				      { STR("user.e"), STR("") } };
	struct tar_record records[] = { { STR("comment"), STR("c") } };
	const struct tar_header in = {
		.format = TAR_FORMAT_PAX,
		.type = '0',
		.name = STR("dir/\xc3\xa9"),
		.uname = STR("user"),
		.gname = STR("group"),
		.mode = 04755,
		.uid = UINT32_MAX,
		.gid = 5,
		.size = 3,
		.mtime_ns = -1500000000,
		.atime_ns = 1,
		.ctime_ns = 5 * NSEC_PER_SEC,
		.xattrs = xattrs,
		.n_xattrs = 2,
		.records = records,
		.n_records = 1,
	};
	SCOPED_ARENA(a);
	struct archive ar;
	struct reader *r;
	struct tar_reader *t;
	struct tar_header out;
	char data[10];
	bool eof;
	size_t n;

	archive_begin(&ar);
	OK(tar_write_header(ar.t, &in));
	OK(tar_write(ar.t, "abc", 3));
	archive_end(&ar);
	r = reader_of_str(buf_str(&ar.bytes));
	t = tar_reader_new(r);
	OK(tar_next(t, &a, &out, &eof));
	assert_false(eof);
	assert_int_equal(out.format, TAR_FORMAT_PAX);
	assert_int_equal(out.type, '0');
	assert_true(str_eq(out.name, in.name));
	STR_IS(out.uname, "user");
	STR_IS(out.gname, "group");
	assert_int_equal(out.mode, 04755);
	assert_true(out.uid == UINT32_MAX && out.gid == 5 && out.size == 3);
	assert_true(out.mtime_ns == in.mtime_ns && out.atime_ns == 1 &&
		    out.ctime_ns == in.ctime_ns);
	assert_int_equal(out.n_xattrs, 2);
	STR_IS(out.xattrs[0].value, "\1\0\0\2");
	STR_IS(out.xattrs[1].name, "user.e");
	assert_int_equal(out.n_records, 1);
	STR_IS(out.records[0].key, "comment");
	OK(tar_read(t, data, sizeof(data), &n));
	assert_int_equal(n, 3);
	OK(tar_read(t, data, sizeof(data), &n));
	assert_int_equal(n, 0);
	OK(tar_next(t, &a, &out, &eof));
	assert_true(eof);
	OK(tar_next(t, &a, &out, &eof));
	assert_true(eof);
	tar_reader_free(t);
	reader_close(r);
	archive_fini(&ar);
}

/* The end: two zero blocks, one, none at all, with padding missing. */
static void ends(void **state)
{
	struct archive ar;
	size_t n;
	uint64_t data;

	archive_begin(&ar);
	add_file(&ar, "a", STR("hello"));
	archive_end(&ar);
	OK(read_through(buf_str(&ar.bytes), &n, &data));
	assert_true(n == 1 && data == 5);
	OK(read_through(str_sub(buf_str(&ar.bytes), 0, 1536), &n, &data));
	OK(read_through(str_sub(buf_str(&ar.bytes), 0, 1024), &n, &data));
	OK(read_through(str_sub(buf_str(&ar.bytes), 0, 517), &n, &data));
	OK(read_through(STR(""), &n, &data));
	assert_int_equal(n, 0);
	FAILS(read_through(str_sub(buf_str(&ar.bytes), 0, 516), &n, &data), ERR_DATA_LOSS,
	      "unexpected EOF");
	FAILS(read_through(str_sub(buf_str(&ar.bytes), 0, 100), &n, &data), ERR_DATA_LOSS,
	      "unexpected EOF");
	ar.bytes.data[1600] = 1; /* in the second zero block */
	FAILS(read_through(buf_str(&ar.bytes), &n, &data), ERR_DATA_LOSS,
	      "archive/tar: invalid tar header");
	archive_fini(&ar);
}

static void checksums(void **state)
{
	struct archive ar;
	size_t n;
	uint64_t data;

	archive_begin(&ar);
	add_file(&ar, "a", STR("hello"));
	archive_end(&ar);
	ar.bytes.data[0] = 'b';
	FAILS(read_through(buf_str(&ar.bytes), &n, &data), ERR_DATA_LOSS,
	      "archive/tar: invalid tar header");
	seal(&ar.bytes, 0);
	OK(read_through(buf_str(&ar.bytes), &n, &data));
	archive_fini(&ar);
}

static void numbers(void **state)
{
	static const struct {
		struct str field; /* of the size, 12 bytes */
		bool good;
		uint64_t want;
	} all[] = {
		{ STR("00000000005\0"), true, 5 },
		{ STR("          5 "), true, 5 },
		{ STR("\0\0\0\0\0\0\0\0\0\0\0\0"), true, 0 },
		{ STR("0000000008\0\0"), false, 0 },
		{ STR("-0000000001\0"), false, 0 },
		{ STR("\x80\0\0\0\0\0\0\0\0\0\0\5"), true, 5 },
		{ STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), false, 0 },
		{ STR("\x80\0\0\x80\0\0\0\0\0\0\0\0"), false, 0 },
		{ STR("\x80\1\0\0\0\0\0\0\0\0\0\0"), false, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct archive ar;
		struct reader *r;
		struct tar_reader *t;
		struct tar_header h;
		SCOPED_ARENA(a);
		struct err *e;
		bool eof;

		archive_begin(&ar);
		add_file(&ar, "a", STR("hello"));
		archive_end(&ar);
		memcpy(ar.bytes.data + 124, all[i].field.ptr, 12);
		seal(&ar.bytes, 0);
		r = reader_of_str(buf_str(&ar.bytes));
		t = tar_reader_new(r);
		e = tar_next(t, &a, &h, &eof);
		assert_int_equal(!e, all[i].good);
		if (!e)
			assert_true(h.size == all[i].want);
		err_free(e);
		tar_reader_free(t);
		reader_close(r);
		archive_fini(&ar);
	}
}

/* PAX records, given as the body of an 'x' entry, before an empty file. */
static struct err *read_records(struct str body, struct arena *a, struct tar_header *ret)
{
	struct archive ar;
	struct reader *r;
	struct tar_reader *t;
	struct err *e;
	bool eof = false;

	archive_begin(&ar);
	add_file(&ar, "PaxHeaders.0/f", body);
	ar.bytes.data[156] = 'x';
	seal(&ar.bytes, 0);
	add_file(&ar, "f", STR(""));
	archive_end(&ar);
	r = reader_of_str(buf_str(&ar.bytes));
	t = tar_reader_new(r);
	e = tar_next(t, a, ret, &eof);
	assert_false(eof);
	tar_reader_free(t);
	reader_close(r);
	archive_fini(&ar);
	return e;
}

static void pax_records(void **state)
{
	static const struct str bad[] = {
		STR("5 a=b"),

		STR("7 a=b\n"),
		STR("06 a=b\nx"),
		STR("6 =ab\n"),
		STR("6 a\0=\n"),
		STR("abc"),
		STR("4 =\n"),
		STR("12 mtime=1x\n"),
		STR("9 uid=-1\n"),
		STR("14 path=a\0bcd\n"),
		STR("99999999999999999999 a=b\n"),
	};
	SCOPED_ARENA(a);
	SCOPED_BUF(long_name, 10000);
	struct tar_header h;
	char text[5200];

	OK(read_records(STR("12 path=new\n16 mtime=-1.500\n10 uname=\n26 SCHILY.xattr.user.a=\0b\n"
			    "21 LIBARCHIVE.x=none\n"),
			&a, &h));
	STR_IS(h.name, "new");
	assert_true(h.mtime_ns == -1500000000);
	assert_int_equal(h.n_xattrs, 1);
	STR_IS(h.xattrs[0].name, "user.a");
	STR_IS(h.xattrs[0].value, "\0b");
	assert_int_equal(h.n_field_records, 3);
	/* libarchive's form, used where the plain one is missing. */
	OK(read_records(STR("34 LIBARCHIVE.xattr.user.b%25=AAE\n"
			    "30 LIBARCHIVE.xattr.user.c=eA\n"
			    "25 SCHILY.xattr.user.c=y\n"),
			&a, &h));
	assert_int_equal(h.n_xattrs, 2);
	STR_IS(h.xattrs[0].name, "user.c");
	STR_IS(h.xattrs[0].value, "y");
	STR_IS(h.xattrs[1].name, "user.b%");
	STR_IS(h.xattrs[1].value, "\0\1");
	/* Times past what 64 bits of nanoseconds hold. */
	OK(read_records(STR("22 mtime=999999999999\n"), &a, &h));
	assert_true(h.mtime_ns == INT64_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err *e = read_records(bad[i], &a, &h);

		if (!e)
			fail_msg("accepted case %zu", i);
		err_free(e);
	}
	/* Names and numbers of records are bounded. */
	memset(text, 'n', sizeof(text));
	(void)snprintf(text, sizeof(text), "5011 path=");
	text[10] = 'n';
	memcpy(text + 5010, "\n", 1);
	FAILS(read_records(str_make(text, 5011), &a, &h), ERR_DATA_LOSS,
	      "archive/tar: name is longer than 4096 bytes");
	long_name.max = BIG;
	for (int i = 0; i < 2000; i++)
		buf_addf(&long_name, "30 SCHILY.xattr.user.n%05d=v\n", i);
	FAILS(read_records(buf_str(&long_name), &a, &h), ERR_DATA_LOSS,
	      "archive/tar: more than 1024 records");
}

static void hostile_sizes(void **state)
{
	struct archive ar;
	size_t n;
	uint64_t data;

	archive_begin(&ar);
	add_file(&ar, "a", STR("hello"));
	archive_end(&ar);
	/* Special entries must fit in memory. */
	for (const char *type = "xLK"; *type; type++) {
		ar.bytes.data[156] = *type;
		memcpy(ar.bytes.data + 124, "77777777777", 12);
		seal(&ar.bytes, 0);
		FAILS(read_through(buf_str(&ar.bytes), &n, &data), ERR_DATA_LOSS,
		      "archive/tar: header field too long");
	}
	ar.bytes.data[156] = '0';
	seal(&ar.bytes, 0);
	FAILS(read_through(buf_str(&ar.bytes), &n, &data), ERR_DATA_LOSS, "unexpected EOF");
	archive_fini(&ar);
}

/* ---- the tools' archives ---- */

static char dir[] = "/tmp/test-tar-XXXXXX";

static void sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void sh(const char *fmt, ...)
{
	char cmd[1024];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	assert_int_equal(system(cmd), 0);
}

static void write_at(const char *name, const char *text, off_t at, off_t size)
{
	char path[256];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/t/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, text, strlen(text), at), strlen(text));
	if (size)
		assert_int_equal(ftruncate(fd, size), 0);
	(void)close(fd);
}

static int make_tree(void **state)
{
	assert_non_null(mkdtemp(dir));
	sh("mkdir -p %s/t/sub", dir);
	write_at("file", "content", 0, 0);
	write_at("sub/empty", "", 0, 0);
	/* One hole, and more regions than a header has room for. */
	write_at("sparse", "x", 500000, 1000000);
	for (int i = 1; i < 40; i++)
		write_at("holes", "data", i * 65536, 65536 * 41);
	sh("cd %s/t && ln -s file link && ln file hard && mkfifo pipe", dir);
	sh("cd %s/t && touch -d '2001-02-03 04:05:06.789' file && "
	   "n=$(printf 'long-name/%%.0s' $(seq 20)) && mkdir -p $n && echo deep > $n/f",
	   dir);
	return 0;
}

static int remove_tree(void **state)
{
	sh("rm -rf %s", dir);
	return 0;
}

static char *read_file(const char *name, size_t *ret_len)
{
	char path[2048];
	SCOPED_BUF(b, BIG);
	struct reader *r;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	r = reader_of_fd(fd, true);
	OK(reader_read_all(r, &b));
	reader_close(r);
	*ret_len = b.len;
	return buf_take(&b);
}

/* Every entry against the tree it was made from. */
static size_t compare(const char *archive)
{
	CLEANUP_FREE char *bytes = NULL;
	size_t len, entries = 0;
	struct reader *r;
	struct tar_reader *t;
	bool eof;

	bytes = read_file(archive, &len);
	r = reader_of_str(str_make(bytes, len));
	t = tar_reader_new(r);
	for (;;) {
		SCOPED_ARENA(a);
		SCOPED_BUF(data, BIG);
		struct tar_header h;
		char path[2048], chunk[777];
		struct stat st;
		size_t n;

		OK(tar_next(t, &a, &h, &eof));
		if (eof)
			break;
		entries++;
		(void)snprintf(path, sizeof(path), "%s/%.*s", dir,
			       STR_ARG(str_trim_suffix(h.name, STR("/"))));
		assert_int_equal(lstat(path, &st), 0);
		assert_int_equal(h.mode, st.st_mode & 07777);
		assert_int_equal(h.uid, st.st_uid);
		assert_true(h.mtime_ns / NSEC_PER_SEC == st.st_mtim.tv_sec);
		switch (h.type) {
		case '5':
			assert_true(S_ISDIR(st.st_mode));
			break;
		case '2':
			STR_IS(h.linkname, "file");
			break;
		case '1':
		case '6':
			break;
		case '0': {
			CLEANUP_FREE char *want = NULL;
			size_t want_len;

			want = read_file(path + strlen(dir) + 1, &want_len);
			do {
				OK(tar_read(t, chunk, sizeof(chunk), &n));
				buf_add(&data, chunk, n);
			} while (n);
			assert_true(str_eq(buf_str(&data), str_make(want, want_len)));
			assert_true(h.size == want_len);
			break;
		}
		default:
			fail_msg("type %c", h.type);
		}
	}
	tar_reader_free(t);
	reader_close(r);
	return entries;
}

static void real_tools(void **state)
{
	static const char *const commands[] = {
		"tar --format=gnu",
		"tar --format=oldgnu",
		"tar --format=posix",
		"tar --format=gnu --sparse",
		"tar --format=oldgnu --sparse",
		"tar --format=posix --sparse --sparse-version=0.0",
		"tar --format=posix --sparse --sparse-version=0.1",
		"tar --format=posix --sparse --sparse-version=1.0",
		"bsdtar --format=pax",
		"bsdtar --format=gnutar",
	};

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		sh("cd %s && %s -cf archive.tar t", dir, commands[i]);
		assert_int_equal(compare("archive.tar"), 30);
	}
	/* These can't hold the long names. */
	sh("cd %s && tar --format=v7 --exclude=long-name -cf archive.tar t 2>/dev/null || true",
	   dir);
	assert_true(compare("archive.tar") > 5);
	sh("cd %s && tar --format=ustar --exclude=long-name -cf archive.tar t", dir);
	assert_int_equal(compare("archive.tar"), 9);
}

/* And the tools read ours. */
static void tools_read_ours(void **state)
{
	struct archive ar;
	char path[256];
	SCOPED_BUF(name, 1000);
	int fd;

	for (int i = 0; i < 25; i++)
		buf_add_cstr(&name, "directory/");
	buf_add_cstr(&name, "\xc3\xa9");
	archive_begin(&ar);
	add_file(&ar, "plain", STR("content"));
	add_file(&ar, buf_cstr(&name), STR("deep"));
	archive_end(&ar);
	(void)snprintf(path, sizeof(path), "%s/ours.tar", dir);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, ar.bytes.data, ar.bytes.len), ar.bytes.len);
	(void)close(fd);
	for (int i = 0; i < 2; i++)
		sh("cd %s && rm -rf x && mkdir x && %s -xf ours.tar -C x && "
		   "grep -qx content x/plain && grep -rqx deep x/directory",
		   dir, i ? "tar" : "LC_ALL=C.UTF-8 bsdtar");
	archive_fini(&ar);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),  cmocka_unit_test(ends),
		cmocka_unit_test(checksums),   cmocka_unit_test(numbers),
		cmocka_unit_test(pax_records), cmocka_unit_test(hostile_sizes),
		cmocka_unit_test(real_tools),  cmocka_unit_test(tools_read_ours),
	};

	return cmocka_run_group_tests(tests, make_tree, remove_tree);
}
