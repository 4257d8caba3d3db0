#include "cli/cmd.h"

#include "base/mem.h"
#include "grpc/message.h"

#include <sys/stat.h>

static bool exists(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0;
}

static struct err *pick(struct arena *a, const char *dir, const char *x, const char *y,
			const char **ret)
{
	*ret = arena_printf(a, "%s/%s", dir, x);
	if (exists(*ret))
		return NULL;
	*ret = arena_printf(a, "%s/%s", dir, y);
	if (exists(*ret))
		return NULL;
	return err_new(ERR_INVALID_ARGUMENT,
		       "directory did not contain one of the needed files: %s or %s", x, y);
}

static struct err *setup_tls(struct cli *c, const char *host)
{
	if (c->tls_dir) {
		if (c->tls_ca || c->tls_cert || c->tls_key)
			return err_new(ERR_INVALID_ARGUMENT,
				       "cannot specify tlsdir and tlscacert/tlscert/tlskey at the "
				       "same time");
		TRY(pick(c->arena, c->tls_dir, "ca.pem", "ca.crt", &c->tls_ca));
		TRY(pick(c->arena, c->tls_dir, "cert.pem", "tls.crt", &c->tls_cert));
		TRY(pick(c->arena, c->tls_dir, "key.pem", "tls.key", &c->tls_key));
	}
	if (!c->tls_ca && !c->tls_cert && !c->tls_key)
		return NULL;
	return grpc_tls_client(c->tls_server_name ? c->tls_server_name : host, c->tls_ca,
			       c->tls_cert, c->tls_key, &c->tls);
}

/* host of scheme://host:port */
static const char *host_of(struct cli *c)
{
	struct str s = str_from(c->addr);
	ptrdiff_t i = str_find_str(s, STR("://")), colon;

	s = str_sub(s, i < 0 ? 0 : (size_t)i + 3, s.len);
	colon = str_rfind(s, ':');
	if (colon >= 0)
		s = str_sub(s, 0, (size_t)colon);
	return str_cstr(c->arena, s);
}

static struct err *wait_for_backend(struct cli *c)
{
	for (;;) {
		Moby__Buildkit__V1__InfoRequest req = MOBY__BUILDKIT__V1__INFO_REQUEST__INIT;
		Moby__Buildkit__V1__InfoResponse *reply;
		SCOPED_ARENA(a);
		struct err *e = grpc_unary_msg(
			c->client, c->ctx, "/moby.buildkit.v1.Control/Info", NULL, 0, &req, &a,
			&moby__buildkit__v1__info_response__descriptor, &reply);

		if (!e || err_is(e, ERR_UNIMPLEMENTED)) {
			err_free(e);
			return NULL;
		}
		err_free(e);
		TRY(ctx_sleep(c->ctx, NSEC_PER_SEC));
	}
}

struct err *cli_connect(struct cli *c)
{
	struct grpc_dial dial = { 0 };
	CLEANUP(ctx_unrefp) struct ctx *ctx = NULL;
	const char *host = host_of(c);
	bool tcp = str_has_prefix(str_from(c->addr), STR("tcp://"));

	if (c->client)
		return NULL;
	if (!tcp && !str_has_prefix(str_from(c->addr), STR("unix://")))
		return err_new(ERR_UNIMPLEMENTED,
			       "address %s is not supported: use unix:// or tcp://", c->addr);
	TRY(setup_tls(c, host));
	dial.tls = tcp ? c->tls : NULL;
	dial.authority = c->tls_server_name ? c->tls_server_name : tcp ? host : "localhost";
	ctx = ctx_new_timeout(c->ctx, c->timeout_s * NSEC_PER_SEC);
	for (;;) {
		struct err *e = grpc_client_dial(c->loop, ctx, c->addr, &dial, &c->client);

		if (!e)
			break;
		if (!c->wait || ctx_done(c->ctx))
			return err_wrap(e, "failed to dial \"%s\" . make sure buildkitd is running",
					c->addr);
		err_free(e);
		TRY(ctx_sleep(c->ctx, NSEC_PER_SEC));
		ctx_unref(ctx);
		ctx = ctx_new_timeout(c->ctx, c->timeout_s * NSEC_PER_SEC);
	}
	return c->wait ? wait_for_backend(c) : NULL;
}

void cli_disconnect(struct cli *c)
{
	if (c->client)
		grpc_client_close(c->client);
	c->client = NULL;
	grpc_tls_free(c->tls);
	c->tls = NULL;
}
