/* Shared by the files of this folder. */
#ifndef SESSION_INTERNAL_H
#define SESSION_INTERNAL_H

#include "base/lock.h"
#include "base/map.h"
#include "base/ref.h"
#include "base/task.h"
#include "base/vec.h"
#include "session/session.h"

struct session_manager {
	struct grpc_loop *loop;
	struct lock lock;
	struct cond changed;
	struct map by_id; /* of struct session; not counted: a session takes itself out */
	int64_t auth_timeout_ns;
};

struct session {
	struct ref ref;
	char *id, *shared_key;
	struct grpc_client *client;
	struct ctx *ctx;
	struct map methods; /* lower-case paths */
	int64_t auth_timeout_ns;
};

/* Request metadata being put together; in the arena. */
struct md_list {
	struct arena *arena;
	VEC(struct grpc_md) v;
};
void md_list_fini(struct md_list *l);
void md_add(struct md_list *l, const char *key, struct str value);
/* Values of one key. When one has other than printable ASCII all are query-escaped, and
 * "<key>-encoded" says so. */
void md_add_list(struct md_list *l, const char *key, const struct str *values, size_t n);
/* All values of a key, decoded. */
size_t md_get_list(struct grpc_stream *s, struct arena *a, const char *key, struct str **ret);
/* The first one, or empty. */
struct str md_get(struct grpc_stream *s, struct arena *a, const char *key);
/* Like Go's url.QueryEscape and QueryUnescape; a string that can't be decoded stays as it is. */
struct str query_escape(struct arena *a, struct str s);
struct str query_unescape(struct arena *a, struct str s);

#define SCOPED_MD(name, arena_) CLEANUP(md_list_fini) struct md_list name = { .arena = (arena_) }

/* A ctx that ends with either of two. */
struct joined_ctx {
	struct ctx *ctx, *other;
	struct ctx_watch watch;
};
void joined_ctx_init(struct joined_ctx *j, struct ctx *parent, struct ctx *other);
void joined_ctx_fini(struct joined_ctx *j);

/* Bytes both ways between a socket (owned) and a stream of BytesMessages, until both have
 * ended; the socket's end closes the stream's sending side, and the other way round. */
struct err *pump_run(struct ctx *ctx, int take_fd, struct grpc_stream *st,
		     bool close_send) ERR_RESULT;
/* One BytesMessage{data=1}. */
struct err *bytes_send(struct grpc_stream *st, struct ctx *ctx, struct str data,
		       struct buf *scratch) ERR_RESULT;
/* Where the data of a received one is; INTERNAL on junk. */
struct err *bytes_parse(struct str msg, struct str *ret) ERR_RESULT;

#define CONTENT_STORE_KEY "buildkit-attachable-store-id"
#define EXPORTER_ID_KEY "buildkit-attachable-exporter-id"
#define EXPORTER_MULTI_KEY "buildkit-exporter-multi-platform"
#define EXPORTER_MD_PREFIX "exporter-md-"
#define SSH_ID_KEY "buildkit.ssh.id"

#endif
