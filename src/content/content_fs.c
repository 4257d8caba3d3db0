#include "content/content_fs.h"

#include "base/mem.h"
#include "base/vec.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static struct content_fs *of(struct content *c)
{
	return container_of(c, struct content_fs, base);
}

char *fs_blob_name(const struct digest *d, char out[BLOB_NAME_MAX])
{
	char *colon;

	(void)digest_format(d, out);
	colon = strchr(out, ':');
	if (colon)
		*colon = '/';
	return out;
}

/* ---- one maker or remover of a blob at a time ---- */

void fs_claim(struct content_fs *fs, const struct digest *d)
{
	char key[CONTENT_KEY_MAX];
	struct str k = content_key(d, key);

	LOCKED(&fs->lock);
	while (map_has(&fs->busy, k))
		cond_wait_uninterrupted(&fs->idle, &fs->lock);
	(void)map_put(&fs->busy, k, fs);
}

void fs_unclaim(struct content_fs *fs, const struct digest *d)
{
	char key[CONTENT_KEY_MAX];

	LOCKED(&fs->lock);
	(void)map_del(&fs->busy, content_key(d, key));
	cond_broadcast(&fs->idle);
}

/* ---- records ---- */

struct get {
	struct arena *a;
	const struct digest *d;
	struct content_info info;
	bool found;
};

static struct err *get_record(struct kv_txn *t, void *arg)
{
	struct get *g = arg;
	char key[CONTENT_KEY_MAX];
	struct str value, boot_id;

	TRY(kv_get(t, TABLE, content_key(g->d, key), &value, &g->found));
	if (!g->found)
		return NULL;
	g->info = (struct content_info) { .digest = *g->d };
	TRY(content_record_unpack(value, g->a, &g->info, &boot_id));
	for (size_t i = 0; i < g->info.n_labels; i++) {
		struct content_label *l = &g->info.labels[i];

		l->key = str_dup(g->a, l->key);
		l->value = str_dup(g->a, l->value);
	}
	return NULL;
}

struct err *fs_get(struct content_fs *fs, struct arena *a, const struct digest *d,
		   struct content_info *ret, bool *ret_found)
{
	struct get g = { .a = a, .d = d };

	if (d->algo == DIGEST_NONE || d->algo >= DIGEST_RANDOM) {
		*ret_found = false;
		return NULL;
	}
	TRY(kv_view(fs->kv, get_record, &g));
	if (g.found)
		*ret = g.info;
	*ret_found = g.found;
	return NULL;
}

static struct err *fs_info(struct content *c, struct ctx *ctx, struct arena *a,
			   const struct digest *d, struct content_info *ret)
{
	bool found;

	TRY(fs_get(of(c), a, d, ret, &found));
	return found ? NULL : content_not_found(d);
}

struct passed {
	const struct digest *d;
	size_t n;
};

static struct err *clear_boot_ids(struct kv_txn *t, void *arg)
{
	const struct passed *p = arg;

	for (size_t i = 0; i < p->n; i++) {
		SCOPED_BUF(out, LIMIT_RECORD);
		SCOPED_ARENA(a);
		struct content_info info = { .digest = p->d[i] };
		struct str value, boot_id, k;
		char key[CONTENT_KEY_MAX];
		bool found;

		k = content_key(&p->d[i], key);
		TRY(kv_get(t, TABLE, k, &value, &found));
		if (!found)
			continue;
		TRY(content_record_unpack(value, &a, &info, &boot_id));
		if (!boot_id.len)
			continue;
		content_record_pack(&info, STR_NONE, &out);
		TRY(kv_put(t, TABLE, k, buf_str(&out)));
	}
	return NULL;
}

struct err *fs_passed(void *arg, const struct digest *d, size_t n)
{
	struct content_fs *fs = arg;
	struct passed p = { d, n };

	return kv_update(fs->kv, KV_LAZY, clear_boot_ids, &p);
}

struct relabel {
	const struct digest *d;
	const struct content_label *labels;
	size_t n;
	int64_t now;
	bool found;
};

static struct err *change_labels(struct kv_txn *t, void *arg)
{
	struct relabel *r = arg;
	SCOPED_BUF(out, LIMIT_RECORD);
	SCOPED_ARENA(a);
	struct content_info info = { .digest = *r->d };
	struct str value, boot_id, k;
	char key[CONTENT_KEY_MAX];

	k = content_key(r->d, key);
	TRY(kv_get(t, TABLE, k, &value, &r->found));
	if (!r->found)
		return NULL;
	TRY(content_record_unpack(value, &a, &info, &boot_id));
	TRY(content_merge_labels(&a, &info, r->labels, r->n));
	info.updated_ns = r->now;
	content_record_pack(&info, boot_id, &out);
	TRY(buf_check(&out, "labels"));
	return kv_put(t, TABLE, k, buf_str(&out));
}

static struct err *fs_label(struct content *c, struct ctx *ctx, const struct digest *d,
			    const struct content_label *labels, size_t n)
{
	struct relabel r = { .d = d, .labels = labels, .n = n, .now = clock_wall() };

	if (d->algo == DIGEST_NONE || d->algo >= DIGEST_RANDOM)
		return content_not_found(d);
	TRY(kv_update(of(c)->kv, KV_LAZY, change_labels, &r));
	return r.found ? NULL : content_not_found(d);
}

/* ---- removal ---- */

struct err *fs_drop_blob(struct content_fs *fs, const struct digest *d)
{
	char key[CONTENT_KEY_MAX], name[BLOB_NAME_MAX];

	TRY(kv_del1(fs->kv, KV_LAZY, TABLE, content_key(d, key)));
	if (unlinkat(fs->blobs_fd, fs_blob_name(d, name), 0) < 0 && errno != ENOENT)
		return err_errno(errno, "remove %s/blobs/%s", fs->dir, name);
	return NULL;
}

static struct err *fs_remove(struct content *c, struct ctx *ctx, const struct digest *d)
{
	struct content_fs *fs = of(c);
	SCOPED_ARENA(a);
	struct content_info info;
	struct err *e;
	bool found;

	fs_claim(fs, d);
	e = fs_get(fs, &a, d, &info, &found);
	if (!e)
		e = found ? fs_drop_blob(fs, d) : content_not_found(d);
	fs_unclaim(fs, d);
	return e;
}

/* ---- reading ---- */

static struct err *fs_read_at(struct content_reader *r, void *p, size_t len, uint64_t offset,
			      size_t *ret_n)
{
	ssize_t n;

	if (offset >= r->size) {
		*ret_n = 0;
		return NULL;
	}
	len = MIN(len, (size_t)(r->size - offset));
	do {
		n = pread(r->fd, p, len, (off_t)offset);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_errno(errno, "read blob");
	if (!n && len)
		return err_new(ERR_DATA_LOSS, "read blob: unexpected EOF");
	*ret_n = (size_t)n;
	return NULL;
}

static void fs_reader_close(struct content_reader *r)
{
	(void)close(r->fd);
	free(r);
}

/* Without a record or with a file that does not fit it there is no blob, and no leftover either. */
static struct err *drop_torn(struct content_fs *fs, const struct digest *d)
{
	SCOPED_ARENA(a);
	struct content_info info;
	struct err *e;
	struct stat st;
	bool found;
	char name[BLOB_NAME_MAX];

	fs_claim(fs, d);
	e = fs_get(fs, &a, d, &info, &found);
	if (!e && found &&
	    (fstatat(fs->blobs_fd, fs_blob_name(d, name), &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	     (uint64_t)st.st_size != info.size))
		e = fs_drop_blob(fs, d);
	fs_unclaim(fs, d);
	return e;
}

static struct err *fs_open(struct content *c, struct ctx *ctx, const struct digest *d,
			   struct content_reader **ret)
{
	struct content_fs *fs = of(c);
	SCOPED_ARENA(a);
	CLEANUP_FD int fd = -1;
	struct content_info info;
	struct content_reader *r;
	struct stat st;
	char name[BLOB_NAME_MAX];
	bool found;

	TRY(fs_get(fs, &a, d, &info, &found));
	if (!found)
		return content_not_found(d);
	fd = openat(fs->blobs_fd, fs_blob_name(d, name), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno != ENOENT)
		return err_errno(errno, "open %s/blobs/%s", fs->dir, name);
	if (fd < 0 || fstat(fd, &st) < 0 || (uint64_t)st.st_size != info.size) {
		TRY(drop_torn(fs, d));
		return content_not_found(d);
	}
	r = NEW(struct content_reader);
	*r = (struct content_reader) { .read_at = fs_read_at,
				       .close = fs_reader_close,
				       .size = info.size,
				       .fd = TAKE_FD(fd) };
	*ret = r;
	return NULL;
}

/* ---- all of them ---- */

struct listing {
	struct arena *a;
	VEC(struct content_info) all;
	struct err *err;
};

static bool add_to_listing(void *arg, struct str key, struct str value)
{
	struct listing *l = arg;
	struct content_info info = { 0 };
	struct str boot_id;

	if (!content_key_parse(key, &info.digest))
		return true;
	l->err = content_record_unpack(str_dup(l->a, value), l->a, &info, &boot_id);
	if (!l->err)
		vec_push(&l->all, info);
	return !l->err;
}

static struct err *list_all(struct kv_txn *t, void *arg)
{
	struct listing *l = arg;

	TRY(kv_scan(t, TABLE, STR_NONE, add_to_listing, l));
	return l->err;
}

static struct err *fs_each(struct content *c, struct ctx *ctx,
			   struct err *(*fn)(void *arg, const struct content_info *info), void *arg)
{
	SCOPED_ARENA(a);
	struct listing l = { .a = &a };
	struct err *e = kv_view(of(c)->kv, list_all, &l);

	for (size_t i = 0; !e && i < l.all.len; i++)
		e = fn(arg, &l.all.items[i]);
	vec_fini(&l.all);
	return e;
}

const struct content_ops fs_ops = {
	.info = fs_info,
	.open = fs_open,
	.writer = fs_writer_open,
	.label = fs_label,
	.remove = fs_remove,
	.each = fs_each,
	.free = fs_free,
};
