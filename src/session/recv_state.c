#include "session/recv_state.h"

#include "base/mem.h"
#include "codec/digest.h"

#define MAGIC "bkfs0001"

static void put(struct buf *out, uint64_t v)
{
	uint8_t tmp[10];
	size_t n = 0;

	for (; v > 0x7f; v >>= 7)
		tmp[n++] = (uint8_t)(v | 0x80);
	tmp[n++] = (uint8_t)v;
	buf_add(out, tmp, n);
}

static bool get(struct str *s, uint64_t *ret)
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

static bool get32(struct str *s, uint32_t *ret)
{
	uint64_t v;

	if (!get(s, &v) || v > UINT32_MAX)
		return false;
	*ret = (uint32_t)v;
	return true;
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

/* ---- reading ---- */

static bool read_entry(struct state_cursor *c)
{
	uint64_t shared, n, v;
	struct entry_meta *m = &c->meta;
	struct str s = c->rest, part;

	if (!get(&s, &shared) || !get(&s, &n) || shared > m->path.len || n > LIMIT_PATH - shared ||
	    !take(&s, n, &part))
		return false;
	memcpy(c->path + shared, part.ptr, n);
	m->path = str_make(c->path, shared + n);
	c->path[shared + n] = '\0';
	if (!get32(&s, &m->mode) || !get32(&s, &m->uid) || !get32(&s, &m->gid) ||
	    !get32(&s, &m->devmajor) || !get32(&s, &m->devminor) || !get(&s, &m->size) ||
	    !get(&s, &v))
		return false;
	m->mtime_ns = (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
	if (!get(&s, &n) || !take(&s, n, &m->linkname) || !get(&s, &m->xattr_hash) || !get(&s, &n))
		return false;
	c->has_digest = n != 0;
	if (c->has_digest) {
		if (!take(&s, RECV_SHA, &part))
			return false;
		memcpy(c->sha, part.ptr, RECV_SHA);
	}
	c->rest = s;
	return true;
}

void state_next(struct state_cursor *c)
{
	c->valid = c->rest.len && read_entry(c);
}

bool state_open(struct state_cursor *c, struct str bytes)
{
	size_t fixed = sizeof(MAGIC) - 1 + RECV_SHA;
	struct digest d;

	c->valid = false;
	c->rest = STR_NONE;
	c->meta = (struct entry_meta) { .path = str_make(c->path, 0) };
	if (bytes.len < fixed || !str_has_prefix(bytes, STR(MAGIC)))
		return false;
	d = digest_sha256(str_sub(bytes, 0, bytes.len - RECV_SHA));
	if (memcmp(d.bytes, bytes.ptr + bytes.len - RECV_SHA, RECV_SHA) != 0)
		return false;
	c->rest = str_sub(bytes, sizeof(MAGIC) - 1, bytes.len - RECV_SHA);
	state_next(c);
	return true;
}

/* ---- writing ---- */

void state_begin(struct state_writer *w, struct buf *out)
{
	*w = (struct state_writer) { .out = out };
	buf_clear(out);
	buf_add_str(out, STR(MAGIC));
}

void state_put(struct state_writer *w, const struct entry_meta *m, const uint8_t *sha)
{
	size_t max = MIN(w->last.len, m->path.len), shared = 0;

	while (shared < max && w->last.ptr[shared] == m->path.ptr[shared])
		shared++;
	put(w->out, shared);
	put(w->out, m->path.len - shared);
	buf_add(w->out, m->path.ptr + shared, m->path.len - shared);
	put(w->out, m->mode);
	put(w->out, m->uid);
	put(w->out, m->gid);
	put(w->out, m->devmajor);
	put(w->out, m->devminor);
	put(w->out, m->size);
	put(w->out, (uint64_t)m->mtime_ns << 1 ^ (uint64_t)(m->mtime_ns >> 63));
	put(w->out, m->linkname.len);
	buf_add_str(w->out, m->linkname);
	put(w->out, m->xattr_hash);
	put(w->out, sha != NULL);
	if (sha)
		buf_add(w->out, sha, RECV_SHA);
	w->last = m->path;
}

void state_end(struct state_writer *w)
{
	struct digest d = digest_sha256(buf_str(w->out));

	buf_add(w->out, d.bytes, RECV_SHA);
}
