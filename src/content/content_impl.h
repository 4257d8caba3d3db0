/* Inside content: what the stores share. */
#ifndef CONTENT_CONTENT_IMPL_H
#define CONTENT_CONTENT_IMPL_H

#include "content/content.h"

#include "base/arena.h"
#include "base/buf.h"

#define LIMIT_LABELS 1000 /* a blob */
#define LIMIT_RECORD (1024 * 1024)
#define LIMIT_INGEST_REF 1024

struct err *content_not_found(const struct digest *d) ERR_RESULT;
/* The two complaints of a commit. */
struct err *content_check_commit(uint64_t got_size, const struct digest *got, uint64_t size,
				 const struct digest *expected) ERR_RESULT;
/* Sorts change into the labels of info, without those of empty value. In arena; values are
 * borrowed. */
struct err *content_merge_labels(struct arena *a, struct content_info *info,
				 const struct content_label *change, size_t n) ERR_RESULT;

/* The record of table "content": its blob's info, and the boot id if the blob is not known to be
 * on the disk yet. */
void content_record_pack(const struct content_info *info, struct str boot_id, struct buf *out);
/* Strings are borrowed from value; the label array is in arena. info->digest is left alone. */
struct err *content_record_unpack(struct str value, struct arena *a, struct content_info *info,
				  struct str *ret_boot_id) ERR_RESULT;
#define CONTENT_KEY_MAX 65
struct str content_key(const struct digest *d, char out[CONTENT_KEY_MAX]);
/* False for keys that name no blob. */
bool content_key_parse(struct str key, struct digest *ret);

#endif
