#include "codec/compress.h"

#include "base/mem.h"
#include "codec/decompress.h"
#include "codec/gzip.h"
#include "codec/oci.h"

static const char *const names[] = {
	[COMPRESSION_NONE] = "uncompressed",
	[COMPRESSION_GZIP] = "gzip",
	[COMPRESSION_ZSTD] = "zstd",
	[COMPRESSION_ESTARGZ] = "estargz",
	[COMPRESSION_XZ] = "xz",
	[COMPRESSION_BZIP2] = "bzip2",
	[COMPRESSION_UNKNOWN] = "unknown",
};

const char *compression_name(enum compression c)
{
	return names[c];
}

bool compression_parse(struct str name, enum compression *ret)
{
	for (size_t i = COMPRESSION_NONE; i <= COMPRESSION_ESTARGZ; i++) {
		if (str_eq_cstr(name, names[i])) {
			*ret = (enum compression)i;
			return true;
		}
	}
	return false;
}

/* A zstd stream may begin with a frame to be skipped: 0x184d2a5?, little-endian. */
static bool is_skippable_frame(struct str head)
{
	return head.len >= 4 && ((unsigned char)head.ptr[0] & 0xf0) == 0x50 &&
	       memcmp(head.ptr + 1, "\x2a\x4d\x18", 3) == 0;
}

enum compression compression_detect(struct str head)
{
	if (str_has_prefix(head, STR("\x1f\x8b\x08")))
		return COMPRESSION_GZIP;
	if (str_has_prefix(head, STR("\x28\xb5\x2f\xfd")) || is_skippable_frame(head))
		return COMPRESSION_ZSTD;
	if (str_has_prefix(head, STR("\xfd"
				     "7zXZ\0")))
		return COMPRESSION_XZ;
	if (str_has_prefix(head, STR("BZh")))
		return COMPRESSION_BZIP2;
	return COMPRESSION_NONE;
}

enum compression compression_of_media_type(struct str media_type)
{
	if (!oci_is_layer(media_type))
		return COMPRESSION_UNKNOWN;
	if (str_has_suffix(media_type, STR("gzip")))
		return COMPRESSION_GZIP;
	if (str_has_suffix(media_type, STR("zstd")))
		return COMPRESSION_ZSTD;
	return str_has_suffix(media_type, STR("tar")) ? COMPRESSION_NONE : COMPRESSION_UNKNOWN;
}

struct err *decompress_reader(enum compression c, struct reader *take_src, struct reader **ret)
{
	switch (c) {
	case COMPRESSION_NONE:
		*ret = take_src;
		return NULL;
	case COMPRESSION_GZIP:
	case COMPRESSION_ESTARGZ:
		*ret = gzip_reader(take_src);
		return NULL;
	case COMPRESSION_ZSTD:
		*ret = zstd_reader(take_src);
		return NULL;
	case COMPRESSION_XZ:
		*ret = xz_reader(take_src);
		return NULL;
	case COMPRESSION_BZIP2:
		*ret = bzip2_reader(take_src);
		return NULL;
	case COMPRESSION_UNKNOWN:
		break;
	}
	reader_close(take_src);
	return err_new(ERR_UNIMPLEMENTED, "unknown compression is not supported");
}

/* A stream whose head has been looked at. */
struct peeked {
	struct reader io;
	struct reader *src;
	size_t at, len;
	char head[16];
};

static struct err *peeked_read(struct reader *r, void *p, size_t len, size_t *ret_n)
{
	struct peeked *k = container_of(r, struct peeked, io);
	size_t n = MIN(len, k->len - k->at);

	if (!n)
		return k->src->read(k->src, p, len, ret_n);
	memcpy(p, k->head + k->at, n);
	k->at += n;
	*ret_n = n;
	return NULL;
}

static void peeked_close(struct reader *r)
{
	struct peeked *k = container_of(r, struct peeked, io);

	reader_close(k->src);
	free(k);
}

struct err *decompress_auto(struct reader *take_src, struct reader **ret, enum compression *ret_c)
{
	struct peeked *k = NEW(struct peeked);
	CLEANUP(reader_closep) struct reader *r = &k->io;
	enum compression c;

	k->io = (struct reader) { peeked_read, peeked_close };
	k->src = take_src;
	while (k->len < sizeof(k->head)) {
		size_t n;

		TRY(take_src->read(take_src, k->head + k->len, sizeof(k->head) - k->len, &n));
		if (!n)
			break;
		k->len += n;
	}
	c = compression_detect(str_make(k->head, k->len));
	TRY(decompress_reader(c, TAKE_PTR(r), ret));
	if (ret_c)
		*ret_c = c;
	return NULL;
}

struct plain_writer {
	struct writer io;
	struct writer *dst;
};

static struct err *plain_write(struct writer *w, const void *p, size_t len)
{
	return writer_write(container_of(w, struct plain_writer, io)->dst, p, len);
}

static void plain_close(struct writer *w)
{
	free(container_of(w, struct plain_writer, io));
}

struct err *compress_writer(struct ctx *ctx, enum compression c, int level, struct writer *dst,
			    struct writer **ret)
{
	struct plain_writer *plain;

	switch (c) {
	case COMPRESSION_NONE:
		plain = NEW(struct plain_writer);
		*plain = (struct plain_writer) { { plain_write, NULL, plain_close }, dst };
		*ret = &plain->io;
		return NULL;
	case COMPRESSION_GZIP:
		*ret = gzip_writer(ctx, dst, level);
		return NULL;
	case COMPRESSION_ZSTD:
		/* -1 is the default; BuildKit's 0 is its fastest. */
		*ret = zstd_writer(ctx, dst, level < 0 ? 3 : MAX(level, 1));
		return NULL;
	default:
		return err_new(ERR_UNIMPLEMENTED, "writing %s compression is not supported",
			       compression_name(c));
	}
}
