#include "content/content_impl.h"

#include "base/mem.h"
#include "kv/pack.h"

#define VERSION 1

struct err *content_not_found(const struct digest *d)
{
	char text[DIGEST_TEXT_MAX];

	return err_new(ERR_NOT_FOUND, "content %s: not found", digest_format(d, text));
}

struct err *content_check_commit(uint64_t got_size, const struct digest *got, uint64_t size,
				 const struct digest *expected)
{
	char a[DIGEST_TEXT_MAX], b[DIGEST_TEXT_MAX];

	if (size && got_size != size)
		return err_new(ERR_FAILED_PRECONDITION,
			       "unexpected commit size %llu, expected %llu",
			       (unsigned long long)got_size, (unsigned long long)size);
	if (expected && digest_is_set(expected) && !digest_eq(got, expected))
		return err_new(ERR_FAILED_PRECONDITION, "unexpected commit digest %s, expected %s",
			       digest_format(got, a), digest_format(expected, b));
	return NULL;
}

static int by_key(const void *a, const void *b)
{
	return str_cmp(((const struct content_label *)a)->key,
		       ((const struct content_label *)b)->key);
}

struct err *content_merge_labels(struct arena *a, struct content_info *info,
				 const struct content_label *change, size_t n)
{
	struct content_label *all;
	size_t n_all = 0;

	if (n > LIMIT_LABELS || info->n_labels + n > LIMIT_LABELS)
		return err_new(ERR_RESOURCE_EXHAUSTED, "more than %d labels", LIMIT_LABELS);
	all = ARENA_NEW_N(a, struct content_label, info->n_labels + n);
	for (size_t i = 0; i < info->n_labels; i++) {
		bool changed = false;

		for (size_t k = 0; k < n && !changed; k++)
			changed = str_eq(change[k].key, info->labels[i].key);
		if (!changed)
			all[n_all++] = info->labels[i];
	}
	for (size_t k = 0; k < n; k++)
		if (change[k].value.len)
			all[n_all++] = change[k];
	if (n_all)
		qsort(all, n_all, sizeof(*all), by_key);
	info->labels = all;
	info->n_labels = n_all;
	return NULL;
}

void content_record_pack(const struct content_info *info, struct str boot_id, struct buf *out)
{
	pack_uint(out, VERSION);
	pack_uint(out, info->size);
	pack_int(out, info->created_ns);
	pack_int(out, info->updated_ns);
	pack_str(out, boot_id);
	pack_uint(out, info->n_labels);
	for (size_t i = 0; i < info->n_labels; i++) {
		pack_str(out, info->labels[i].key);
		pack_str(out, info->labels[i].value);
	}
}

struct err *content_record_unpack(struct str value, struct arena *a, struct content_info *info,
				  struct str *ret_boot_id)
{
	struct unpack u = unpack_of(value);
	uint64_t version = unpack_uint(&u);
	struct str boot_id;

	info->size = unpack_uint(&u);
	info->created_ns = unpack_int(&u);
	info->updated_ns = unpack_int(&u);
	boot_id = unpack_str(&u);
	info->n_labels = unpack_count(&u, 2);
	info->labels = ARENA_NEW_N(a, struct content_label, info->n_labels);
	for (size_t i = 0; i < info->n_labels; i++) {
		info->labels[i].key = unpack_str(&u);
		info->labels[i].value = unpack_str(&u);
	}
	if (u.bad || version != VERSION)
		return err_new(ERR_DATA_LOSS, "content record is damaged");
	*ret_boot_id = boot_id;
	return NULL;
}

struct str content_key(const struct digest *d, char out[CONTENT_KEY_MAX])
{
	size_t n = digest_size((enum digest_algo)d->algo);

	out[0] = (char)d->algo;
	memcpy(out + 1, d->bytes, n);
	return str_make(out, n + 1);
}

bool content_key_parse(struct str key, struct digest *ret)
{
	struct digest d = { 0 };

	if (key.len < 2 || key.ptr[0] <= DIGEST_NONE || key.ptr[0] >= DIGEST_RANDOM)
		return false;
	d.algo = (uint8_t)key.ptr[0];
	if (key.len != digest_size((enum digest_algo)d.algo) + 1)
		return false;
	memcpy(d.bytes, key.ptr + 1, key.len - 1);
	*ret = d;
	return true;
}
