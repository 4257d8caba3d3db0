#include "session/internal.h"

#include "base/limits.h"
#include "grpc/message.h"

struct secret_call {
	struct str id;
	struct buf *out;
};

static struct err *get_secret(struct ctx *ctx, struct session *s, void *arg)
{
	Moby__Buildkit__Secrets__V1__GetSecretRequest q =
		MOBY__BUILDKIT__SECRETS__V1__GET_SECRET_REQUEST__INIT;
	Moby__Buildkit__Secrets__V1__GetSecretResponse *r;
	struct secret_call *c = arg;
	SCOPED_ARENA(a);
	struct err *e;

	q.id = str_cstr(&a, c->id);
	e = grpc_unary_msg(s->client, ctx, "/moby.buildkit.secrets.v1.Secrets/GetSecret", NULL, 0,
			   &q, &a, &moby__buildkit__secrets__v1__get_secret_response__descriptor,
			   &r);
	if (err_is(e, ERR_UNIMPLEMENTED) || err_is(e, ERR_NOT_FOUND)) {
		err_free(e);
		return err_new(ERR_NOT_FOUND, "secret %.*s: not found", STR_ARG(c->id));
	}
	TRY(e);
	if (r->data.len > LIMIT_SECRET)
		return err_new(ERR_RESOURCE_EXHAUSTED, "invalid secret size %zu", r->data.len);
	buf_add_str(c->out, proto_bytes(r->data));
	return buf_check(c->out, "secret");
}

struct err *session_secret(struct session_manager *m, struct ctx *ctx, struct session_group *g,
			   struct str id, struct buf *out)
{
	struct secret_call c = { id, out };

	return session_any(m, ctx, g, get_secret, &c);
}
