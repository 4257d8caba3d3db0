#include "content/content_fs.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define HASH_CHUNK ((size_t)256 * 1024)
#define INGEST_NAME_MAX 65

struct fs_writer {
	struct content_writer base;
	struct content_fs *fs;
	struct hasher *hasher;
	int fd;
	char name[INGEST_NAME_MAX];
	bool gone;   /* committed or discarded: no file any more */
	bool broken; /* a write failed: what is in the file is not what was hashed */
	char *ref;
};

struct err *fs_hash_file(int fd, struct hasher *h, uint64_t *ret_size)
{
	CLEANUP_FREE char *chunk = mem_alloc(HASH_CHUNK);
	uint64_t size = 0;

	for (;;) {
		ssize_t n = pread(fd, chunk, HASH_CHUNK, (off_t)size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(errno, "read");
		if (!n)
			break;
		hasher_add(h, chunk, (size_t)n);
		size += (uint64_t)n;
	}
	*ret_size = size;
	return NULL;
}

static void unlink_ingest(struct fs_writer *w)
{
	if (!w->gone)
		(void)unlinkat(w->fs->ingest_fd, w->name, 0);
	w->gone = true;
}

static struct err *fs_write(struct writer *wr, const void *p, size_t len)
{
	struct fs_writer *w = container_of(wr, struct fs_writer, base.io);
	const char *from = p;
	size_t left = len;

	if (w->gone || w->broken)
		return err_new(ERR_FAILED_PRECONDITION, "ref %s: closed", w->ref);
	while (left) {
		ssize_t n = write(w->fd, from, left);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			w->broken = true;
			return err_errno(errno, "write %s/ingest/%s", w->fs->dir, w->name);
		}
		from += n;
		left -= (size_t)n;
	}
	hasher_add(w->hasher, p, len);
	w->base.offset += len;
	return NULL;
}

static void fs_discard(struct content_writer *cw)
{
	unlink_ingest(container_of(cw, struct fs_writer, base));
}

struct publish {
	struct str key, value;
};

static struct err *put_record(struct kv_txn *t, void *arg)
{
	const struct publish *p = arg;

	return kv_put(t, TABLE, p->key, p->value);
}

/* With the claim on d. */
static struct err *publish(struct fs_writer *w, const struct digest *d, uint64_t size,
			   const struct content_label *labels, size_t n_labels)
{
	struct content_fs *fs = w->fs;
	SCOPED_ARENA(a);
	SCOPED_BUF(out, LIMIT_RECORD);
	struct content_info info;
	struct publish p;
	char name[BLOB_NAME_MAX], key[CONTENT_KEY_MAX], text[DIGEST_TEXT_MAX];
	struct err *e;
	bool found;

	TRY(fs_get(fs, &a, d, &info, &found));
	if (found)
		return err_new(ERR_ALREADY_EXISTS, "content %s: already exists",
			       digest_format(d, text));
	info = (struct content_info) { .digest = *d, .size = size, .created_ns = clock_wall() };
	info.updated_ns = info.created_ns;
	TRY(content_merge_labels(&a, &info, labels, n_labels));
	content_record_pack(&info, str_make(fs->boot_id, BOOT_ID_LEN), &out);
	TRY(buf_check(&out, "labels"));
	if (renameat(fs->ingest_fd, w->name, fs->blobs_fd, fs_blob_name(d, name)) < 0)
		return err_errno(errno, "rename %s/ingest/%s to %s", fs->dir, w->name, name);
	w->gone = true;
	/* A file without a record is nothing, so a kill just here loses the blob. */
	p = (struct publish) { content_key(d, key), buf_str(&out) };
	e = kv_update(fs->kv, KV_LAZY, put_record, &p);
	if (e) {
		(void)unlinkat(fs->blobs_fd, name, 0);
		return e;
	}
	durable_note(fs->durable, d);
	return NULL;
}

static struct err *final_digest(struct fs_writer *w, const struct digest *expected,
				uint64_t *ret_size, struct digest *ret)
{
	CLEANUP(hasher_freep) struct hasher *other = NULL;

	*ret_size = w->base.offset;
	if (!expected || !digest_is_set(expected) || expected->algo == DIGEST_SHA256) {
		*ret = hasher_sum(w->hasher);
		return NULL;
	}
	/* Rare: read it again with the algorithm that is asked for. */
	if (expected->algo >= DIGEST_RANDOM)
		return err_new(ERR_INVALID_ARGUMENT, "unsupported digest algorithm");
	other = hasher_new((enum digest_algo)expected->algo);
	TRY(fs_hash_file(w->fd, other, ret_size));
	*ret = hasher_sum(other);
	return NULL;
}

static struct err *fs_commit(struct content_writer *cw, uint64_t size,
			     const struct digest *expected, const struct content_label *labels,
			     size_t n_labels, struct digest *ret)
{
	struct fs_writer *w = container_of(cw, struct fs_writer, base);
	uint64_t got_size;
	struct digest d;
	struct err *e;

	if (w->gone || w->broken)
		return err_new(ERR_FAILED_PRECONDITION, "ref %s: closed", w->ref);
	e = final_digest(w, expected, &got_size, &d);
	if (!e)
		e = content_check_commit(got_size, &d, size, expected);
	if (!e) {
		fs_claim(w->fs, &d);
		e = publish(w, &d, got_size, labels, n_labels);
		fs_unclaim(w->fs, &d);
	}
	/* Committed, there already, or not what it should be: no use in going on with it. */
	unlink_ingest(w);
	if (!e || err_is(e, ERR_ALREADY_EXISTS))
		*ret = d;
	return e;
}

static void unlock_ingest(struct content_fs *fs, const char *name)
{
	LOCKED(&fs->lock);
	(void)map_del(&fs->ingests, str_from(name));
}

static void fs_writer_close(struct writer *wr)
{
	struct fs_writer *w = container_of(wr, struct fs_writer, base.io);

	if (w->broken || !w->base.offset)
		unlink_ingest(w);
	if (w->fd >= 0)
		(void)close(w->fd);
	unlock_ingest(w->fs, w->name);
	hasher_free(w->hasher);
	free(w->ref);
	free(w);
}

static struct err *open_ingest(struct fs_writer *w)
{
	struct content_fs *fs = w->fs;
	struct stat st;

	/* Appending, so a resume goes on at the end. */
	w->fd = openat(fs->ingest_fd, w->name, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW,
		       0600);
	if (w->fd < 0 || fstat(w->fd, &st) < 0)
		return err_errno(errno, "open %s/ingest/%s", fs->dir, w->name);
	if (!st.st_size)
		return NULL;
	TRYW(fs_hash_file(w->fd, w->hasher, &w->base.offset), "%s/ingest/%s", fs->dir, w->name);
	return NULL;
}

struct err *fs_writer_open(struct content *c, struct ctx *ctx, struct str ref,
			   struct content_writer **ret)
{
	struct content_fs *fs = container_of(c, struct content_fs, base);
	SCOPED_ARENA(a);
	struct fs_writer *w;
	struct digest d;
	struct err *e;
	bool locked;

	if (!ref.len || ref.len > LIMIT_INGEST_REF)
		return err_new(ERR_INVALID_ARGUMENT, "invalid ingest ref");
	w = NEW(struct fs_writer);
	*w = (struct fs_writer) {
		.base = { .io = { .write = fs_write, .close = fs_writer_close },
			  .commit = fs_commit,
			  .discard = fs_discard },
		.fs = fs,
		.fd = -1,
	};
	d = digest_sha256(ref);
	(void)snprintf(w->name, sizeof(w->name), "%s", digest_hex(&d, &a));
	lock_take(&fs->lock);
	locked = map_has(&fs->ingests, str_from(w->name));
	if (!locked)
		(void)map_put(&fs->ingests, str_from(w->name), w);
	lock_drop(&fs->lock);
	if (locked) {
		free(w);
		return err_new(ERR_UNAVAILABLE, "ref %.*s locked", STR_ARG(ref));
	}
	w->ref = str_heap(ref);
	w->hasher = hasher_new(DIGEST_SHA256);
	e = open_ingest(w);
	if (e) {
		fs_writer_close(&w->base.io);
		return e;
	}
	*ret = &w->base;
	return NULL;
}
