/* Client half of sessions: what buildctl offers to the daemon. */
#ifndef SESSION_ATTACH_H
#define SESSION_ATTACH_H

#include "grpc/grpc.h"

struct attach; /* the set of services */
struct attach *attach_new(struct ctx *ctx, struct grpc_loop *l);
void attach_free(struct attach *a);
const char *attach_id(const struct attach *a); /* session id */
void attach_set_shared_key(struct attach *a, const char *key);
/* --local NAME=DIR */
struct err *attach_add_local(struct attach *a, const char *name, const char *dir) ERR_RESULT;
/* --secret: file or value */
struct err *attach_add_secret_file(struct attach *a, const char *id, const char *path) ERR_RESULT;
struct err *attach_add_secret_env(struct attach *a, const char *id, const char *env) ERR_RESULT;
/* Credentials from DOCKER_CONFIG / ~/.docker/config.json (auths, credsStore and credHelpers
 * programs). */
struct err *attach_add_auth(struct attach *a) ERR_RESULT;
/* Exporter targets by index: a directory, or a file (or fd) for tar-like streams. */
struct err *attach_add_export_dir(struct attach *a, int index, const char *dir,
				  bool mirror) ERR_RESULT;
struct err *attach_add_export_fd(struct attach *a, int index, int take_fd) ERR_RESULT;
/* --oci-layout, local cache, export tar=false: a directory as content store under an id. */
struct err *attach_add_content_dir(struct attach *a, const char *store_id, const char *dir,
				   bool writable) ERR_RESULT;
/* --ssh */
struct err *attach_add_ssh_socket(struct attach *a, const char *id,
				  const char *socket_path) ERR_RESULT;
/* A byte stream the daemon may fetch once as an URL, which is in the arena. */
struct reader;
const char *attach_add_upload(struct attach *a, struct reader *take_r, struct arena *mem);
/* Opens Control.Session on the connection and serves until ctx ends or the stream does. */
struct err *attach_run(struct attach *a, struct ctx *ctx, struct grpc_client *daemon) ERR_RESULT;

#endif
