/* File transfer (fsutil's protocol), both directions and both halves.
 * Receiving: files arrive in a directory; what is there already and the same is not requested. */
#ifndef SESSION_FILESYNC_H
#define SESSION_FILESYNC_H

#include "cache/contenthash.h"
#include "session/session.h"

struct filesync_opts { /* what the daemon asks the client for */
	struct str dir_name;
	const struct str *include, *exclude, *follow;
	size_t n_include, n_exclude, n_follow;
	bool has_include; /* send the key even if empty */
	bool differ_none; /* everything counts as changed */
	bool metadata_only;
	const struct str *metadata_except;
	size_t n_metadata_except;
};
/* Told of what a transfer does. */
struct filesync_sink {
	void (*progress)(void *arg, uint64_t bytes, bool done);
	void *arg;
	/* Once, before the first change in the destination; may be NULL. */
	struct err *(*before_change)(void *arg);
};
/* What a transfer leaves behind for the next: the list of entries (path, size, mode, mtime,
 * digests), serialised. Opaque; pass the earlier one (or empty) and keep the new one. The directory
 * must be as that transfer left it: drop the stored list before the first change, since a transfer
 * that breaks leaves a directory that no list describes. Without a list the directory is emptied
 * first. ret_known is in stream order ('/' sorts before every other byte), strings in the arena. */
struct err *filesync_receive(struct session *s, struct ctx *ctx, const struct filesync_opts *o,
			     int dest_dirfd, struct str previous_state, struct buf *ret_state,
			     struct arena *a, struct contenthash_known **ret_known,
			     size_t *ret_n_known, const struct filesync_sink *sink) ERR_RESULT;

/* Exports to the client: FileSend.DiffCopy with metadata; a tree (fsutil sender role) or a byte
 * stream. */
struct filesend_tree { /* one source tree and where it appears */
	int dirfd;
	struct str prefix; /* sub-directory at the client, or empty */
};
struct err *filesend_trees(struct session *s, struct ctx *ctx, int exporter_index,
			   const struct filesend_tree *trees, size_t n,
			   int64_t epoch_ns /* -1: as is */, bool multi_platform_md,
			   const struct grpc_md *md, size_t n_md,
			   const struct filesync_sink *sink) ERR_RESULT;
/* A writer whose bytes go to the client's file; finish waits for the client. ALREADY_EXISTS from
 * the client is reported as is. */
struct err *filesend_stream(struct session *s, struct ctx *ctx, int exporter_index,
			    const struct grpc_md *md, size_t n_md, struct writer **ret) ERR_RESULT;

/* Protocol engine, shared with the client half (session/attach.h): runs over any grpc stream. */
struct fsutil_send_opts {
	const struct str *include, *exclude, *follow;
	size_t n_include, n_exclude, n_follow;
	bool reset_owner; /* uid and gid 0 */
	int64_t epoch_ns; /* -1 */
};
struct err *fsutil_send(struct grpc_stream *st, struct ctx *ctx, const struct filesend_tree *trees,
			size_t n, const struct fsutil_send_opts *o,
			const struct filesync_sink *sink) ERR_RESULT;
struct fsutil_recv_opts {
	bool merge; /* keep what is not sent (local exporter); else a mirror */
};
/* Everything is asked for; files belong to the calling user. */
struct err *fsutil_recv(struct grpc_stream *st, struct ctx *ctx, int dest_dirfd,
			const struct fsutil_recv_opts *o,
			const struct filesync_sink *sink) ERR_RESULT;

#endif
