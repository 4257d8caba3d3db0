#include "session/attach.h"

#include "session/attach_internal.h"
#include "session/content_service.h"
#include "session/docker_config.h"

#include "base/clock.h"
#include "base/limits.h"

#define SESSION "/moby.buildkit.v1.Control/Session"
/* For the daemon to end its side after we ended ours. */
#define GOODBYE_NS (1 * NSEC_PER_SEC)

struct attach *attach_new(struct ctx *ctx, struct grpc_loop *l)
{
	struct attach *a = NEW(struct attach);

	a->ctx = ctx_ref(ctx);
	a->loop = l;
	id_make(a->id);
	a->shared_key = mem_strdup("");
	lock_init(&a->lock, LOCK_SESSION);
	return a;
}

static void free_store(void *p)
{
	content_free(p);
}

void attach_free(struct attach *a)
{
	if (!a)
		return;
	attach_free_locals(a);
	attach_free_exports(a);
	attach_free_secrets(a);
	attach_free_uploads(a);
	map_fini(&a->ssh, free);
	map_fini(&a->stores, free_store);
	auth_config_free(a->auth);
	lock_fini(&a->lock);
	free(a->shared_key);
	ctx_unref(a->ctx);
	free(a);
}

const char *attach_id(const struct attach *a)
{
	return a->id;
}

void attach_set_shared_key(struct attach *a, const char *key)
{
	free(a->shared_key);
	a->shared_key = mem_strdup(key);
}

/* ---- content ---- */

struct err *attach_add_content_dir(struct attach *a, const char *store_id, const char *dir,
				   bool writable)
{
	struct content *c, *old;

	TRY(content_dir_open(dir, writable, &c));
	old = map_put(&a->stores, str_from(store_id), c);
	content_free(old);
	return NULL;
}

static struct err *pick_store(struct grpc_stream *s, void *arg, struct content **ret)
{
	struct attach *a = arg;
	struct str id = grpc_md_get(s, CONTENT_STORE_KEY);

	if (!id.len)
		return err_new(ERR_INVALID_ARGUMENT,
			       "request lacks metadata \"%s\": invalid "
			       "argument",
			       CONTENT_STORE_KEY);
	*ret = map_get(&a->stores, id);
	if (!*ret)
		return err_new(ERR_NOT_FOUND, "unknown store %.*s: not found", STR_ARG(id));
	return NULL;
}

/* One of these for each method: picks the store by the request's metadata. */
#define CONTENT_HANDLER(name)                                                                      \
	static struct err *on_content_##name(struct ctx *ctx, struct grpc_stream *s, void *arg)    \
	{                                                                                          \
		struct content *c;                                                                 \
                                                                                                   \
		TRY(pick_store(s, arg, &c));                                                       \
		return content_service_##name(ctx, s, c);                                          \
	}
CONTENT_HANDLER(info)
CONTENT_HANDLER(update)
CONTENT_HANDLER(list)
CONTENT_HANDLER(delete)
CONTENT_HANDLER(read)
CONTENT_HANDLER(status)
CONTENT_HANDLER(list_statuses)
CONTENT_HANDLER(write)
CONTENT_HANDLER(abort)

/* ---- services ---- */

static const struct grpc_method file_methods[] = {
	{ "/moby.filesync.v1.FileSync/DiffCopy", attach_filesync },
};
static const struct grpc_method export_methods[] = {
	{ "/moby.filesync.v1.FileSend/DiffCopy", attach_filesend },
};
static const struct grpc_method secret_methods[] = {
	{ "/moby.buildkit.secrets.v1.Secrets/GetSecret", attach_get_secret },
};
static const struct grpc_method ssh_methods[] = {
	{ "/moby.sshforward.v1.SSH/CheckAgent", attach_ssh_check },
	{ "/moby.sshforward.v1.SSH/ForwardAgent", attach_ssh_forward },
};
static const struct grpc_method upload_methods[] = {
	{ "/moby.upload.v1.Upload/Pull", attach_pull },
};
static const struct grpc_method auth_methods[] = {
	{ "/moby.filesync.v1.Auth/Credentials", attach_credentials },
	{ "/moby.filesync.v1.Auth/FetchToken", attach_fetch_token },
	{ "/moby.filesync.v1.Auth/GetTokenAuthority", attach_token_authority },
	{ "/moby.filesync.v1.Auth/VerifyTokenAuthority", attach_verify_authority },
};
#define C(method) "/containerd.services.content.v1.Content/" method
static const struct grpc_method content_methods[] = {
	{ C("Info"), on_content_info },
	{ C("Update"), on_content_update },
	{ C("List"), on_content_list },
	{ C("Delete"), on_content_delete },
	{ C("Read"), on_content_read },
	{ C("Status"), on_content_status },
	{ C("ListStatuses"), on_content_list_statuses },
	{ C("Write"), on_content_write },
	{ C("Abort"), on_content_abort },
};

struct methods {
	VEC(struct grpc_method) v;
};

static void add(struct methods *m, bool have, const struct grpc_method *list, size_t n)
{
	for (size_t i = 0; have && i < n; i++)
		vec_push(&m->v, list[i]);
}

/* Only what there is: the daemon asks which methods the client has. */
static void list_methods(const struct attach *a, struct methods *m)
{
	add(m, map_len(&a->locals), file_methods, ARRAY_SIZE(file_methods));
	add(m, a->exports.len, export_methods, ARRAY_SIZE(export_methods));
	add(m, map_len(&a->secrets), secret_methods, ARRAY_SIZE(secret_methods));
	add(m, map_len(&a->ssh), ssh_methods, ARRAY_SIZE(ssh_methods));
	add(m, map_len(&a->uploads), upload_methods, ARRAY_SIZE(upload_methods));
	add(m, a->auth != NULL, auth_methods, ARRAY_SIZE(auth_methods));
	add(m, map_len(&a->stores), content_methods, ARRAY_SIZE(content_methods));
}

static struct err *open_session(struct attach *a, struct ctx *ctx, struct grpc_client *daemon,
				const struct methods *m, struct grpc_stream **ret)
{
	struct str key = str_from(a->shared_key);
	SCOPED_ARENA(arena);
	SCOPED_MD(md, &arena);

	md_add(&md, "x-docker-expose-session-uuid", str_from(a->id));
	md_add_list(&md, "x-docker-expose-session-sharedkey", &key, 1);
	for (size_t i = 0; i < m->v.len; i++)
		md_add(&md, "x-docker-expose-session-grpc-method", str_from(m->v.items[i].path));
	md_add(&md, "x-docker-expose-session-grpc-method", STR("/grpc.health.v1.Health/Check"));
	return grpc_call(daemon, ctx, SESSION, md.v.items, md.v.len, ret);
}

/* The stream's own end, after the connection in it has ended. */
static struct err *say_goodbye(struct attach *a, struct grpc_stream *st)
{
	struct ctx *ctx = ctx_new_timeout(a->ctx, GOODBYE_NS);
	SCOPED_BUF(msg, LIMIT_GRPC_MESSAGE);
	struct err *e = grpc_close_send(st);
	bool eof = false;

	while (!e && !eof)
		e = grpc_recv(st, ctx, &msg, &eof);
	ctx_unref(ctx);
	return e;
}

struct err *attach_run(struct attach *a, struct ctx *ctx, struct grpc_client *daemon)
{
	CLEANUP(grpc_stream_freep) struct grpc_stream *st = NULL;
	struct methods m = { 0 };
	struct grpc_server *server;
	/* The stream outlives ctx by its goodbye. */
	struct ctx *life = ctx_new(a->ctx);
	struct err *e;

	list_methods(a, &m);
	server = grpc_server_new(a->loop, life, m.v.items, m.v.len, a);
	e = open_session(a, life, daemon, &m, &st);
	if (!e) {
		e = grpc_server_serve_tunnel(server, ctx, st);
		if (e && ctx_done(ctx)) {
			err_free(e);
			e = NULL;
			err_free(say_goodbye(a, st));
		} else if (!e) {
			e = say_goodbye(a, st);
		}
	}
	grpc_server_free(server);
	grpc_stream_freep(&st);
	ctx_cancel(life, NULL);
	ctx_unref(life);
	vec_fini(&m.v);
	return e;
}
