/* The header block of tar, between reader and writer. Source: POSIX pax (ustar interchange
 * format), GNU tar manual ("Basic Tar Format"). */
#ifndef CODEC_TAR_IMPL_H
#define CODEC_TAR_IMPL_H

#include "base/buf.h"
#include "base/vec.h"
#include "codec/tar.h"

#define TAR_BLOCK 512

struct tar_block {
	char name[100];
	char mode[8];
	char uid[8];
	char gid[8];
	char size[12];
	char mtime[12];
	char chksum[8];
	char type;
	char linkname[100];
	char magic[6];
	char version[2];
	char uname[32];
	char gname[32];
	char devmajor[8];
	char devminor[8];
	char prefix[155];
	char pad[12];
};
_Static_assert(sizeof(struct tar_block) == TAR_BLOCK, "tar block");

/* Types without data, whatever their size says. */
static inline bool tar_is_header_only(char type)
{
	return type >= '1' && type <= '6';
}

static inline size_t tar_padding(uint64_t size)
{
	return (size_t)(-size & (TAR_BLOCK - 1));
}

/* Sums with the checksum field as blanks: of unsigned bytes, and of signed ones as an old
 * tar had them. */
static inline void tar_checksums(const struct tar_block *b, int64_t *ret_unsigned,
				 int64_t *ret_signed)
{
	const unsigned char *p = (const unsigned char *)b;
	size_t from = offsetof(struct tar_block, chksum);

	*ret_unsigned = *ret_signed = 0;
	for (size_t i = 0; i < TAR_BLOCK; i++) {
		unsigned char c = i >= from && i < from + sizeof(b->chksum) ? ' ' : p[i];

		*ret_unsigned += c;
		*ret_signed += (signed char)c;
	}
}

/* ---- reading ---- */

/* Octal, or base-256 when the first bit is set; false on junk or overflow. */
bool tar_number(const char *field, size_t len, int64_t *ret);

struct tar_extent {
	int64_t offset, len;
};
typedef VEC(struct tar_extent) tar_extents;

/* The next bytes of the archive, or DATA_LOSS. */
struct err *tar_raw(struct tar_reader *t, void *p, size_t len) ERR_RESULT;
/* The same within the data of the current entry. */
struct err *tar_raw_data(struct tar_reader *t, void *p, size_t len) ERR_RESULT;
struct err *tar_bad_header(void) ERR_RESULT;

/* Sparse maps in their four forms. `map` is "offset,len,offset,len"; the old form goes on in
 * extension blocks, the last one stands before the data. */
struct err *tar_sparse_old(struct tar_reader *t, const struct tar_block *b, int64_t *ret_size,
			   tar_extents *out) ERR_RESULT;
struct err *tar_sparse_0(struct str n_blocks, struct str map, tar_extents *out) ERR_RESULT;
struct err *tar_sparse_1(struct tar_reader *t, tar_extents *out) ERR_RESULT;
/* In order, apart, within size. */
bool tar_sparse_valid(const tar_extents *x, int64_t size);

/* An entry's PAX records as they come, and what goes over the header's fields. */
struct tar_extra {
	struct buf pax; /* the text; records point into it */
	VEC(struct tar_record) records;
	char *long_name, *long_link;
	bool has_pax;
	/* Sparse format 0.0 repeats its keys, one pair a region. */
	struct buf sparse_map;
	size_t n_sparse;
};

void tar_extra_fini(struct tar_extra *x);
/* The body of an 'x' entry; what there was of an earlier one goes. */
struct err *tar_parse_pax(struct tar_extra *x, struct str body) ERR_RESULT;
/* The last record of that name, or empty. */
struct str tar_record(const struct tar_extra *x, const char *key);
/* Records over the header's fields, and into its lists. */
struct err *tar_apply_records(struct arena *a, const struct tar_extra *x, struct tar_header *h,
			      int64_t *size) ERR_RESULT;
int64_t tar_seconds_to_ns(int64_t s);

#endif
