/* GNU sparse maps. */
#include "codec/tar_impl.h"

#include "base/limits.h"

#define ENTRY_SIZE 24 /* offset and length of 12 bytes each */

static struct err *too_long(void)
{
	return err_new(ERR_DATA_LOSS, "archive/tar: sparse map too long");
}

static void add(tar_extents *out, int64_t offset, int64_t len)
{
	struct tar_extent x = { offset, len };

	vec_push(out, x);
}

/* n entries and the flag behind them that more follow. */
static struct err *take_entries(const char *p, size_t n, tar_extents *out, bool *ret_more)
{
	*ret_more = p[n * ENTRY_SIZE] != 0;
	for (size_t i = 0; i < n; i++) {
		const char *entry = p + i * ENTRY_SIZE;
		int64_t offset, len;

		if (!entry[0])
			break;
		if (!tar_number(entry, 12, &offset) || !tar_number(entry + 12, 12, &len))
			return tar_bad_header();
		add(out, offset, len);
	}
	return NULL;
}

struct err *tar_sparse_old(struct tar_reader *t, const struct tar_block *b, int64_t *ret_size,
			   tar_extents *out)
{
	/* In place of the prefix, from 386 on: four entries, the flag, the real size. */
	const char *p = (const char *)b;
	size_t total = 0;
	bool more;

	if (memcmp(b->magic, "ustar ", 6) != 0 || memcmp(b->version, " \0", 2) != 0 ||
	    !tar_number(p + 483, 12, ret_size))
		return tar_bad_header();
	TRY(take_entries(p + 386, 4, out, &more));
	while (more) {
		char block[TAR_BLOCK];

		total += sizeof(block);
		if (total > LIMIT_TAR_PAX)
			return too_long();
		TRY(tar_raw(t, block, sizeof(block)));
		TRY(take_entries(block, 21, out, &more));
	}
	return NULL;
}

struct err *tar_sparse_0(struct str n_blocks, struct str map, tar_extents *out)
{
	struct str offset_text, len_text;
	uint64_t n;

	if (!str_to_u64(n_blocks, &n))
		return tar_bad_header();
	while (map.len && str_next(&map, ',', &offset_text)) {
		int64_t offset, len;

		if (!str_next(&map, ',', &len_text) || !str_to_i64(offset_text, &offset) ||
		    !str_to_i64(len_text, &len))
			return tar_bad_header();
		add(out, offset, len);
		if (map.len == SIZE_MAX)
			break;
	}
	return out->len == n ? NULL : tar_bad_header();
}

struct number_reader {
	struct tar_reader *t;
	char block[TAR_BLOCK];
	size_t at; /* in block; sizeof(block) when it is used up */
	size_t total;
};

/* The next decimal line of the map in front of the data. */
static struct err *next_number(struct number_reader *r, int64_t *ret)
{
	char digits[32];
	size_t n = 0;

	for (;;) {
		char c;

		if (r->at == sizeof(r->block)) {
			r->total += sizeof(r->block);
			if (r->total > LIMIT_TAR_PAX)
				return too_long();
			TRY(tar_raw_data(r->t, r->block, sizeof(r->block)));
			r->at = 0;
		}
		c = r->block[r->at++];
		if (c == '\n')
			break;
		if (n == sizeof(digits))
			return tar_bad_header();
		digits[n++] = c;
	}
	return str_to_i64(str_make(digits, n), ret) ? NULL : tar_bad_header();
}

struct err *tar_sparse_1(struct tar_reader *t, tar_extents *out)
{
	struct number_reader r = { .t = t, .at = TAR_BLOCK };
	int64_t n;

	TRY(next_number(&r, &n));
	if (n < 0)
		return tar_bad_header();
	for (; n; n--) {
		int64_t offset, len;

		TRY(next_number(&r, &offset));
		TRY(next_number(&r, &len));
		add(out, offset, len);
	}
	return NULL;
}

bool tar_sparse_valid(const tar_extents *x, int64_t size)
{
	int64_t end = 0;

	if (size < 0)
		return false;
	for (size_t i = 0; i < x->len; i++) {
		const struct tar_extent *e = &x->items[i];

		if (e->offset < end || e->len < 0 ||
		    __builtin_add_overflow(e->offset, e->len, &end) || end > size)
			return false;
	}
	return true;
}
