#include "grpc/internal.h"

struct err *grpc_loop_start(struct grpc_loop **ret)
{
	struct loop *l;
	struct grpc_loop *g;

	TRY(loop_start(&l));
	g = NEW(struct grpc_loop);
	g->loop = l;
	*ret = g;
	return NULL;
}

void grpc_loop_stop(struct grpc_loop *l)
{
	if (!l)
		return;
	loop_stop(l->loop);
	free(l);
}

static struct grpc_tls *wrap(struct tls *t)
{
	struct grpc_tls *g = NEW(struct grpc_tls);

	g->tls = t;
	return g;
}

struct err *grpc_tls_server(const char *cert, const char *key, const char *ca,
			    struct grpc_tls **ret)
{
	struct tls *t;

	TRY(tls_server_new(cert, key, ca, &t));
	*ret = wrap(t);
	return NULL;
}

struct err *grpc_tls_client(const char *server_name, const char *ca, const char *cert,
			    const char *key, struct grpc_tls **ret)
{
	struct tls *t;

	TRY(tls_client_new(server_name, ca, cert, key, &t));
	*ret = wrap(t);
	return NULL;
}

void grpc_tls_free(struct grpc_tls *t)
{
	if (!t)
		return;
	tls_free(t->tls);
	free(t);
}
