#include "codec/tar_impl.h"

#include "base/buf.h"
#include "base/limits.h"

/* Headers are read through a buffer: the stream below may be costly to call for 512 bytes. */
#define BUFFER (32 * 1024)

struct tar_reader {
	struct reader *src;
	size_t at, len; /* of what is buffered */
	/* The current entry: data in the archive, and padding behind it. */
	int64_t physical;
	size_t pad;
	/* When sparse: what is data in the file, and how far it has been read. */
	bool sparse;
	tar_extents extents;
	size_t extent;
	int64_t pos, logical_size;
	bool eof;
	struct buf special;
	struct tar_block block;
	char buffer[BUFFER];
};

struct tar_reader *tar_reader_new(struct reader *src)
{
	struct tar_reader *t = NEW(struct tar_reader);

	t->src = src;
	buf_init(&t->special, LIMIT_TAR_PAX);
	return t;
}

void tar_reader_free(struct tar_reader *t)
{
	if (!t)
		return;
	vec_fini(&t->extents);
	buf_fini(&t->special);
	free(t);
}

void tar_reader_freep(struct tar_reader **t)
{
	tar_reader_free(*t);
	*t = NULL;
}

struct err *tar_bad_header(void)
{
	return err_new(ERR_DATA_LOSS, "archive/tar: invalid tar header");
}

/* ---- bytes ---- */

static struct err *some(struct tar_reader *t, void *p, size_t len, size_t *ret_n)
{
	if (t->at == t->len) {
		if (len >= sizeof(t->buffer))
			return t->src->read(t->src, p, len, ret_n);
		t->at = t->len = 0;
		TRY(t->src->read(t->src, t->buffer, sizeof(t->buffer), &t->len));
	}
	*ret_n = MIN(len, t->len - t->at);
	if (*ret_n)
		memcpy(p, t->buffer + t->at, *ret_n);
	t->at += *ret_n;
	return NULL;
}

/* As many as there are; fewer than len only at the end. */
static struct err *up_to(struct tar_reader *t, void *p, size_t len, size_t *ret_n)
{
	size_t done = 0, n;

	while (done < len) {
		TRY(some(t, (char *)p + done, len - done, &n));
		if (!n)
			break;
		done += n;
	}
	*ret_n = done;
	return NULL;
}

static struct err *unexpected_eof(void)
{
	return err_new(ERR_DATA_LOSS, "unexpected EOF");
}

struct err *tar_raw(struct tar_reader *t, void *p, size_t len)
{
	size_t n;

	TRY(up_to(t, p, len, &n));
	return n == len ? NULL : unexpected_eof();
}

struct err *tar_raw_data(struct tar_reader *t, void *p, size_t len)
{
	if ((int64_t)len > t->physical)
		return unexpected_eof();
	TRY(tar_raw(t, p, len));
	t->physical -= (int64_t)len;
	return NULL;
}

/* Padding at the very end may be missing, data may not. */
static struct err *skip_entry(struct tar_reader *t)
{
	while (t->physical || t->pad) {
		int64_t want = t->physical ? t->physical : (int64_t)t->pad;
		size_t n;

		if (t->at == t->len) {
			t->at = t->len = 0;
			TRY(t->src->read(t->src, t->buffer, sizeof(t->buffer), &t->len));
			if (!t->len && t->physical)
				return unexpected_eof();
			if (!t->len)
				break;
		}
		n = (size_t)MIN(want, (int64_t)(t->len - t->at));
		t->at += n;
		if (t->physical)
			t->physical -= (int64_t)n;
		else
			t->pad -= n;
	}
	t->pad = 0;
	return NULL;
}

/* ---- fields ---- */

static struct str field(const char *p, size_t len)
{
	return str_make(p, strnlen(p, len));
}
#define FIELD(f) field((f), sizeof(f))

static bool parse_octal(const char *p, size_t len, int64_t *ret)
{
	uint64_t v = 0;

	while (len && (*p == ' ' || !*p)) {
		p++;
		len--;
	}
	while (len && (p[len - 1] == ' ' || !p[len - 1]))
		len--;
	for (size_t i = 0; i < len && p[i]; i++) {
		if (p[i] < '0' || p[i] > '7' || v >> 61)
			return false;
		v = v << 3 | (uint64_t)(p[i] - '0');
	}
	*ret = (int64_t)v;
	return v <= INT64_MAX;
}

bool tar_number(const char *p, size_t len, int64_t *ret)
{
	unsigned char inv = (unsigned char)p[0] & 0x40 ? 0xff : 0;
	uint64_t v = 0;

	if (!((unsigned char)p[0] & 0x80))
		return parse_octal(p, len, ret);
	/* Two's complement behind the marking bit. */
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)p[i] ^ inv;

		if (i == 0)
			c &= 0x7f;
		if (v >> 56)
			return false;
		v = v << 8 | c;
	}
	if (v > INT64_MAX)
		return false;
	*ret = inv ? ~(int64_t)v : (int64_t)v;
	return true;
}
#define NUMBER(f, ret) tar_number((f), sizeof(f), (ret))

static struct err *read_special(struct tar_reader *t)
{
	char *to;

	buf_clear(&t->special);
	if (t->physical > (int64_t)LIMIT_TAR_PAX)
		return err_new(ERR_DATA_LOSS, "archive/tar: header field too long");
	to = buf_reserve(&t->special, (size_t)t->physical);
	t->special.len = (size_t)t->physical;
	return tar_raw_data(t, to, (size_t)t->physical);
}

/* ---- the header ---- */

/* *ret_end: the archive ends here. */
static struct err *read_block(struct tar_reader *t, bool *ret_end)
{
	static const char zeros[TAR_BLOCK];
	size_t n;

	*ret_end = true;
	TRY(up_to(t, &t->block, TAR_BLOCK, &n));
	if (!n)
		return NULL;
	if (n < TAR_BLOCK)
		return unexpected_eof();
	if (memcmp(&t->block, zeros, TAR_BLOCK) != 0) {
		*ret_end = false;
		return NULL;
	}
	TRY(up_to(t, &t->block, TAR_BLOCK, &n));
	if (n && n < TAR_BLOCK)
		return unexpected_eof();
	return !n || memcmp(&t->block, zeros, TAR_BLOCK) == 0 ? NULL : tar_bad_header();
}

enum block_kind { V7, USTAR, STAR, GNU };

static enum block_kind kind_of(const struct tar_block *b)
{
	if (memcmp(b->magic, "ustar", 6) == 0)
		return memcmp((const char *)b + 508, "tar", 4) == 0 ? STAR : USTAR;
	return memcmp(b->magic, "ustar  ", 8) == 0 ? GNU : V7;
}

static struct err *parse_names(const struct tar_block *b, struct arena *a, struct str prefix,
			       struct tar_header *h)
{
	h->name = str_dup(a, FIELD(b->name));
	if (prefix.len)
		h->name = str_from(
			arena_printf(a, "%.*s/%.*s", STR_ARG(prefix), STR_ARG(FIELD(b->name))));
	h->linkname = str_dup(a, FIELD(b->linkname));
	return NULL;
}

static struct err *parse_block(struct tar_reader *t, struct arena *a, struct tar_header *h,
			       int64_t *ret_size)
{
	const struct tar_block *b = &t->block;
	const char *raw = (const char *)b;
	int64_t sum, sum1, sum2, mode, uid, gid, mtime, major = 0, minor = 0, accessed = 0,
							changed = 0;
	enum block_kind kind = kind_of(b);
	struct str prefix = STR_NONE;

	tar_checksums(b, &sum1, &sum2);
	if (!parse_octal(b->chksum, sizeof(b->chksum), &sum) || (sum != sum1 && sum != sum2))
		return tar_bad_header();
	*h = (struct tar_header) { .type = b->type };
	if (!NUMBER(b->size, ret_size) || !NUMBER(b->mode, &mode) || !NUMBER(b->uid, &uid) ||
	    !NUMBER(b->gid, &gid) || !NUMBER(b->mtime, &mtime))
		return tar_bad_header();
	if (kind != V7) {
		h->uname = str_dup(a, FIELD(b->uname));
		h->gname = str_dup(a, FIELD(b->gname));
		if (!NUMBER(b->devmajor, &major) || !NUMBER(b->devminor, &minor))
			return tar_bad_header();
	}
	if (kind == USTAR) {
		prefix = FIELD(b->prefix);
	} else if (kind == STAR) {
		prefix = field(b->prefix, 131);
		if (!tar_number(raw + 476, 12, &accessed) || !tar_number(raw + 488, 12, &changed))
			return tar_bad_header();
	} else if (kind == GNU) {
		/* Some writers put a prefix here, in spite of the format. */
		if ((raw[345] && !tar_number(raw + 345, 12, &accessed)) ||
		    (raw[357] && !tar_number(raw + 357, 12, &changed))) {
			accessed = changed = 0;
			prefix = FIELD(b->prefix);
		}
	}
	h->mode = (uint32_t)mode & 07777;
	h->mtime_ns = tar_seconds_to_ns(mtime);
	h->atime_ns = tar_seconds_to_ns(accessed);
	h->ctime_ns = tar_seconds_to_ns(changed);
	h->uid = (uint64_t)uid;
	h->gid = (uint64_t)gid;
	if (*ret_size < 0 || major < 0 || major > UINT32_MAX || minor < 0 || minor > UINT32_MAX)
		return tar_bad_header();
	h->devmajor = (uint32_t)major;
	h->devminor = (uint32_t)minor;
	h->format = kind == USTAR ? TAR_FORMAT_USTAR
		    : kind == GNU ? TAR_FORMAT_GNU
				  : TAR_FORMAT_ANY;
	return parse_names(b, a, prefix, h);
}

/* ---- sparse ---- */

static struct err *set_up_sparse(struct tar_reader *t, struct arena *a, const struct tar_extra *x,
				 struct tar_header *h, int64_t *size)
{
	struct str major = tar_record(x, "GNU.sparse.major"),
		   minor = tar_record(x, "GNU.sparse.minor");
	struct str map = tar_record(x, "GNU.sparse.map"), name, real;
	bool v1 = str_eq(major, STR("1")) && str_eq(minor, STR("0"));
	bool v0 = str_eq(major, STR("0")) && (str_eq(minor, STR("0")) || str_eq(minor, STR("1")));

	vec_clear(&t->extents);
	if (h->type == 'S') {
		TRY(tar_sparse_old(t, &t->block, size, &t->extents));
		h->type = '0';
	} else {
		if (x->n_sparse)
			map = buf_str(&x->sparse_map);
		if (!v0 && !v1 && (major.len || minor.len || !map.len))
			return NULL;
		name = tar_record(x, "GNU.sparse.name");
		real = tar_record(x, "GNU.sparse.size");
		if (!real.len)
			real = tar_record(x, "GNU.sparse.realsize");
		if (name.len)
			h->name = str_dup(a, name);
		if (real.len && !str_to_i64(real, size))
			return tar_bad_header();
		if (v1)
			TRY(tar_sparse_1(t, &t->extents));
		else
			TRY(tar_sparse_0(tar_record(x, "GNU.sparse.numblocks"), map, &t->extents));
	}
	if (tar_is_header_only(h->type) || !tar_sparse_valid(&t->extents, *size))
		return tar_bad_header();
	t->sparse = true;
	t->extent = 0;
	t->pos = 0;
	t->logical_size = *size;
	return NULL;
}

/* ---- entries ---- */

static struct err *begin_data(struct tar_reader *t, char type, int64_t size)
{
	if (size < 0)
		return tar_bad_header();
	t->physical = tar_is_header_only(type) ? 0 : size;
	t->pad = tar_padding((uint64_t)t->physical);
	t->sparse = false;
	return NULL;
}

static struct err *check_name(struct str s, const char *what)
{
	if (s.len > LIMIT_PATH)
		return err_new(ERR_DATA_LOSS, "archive/tar: %s is longer than %d bytes", what,
			       LIMIT_PATH);
	return NULL;
}

/* The entry itself, after what goes before it. */
static struct err *finish_header(struct tar_reader *t, struct arena *a, const struct tar_extra *x,
				 struct tar_header *h, int64_t size)
{
	TRY(tar_apply_records(a, x, h, &size));
	if ((int64_t)h->uid < 0 || (int64_t)h->gid < 0)
		return tar_bad_header();
	if (x->long_name)
		h->name = str_dup(a, str_from(x->long_name));
	if (x->long_link)
		h->linkname = str_dup(a, str_from(x->long_link));
	if (h->type == '\0')
		h->type = str_has_suffix(h->name, STR("/")) ? '5' : '0';
	TRY(begin_data(t, h->type, size));
	TRY(set_up_sparse(t, a, x, h, &size));
	TRY(check_name(h->name, "name"));
	TRY(check_name(h->linkname, "link name"));
	if (x->has_pax && h->format == TAR_FORMAT_USTAR)
		h->format = TAR_FORMAT_PAX;
	h->size = (uint64_t)size;
	return NULL;
}

static struct err *next_entry(struct tar_reader *t, struct arena *a, struct tar_extra *x,
			      struct tar_header *ret, bool *ret_eof)
{
	for (;;) {
		struct tar_header h;
		char **text;
		int64_t size;

		TRY(skip_entry(t));
		TRY(read_block(t, ret_eof));
		if (*ret_eof)
			return NULL;
		TRY(parse_block(t, a, &h, &size));
		TRY(begin_data(t, h.type, size));
		switch (h.type) {
		case 'x':
			TRY(read_special(t));
			TRY(tar_parse_pax(x, buf_str(&t->special)));
			break;
		case 'g':
			/* As in Go, they go for nothing. */
			break;
		case 'L':
		case 'K':
			TRY(read_special(t));
			text = h.type == 'L' ? &x->long_name : &x->long_link;
			free(*text);
			*text = mem_strndup(buf_cstr(&t->special),
					    strnlen(buf_cstr(&t->special), t->special.len));
			if (!**text) {
				free(*text);
				*text = NULL;
			}
			break;
		default:
			TRY(finish_header(t, a, x, &h, size));
			*ret = h;
			return NULL;
		}
	}
}

struct err *tar_next(struct tar_reader *t, struct arena *a, struct tar_header *ret, bool *ret_eof)
{
	CLEANUP(tar_extra_fini) struct tar_extra x = { 0 };
	struct err *e;

	if (t->eof) {
		*ret_eof = true;
		return NULL;
	}
	e = next_entry(t, a, &x, ret, ret_eof);
	/* After an error there is no entry either. */
	t->eof = e || *ret_eof;
	if (t->eof) {
		t->physical = 0;
		t->pad = 0;
		t->sparse = false;
	}
	return e;
}

static struct err *read_physical(struct tar_reader *t, void *p, size_t len, size_t *ret_n)
{
	len = (size_t)MIN((int64_t)MIN(len, (size_t)INT64_MAX), t->physical);
	*ret_n = 0;
	if (!len)
		return NULL;
	TRY(some(t, p, len, ret_n));
	t->physical -= (int64_t)*ret_n;
	return *ret_n ? NULL : unexpected_eof();
}

struct err *tar_read(struct tar_reader *t, void *p, size_t len, size_t *ret_n)
{
	const struct tar_extent *x;
	int64_t until;

	if (!t->sparse)
		return read_physical(t, p, len, ret_n);
	while (t->extent < t->extents.len &&
	       t->pos >= t->extents.items[t->extent].offset + t->extents.items[t->extent].len)
		t->extent++;
	x = t->extent < t->extents.len ? &t->extents.items[t->extent] : NULL;
	until = !x ? t->logical_size : t->pos < x->offset ? x->offset : x->offset + x->len;
	len = (size_t)MIN((int64_t)MIN(len, (size_t)INT64_MAX), until - t->pos);
	*ret_n = 0;
	if (!len)
		return NULL;
	if (x && t->pos >= x->offset) {
		TRY(read_physical(t, p, len, ret_n));
		if (!*ret_n)
			return unexpected_eof();
	} else {
		memset(p, 0, len);
		*ret_n = len;
	}
	t->pos += (int64_t)*ret_n;
	return NULL;
}
