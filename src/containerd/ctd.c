#include "containerd/internal.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"

/* Between tries to reach a socket that nobody listens on: the kernel does not tell when it comes.
 */
#define DIAL_RETRY (50 * NSEC_PER_MSEC)

/* ---- the connection ---- */

void ctd_conn_unref(struct ctd_conn *conn)
{
	if (!conn || !ref_put(&conn->ref))
		return;
	grpc_client_close(conn->client);
	free(conn);
}

static bool is_alive(const struct ctd_conn *conn)
{
	return conn && !ctx_done(grpc_client_ctx(conn->client));
}

static struct err *dial(struct ctd *c, struct ctx *ctx, struct ctd_conn **ret)
{
	struct grpc_dial o = { .authority = "localhost" };
	int64_t until = clock_now() + c->first_patience;
	struct grpc_client *client;
	SCOPED_ARENA(a);

	for (;;) {
		struct err *e = grpc_client_dial(
			c->loop, ctx, arena_printf(&a, "unix://%s", c->address), &o, &client);

		if (!e)
			break;
		if (ctx_done(ctx) || clock_now() > until)
			return err_wrap(e,
					"failed to connect client to \"%s\" . make sure "
					"containerd is running",
					c->address);
		err_free(e);
		TRY(ctx_sleep(ctx, DIAL_RETRY));
	}
	*ret = NEW(struct ctd_conn);
	ref_init(&(*ret)->ref);
	(*ret)->client = client;
	return NULL;
}

struct err *ctd_connect(struct ctd *c, struct ctx *ctx, struct ctd_conn **ret)
{
	struct ctd_conn *fresh = NULL, *old = NULL;
	struct err *e = NULL;

	lock_take(&c->lock);
	while (c->dialing && !is_alive(c->conn) && !e)
		e = cond_wait(&c->changed, &c->lock, ctx);
	if (!e && is_alive(c->conn)) {
		ref_get(&c->conn->ref);
		*ret = c->conn;
		lock_drop(&c->lock);
		return NULL;
	}
	if (!e)
		c->dialing = true;
	lock_drop(&c->lock);
	TRY(e);
	e = dial(c, ctx, &fresh);
	lock_take(&c->lock);
	c->dialing = false;
	if (fresh) {
		old = c->conn;
		c->conn = fresh;
		ref_get(&fresh->ref);
	}
	cond_broadcast(&c->changed);
	lock_drop(&c->lock);
	ctd_conn_unref(old);
	*ret = fresh;
	return e;
}

size_t ctd_md(const struct ctd *c, struct grpc_md ret[2])
{
	size_t n = 0;

	ret[n++] = (struct grpc_md) { STR("containerd-namespace"), str_from(c->namespace) };
	if (c->lease)
		ret[n++] = (struct grpc_md) { STR("containerd-lease"), str_from(c->lease) };
	return n;
}

struct err *ctd_call(struct ctd *c, struct ctx *ctx, const char *path, const void *request,
		     struct arena *a, const ProtobufCMessageDescriptor *reply, void *ret_reply,
		     bool *ret_again)
{
	struct grpc_md md[2];
	size_t n = ctd_md(c, md);
	int64_t until = clock_now() + CTD_PATIENCE;

	for (bool again = false;; again = true) {
		struct ctd_conn *conn;
		struct err *e;
		bool lost;

		if (ret_again)
			*ret_again = again;
		TRY(ctd_connect(c, ctx, &conn));
		e = grpc_unary_msg(conn->client, ctx, path, md, n, request, a, reply, ret_reply);
		lost = !is_alive(conn);
		ctd_conn_unref(conn);
		if (!e || !lost || ctx_done(ctx) || clock_now() > until)
			return e;
		err_free(e);
	}
}

struct err *ctd_do(struct ctd *c, struct ctx *ctx, const char *path, const void *request)
{
	Google__Protobuf__Empty *reply;
	SCOPED_ARENA(a);

	return ctd_call(c, ctx, path, request, &a, &google__protobuf__empty__descriptor, &reply,
			NULL);
}

struct err *ctd_undo(struct ctd *c, struct ctx *ctx, const char *path, const void *request)
{
	struct err *e = ctd_do(c, ctx, path, request);

	if (!err_is(e, ERR_NOT_FOUND))
		return e;
	err_free(e);
	return NULL;
}

/* ---- namespace, lease ---- */

static struct err *exists_is_fine(struct err *e)
{
	if (!err_is(e, ERR_ALREADY_EXISTS))
		return e;
	err_free(e);
	return NULL;
}

static struct err *make_namespace(struct ctd *c, struct ctx *ctx)
{
	Ctd__Namespace ns = CTD__NAMESPACE__INIT;
	Ctd__CreateNamespaceRequest q = CTD__CREATE_NAMESPACE_REQUEST__INIT;
	Ctd__CreateNamespaceResponse *r;
	SCOPED_ARENA(a);

	ns.name = (char *)c->namespace;
	q.namespace_ = &ns;
	return exists_is_fine(ctd_call(c, ctx, CTD_SERVICE("namespaces.v1.Namespaces", "Create"),
				       &q, &a, &ctd__create_namespace_response__descriptor, &r,
				       NULL));
}

struct err *ctd_use_lease(struct ctd *c, struct ctx *ctx, const char *worker_id)
{
	Ctd__CreateLeaseRequest q = CTD__CREATE_LEASE_REQUEST__INIT;
	Ctd__CreateLeaseResponse *r;
	SCOPED_ARENA(a);
	char *lease = arena_printf(&c->arena, "buildkit-c-%s", worker_id);

	q.id = lease;
	TRY(exists_is_fine(ctd_call(c, ctx, CTD_SERVICE("leases.v1.Leases", "Create"), &q, &a,
				    &ctd__create_lease_response__descriptor, &r, NULL)));
	c->worker_id = arena_strdup(&c->arena, worker_id);
	c->lease = lease;
	return NULL;
}

struct err *ctd_lease_add(struct ctd *c, struct ctx *ctx, const char *type, const char *id)
{
	Ctd__Resource r = CTD__RESOURCE__INIT;
	Ctd__LeaseResourceRequest q = CTD__LEASE_RESOURCE_REQUEST__INIT;

	r.type = (char *)type;
	r.id = (char *)id;
	q.id = (char *)c->lease;
	q.resource = &r;
	return exists_is_fine(ctd_do(c, ctx, CTD_SERVICE("leases.v1.Leases", "AddResource"), &q));
}

struct err *ctd_lease_drop(struct ctd *c, struct ctx *ctx, const char *type, const char *id)
{
	Ctd__Resource r = CTD__RESOURCE__INIT;
	Ctd__LeaseResourceRequest q = CTD__LEASE_RESOURCE_REQUEST__INIT;

	r.type = (char *)type;
	r.id = (char *)id;
	q.id = (char *)c->lease;
	q.resource = &r;
	return ctd_undo(c, ctx, CTD_SERVICE("leases.v1.Leases", "DeleteResource"), &q);
}

struct err *ctd_collect(struct ctd *c, struct ctx *ctx)
{
	Ctd__CreateLeaseRequest q = CTD__CREATE_LEASE_REQUEST__INIT;
	Ctd__DeleteLeaseRequest d = CTD__DELETE_LEASE_REQUEST__INIT;
	Ctd__CreateLeaseResponse *r;
	SCOPED_ARENA(a);

	q.id = d.id = arena_printf(&a, "%s-collect", c->lease);
	d.sync = true;
	TRY(exists_is_fine(ctd_call(c, ctx, CTD_SERVICE("leases.v1.Leases", "Create"), &q, &a,
				    &ctd__create_lease_response__descriptor, &r, NULL)));
	return ctd_undo(c, ctx, CTD_SERVICE("leases.v1.Leases", "Delete"), &d);
}

/* ---- the whole ---- */

struct err *ctd_uuid(struct ctd *c, struct ctx *ctx, struct arena *a, struct str *ret)
{
	Google__Protobuf__Empty q = GOOGLE__PROTOBUF__EMPTY__INIT;
	Ctd__ServerResponse *r;

	TRY(ctd_call(c, ctx, CTD_SERVICE("introspection.v1.Introspection", "Server"), &q, a,
		     &ctd__server_response__descriptor, &r, NULL));
	*ret = str_from(r->uuid);
	return NULL;
}

struct err *ctd_open(struct grpc_loop *loop, struct ctx *ctx, const struct ctd_config *cfg,
		     int64_t patience_ns, struct ctd **ret)
{
	struct ctd *c = NEW(struct ctd);
	struct err *e;

	c->loop = loop;
	c->ctx = ctx;
	c->address = arena_strdup(&c->arena, cfg->address);
	c->namespace = arena_strdup(&c->arena, cfg->namespace);
	c->snapshotter = arena_strdup(&c->arena, cfg->snapshotter);
	c->runtime = arena_strdup(&c->arena, cfg->runtime);
	c->runtime_path = cfg->runtime_path ? arena_strdup(&c->arena, cfg->runtime_path) : NULL;
	c->first_patience = patience_ns;
	lock_init(&c->lock, LOCK_CONTENT);
	cond_init(&c->changed);
	ctd_driver_init(c);
	ctd_images_init(c);
	e = make_namespace(c, ctx);
	if (e) {
		ctd_close(c);
		return e;
	}
	c->first_patience = CTD_PATIENCE;
	*ret = c;
	return NULL;
}

void ctd_close(struct ctd *c)
{
	if (!c)
		return;
	ctd_conn_unref(c->conn);
	cond_fini(&c->changed);
	lock_fini(&c->lock);
	arena_fini(&c->arena);
	free(c);
}
