/* PAX extended headers, read. */
#include "codec/tar_impl.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"

/* More than a file can have xattrs, with room for repetition. */
#define MAX_RECORDS (4 * LIMIT_XATTRS)

void tar_extra_fini(struct tar_extra *x)
{
	buf_fini(&x->pax);
	vec_fini(&x->records);
	free(x->long_name);
	free(x->long_link);
	buf_fini(&x->sparse_map);
}

int64_t tar_seconds_to_ns(int64_t s)
{
	int64_t ns;

	if (__builtin_mul_overflow(s, NSEC_PER_SEC, &ns))
		return s < 0 ? INT64_MIN : INT64_MAX;
	return ns;
}

/* "-12.345"; times beyond 64-bit nanoseconds become the last there is. */
static bool parse_pax_time(struct str s, int64_t *ret)
{
	struct str whole, frac;
	int64_t sec, ns, scale = NSEC_PER_SEC / 10, part = 0;

	(void)str_cut(s, '.', &whole, &frac);
	if (!str_to_i64(whole, &sec))
		return false;
	for (size_t i = 0; i < frac.len; i++, scale /= 10) {
		if (frac.ptr[i] < '0' || frac.ptr[i] > '9')
			return false;
		part += (frac.ptr[i] - '0') * scale;
	}
	if (whole.ptr[0] == '-')
		part = -part;
	ns = tar_seconds_to_ns(sec);
	if (__builtin_add_overflow(ns, part, &ns))
		ns = sec < 0 ? INT64_MIN : INT64_MAX;
	*ret = ns;
	return true;
}

static bool take_record(struct str *s, struct str *ret_key, struct str *ret_value)
{
	struct str len_text, rest, record;
	uint64_t len;

	if (!str_cut(*s, ' ', &len_text, &rest) || !str_to_u64(len_text, &len) || len < 5 ||
	    len > s->len || len <= len_text.len + 1)
		return false;
	record = str_sub(*s, len_text.len + 1, len);
	*s = str_sub(*s, len, s->len);
	if (!record.len || record.ptr[record.len - 1] != '\n')
		return false;
	record.len--;
	if (!str_cut(record, '=', ret_key, ret_value) || !ret_key->len ||
	    str_find(*ret_key, '\0') >= 0)
		return false;
	if (str_find(*ret_value, '\0') >= 0 &&
	    (str_eq(*ret_key, STR("path")) || str_eq(*ret_key, STR("linkpath")) ||
	     str_eq(*ret_key, STR("uname")) || str_eq(*ret_key, STR("gname"))))
		return false;
	return true;
}

static struct err *add_sparse_record(struct tar_extra *x, struct str key, struct str value)
{
	bool is_offset = str_eq(key, STR("GNU.sparse.offset"));

	if (is_offset != (x->n_sparse % 2 == 0) || str_find(value, ',') >= 0)
		return tar_bad_header();
	if (x->n_sparse++)
		buf_add_char(&x->sparse_map, ',');
	buf_add_str(&x->sparse_map, value);
	return NULL;
}

struct err *tar_parse_pax(struct tar_extra *x, struct str body)
{
	struct str s, key, value;

	/* Of several in a row the last one counts. */
	buf_clear(&x->pax);
	buf_clear(&x->sparse_map);
	x->n_sparse = 0;
	vec_clear(&x->records);
	x->has_pax = true;
	x->pax.max = LIMIT_TAR_PAX;
	x->sparse_map.max = LIMIT_TAR_PAX;
	buf_add_str(&x->pax, body);
	s = buf_str(&x->pax);
	while (s.len) {
		struct tar_record r;

		if (!take_record(&s, &key, &value))
			return tar_bad_header();
		if (str_eq(key, STR("GNU.sparse.offset")) ||
		    str_eq(key, STR("GNU.sparse.numbytes"))) {
			TRY(add_sparse_record(x, key, value));
			continue;
		}
		if (x->records.len == MAX_RECORDS)
			return err_new(ERR_DATA_LOSS, "archive/tar: more than %d records",
				       MAX_RECORDS);
		r = (struct tar_record) { key, value };
		vec_push(&x->records, r);
	}
	return NULL;
}

/* The last record of that name. */
struct str tar_record(const struct tar_extra *x, const char *key)
{
	for (size_t i = x->records.len; i-- > 0;)
		if (str_eq_cstr(x->records.items[i].key, key))
			return x->records.items[i].value;
	return STR_NONE;
}

/* ---- applying records ---- */

static bool parse_id(struct str s, uint64_t *ret)
{
	int64_t n;

	if (!str_to_i64(s, &n))
		return false;
	*ret = (uint64_t)n; /* a negative one is refused with the whole header */
	return true;
}

static bool apply_field(struct arena *a, struct tar_header *h, int64_t *size,
			const struct tar_record *r, bool *ret_is_field)
{
	struct str v = r->value;

	*ret_is_field = true;
	/* An empty value leaves the header's own. */
	if (str_eq(r->key, STR("path"))) {
		if (v.len)
			h->name = str_dup(a, v);
	} else if (str_eq(r->key, STR("linkpath"))) {
		if (v.len)
			h->linkname = str_dup(a, v);
	} else if (str_eq(r->key, STR("uname"))) {
		if (v.len)
			h->uname = str_dup(a, v);
	} else if (str_eq(r->key, STR("gname"))) {
		if (v.len)
			h->gname = str_dup(a, v);
	} else if (str_eq(r->key, STR("uid"))) {
		return !v.len || parse_id(v, &h->uid);
	} else if (str_eq(r->key, STR("gid"))) {
		return !v.len || parse_id(v, &h->gid);
	} else if (str_eq(r->key, STR("size"))) {
		return !v.len || str_to_i64(v, size);
	} else if (str_eq(r->key, STR("mtime"))) {
		return !v.len || parse_pax_time(v, &h->mtime_ns);
	} else if (str_eq(r->key, STR("atime"))) {
		return !v.len || parse_pax_time(v, &h->atime_ns);
	} else if (str_eq(r->key, STR("ctime"))) {
		return !v.len || parse_pax_time(v, &h->ctime_ns);
	} else {
		*ret_is_field = false;
	}
	return true;
}

/* Adds or replaces. A table of a file's few records needs no index; many are refused. */
static bool put_record(struct tar_record *list, size_t *n, struct arena *a, struct str key,
		       struct str value)
{
	struct tar_record r = { str_dup(a, key), str_dup(a, value) };

	for (size_t i = 0; i < *n; i++) {
		if (str_eq(list[i].key, key)) {
			list[i] = r;
			return true;
		}
	}
	if (*n == LIMIT_XATTRS)
		return false;
	list[(*n)++] = r;
	return true;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if ((c | 32) >= 'a' && (c | 32) <= 'f')
		return (c | 32) - 'a' + 10;
	return -1;
}

/* libarchive's own form: name with %xx escapes, value in base64 without padding. */
static bool decode_libarchive(struct arena *a, struct str *name, struct str *value)
{
	static const char pads[] = "===";
	char *out = arena_alloc(a, name->len);
	size_t n = 0;
	struct err *e;

	for (size_t i = 0; i < name->len; i++) {
		int hi = i + 2 < name->len ? hex_digit(name->ptr[i + 1]) : -1;
		int lo = i + 2 < name->len ? hex_digit(name->ptr[i + 2]) : -1;

		if (name->ptr[i] == '%' && hi >= 0 && lo >= 0) {
			out[n++] = (char)(hi << 4 | lo);
			i += 2;
		} else {
			out[n++] = name->ptr[i];
		}
	}
	*name = str_make(out, n);
	while (value->len && value->ptr[value->len - 1] == '=')
		value->len--;
	*value = str_from(arena_printf(a, "%.*s%.*s", STR_ARG(*value),
				       (int)((4 - value->len % 4) % 4), pads));
	e = base64_decode(a, *value, value);
	err_free(e);
	return !e;
}

static bool has_xattr(const struct tar_header *h, struct str name)
{
	for (size_t i = 0; i < h->n_xattrs; i++)
		if (str_eq(h->xattrs[i].name, name))
			return true;
	return false;
}

_Static_assert(sizeof(struct tar_xattr) == sizeof(struct tar_record), "same pair of strings");

static bool put_xattr(struct tar_header *h, struct arena *a, struct str name, struct str value)
{
	return put_record((struct tar_record *)h->xattrs, &h->n_xattrs, a, name, value);
}

struct err *tar_apply_records(struct arena *a, const struct tar_extra *x, struct tar_header *h,
			      int64_t *size)
{
	static const struct str schily = STR("SCHILY.xattr.");
	static const struct str libarchive = STR("LIBARCHIVE.xattr.");
	size_t cap = MIN(x->records.len, (size_t)LIMIT_XATTRS);

	if (!x->records.len)
		return NULL;
	h->xattrs = ARENA_NEW_N(a, struct tar_xattr, cap);
	h->records = ARENA_NEW_N(a, struct tar_record, cap);
	h->field_records = ARENA_NEW_N(a, struct tar_record, cap);
	vec_each (&x->records, r) {
		bool is_field, ok = true;

		if (!apply_field(a, h, size, r, &is_field))
			return tar_bad_header();
		if (is_field)
			ok = put_record(h->field_records, &h->n_field_records, a, r->key, r->value);
		else if (str_has_prefix(r->key, schily))
			ok = put_xattr(h, a, str_trim_prefix(r->key, schily), r->value);
		else if (!str_has_prefix(r->key, libarchive))
			ok = put_record(h->records, &h->n_records, a, r->key, r->value);
		if (!ok)
			return err_new(ERR_DATA_LOSS, "archive/tar: more than %d records",
				       LIMIT_XATTRS);
	}
	/* What is there in both forms has been taken from the plain one. */
	vec_each (&x->records, r) {
		struct str name = str_trim_prefix(r->key, libarchive), value = r->value;

		if (name.len == r->key.len || h->n_xattrs == cap)
			continue;
		if (decode_libarchive(a, &name, &value) && !has_xattr(h, name))
			(void)put_xattr(h, a, name, value);
	}
	return NULL;
}
