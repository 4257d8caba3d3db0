/* The list of entries that a transfer leaves for the next one, so that a warm transfer compares the
 * stream with it and does not walk the directory. In stream order, names shortened by what they
 * share with the one before, with a checksum over all: a list that is not whole counts as none.
 * Our own format, read back by the same version only. */
#ifndef SESSION_RECV_STATE_H
#define SESSION_RECV_STATE_H

#include "base/buf.h"
#include "base/limits.h"

#define RECV_SHA 32

struct entry_meta {
	struct str path, linkname;
	uint32_t mode; /* POSIX */
	uint32_t uid, gid, devmajor, devminor;
	uint64_t size;
	int64_t mtime_ns;
	uint64_t xattr_hash; /* 0: none */
};

struct state_cursor {
	struct str rest;
	char path[LIMIT_PATH + 1];
	/* The entry at the cursor; slices are good until state_next. */
	bool valid;
	struct entry_meta meta;
	bool has_digest;
	uint8_t sha[RECV_SHA];
};
/* At the first entry. False, with an empty cursor, when bytes is no list. */
bool state_open(struct state_cursor *c, struct str bytes);
void state_next(struct state_cursor *c);

struct state_writer {
	struct buf *out;
	struct str last;
};
void state_begin(struct state_writer *w, struct buf *out);
/* sha may be NULL. m->path must live until the next call. */
void state_put(struct state_writer *w, const struct entry_meta *m, const uint8_t *sha);
void state_end(struct state_writer *w);

#endif
