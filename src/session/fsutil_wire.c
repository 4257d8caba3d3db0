#include "session/fsutil_wire.h"

#include "base/limits.h"
#include "base/mem.h"

#include <sys/stat.h>

#define GO_DIR (1u << 31)
#define GO_SYMLINK (1u << 27)
#define GO_DEVICE (1u << 26)
#define GO_PIPE (1u << 25)
#define GO_SOCKET (1u << 24)
#define GO_SETUID (1u << 23)
#define GO_SETGID (1u << 22)
#define GO_CHAR (1u << 21)
#define GO_STICKY (1u << 20)
#define GO_IRREGULAR (1u << 19)
#define GO_TYPE (GO_DIR | GO_SYMLINK | GO_PIPE | GO_SOCKET | GO_DEVICE | GO_CHAR | GO_IRREGULAR)

uint32_t mode_to_posix(uint32_t m)
{
	uint32_t p = m & 0777;

	if (m & GO_SETUID)
		p |= S_ISUID;
	if (m & GO_SETGID)
		p |= S_ISGID;
	if (m & GO_STICKY)
		p |= S_ISVTX;
	if (m & GO_DIR)
		return p | S_IFDIR;
	if (m & GO_SYMLINK)
		return p | S_IFLNK;
	if (m & GO_PIPE)
		return p | S_IFIFO;
	if (m & GO_SOCKET)
		return p | S_IFSOCK;
	if (m & GO_DEVICE)
		return p | (m & GO_CHAR ? S_IFCHR : S_IFBLK);
	return m & GO_TYPE ? p : p | S_IFREG;
}

uint32_t mode_from_posix(uint32_t p)
{
	uint32_t m = p & 0777;

	if (p & S_ISUID)
		m |= GO_SETUID;
	if (p & S_ISGID)
		m |= GO_SETGID;
	if (p & S_ISVTX)
		m |= GO_STICKY;
	switch (p & S_IFMT) {
	case S_IFDIR:
		return m | GO_DIR;
	case S_IFLNK:
		return m | GO_SYMLINK;
	case S_IFIFO:
		return m | GO_PIPE;
	case S_IFCHR:
		return m | GO_DEVICE | GO_CHAR;
	case S_IFBLK:
		return m | GO_DEVICE;
	default: /* a socket is sent as an empty file */
		return m;
	}
}

bool mode_is_regular(uint32_t m)
{
	return !(m & GO_TYPE);
}

int path_order(struct str a, struct str b)
{
	size_t n = MIN(a.len, b.len), i = 0;

	while (i < n && a.ptr[i] == b.ptr[i])
		i++;
	if (i == n)
		return a.len < b.len ? -1 : a.len > b.len;
	if (a.ptr[i] == '/')
		return -1;
	if (b.ptr[i] == '/')
		return 1;
	return (unsigned char)a.ptr[i] < (unsigned char)b.ptr[i] ? -1 : 1;
}

/* ---- parsing ---- */

struct field {
	uint64_t number, value;
	struct str bytes;
};

static bool take_varint(struct str *s, uint64_t *ret)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64 && s->len; shift += 7) {
		unsigned char c = (unsigned char)*s->ptr;

		s->ptr++;
		s->len--;
		v |= (uint64_t)(c & 0x7f) << shift;
		if (!(c & 0x80)) {
			*ret = v;
			return true;
		}
	}
	return false;
}

static bool take(struct str *s, uint64_t n, struct str *ret)
{
	if (n > s->len)
		return false;
	*ret = str_make(s->ptr, n);
	s->ptr += n;
	s->len -= n;
	return true;
}

static bool take_field(struct str *s, struct field *f)
{
	uint64_t key, n;

	*f = (struct field) { 0 };
	if (!take_varint(s, &key) || !(key >> 3))
		return false;
	f->number = key >> 3;
	switch (key & 7) {
	case 0:
		return take_varint(s, &f->value);
	case 1:
		return take(s, 8, &f->bytes);
	case 2:
		return take_varint(s, &n) && take(s, n, &f->bytes);
	case 5:
		return take(s, 4, &f->bytes);
	default:
		return false;
	}
}

static bool parse_xattr(struct str s, struct fs_xattr *ret)
{
	struct field f;

	*ret = (struct fs_xattr) { 0 };
	while (s.len) {
		if (!take_field(&s, &f))
			return false;
		if (f.number == 1)
			ret->name = f.bytes;
		else if (f.number == 2)
			ret->value = f.bytes;
	}
	return true;
}

static int by_name(const void *a, const void *b)
{
	return str_cmp(((const struct fs_xattr *)a)->name, ((const struct fs_xattr *)b)->name);
}

/* A map may come in any order, and names twice: the last counts. */
static size_t sort_xattrs(struct fs_xattr *x, size_t n)
{
	size_t k = 0;

	qsort(x, n, sizeof(*x), by_name);
	for (size_t i = 0; i < n; i++) {
		if (k && str_eq(x[k - 1].name, x[i].name))
			k--;
		x[k++] = x[i];
	}
	return k;
}

static bool parse_xattrs(struct str s, size_t n, struct arena *a, struct fs_stat *st)
{
	struct fs_xattr *x = ARENA_NEW_N(a, struct fs_xattr, n);
	struct field f;
	size_t k = 0;

	while (k < n && take_field(&s, &f))
		if (f.number == 10 && !parse_xattr(f.bytes, &x[k++]))
			return false;
	st->xattrs = x;
	st->n_xattrs = sort_xattrs(x, n);
	return true;
}

static bool parse_stat(struct str s, struct arena *a, struct fs_stat *st)
{
	struct str all = s;
	struct field f;
	size_t n_xattrs = 0;

	while (s.len) {
		if (!take_field(&s, &f))
			return false;
		switch (f.number) {
		case 1:
			st->path = f.bytes;
			break;
		case 2:
			st->mode = (uint32_t)f.value;
			break;
		case 3:
			st->uid = (uint32_t)f.value;
			break;
		case 4:
			st->gid = (uint32_t)f.value;
			break;
		case 5:
			st->size = (int64_t)f.value;
			break;
		case 6:
			st->mtime_ns = (int64_t)f.value;
			break;
		case 7:
			st->linkname = f.bytes;
			break;
		case 8:
			st->devmajor = (int64_t)f.value;
			break;
		case 9:
			st->devminor = (int64_t)f.value;
			break;
		case 10:
			n_xattrs++;
			break;
		default:
			break;
		}
	}
	if (n_xattrs > LIMIT_XATTRS)
		return false;
	return !n_xattrs || parse_xattrs(all, n_xattrs, a, st);
}

struct err *packet_parse(struct str msg, struct arena *a, struct packet *ret)
{
	struct packet p = { 0 };
	struct field f;
	bool ok = true;

	while (ok && msg.len) {
		ok = take_field(&msg, &f);
		if (!ok)
			break;
		switch (f.number) {
		case 1:
			ok = f.value <= PACKET_ERR;
			p.type = (enum packet_type)f.value;
			break;
		case 2:
			p.has_stat = true;
			p.raw_stat = f.bytes;
			ok = parse_stat(f.bytes, a, &p.stat);
			break;
		case 3:
			p.id = (uint32_t)f.value;
			break;
		case 4:
			p.data = f.bytes;
			break;
		default:
			break;
		}
	}
	if (!ok)
		return err_new(ERR_INTERNAL, "failed to parse message fsutil.types.Packet");
	*ret = p;
	return NULL;
}

/* ---- writing ---- */

static size_t put_varint(uint8_t *p, uint64_t v)
{
	size_t n = 0;

	for (; v > 0x7f; v >>= 7)
		p[n++] = (uint8_t)(v | 0x80);
	p[n++] = (uint8_t)v;
	return n;
}

static void add_varint(struct buf *out, uint64_t v)
{
	uint8_t tmp[10];

	buf_add(out, tmp, put_varint(tmp, v));
}

static size_t varint_size(uint64_t v)
{
	size_t n = 1;

	for (; v > 0x7f; v >>= 7)
		n++;
	return n;
}

static void add_number(struct buf *out, unsigned field, uint64_t v)
{
	if (!v)
		return;
	add_varint(out, field << 3);
	add_varint(out, v);
}

static void add_bytes(struct buf *out, unsigned field, struct str s)
{
	add_varint(out, field << 3 | 2);
	add_varint(out, s.len);
	buf_add_str(out, s);
}

static size_t number_size(uint64_t v)
{
	return v ? 1 + varint_size(v) : 0;
}

static size_t bytes_size(size_t len)
{
	return 1 + varint_size(len) + len;
}

static size_t xattr_size(const struct fs_xattr *x)
{
	return bytes_size(x->name.len) + bytes_size(x->value.len);
}

static size_t stat_size(const struct fs_stat *st)
{
	size_t n = (st->path.len ? bytes_size(st->path.len) : 0) + number_size(st->mode) +
		   number_size(st->uid) + number_size(st->gid) + number_size((uint64_t)st->size) +
		   number_size((uint64_t)st->mtime_ns) +
		   (st->linkname.len ? bytes_size(st->linkname.len) : 0) +
		   number_size((uint64_t)st->devmajor) + number_size((uint64_t)st->devminor);

	for (size_t i = 0; i < st->n_xattrs; i++)
		n += bytes_size(xattr_size(&st->xattrs[i]));
	return n;
}

void packet_put_stat(struct buf *out, const struct fs_stat *st)
{
	add_varint(out, 2 << 3 | 2);
	add_varint(out, stat_size(st));
	if (st->path.len)
		add_bytes(out, 1, st->path);
	add_number(out, 2, st->mode);
	add_number(out, 3, st->uid);
	add_number(out, 4, st->gid);
	add_number(out, 5, (uint64_t)st->size);
	add_number(out, 6, (uint64_t)st->mtime_ns);
	if (st->linkname.len)
		add_bytes(out, 7, st->linkname);
	add_number(out, 8, (uint64_t)st->devmajor);
	add_number(out, 9, (uint64_t)st->devminor);
	for (size_t i = 0; i < st->n_xattrs; i++) {
		add_varint(out, 10 << 3 | 2);
		add_varint(out, xattr_size(&st->xattrs[i]));
		add_bytes(out, 1, st->xattrs[i].name);
		add_bytes(out, 2, st->xattrs[i].value);
	}
}

void packet_put_last_stat(struct buf *out)
{
	/* All fields have their default: type STAT, no stat. */
	buf_add(out, "", 0);
}

size_t packet_req(uint8_t out[PACKET_HEAD], uint32_t id)
{
	size_t at = 0;

	out[at++] = 1 << 3;
	out[at++] = PACKET_REQ;
	if (id) {
		out[at++] = 3 << 3;
		at += put_varint(out + at, id);
	}
	return at;
}

size_t packet_data_head(uint8_t out[PACKET_HEAD], uint32_t id, size_t n)
{
	size_t at = 0;

	out[at++] = 1 << 3;
	out[at++] = PACKET_DATA;
	if (id) {
		out[at++] = 3 << 3;
		at += put_varint(out + at, id);
	}
	if (n) {
		out[at++] = 4 << 3 | 2;
		at += put_varint(out + at, n);
	}
	return at;
}

void packet_put_data(struct buf *out, uint32_t id, struct str data)
{
	uint8_t head[PACKET_HEAD];

	buf_add(out, head, packet_data_head(head, id, data.len));
	buf_add_str(out, data);
}

void packet_put_fin(struct buf *out)
{
	add_number(out, 1, PACKET_FIN);
}

void packet_put_err(struct buf *out, const char *text)
{
	add_number(out, 1, PACKET_ERR);
	add_bytes(out, 4, str_from(text));
}
