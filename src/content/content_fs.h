/* Inside content: the store in files. content_fs.c: look-up, reading, labels, removal;
 * fs_writer.c: ingests; fs_open.c: opening and putting right what a crash left. */
#ifndef CONTENT_CONTENT_FS_H
#define CONTENT_CONTENT_FS_H

#include "content/content_impl.h"
#include "content/durable.h"

#include "base/lock.h"
#include "base/map.h"
#include "kv/kv.h"

#define BOOT_ID_LEN 36
#define TABLE "content"

struct content_fs {
	struct content base;
	struct kv *kv;
	char *dir;
	int blobs_fd, ingest_fd;
	char boot_id[BOOT_ID_LEN];
	struct durable *durable;

	struct lock lock;
	struct map ingests; /* refs (hashed) with a writer */
	/* Digests whose file and record are just being made or removed: one at a time. */
	struct map busy;
	struct cond idle;
};

#define BLOB_NAME_MAX 144
/* "sha256/<hex>", relative to blobs_fd */
char *fs_blob_name(const struct digest *d, char out[BLOB_NAME_MAX]);
/* Exclusive right to make or remove the blob. */
void fs_claim(struct content_fs *fs, const struct digest *d);
void fs_unclaim(struct content_fs *fs, const struct digest *d);
struct err *fs_get(struct content_fs *fs, struct arena *a, const struct digest *d,
		   struct content_info *ret, bool *ret_found) ERR_RESULT;
/* Record first, then the file: a file without a record is dropped at open. With the claim. */
struct err *fs_drop_blob(struct content_fs *fs, const struct digest *d) ERR_RESULT;
struct err *fs_writer_open(struct content *c, struct ctx *ctx, struct str ref,
			   struct content_writer **ret) ERR_RESULT;
/* Of durable.h: takes the boot id off their records. */
struct err *fs_passed(void *arg, const struct digest *d, size_t n) ERR_RESULT;
/* Digest of a whole file from offset 0, on behalf of a resume or a check. */
struct err *fs_hash_file(int fd, struct hasher *h, uint64_t *ret_size) ERR_RESULT;
void fs_free(struct content *c);
extern const struct content_ops fs_ops;

/* content_open_fs with the boot id and the delay before a syncfs given, for tests. */
struct err *content_open_fs_as(const char *dir, struct kv *kv, struct str boot_id,
			       int64_t sync_delay_ns, struct content **ret) ERR_RESULT;

#endif
