#include "session/attach_internal.h"

#include "base/limits.h"
#include "codec/io.h"
#include "sys/file.h"

#include <errno.h>
#include <sys/stat.h>

static void free_secret(void *p)
{
	struct attach_secret *s = p;

	if (s) {
		free(s->path);
		free(s->env);
		free(s);
	}
}

void attach_free_secrets(struct attach *a)
{
	map_fini(&a->secrets, free_secret);
}

static struct err *add(struct attach *a, const char *id, const char *path, const char *env)
{
	struct attach_secret *s;

	if (!*id)
		return err_new(ERR_INVALID_ARGUMENT, "secret missing ID");
	s = NEW(struct attach_secret);
	s->path = path ? mem_strdup(path) : NULL;
	s->env = env ? mem_strdup(env) : NULL;
	free_secret(map_put(&a->secrets, str_from(id), s));
	return NULL;
}

struct err *attach_add_secret_file(struct attach *a, const char *id, const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return err_wrap(err_errno(errno, "stat %s", path), "failed to stat %s", path);
	if (st.st_size > LIMIT_SECRET)
		return err_new(ERR_INVALID_ARGUMENT, "secret %s too big. max size 500KB", id);
	return add(a, id, path, NULL);
}

struct err *attach_add_secret_env(struct attach *a, const char *id, const char *env)
{
	return add(a, id, NULL, env);
}

struct err *attach_get_secret(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	Moby__Buildkit__Secrets__V1__GetSecretRequest *q;
	Moby__Buildkit__Secrets__V1__GetSecretResponse r =
		MOBY__BUILDKIT__SECRETS__V1__GET_SECRET_RESPONSE__INIT;
	struct attach *a = arg;
	struct attach_secret *secret;
	SCOPED_ARENA(mem);
	struct str value;

	TRY(grpc_recv_request(s, ctx, &mem,
			      &moby__buildkit__secrets__v1__get_secret_request__descriptor, &q));
	secret = map_get(&a->secrets, str_from(q->id));
	if (!secret)
		return err_new(ERR_NOT_FOUND, "not found");
	if (secret->env)
		value = str_from(getenv(secret->env));
	else
		TRY(file_read_str(AT_FDCWD, secret->path, &mem, LIMIT_SECRET + 1, &value));
	if (value.len > LIMIT_SECRET)
		return err_new(ERR_UNKNOWN, "invalid secret size %zu", value.len);
	r.data = proto_from_str(value);
	return grpc_send_msg(s, ctx, &r);
}

/* ---- uploads: a reader, once ---- */

static void free_upload(void *p)
{
	reader_close(p);
}

void attach_free_uploads(struct attach *a)
{
	map_fini(&a->uploads, free_upload);
}

const char *attach_add_upload(struct attach *a, struct reader *take_r, struct arena *mem)
{
	char *id = id_new(mem);

	(void)map_put(&a->uploads, str_from(id), take_r);
	return arena_printf(mem, "http://buildkit-session/%s", id);
}

struct err *attach_pull(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	struct attach *a = arg;
	struct str path = grpc_md_get(s, "urlpath");
	struct str id = str_sub(path, (size_t)(str_rfind(path, '/') + 1), path.len);
	CLEANUP(reader_closep) struct reader *r = NULL;
	SCOPED_BUF(scratch, MIB + 64);
	CLEANUP_FREE char *mem = mem_realloc(NULL, MIB, 1);
	size_t n;

	lock_take(&a->lock);
	r = map_del(&a->uploads, id);
	lock_drop(&a->lock);
	if (!r)
		return err_new(ERR_UNKNOWN, "no http response from session for %.*s", STR_ARG(id));
	for (;;) {
		TRY(reader_read(r, mem, MIB, &n));
		if (!n)
			return NULL;
		TRY(bytes_send(s, ctx, str_make(mem, n), &scratch));
	}
}
