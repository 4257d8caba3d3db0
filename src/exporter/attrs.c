#include "exporter/attrs.h"

#include "base/mem.h"

struct str attrs_get(const struct attrs *a, const char *key)
{
	for (size_t i = 0; i < a->n; i++)
		if (str_eq_cstr(a->kv[i].key, key))
			return a->kv[i].value.ptr ? a->kv[i].value : STR("");
	return STR_NONE;
}

struct err *attrs_bool(const struct attrs *a, const char *key, bool empty_true, bool *ret,
		       bool *ret_set)
{
	struct str v = attrs_get(a, key);

	if (!v.ptr)
		return NULL;
	if (!v.len && empty_true)
		*ret = true;
	else if (!str_to_bool(v, ret))
		return err_new(ERR_UNKNOWN, "non-bool value specified for %s", key);
	if (ret_set)
		*ret_set = true;
	return NULL;
}

static struct err *parse_epoch(struct str v, int64_t *ret)
{
	if (!str_to_i64(v, ret) || *ret < 0)
		return err_new(ERR_UNKNOWN, "invalid SOURCE_DATE_EPOCH: %.*s", STR_ARG(v));
	return NULL;
}

struct err *attrs_epoch(const struct attrs *a, int64_t *ret, bool *ret_set)
{
	struct str v = attrs_get(a, "source-date-epoch");

	*ret = -1;
	*ret_set = v.ptr != NULL;
	return v.len ? parse_epoch(v, ret) : NULL;
}

struct err *attrs_item_epoch(int64_t attr_epoch, bool attr_set, const struct export_item *it,
			     int64_t *ret)
{
	*ret = attr_epoch;
	if (!attr_set && it->epoch.len)
		return parse_epoch(it->epoch, ret);
	return NULL;
}

struct err *attrs_compression(const struct attrs *a, struct cache_compress *ret)
{
	struct str v = attrs_get(a, "compression"), level = attrs_get(a, "compression-level");
	int64_t n;

	*ret = (struct cache_compress) { .type = COMPRESSION_GZIP, .level = -1, .epoch_s = -1 };
	if (v.len && !compression_parse(v, &ret->type))
		return err_new(ERR_UNKNOWN, "unsupported compression type %.*s", STR_ARG(v));
	TRY(attrs_bool(a, "force-compression", true, &ret->force, NULL));
	if (level.len) {
		int max = ret->type == COMPRESSION_ZSTD ? 22 : 9;

		if (!str_to_i64(level, &n))
			return err_new(ERR_UNKNOWN,
				       "non-integer value %.*s specified for compression-level",
				       STR_ARG(level));
		if (n < 0 || n > max)
			return err_new(ERR_UNKNOWN, "invalid compression level %lld", (long long)n);
		ret->level = (int)n;
	}
	return NULL;
}
