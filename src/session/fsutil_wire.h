/* Packets of the file transfer (fsutil.types.Packet and Stat), parsed where they lie: a transfer
 * has several for each file. Modes on the wire are Go's os.FileMode bits. */
#ifndef SESSION_FSUTIL_WIRE_H
#define SESSION_FSUTIL_WIRE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

enum packet_type { PACKET_STAT, PACKET_REQ, PACKET_DATA, PACKET_FIN, PACKET_ERR };

struct fs_xattr {
	struct str name, value;
};

struct fs_stat {
	struct str path, linkname;
	uint32_t mode; /* Go's */
	uint32_t uid, gid;
	int64_t size, mtime_ns, devmajor, devminor;
	const struct fs_xattr *xattrs; /* sorted by name */
	size_t n_xattrs;
};

struct packet {
	enum packet_type type;
	bool has_stat;
	struct fs_stat stat;
	struct str raw_stat;
	uint32_t id;
	struct str data;
};

/* Slices point into msg; the xattr array is in the arena. INTERNAL on junk. */
struct err *packet_parse(struct str msg, struct arena *a, struct packet *ret) ERR_RESULT;
/* Appends packets. */
void packet_put_stat(struct buf *out, const struct fs_stat *st);
void packet_put_last_stat(struct buf *out);
void packet_put_data(struct buf *out, uint32_t id, struct str data);
void packet_put_fin(struct buf *out);
void packet_put_err(struct buf *out, const char *text);
/* A data packet whose n bytes follow: what goes in front, at most PACKET_HEAD bytes. */
#define PACKET_HEAD 24
size_t packet_req(uint8_t out[PACKET_HEAD], uint32_t id); /* whole */
size_t packet_data_head(uint8_t out[PACKET_HEAD], uint32_t id, size_t n);

/* Type and permission bits. Unknown types become 0 (no type bits). */
uint32_t mode_to_posix(uint32_t go_mode);
uint32_t mode_from_posix(uint32_t posix_mode);
/* A file whose content can be asked for: no type bit set. */
bool mode_is_regular(uint32_t go_mode);

/* Stream order: byte order with '/' before every other byte. */
int path_order(struct str a, struct str b);

#endif
