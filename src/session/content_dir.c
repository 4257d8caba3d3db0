#include "session/content_service.h"

#include "base/limits.h"
#include "base/mem.h"
#include "sys/fd.h"
#include "sys/file.h"
#include "sys/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#define HASH_CHUNK (256 * KIB)
#define NAME_MAX_LEN 192

struct content_dir {
	struct content base;
	int fd;
	bool writable;
};

static void blob_name(const struct digest *d, char out[NAME_MAX_LEN])
{
	char text[DIGEST_TEXT_MAX], *colon;

	(void)digest_format(d, text);
	colon = strchr(text, ':');
	if (colon)
		*colon = '/';
	(void)snprintf(out, NAME_MAX_LEN, "blobs/%s", text);
}

static struct err *missing(const struct digest *d)
{
	char text[DIGEST_TEXT_MAX];

	return err_new(ERR_NOT_FOUND, "content %s: not found", digest_format(d, text));
}

static struct err *read_only(void)
{
	return err_new(ERR_FAILED_PRECONDITION, "content store is read-only: failed precondition");
}

static void fill(const struct stat *st, const struct digest *d, struct content_info *ret)
{
	*ret = (struct content_info) {
		.digest = *d,
		.size = (uint64_t)st->st_size,
		.created_ns = clock_from_timespec(st->st_mtim),
		.updated_ns = clock_from_timespec(st->st_mtim),
	};
}

static struct err *dir_info(struct content *c, struct ctx *ctx, struct arena *a,
			    const struct digest *d, struct content_info *ret)
{
	struct content_dir *cd = container_of(c, struct content_dir, base);
	char name[NAME_MAX_LEN];
	struct stat st;

	blob_name(d, name);
	if (fstatat(cd->fd, name, &st, 0) < 0)
		return errno == ENOENT ? missing(d) : err_errno(errno, "stat %s", name);
	fill(&st, d, ret);
	return NULL;
}

/* ---- reading ---- */

static struct err *blob_read_at(struct content_reader *r, void *p, size_t len, uint64_t offset,
				size_t *ret_n)
{
	return fd_pread_full(r->fd, p, len, offset, ret_n);
}

static void blob_close(struct content_reader *r)
{
	(void)close(r->fd);
	free(r);
}

static struct err *dir_open(struct content *c, struct ctx *ctx, const struct digest *d,
			    struct content_reader **ret)
{
	struct content_dir *cd = container_of(c, struct content_dir, base);
	char name[NAME_MAX_LEN];
	CLEANUP_FD int fd = -1;
	struct content_reader *r;
	struct stat st;

	blob_name(d, name);
	fd = openat(cd->fd, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? missing(d) : err_errno(errno, "open %s", name);
	if (fstat(fd, &st) < 0)
		return err_errno(errno, "stat %s", name);
	r = NEW(struct content_reader);
	*r = (struct content_reader) { .read_at = blob_read_at,
				       .close = blob_close,
				       .size = (uint64_t)st.st_size,
				       .fd = TAKE_FD(fd) };
	*ret = r;
	return NULL;
}

/* ---- writing ---- */

struct dir_writer {
	struct content_writer base;
	struct content_dir *cd;
	char name[NAME_MAX_LEN]; /* of the ingest */
	char *ref;
	int fd; /* locked: one writer a ref */
	struct hasher *hash;
};

static struct err *ingest_write(struct writer *io, const void *p, size_t len)
{
	struct dir_writer *w = container_of(io, struct dir_writer, base.io);

	TRYW(fd_write_all(w->fd, p, len), "write %s", w->ref);
	hasher_add(w->hash, p, len);
	w->base.offset += len;
	return NULL;
}

static struct err *publish(struct dir_writer *w, const struct digest *d)
{
	char name[NAME_MAX_LEN], dir[NAME_MAX_LEN], text[DIGEST_TEXT_MAX];

	blob_name(d, name);
	(void)snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(name, '/') - name), name);
	TRY(file_mkdirs(w->cd->fd, dir, 0755));
	if (fchmod(w->fd, 0444) < 0)
		return err_errno(errno, "chmod %s", w->name);
	if (renameat2(w->cd->fd, w->name, w->cd->fd, name, 1 /* RENAME_NOREPLACE */) == 0)
		return NULL;
	if (errno == EEXIST) {
		(void)unlinkat(w->cd->fd, w->name, 0);
		return err_new(ERR_ALREADY_EXISTS, "content %s: already exists",
			       digest_format(d, text));
	}
	if (errno == EINVAL && renameat(w->cd->fd, w->name, w->cd->fd, name) == 0)
		return NULL;
	return err_errno(errno, "rename %s", w->name);
}

static struct err *ingest_commit(struct content_writer *base, uint64_t size,
				 const struct digest *expected, const struct content_label *labels,
				 size_t n_labels, struct digest *ret_digest)
{
	struct dir_writer *w = container_of(base, struct dir_writer, base);
	char a[DIGEST_TEXT_MAX], b[DIGEST_TEXT_MAX];
	struct digest got = hasher_sum(w->hash);

	if (size && size != w->base.offset)
		return err_new(ERR_FAILED_PRECONDITION,
			       "unexpected commit size %llu, expected %llu: failed precondition",
			       (unsigned long long)w->base.offset, (unsigned long long)size);
	if (expected && digest_is_set(expected) && !digest_eq(expected, &got))
		return err_new(ERR_FAILED_PRECONDITION,
			       "unexpected commit digest %s, expected %s: failed precondition",
			       digest_format(&got, a), digest_format(expected, b));
	TRY(publish(w, &got));
	*ret_digest = got;
	return NULL;
}

static void ingest_discard(struct content_writer *base)
{
	struct dir_writer *w = container_of(base, struct dir_writer, base);

	(void)unlinkat(w->cd->fd, w->name, 0);
}

static void ingest_close(struct writer *io)
{
	struct dir_writer *w = container_of(io, struct dir_writer, base.io);

	if (w->fd >= 0)
		(void)close(w->fd);
	hasher_free(w->hash);
	free(w->ref);
	free(w);
}

/* What an earlier writer left is hashed again, and the writer goes on after it. */
static struct err *resume(struct dir_writer *w)
{
	CLEANUP_FREE char *mem = mem_realloc(NULL, HASH_CHUNK, 1);
	size_t n;

	for (;;) {
		TRY(fd_read(w->fd, mem, HASH_CHUNK, &n));
		if (!n)
			return NULL;
		hasher_add(w->hash, mem, n);
		w->base.offset += n;
	}
}

static struct err *open_ingest(struct dir_writer *w)
{
	struct stat here, there;

	TRY(file_mkdirs(w->cd->fd, "ingest", 0755));
	for (;;) {
		struct err *e = file_lock(w->cd->fd, w->name, &w->fd);

		if (err_is(e, ERR_UNAVAILABLE)) {
			err_free(e);
			return err_new(ERR_UNAVAILABLE, "ref %s locked: unavailable", w->ref);
		}
		TRY(e);
		/* Between open and lock another may have published it. */
		if (fstat(w->fd, &here) == 0 &&
		    fstatat(w->cd->fd, w->name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
		    here.st_ino == there.st_ino)
			return NULL;
		(void)close(w->fd);
		w->fd = -1;
	}
}

static struct err *dir_writer_open(struct content *c, struct ctx *ctx, struct str ref,
				   struct content_writer **ret)
{
	struct content_dir *cd = container_of(c, struct content_dir, base);
	struct digest d = digest_sha256(ref);
	struct dir_writer *w;
	SCOPED_ARENA(a);
	struct err *e;

	if (!cd->writable)
		return read_only();
	w = NEW(struct dir_writer);
	w->base = (struct content_writer) {
		.io = { .write = ingest_write, .close = ingest_close },
		.commit = ingest_commit,
		.discard = ingest_discard,
	};
	w->cd = cd;
	w->fd = -1;
	w->ref = str_heap(ref);
	w->hash = hasher_new(DIGEST_SHA256);
	(void)snprintf(w->name, sizeof(w->name), "ingest/%s", digest_hex(&d, &a));
	e = open_ingest(w);
	if (!e)
		e = resume(w);
	if (e) {
		ingest_close(&w->base.io);
		return e;
	}
	*ret = &w->base;
	return NULL;
}

/* ---- the rest ---- */

static struct err *dir_label(struct content *c, struct ctx *ctx, const struct digest *d,
			     const struct content_label *labels, size_t n)
{
	return err_new(ERR_FAILED_PRECONDITION,
		       "update not supported on immutable content store: failed precondition");
}

static struct err *dir_remove(struct content *c, struct ctx *ctx, const struct digest *d)
{
	struct content_dir *cd = container_of(c, struct content_dir, base);
	char name[NAME_MAX_LEN];

	if (!cd->writable)
		return read_only();
	blob_name(d, name);
	if (unlinkat(cd->fd, name, 0) < 0)
		return errno == ENOENT ? missing(d) : err_errno(errno, "unlink %s", name);
	return NULL;
}

static struct err *each_blob(int blobs, const char *algo,
			     struct err *(*fn)(void *, const struct content_info *), void *arg)
{
	CLEANUP(walk_names_fini) struct walk_names names = { 0 };
	CLEANUP_FD int fd = openat(blobs, algo, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOTDIR ? NULL : err_errno(errno, "open %s", algo);
	TRY(walk_read_names(fd, true, &names));
	for (size_t i = 0; i < names.n; i++) {
		struct content_info info;
		struct digest d;
		struct stat st;
		SCOPED_ARENA(a);
		SCOPED_ERR(e);

		/* Whatever else lies there is no blob. */
		e = digest_parse(str_from(arena_printf(&a, "%s:%s", algo, names.items[i].name)),
				 &d);
		if (e || fstatat(fd, names.items[i].name, &st, 0) < 0)
			continue;
		fill(&st, &d, &info);
		TRY(fn(arg, &info));
	}
	return NULL;
}

static struct err *dir_each(struct content *c, struct ctx *ctx,
			    struct err *(*fn)(void *, const struct content_info *), void *arg)
{
	struct content_dir *cd = container_of(c, struct content_dir, base);
	CLEANUP(walk_names_fini) struct walk_names algos = { 0 };
	CLEANUP_FD int fd = openat(cd->fd, "blobs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? NULL : err_errno(errno, "open blobs");
	TRY(walk_read_names(fd, true, &algos));
	for (size_t i = 0; i < algos.n; i++)
		TRY(each_blob(fd, algos.items[i].name, fn, arg));
	return NULL;
}

static void dir_free(struct content *c)
{
	struct content_dir *cd = container_of(c, struct content_dir, base);

	(void)close(cd->fd);
	free(cd);
}

static const struct content_ops ops = {
	.info = dir_info,
	.open = dir_open,
	.writer = dir_writer_open,
	.label = dir_label,
	.remove = dir_remove,
	.each = dir_each,
	.free = dir_free,
};

struct err *content_dir_open(const char *dir, bool writable, struct content **ret)
{
	struct content_dir *cd;
	int fd;

	if (writable)
		TRY(file_mkdirs(AT_FDCWD, dir, 0755));
	TRY(fd_open_dir(AT_FDCWD, dir, &fd));
	cd = NEW(struct content_dir);
	cd->base.ops = &ops;
	cd->fd = fd;
	cd->writable = writable;
	*ret = &cd->base;
	return NULL;
}
