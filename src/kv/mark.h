/* The commit record: which state of which data file is durable.
 *
 * LMDB runs without syncing, so its own two meta pages may reach the disk before the pages
 * they point to. What counts after a power loss is therefore this file: after the data file
 * was synced, a copy of the meta page of that moment is written here and synced. It has two
 * slots, written in turn, so a torn write leaves the one before. Under the boot id it was
 * written by, the data file is as its last writer left it and the record is not needed;
 * under another one the meta pages are put back from it.
 *
 * Format (own): two slots of 4096 bytes: struct mark in host byte order, then its SHA-256.
 * Not thread-safe. */
#ifndef KV_MARK_H
#define KV_MARK_H

#include "base/err.h"

#include <stdint.h>

#define MARK_META 512 /* of LMDB's meta page: what it uses is at the front */
#define MARK_BOOT_ID 36

struct mark {
	char magic[8];
	uint64_t seq;        /* counts records */
	uint64_t generation; /* of the data file */
	uint64_t txn_id;
	uint32_t page_size;
	char boot_id[MARK_BOOT_ID];
	unsigned char meta[MARK_META];
};

struct mark_file {
	int fd;
	struct mark last;
	bool found;
};

/* Opens or makes dir/mark and locks it: FAILED_PRECONDITION when another process has it. */
struct err *mark_open(int dirfd, struct mark_file *ret) ERR_RESULT;
void mark_close(struct mark_file *f);
/* Writes m (magic and seq are filled in) to the older slot and syncs. */
struct err *mark_write(struct mark_file *f, struct mark *m) ERR_RESULT;
/* The record of a store just made, without syncing: the store has nothing yet that could be lost.
 * After a kill it serves as any other; after a power loss the store counts as never made. */
struct err *mark_write_first(struct mark_file *f, struct mark *m) ERR_RESULT;
/* True as long as only that one was written. */
bool mark_is_first(const struct mark_file *f);

/* MARK_BOOT_ID bytes. An unreadable one is an id never seen before. */
void boot_id_read(char out[MARK_BOOT_ID]);

#endif
