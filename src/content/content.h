/* Blobs by digest, with resumable ingest and labels. Back ends: files + kv, memory, and
 * (session folder) a client's store over gRPC. A blob appears only after commit, whole and
 * verified. All calls are thread-safe; a writer belongs to one thread. */
#ifndef CONTENT_CONTENT_H
#define CONTENT_CONTENT_H

#include "base/ctx.h"
#include "codec/digest.h"
#include "codec/io.h"

struct content_label {
	struct str key, value;
};

struct content_info {
	struct digest digest;
	uint64_t size;
	int64_t created_ns, updated_ns; /* wall */
	struct content_label *labels;   /* sorted */
	size_t n_labels;
};

struct content_reader {
	/* Reads at an offset; *ret_n 0 only at the end. */
	struct err *(*read_at)(struct content_reader *r, void *p, size_t len, uint64_t offset,
			       size_t *ret_n);
	void (*close)(struct content_reader *r);
	uint64_t size;
	int fd; /* for local blobs, else -1; borrowed */
};

struct content_writer {
	struct writer io; /* write; finish is not used: commit */
	/* Where the next byte goes: > 0 when an ingest is resumed. */
	uint64_t offset;
	/* Checks size (0: any) and digest (unset: any) and publishes. ALREADY_EXISTS when the
	 * blob is there, which callers take as success: *ret_digest is set then, too. Then close.
	 * FAILED_PRECONDITION "unexpected commit digest A, expected B" / "unexpected commit size".
	 */
	struct err *(*commit)(struct content_writer *w, uint64_t size,
			      const struct digest *expected, const struct content_label *labels,
			      size_t n_labels, struct digest *ret_digest);
	/* Throws the ingest away (close alone keeps it for a resume). */
	void (*discard)(struct content_writer *w);
};

struct content {
	const struct content_ops *ops;
};

struct content_ops {
	struct err *(*info)(struct content *c, struct ctx *ctx, struct arena *a,
			    const struct digest *d, struct content_info *ret);
	struct err *(*open)(struct content *c, struct ctx *ctx, const struct digest *d,
			    struct content_reader **ret);
	/* ref names the ingest; one writer a ref at a time: UNAVAILABLE "ref X locked". */
	struct err *(*writer)(struct content *c, struct ctx *ctx, struct str ref,
			      struct content_writer **ret);
	/* Adds, replaces, or with an empty value removes labels. */
	struct err *(*label)(struct content *c, struct ctx *ctx, const struct digest *d,
			     const struct content_label *labels, size_t n);
	struct err *(*remove)(struct content *c, struct ctx *ctx, const struct digest *d);
	struct err *(*each)(struct content *c, struct ctx *ctx,
			    struct err *(*fn)(void *arg, const struct content_info *info),
			    void *arg);
	/* After a round of removals: what was let go may really go now. May be NULL. */
	struct err *(*collect)(struct content *c, struct ctx *ctx);
	void (*free)(struct content *c);
};

/* Thin calls over ops. NOT_FOUND "content sha256:...: not found" for a missing blob. */
struct err *content_info(struct content *c, struct ctx *ctx, struct arena *a,
			 const struct digest *d, struct content_info *ret) ERR_RESULT;
bool content_has(struct content *c, struct ctx *ctx, const struct digest *d);
struct err *content_open(struct content *c, struct ctx *ctx, const struct digest *d,
			 struct content_reader **ret) ERR_RESULT;
struct err *content_writer_open(struct content *c, struct ctx *ctx, struct str ref,
				struct content_writer **ret) ERR_RESULT;
struct err *content_label(struct content *c, struct ctx *ctx, const struct digest *d,
			  const struct content_label *labels, size_t n) ERR_RESULT;
struct err *content_remove(struct content *c, struct ctx *ctx, const struct digest *d) ERR_RESULT;
void content_free(struct content *c);
void content_reader_close(struct content_reader *r); /* NULL is fine */
void content_reader_closep(struct content_reader **r);
struct err *content_commit(struct content_writer *w, uint64_t size, const struct digest *expected,
			   const struct content_label *labels, size_t n,
			   struct digest *ret) ERR_RESULT;
void content_writer_close(struct content_writer *w); /* NULL is fine */
void content_writer_closep(struct content_writer **w);
/* Whole small blob (at most max bytes), verified against its digest. */
struct err *content_read_blob(struct content *c, struct ctx *ctx, const struct digest *d,
			      size_t max, struct buf *out) ERR_RESULT;
struct err *content_write_blob(struct content *c, struct ctx *ctx, struct str data,
			       const struct content_label *labels, size_t n,
			       struct digest *ret) ERR_RESULT;
/* Streams a blob from one store to another, under its digest; nothing when already there. */
struct err *content_copy(struct ctx *ctx, struct content *from, struct content *to,
			 const struct digest *d) ERR_RESULT;
/* As a struct reader from offset 0; takes r. */
struct reader *content_as_reader(struct content_reader *take_r);

/* Files under dir: blobs/<algorithm>/<hex>, ingest/<hash of ref>; labels, sizes and times in
 * kv table "content". Durability: blob bytes are made durable in the background (syncfs); a
 * record carries the boot id until its blob is. At open under another boot id such a blob is
 * read and verified, or dropped, as is any whose size is not that of its record. Ingests are
 * kept for a resume for a day of one boot. A writer whose write failed keeps nothing. */
struct kv;
struct err *content_open_fs(const char *dir, struct kv *kv, struct content **ret) ERR_RESULT;
struct content *content_new_mem(void);
/* Waits until all that is committed is on the disk. Only for stores of content_open_fs. */
struct err *content_sync(struct content *fs) ERR_RESULT;

/* Removes blobs that are older than min_age_ns, carry no label CONTENT_LABEL_ROOT and that
 * keep() (may be called for each) does not want. *ret_bytes (may be NULL) is what they held. */
#define CONTENT_LABEL_ROOT "containerd.io/gc.root"
struct err *content_gc(struct content *c, struct ctx *ctx, int64_t min_age_ns,
		       bool (*keep)(void *arg, const struct content_info *info), void *arg,
		       uint64_t *ret_bytes) ERR_RESULT;

#endif
