/* Sessions: the client's services, reached by the daemon over the Session stream.
 * The manager knows sessions by id; a handle is counted; a session dies with its connection, and
 * calls on it then fail at once. Thread-safe. Daemon half; the client half is in session/attach.h.
 */
#ifndef SESSION_SESSION_H
#define SESSION_SESSION_H

#include "base/arena.h"
#include "grpc/grpc.h"

struct session;
struct session_manager;

struct session_manager *session_manager_new(struct grpc_loop *l);
void session_manager_free(struct session_manager *m);
/* Of questions about registry credentials (default 60 s; 0 or less: none), for later sessions. */
void session_manager_set_auth_timeout(struct session_manager *m, int64_t ns);
/* The Control.Session handler: registers by the stream's metadata, runs health checks, returns when
 * the connection ends. */
struct err *session_serve(struct session_manager *m, struct ctx *ctx,
			  struct grpc_stream *s) ERR_RESULT;

/* Waits up to 5 s for it: NOT_FOUND? "no active session for ID: context deadline exceeded".
 * no_wait: at once. Id forms "prefix:id" use the part after ':'. */
struct err *session_get(struct session_manager *m, struct ctx *ctx, struct str id, bool no_wait,
			struct session **ret) ERR_RESULT;
void session_unref(struct session *s); /* NULL is fine */
struct session *session_ref(struct session *s);
const char *session_id(const struct session *s);
const char *session_shared_key(const struct session *s);
struct grpc_client *session_client(struct session *s);
struct ctx *session_ctx(struct session *s); /* ends with the connection */
/* Lower-cased comparison of "/pkg.Service/Method". */
bool session_has_method(const struct session *s, const char *path);

/* A set of session ids that work for a build may use; vertices shared by several jobs have several.
 */
struct session_group;
struct session_group *session_group_new(const char *id); /* NULL: empty */
struct session_group *session_group_ref(struct session_group *g);
void session_group_unref(struct session_group *g);
void session_group_add(struct session_group *g, const char *id);
void session_group_add_all(struct session_group *g, struct session_group *from);
/* Calls fn with each live session of the group until it succeeds; last error kept. "no active
 * sessions" when none. */
struct err *session_any(struct session_manager *m, struct ctx *ctx, struct session_group *g,
			struct err *(*fn)(struct ctx *ctx, struct session *s, void *arg),
			void *arg) ERR_RESULT;

/* ---- services ---- */
/* secrets: data appended to out (max LIMIT_SECRET); NOT_FOUND "secret X: not found". */
struct err *session_secret(struct session_manager *m, struct ctx *ctx, struct session_group *g,
			   struct str id, struct buf *out) ERR_RESULT;
/* auth */
struct session_credentials {
	struct str username, secret; /* in the arena */
};
struct err *session_credentials(struct session *s, struct ctx *ctx, struct arena *a,
				struct str host, struct session_credentials *ret) ERR_RESULT;
struct err *session_token_authority(struct session *s, struct ctx *ctx, struct str host,
				    struct str salt, uint8_t ret_key[32],
				    bool *ret_supported) ERR_RESULT;
struct err *session_verify_authority(struct session *s, struct ctx *ctx, struct str host,
				     struct str salt, const uint8_t key[32],
				     bool *ret_ok) ERR_RESULT;
struct err *session_fetch_token(struct session *s, struct ctx *ctx, struct arena *a,
				struct str host, struct str realm, struct str service,
				const struct str *scopes, size_t n_scopes, struct str *ret_token,
				int64_t *ret_expires_in_s, int64_t *ret_issued_at_s) ERR_RESULT;
/* ssh: check and a forwarder that serves a unix socket (path made by the caller's dir) until
 * closed. */
struct err *session_ssh_check(struct session_manager *m, struct ctx *ctx, struct session_group *g,
			      struct str id) ERR_RESULT;
struct sshforward;
struct err *sshforward_open(struct session_manager *m, struct ctx *ctx, struct session_group *g,
			    struct str id, const char *socket_path, uint32_t uid, uint32_t gid,
			    uint32_t mode, struct sshforward **ret) ERR_RESULT;
void sshforward_close(struct sshforward *f);
/* upload: the body of http://buildkit-session/<path> */
struct reader;
struct err *session_upload_pull(struct session *s, struct ctx *ctx, struct str url_path,
				struct str url_host, struct reader **ret) ERR_RESULT;
/* content: a client's store by id ("local:<dir>", "oci:<name>", "export") as a struct content. */
struct content;
struct err *session_content(struct session *s, struct str store_id,
			    struct content **ret) ERR_RESULT;

#endif
