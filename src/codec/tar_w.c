#include "codec/tar_impl.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/path.h"

#include <stdio.h>

/* Octal digits that fit a field of n bytes with its NUL. */
#define OCTAL_MAX(n) ((INT64_C(1) << (3 * ((n)-1))) - 1)

struct tar_writer {
	struct writer *dst;
	uint64_t left; /* data of the current entry that is still to come */
	size_t pad;    /* behind it */
	struct buf out;
	struct buf pax;
};

struct tar_writer *tar_writer_new(struct writer *dst)
{
	struct tar_writer *t = NEW(struct tar_writer);

	t->dst = dst;
	buf_init(&t->out, LIMIT_TAR_PAX + 8 * KIB);
	buf_init(&t->pax, LIMIT_TAR_PAX);
	return t;
}

void tar_writer_free(struct tar_writer *t)
{
	if (!t)
		return;
	buf_fini(&t->out);
	buf_fini(&t->pax);
	free(t);
}

void tar_writer_freep(struct tar_writer **t)
{
	tar_writer_free(*t);
	*t = NULL;
}

static bool is_ascii(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((signed char)s.ptr[i] <= 0) /* NUL, or a byte from 0x80 on */
			return false;
	return true;
}

/* Prefix and rest for a ustar name of more than 100 bytes. */
static bool split_name(struct str name, struct str *ret_prefix, struct str *ret_rest)
{
	const size_t name_max = sizeof(((struct tar_block *)0)->name);
	const size_t prefix_max = sizeof(((struct tar_block *)0)->prefix);
	size_t len = name.len, rest;
	ptrdiff_t slash;

	if (len <= name_max || !is_ascii(name))
		return false;
	if (len > prefix_max + 1)
		len = prefix_max + 1;
	else if (name.ptr[len - 1] == '/')
		len--;
	slash = str_rfind(str_sub(name, 0, len), '/');
	rest = name.len - (size_t)(slash + 1);
	if (slash <= 0 || (size_t)slash > prefix_max || rest == 0 || rest > name_max)
		return false;
	*ret_prefix = str_sub(name, 0, (size_t)slash);
	*ret_rest = str_sub(name, (size_t)slash + 1, name.len);
	return true;
}

/* ---- which format, and its records ---- */

struct plan {
	struct arena arena;
	VEC(struct tar_record) records;
	const struct tar_header *h;
	bool ustar; /* still possible */
	bool prefer_pax;
	const char *impossible; /* neither form can hold this field */
	struct str prefix, rest;
	bool split;
	int64_t mtime_ns;
};

static void add_record(struct plan *p, struct str key, struct str value)
{
	struct tar_record r = { key, value };

	vec_push(&p->records, r);
}

static void keep_field_record(struct plan *p, const char *key, struct str value)
{
	for (size_t i = 0; i < p->records.len; i++)
		if (str_eq_cstr(p->records.items[i].key, key))
			return;
	for (size_t i = 0; i < p->h->n_field_records; i++)
		if (str_eq_cstr(p->h->field_records[i].key, key) &&
		    str_eq(p->h->field_records[i].value, value)) {
			add_record(p, str_from(key), value);
			return;
		}
}

static void plan_string(struct plan *p, const char *key, struct str s, size_t max, bool fits_split)
{
	if (!is_ascii(s) || s.len > max) {
		if (!fits_split)
			p->ustar = false;
		if (str_find(s, '\0') >= 0)
			p->impossible = key;
		add_record(p, str_from(key), s);
	}
	keep_field_record(p, key, s);
}

static void plan_number(struct plan *p, const char *key, uint64_t n, int64_t max)
{
	struct str text;

	if (n <= (uint64_t)max && !p->h->n_field_records)
		return;
	text = str_from(arena_printf(&p->arena, "%llu", (unsigned long long)n));
	if (n > (uint64_t)max) {
		p->ustar = false;
		if (!key || n > INT64_MAX)
			p->impossible = "number";
		if (key)
			add_record(p, str_from(key), text);
	}
	if (key)
		keep_field_record(p, key, text);
}

static struct str format_time(struct arena *a, int64_t ns)
{
	struct timespec ts = clock_to_timespec(ns);
	const char *sign = "";
	char *s;

	if (!ts.tv_nsec)
		return str_from(arena_printf(a, "%lld", (long long)ts.tv_sec));
	if (ts.tv_sec < 0) {
		sign = "-";
		ts.tv_sec = -(ts.tv_sec + 1);
		ts.tv_nsec = NSEC_PER_SEC - ts.tv_nsec;
	}
	s = arena_printf(a, "%s%lld.%09ld", sign, (long long)ts.tv_sec, ts.tv_nsec);
	for (size_t n = strlen(s); s[n - 1] == '0'; n--)
		s[n - 1] = '\0';
	return str_from(s);
}

static void plan_time(struct plan *p, const char *key, int64_t ns, bool is_mtime)
{
	struct timespec ts = clock_to_timespec(ns);
	bool fits = ts.tv_sec >= 0 && ts.tv_sec <= OCTAL_MAX(12);
	struct str text;

	if (is_mtime && fits && !ts.tv_nsec && !p->h->n_field_records)
		return;
	text = format_time(&p->arena, ns);
	if (!is_mtime || !fits)
		p->ustar = false;
	if (!is_mtime || !fits || ts.tv_nsec) {
		p->prefer_pax = true;
		add_record(p, str_from(key), text);
	}
	keep_field_record(p, key, text);
}

static int64_t round_to_second(int64_t ns)
{
	struct timespec ts = clock_to_timespec(ns);

	return (ts.tv_sec + (ts.tv_nsec >= NSEC_PER_SEC / 2)) * NSEC_PER_SEC;
}

static int by_key(const void *a, const void *b)
{
	return str_cmp(((const struct tar_record *)a)->key, ((const struct tar_record *)b)->key);
}

static bool is_field_key(struct str key)
{
	static const char *const keys[] = { "path",  "linkpath", "size",  "uid",   "gid",
					    "uname", "gname",    "mtime", "atime", "ctime" };

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (str_eq_cstr(key, keys[i]))
			return true;
	return false;
}

static struct err *cannot(const char *why)
{
	return err_new(ERR_INVALID_ARGUMENT, "archive/tar: cannot encode header: %s", why);
}

static struct err *make_plan(struct plan *p, const struct tar_header *h)
{
	enum tar_format format = h->format == TAR_FORMAT_GNU ? TAR_FORMAT_ANY : h->format;
	bool has_extra = h->n_xattrs > 0;

	*p = (struct plan) { .h = h, .ustar = true, .mtime_ns = h->mtime_ns };
	if (strchr("0346", h->type) && str_has_suffix(h->name, STR("/")))
		return cannot("filename may not have trailing slash");
	if (format == TAR_FORMAT_ANY)
		p->mtime_ns = round_to_second(h->mtime_ns);
	p->split = split_name(h->name, &p->prefix, &p->rest);
	plan_string(p, "path", h->name, 100, p->split);
	plan_string(p, "linkpath", h->linkname, 100, false);
	plan_string(p, "uname", h->uname, 32, false);
	plan_string(p, "gname", h->gname, 32, false);
	plan_number(p, NULL, h->mode, OCTAL_MAX(8));
	plan_number(p, "uid", h->uid, OCTAL_MAX(8));
	plan_number(p, "gid", h->gid, OCTAL_MAX(8));
	plan_number(p, "size", h->size, OCTAL_MAX(12));
	plan_number(p, NULL, h->devmajor, OCTAL_MAX(8));
	plan_number(p, NULL, h->devminor, OCTAL_MAX(8));
	plan_time(p, "mtime", p->mtime_ns, true);
	if (h->atime_ns && format != TAR_FORMAT_ANY)
		plan_time(p, "atime", h->atime_ns, false);
	if (h->ctime_ns && format != TAR_FORMAT_ANY)
		plan_time(p, "ctime", h->ctime_ns, false);
	for (size_t i = 0; i < h->n_xattrs; i++)
		add_record(p,
			   str_from(arena_printf(&p->arena, "SCHILY.xattr.%.*s",
						 STR_ARG(h->xattrs[i].name))),
			   h->xattrs[i].value);
	for (size_t i = 0; i < h->n_records; i++) {
		struct str key = h->records[i].key;

		/* The kind that would contradict what is written is left out, but even it
		 * asks for PAX. */
		has_extra = true;
		if (!is_field_key(key) && !str_has_prefix(key, STR("GNU.sparse.")))
			add_record(p, key, h->records[i].value);
	}
	if (has_extra || h->n_field_records)
		p->ustar = false;
	if (p->impossible)
		return cannot(p->impossible);
	for (size_t i = 0; i < p->records.len; i++) {
		struct str key = p->records.items[i].key;

		if (!key.len || str_find(key, '=') >= 0 || str_find(key, '\0') >= 0)
			return cannot("invalid PAX record");
	}
	if (format == TAR_FORMAT_USTAR && !p->ustar)
		return cannot("Format specifies USTAR");
	if (format == TAR_FORMAT_PAX && p->prefer_pax)
		p->ustar = false;
	if (p->records.len)
		qsort(p->records.items, p->records.len, sizeof(*p->records.items), by_key);
	return NULL;
}

static void plan_fini(struct plan *p)
{
	vec_fini(&p->records);
	arena_fini(&p->arena);
}

/* ---- blocks ---- */

static void put_string(char *field, size_t len, struct str s)
{
	memcpy(field, s.ptr ? s.ptr : "", MIN(len, s.len));
	/* A name cut off after a slash would look like a directory to some. */
	if (s.len > len && field[len - 1] == '/') {
		size_t n = len - 1;

		while (n && field[n - 1] == '/')
			n--;
		field[n] = '\0';
	}
}

/* What is not ASCII is left out: the record has the real name. */
static void put_ascii(char *field, size_t len, struct str s, struct arena *a)
{
	char *ascii;
	size_t n = 0;

	if (is_ascii(s)) {
		put_string(field, len, s);
		return;
	}
	ascii = arena_alloc(a, s.len);
	for (size_t i = 0; i < s.len; i++)
		if ((signed char)s.ptr[i] > 0)
			ascii[n++] = s.ptr[i];
	put_string(field, len, str_make(ascii, n));
}

static void put_octal(char *field, size_t len, int64_t n)
{
	char digits[32];

	if (n < 0 || n > OCTAL_MAX(len))
		n = 0; /* a record says it */
	(void)snprintf(digits, sizeof(digits), "%0*llo", (int)len - 1, (unsigned long long)n);
	memcpy(field, digits, len);
}

static void seal(struct tar_block *b)
{
	int64_t sum, unused;

	memcpy(b->magic, "ustar", 6);
	memcpy(b->version, "00", 2);
	tar_checksums(b, &sum, &unused);
	put_octal(b->chksum, 7, sum);
	b->chksum[7] = ' ';
}

static void add_padding(struct buf *out, size_t n)
{
	static const char zeros[TAR_BLOCK];

	buf_add(out, zeros, n);
}

static void add_main_block(struct tar_writer *t, struct plan *p)
{
	const struct tar_header *h = p->h;
	struct tar_block b = { .type = h->type };

	if (p->ustar && p->split) {
		put_string(b.prefix, sizeof(b.prefix), p->prefix);
		put_string(b.name, sizeof(b.name), p->rest);
	} else {
		put_ascii(b.name, sizeof(b.name), h->name, &p->arena);
	}
	put_ascii(b.linkname, sizeof(b.linkname), h->linkname, &p->arena);
	put_octal(b.mode, sizeof(b.mode), h->mode);
	put_octal(b.uid, sizeof(b.uid), (int64_t)h->uid);
	put_octal(b.gid, sizeof(b.gid), (int64_t)h->gid);
	put_octal(b.size, sizeof(b.size), (int64_t)h->size);
	put_octal(b.mtime, sizeof(b.mtime), clock_to_timespec(p->mtime_ns).tv_sec);
	put_ascii(b.uname, sizeof(b.uname), h->uname, &p->arena);
	put_ascii(b.gname, sizeof(b.gname), h->gname, &p->arena);
	put_octal(b.devmajor, sizeof(b.devmajor), h->devmajor);
	put_octal(b.devminor, sizeof(b.devminor), h->devminor);
	seal(&b);
	buf_add(&t->out, &b, sizeof(b));
}

static size_t decimal_len(size_t n)
{
	size_t len = 1;

	for (; n >= 10; n /= 10)
		len++;
	return len;
}

/* "<length> <key>=<value>\n", where the length counts itself. */
static void add_pax_record(struct buf *out, const struct tar_record *r)
{
	size_t body = r->key.len + r->value.len + 3, len = body + decimal_len(body);

	if (body + decimal_len(len) != len)
		len = body + decimal_len(len);
	buf_addf(out, "%zu ", len);
	buf_add_str(out, r->key);
	buf_add_char(out, '=');
	buf_add_str(out, r->value);
	buf_add_char(out, '\n');
}

/* dir/PaxHeaders.0/base, as path.Join makes it. */
static struct str pax_name(struct arena *a, struct str name)
{
	size_t slash = (size_t)(str_rfind(name, '/') + 1);
	struct str dir = str_sub(name, 0, slash), base = str_sub(name, slash, name.len);

	return path_join(a, path_join(a, dir, STR("PaxHeaders.0")), base);
}

static struct err *add_pax_blocks(struct tar_writer *t, struct plan *p)
{
	struct tar_block b = { .type = 'x' };
	size_t n = sizeof(b.name);

	buf_clear(&t->pax);
	for (size_t i = 0; i < p->records.len; i++)
		add_pax_record(&t->pax, &p->records.items[i]);
	if (t->pax.overflow)
		return cannot("PAX records are too long");
	put_ascii(b.name, sizeof(b.name), pax_name(&p->arena, p->h->name), &p->arena);
	while (n && (b.name[n - 1] == '/' || !b.name[n - 1]))
		b.name[--n] = '\0';
	put_octal(b.mode, sizeof(b.mode), 0);
	put_octal(b.uid, sizeof(b.uid), 0);
	put_octal(b.gid, sizeof(b.gid), 0);
	put_octal(b.size, sizeof(b.size), (int64_t)t->pax.len);
	put_octal(b.mtime, sizeof(b.mtime), 0);
	seal(&b);
	buf_add(&t->out, &b, sizeof(b));
	buf_add_str(&t->out, buf_str(&t->pax));
	add_padding(&t->out, tar_padding(t->pax.len));
	return NULL;
}

static struct err *check_complete(const struct tar_writer *t)
{
	if (t->left)
		return err_new(ERR_FAILED_PRECONDITION, "archive/tar: missed writing %llu bytes",
			       (unsigned long long)t->left);
	return NULL;
}

struct err *tar_write_header(struct tar_writer *t, const struct tar_header *h)
{
	CLEANUP(plan_fini) struct plan p = { 0 };

	TRY(check_complete(t));
	TRY(make_plan(&p, h));
	buf_clear(&t->out);
	add_padding(&t->out, t->pad);
	if (!p.ustar && p.records.len)
		TRY(add_pax_blocks(t, &p));
	add_main_block(t, &p);
	/* One write for all of it. */
	TRY(writer_write(t->dst, t->out.data, t->out.len));
	t->left = tar_is_header_only(h->type) ? 0 : h->size;
	t->pad = tar_padding(t->left);
	return NULL;
}

struct err *tar_write(struct tar_writer *t, const void *p, size_t len)
{
	if (len > t->left)
		return err_new(ERR_INVALID_ARGUMENT, "archive/tar: write too long");
	TRY(writer_write(t->dst, p, len));
	t->left -= len;
	return NULL;
}

struct err *tar_finish(struct tar_writer *t)
{
	TRY(check_complete(t));
	buf_clear(&t->out);
	add_padding(&t->out, t->pad);
	add_padding(&t->out, TAR_BLOCK);
	add_padding(&t->out, TAR_BLOCK);
	t->pad = 0;
	return writer_write(t->dst, t->out.data, t->out.len);
}
