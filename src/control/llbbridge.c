#include "control/gateway.h"

#include "base/limits.h"
#include "base/mem.h"
#include "control/caps.h"
#include "control/files.h"
#include "grpc/message.h"

/* The bridge over the wire: for clients that drive a build themselves, and for frontends in
 * containers, which have a connection of their own. */

#define BUILD_WAIT (3 * NSEC_PER_SEC)

/* ---- finding the build ---- */

static struct err *find_gateway(struct control *c, struct ctx *ctx, struct str id,
				struct gateway **ret)
{
	int64_t until = clock_now() + BUILD_WAIT;
	bool timeout = false;

	LOCKED(&c->lock);
	for (;;) {
		struct gateway *g = map_get(&c->builds, id);

		/* Counted before the lock goes, so that its Solve waits for us. */
		if (g && gateway_enter(g)) {
			*ret = g;
			return NULL;
		}
		if (timeout)
			return err_new(ERR_NOT_FOUND, "no such job %.*s", STR_ARG(id));
		TRY(cond_wait_until(&c->builds_changed, &c->lock, ctx, until, &timeout));
	}
}

static void cancel_call(void *arg)
{
	ctx_cancel(arg, NULL);
}

typedef struct err *(*bridge_fn)(struct gateway *g, struct ctx *ctx, struct grpc_stream *s,
				 struct arena *a);

/* Runs fn, which ends with the gateway as well as with the call, and leaves the gateway. */
static struct err *run_call(struct gateway *g, struct ctx *ctx, struct grpc_stream *s, bridge_fn fn)
{
	SCOPED_ARENA(a);
	struct ctx_watch w;
	struct ctx *call = ctx_new(ctx);
	struct err *e;

	if (!ctx_watch(g->ctx, &w, cancel_call, call))
		ctx_cancel(call, NULL);
	e = fn(g, call, s, &a);
	ctx_unwatch(g->ctx, &w);
	ctx_unref(call);
	gateway_leave(g);
	return e;
}

/* For the gateway of the build that the call's metadata names. */
static struct err *with_build(struct control *c, struct ctx *ctx, struct grpc_stream *s,
			      const char *method, bridge_fn fn)
{
	struct str id = grpc_md_get(s, "buildkit-controlapi-buildid");
	struct gateway *g;

	if (!id.len)
		return err_wrap(err_new(ERR_INVALID_ARGUMENT, "no buildid found in context"),
				"forwarding %s", method);
	TRYW(find_gateway(c, ctx, id, &g), "forwarding %s", method);
	return run_call(g, ctx, s, fn);
}

static struct err *with_gateway(struct gateway *g, struct ctx *ctx, struct grpc_stream *s,
				bridge_fn fn)
{
	if (!gateway_enter(g))
		return err_new(ERR_UNAVAILABLE, "gateway forwarder is closing");
	return run_call(g, ctx, s, fn);
}

/* ---- the methods ---- */

static struct err *ping(struct gateway *g, struct ctx *ctx, struct grpc_stream *s, struct arena *a)
{
	Moby__Buildkit__V1__Frontend__PingRequest *req;
	Moby__Buildkit__V1__Frontend__PongResponse r =
		MOBY__BUILDKIT__V1__FRONTEND__PONG_RESPONSE__INIT;
	struct control *c = g->build->control;

	TRY(grpc_recv_request(s, ctx, a, &moby__buildkit__v1__frontend__ping_request__descriptor,
			      &req));
	r.frontendapicaps = bridge_frontend_caps(a, &r.n_frontendapicaps);
	r.llbcaps = op_caps(a, &r.n_llbcaps);
	r.workers = ARENA_NEW_N(a, Moby__Buildkit__V1__Types__WorkerRecord *, c->n_workers + 1);
	for (size_t i = 0; i < c->n_workers; i++)
		r.workers[r.n_workers++] = control_worker_record(c, a, &c->workers[i]);
	return grpc_send_msg(s, ctx, &r);
}

static struct err *solve(struct gateway *g, struct ctx *ctx, struct grpc_stream *s, struct arena *a)
{
	Moby__Buildkit__V1__Frontend__SolveRequest *req;
	Moby__Buildkit__V1__Frontend__SolveResponse r =
		MOBY__BUILDKIT__V1__FRONTEND__SOLVE_RESPONSE__INIT;
	struct frontend_result result;
	struct err *e;

	TRY(grpc_recv_request(s, ctx, a, &moby__buildkit__v1__frontend__solve_request__descriptor,
			      &req));
	TRY(build_solve(g->build, ctx, req, &result));
	r.result = gateway_result_to_pb(g, &result, a);
	if (!req->allowresultreturn) {
		/* Clients from before results: the id of a single ref. */
		if (r.result->result_case == MOBY__BUILDKIT__V1__FRONTEND__RESULT__RESULT_REF)
			r.ref = r.result->ref->id;
		r.result = NULL;
	}
	e = grpc_send_msg(s, ctx, &r);
	frontend_result_fini(&result);
	return e;
}

static struct err *resolve_source_meta(struct gateway *g, struct ctx *ctx, struct grpc_stream *s,
				       struct arena *a)
{
	Moby__Buildkit__V1__Frontend__ResolveSourceMetaRequest *req;
	Moby__Buildkit__V1__Frontend__ResolveSourceMetaResponse *r;

	TRY(grpc_recv_request(
		s, ctx, a, &moby__buildkit__v1__frontend__resolve_source_meta_request__descriptor,
		&req));
	TRY(build_resolve_source_meta(g->build, ctx, req, a, &r));
	return grpc_send_msg(s, ctx, r);
}

/* The older form of it, for images only. */
static struct err *resolve_image_config(struct gateway *g, struct ctx *ctx, struct grpc_stream *s,
					struct arena *a)
{
	Moby__Buildkit__V1__Frontend__ResolveImageConfigRequest *req;
	Moby__Buildkit__V1__Frontend__ResolveImageConfigResponse r =
		MOBY__BUILDKIT__V1__FRONTEND__RESOLVE_IMAGE_CONFIG_RESPONSE__INIT;
	Moby__Buildkit__V1__Frontend__ResolveSourceMetaRequest meta =
		MOBY__BUILDKIT__V1__FRONTEND__RESOLVE_SOURCE_META_REQUEST__INIT;
	Moby__Buildkit__V1__Frontend__ResolveSourceMetaResponse *got;
	Pb__SourceOp op = PB__SOURCE_OP__INIT;
	Pb__SourceOp__AttrsEntry session = PB__SOURCE_OP__ATTRS_ENTRY__INIT,
				 store = PB__SOURCE_OP__ATTRS_ENTRY__INIT;
	Pb__SourceOp__AttrsEntry *attrs[2] = { &session, &store };
	bool layout;

	TRY(grpc_recv_request(
		s, ctx, a, &moby__buildkit__v1__frontend__resolve_image_config_request__descriptor,
		&req));
	layout = req->resolvertype == 1;
	op.identifier =
		arena_printf(a, "%s://%s", layout ? "oci-layout" : "docker-image", req->ref);
	if (layout) {
		session.key = (char *)"oci.session";
		session.value = req->sessionid;
		store.key = (char *)"oci.store";
		store.value = req->storeid;
		op.attrs = attrs;
		op.n_attrs = 2;
	}
	meta.source = &op;
	meta.platform = req->platform;
	meta.logname = req->logname;
	meta.resolvemode = req->resolvemode;
	TRY(build_resolve_source_meta(g->build, ctx, &meta, a, &got));
	r.digest = got->image->digest;
	r.config = got->image->config;
	r.ref = req->ref;
	return grpc_send_msg(s, ctx, &r);
}

static struct err *read_file(struct gateway *g, struct ctx *ctx, struct grpc_stream *s,
			     struct arena *a)
{
	Moby__Buildkit__V1__Frontend__ReadFileRequest *req;
	Moby__Buildkit__V1__Frontend__ReadFileResponse r =
		MOBY__BUILDKIT__V1__FRONTEND__READ_FILE_RESPONSE__INIT;
	SCOPED_BUF(data, LIMIT_GRPC_MESSAGE - 64);
	struct bridge_ref *ref;
	struct err *e;

	TRY(grpc_recv_request(s, ctx, a,
			      &moby__buildkit__v1__frontend__read_file_request__descriptor, &req));
	TRY(gateway_ref(g, req->ref, &ref));
	if (!ref)
		return err_new(ERR_NOT_FOUND, "open %s: no such file or directory", req->filepath);
	e = ref->ops->read_file(ref, ctx, str_from(req->filepath),
				req->range ? req->range->offset : 0,
				req->range ? req->range->length : 0, &data);
	bridge_ref_put(ref);
	TRY(e);
	r.data = proto_from_str(buf_str(&data));
	return grpc_send_msg(s, ctx, &r);
}

static struct err *read_dir(struct gateway *g, struct ctx *ctx, struct grpc_stream *s,
			    struct arena *a)
{
	Moby__Buildkit__V1__Frontend__ReadDirRequest *req;
	Moby__Buildkit__V1__Frontend__ReadDirResponse r =
		MOBY__BUILDKIT__V1__FRONTEND__READ_DIR_RESPONSE__INIT;
	struct bridge_ref *ref;
	struct err *e;

	TRY(grpc_recv_request(s, ctx, a,
			      &moby__buildkit__v1__frontend__read_dir_request__descriptor, &req));
	TRY(gateway_ref(g, req->ref, &ref));
	if (!ref)
		return err_new(ERR_NOT_FOUND, "open %s: no such file or directory", req->dirpath);
	e = ref->ops->read_dir(ref, ctx, str_from(req->dirpath), str_from(req->includepattern), a,
			       &r.entries, &r.n_entries);
	bridge_ref_put(ref);
	TRY(e);
	return grpc_send_msg(s, ctx, &r);
}

static struct err *stat_file(struct gateway *g, struct ctx *ctx, struct grpc_stream *s,
			     struct arena *a)
{
	Moby__Buildkit__V1__Frontend__StatFileRequest *req;
	Moby__Buildkit__V1__Frontend__StatFileResponse r =
		MOBY__BUILDKIT__V1__FRONTEND__STAT_FILE_RESPONSE__INIT;
	struct bridge_ref *ref;
	struct err *e;

	TRY(grpc_recv_request(s, ctx, a,
			      &moby__buildkit__v1__frontend__stat_file_request__descriptor, &req));
	TRY(gateway_ref(g, req->ref, &ref));
	if (!ref)
		return err_new(ERR_NOT_FOUND, "lstat %s: no such file or directory", req->path);
	e = ref->ops->stat_file(ref, ctx, str_from(req->path), a, &r.stat);
	bridge_ref_put(ref);
	TRY(e);
	return grpc_send_msg(s, ctx, &r);
}

static struct err *evaluate(struct gateway *g, struct ctx *ctx, struct grpc_stream *s,
			    struct arena *a)
{
	Moby__Buildkit__V1__Frontend__EvaluateRequest *req;
	Moby__Buildkit__V1__Frontend__EvaluateResponse r =
		MOBY__BUILDKIT__V1__FRONTEND__EVALUATE_RESPONSE__INIT;
	struct bridge_ref *ref;
	struct err *e = NULL;

	TRY(grpc_recv_request(s, ctx, a,
			      &moby__buildkit__v1__frontend__evaluate_request__descriptor, &req));
	TRY(gateway_ref(g, req->ref, &ref));
	if (ref)
		e = ref->ops->evaluate(ref, ctx);
	bridge_ref_put(ref);
	TRY(e);
	return grpc_send_msg(s, ctx, &r);
}

static struct err *do_return(struct gateway *g, struct ctx *ctx, struct grpc_stream *s,
			     struct arena *a)
{
	Moby__Buildkit__V1__Frontend__ReturnRequest *req;
	Moby__Buildkit__V1__Frontend__ReturnResponse r =
		MOBY__BUILDKIT__V1__FRONTEND__RETURN_RESPONSE__INIT;
	struct frontend_result result = { 0 };
	struct err *failed = NULL;
	bool twice;

	TRY(grpc_recv_request(s, ctx, a, &moby__buildkit__v1__frontend__return_request__descriptor,
			      &req));
	if (!req->result == !req->error)
		return err_new(ERR_INVALID_ARGUMENT, "gateway return must be either result or err");
	if (req->error) {
		failed = proto_err_from_status(req->error);
		if (!failed)
			failed = err_new(ERR_UNKNOWN, "%s", req->error->message);
	} else {
		TRY(gateway_result_from_pb(g, req->result, &result));
	}
	lock_take(&g->lock);
	twice = g->has_result || g->result_err;
	if (!twice && failed) {
		g->result_err = TAKE_PTR(failed);
	} else if (!twice) {
		g->result = result;
		g->has_result = true;
		result = (struct frontend_result) { 0 };
	}
	cond_broadcast(&g->changed);
	lock_drop(&g->lock);
	frontend_result_fini(&result);
	err_free(failed);
	if (twice)
		return err_new(ERR_INVALID_ARGUMENT, "gateway result is already set");
	return grpc_send_msg(s, ctx, &r);
}

static struct err *inputs(struct gateway *g, struct ctx *ctx, struct grpc_stream *s,
			  struct arena *a)
{
	Moby__Buildkit__V1__Frontend__InputsRequest *req;
	Moby__Buildkit__V1__Frontend__InputsResponse r =
		MOBY__BUILDKIT__V1__FRONTEND__INPUTS_RESPONSE__INIT;

	TRY(grpc_recv_request(s, ctx, a, &moby__buildkit__v1__frontend__inputs_request__descriptor,
			      &req));
	r.n_definitions = g->n_inputs;
	r.definitions =
		ARENA_NEW_N(a, Moby__Buildkit__V1__Frontend__InputsResponse__DefinitionsEntry *,
			    r.n_definitions + 1);
	for (size_t i = 0; i < r.n_definitions; i++) {
		Moby__Buildkit__V1__Frontend__InputsResponse__DefinitionsEntry *e = ARENA_NEW(
			a, Moby__Buildkit__V1__Frontend__InputsResponse__DefinitionsEntry);

		moby__buildkit__v1__frontend__inputs_response__definitions_entry__init(e);
		e->key = str_cstr(a, g->inputs[i].name);
		e->value = (Pb__Definition *)g->inputs[i].def;
		r.definitions[i] = e;
	}
	return grpc_send_msg(s, ctx, &r);
}

static struct err *warn(struct gateway *g, struct ctx *ctx, struct grpc_stream *s, struct arena *a)
{
	Moby__Buildkit__V1__Frontend__WarnRequest *req;
	Moby__Buildkit__V1__Frontend__WarnResponse r =
		MOBY__BUILDKIT__V1__FRONTEND__WARN_RESPONSE__INIT;

	TRY(grpc_recv_request(s, ctx, a, &moby__buildkit__v1__frontend__warn_request__descriptor,
			      &req));
	TRY(build_warn(g->build, req));
	return grpc_send_msg(s, ctx, &r);
}

/* ---- containers ---- */

static struct err *new_container(struct gateway *g, struct ctx *ctx, struct grpc_stream *s,
				 struct arena *a)
{
	Moby__Buildkit__V1__Frontend__NewContainerRequest *req;
	Moby__Buildkit__V1__Frontend__NewContainerResponse r =
		MOBY__BUILDKIT__V1__FRONTEND__NEW_CONTAINER_RESPONSE__INIT;

	TRY(grpc_recv_request(
		s, ctx, a, &moby__buildkit__v1__frontend__new_container_request__descriptor, &req));
	TRY(gateway_new_container(g, ctx, req));
	return grpc_send_msg(s, ctx, &r);
}

static struct err *release_container(struct gateway *g, struct ctx *ctx, struct grpc_stream *s,
				     struct arena *a)
{
	Moby__Buildkit__V1__Frontend__ReleaseContainerRequest *req;
	Moby__Buildkit__V1__Frontend__ReleaseContainerResponse r =
		MOBY__BUILDKIT__V1__FRONTEND__RELEASE_CONTAINER_RESPONSE__INIT;

	TRY(grpc_recv_request(s, ctx, a,
			      &moby__buildkit__v1__frontend__release_container_request__descriptor,
			      &req));
	TRY(gateway_release_container(g, req->containerid));
	return grpc_send_msg(s, ctx, &r);
}

static struct err *exec_process(struct gateway *g, struct ctx *ctx, struct grpc_stream *s,
				struct arena *a)
{
	(void)a;
	return gateway_exec_process(g, ctx, s);
}

/* A mount of a container, to look into; path is the one asked for. */
static struct err *view_container(struct gateway *g, struct ctx *ctx, const char *id,
				  uint32_t index, const char *path, struct localmount **ret)
{
	struct gwcontainer *c = gateway_container(g, id);
	struct err *e;

	if (!c)
		return err_new(ERR_UNKNOWN, "container details for %s@%u not found", id, index);
	if (*path == '/')
		e = gwcontainer_view(c, ctx, index, ret);
	else
		e = err_new(ERR_UNKNOWN, "can't make %s relative to /", *path ? path : ".");
	gwcontainer_leave(c);
	return e;
}

static struct err *read_file_container(struct gateway *g, struct ctx *ctx, struct grpc_stream *s,
				       struct arena *a)
{
	Moby__Buildkit__V1__Frontend__ReadFileRequest *req;
	Moby__Buildkit__V1__Frontend__ReadFileResponse r =
		MOBY__BUILDKIT__V1__FRONTEND__READ_FILE_RESPONSE__INIT;
	SCOPED_BUF(data, LIMIT_GRPC_MESSAGE - 64);
	CLEANUP(localmount_closep) struct localmount *m = NULL;

	TRY(grpc_recv_request(s, ctx, a,
			      &moby__buildkit__v1__frontend__read_file_request__descriptor, &req));
	TRY(view_container(g, ctx, req->ref, (uint32_t)req->mountindex, req->filepath, &m));
	TRY(files_read_at(localmount_dirfd(m), str_from(req->filepath),
			  req->range ? req->range->offset : 0, req->range ? req->range->length : 0,
			  &data));
	r.data = proto_from_str(buf_str(&data));
	return grpc_send_msg(s, ctx, &r);
}

static struct err *read_dir_container(struct gateway *g, struct ctx *ctx, struct grpc_stream *s,
				      struct arena *a)
{
	Moby__Buildkit__V1__Frontend__ReadDirRequest *req;
	Moby__Buildkit__V1__Frontend__ReadDirResponse r =
		MOBY__BUILDKIT__V1__FRONTEND__READ_DIR_RESPONSE__INIT;
	CLEANUP(localmount_closep) struct localmount *m = NULL;

	TRY(grpc_recv_request(s, ctx, a,
			      &moby__buildkit__v1__frontend__read_dir_request__descriptor, &req));
	TRY(view_container(g, ctx, req->ref, (uint32_t)req->mountindex, req->dirpath, &m));
	TRY(files_list_at(localmount_dirfd(m), str_from(req->dirpath),
			  str_from(req->includepattern), a, &r.entries, &r.n_entries));
	return grpc_send_msg(s, ctx, &r);
}

static struct err *stat_file_container(struct gateway *g, struct ctx *ctx, struct grpc_stream *s,
				       struct arena *a)
{
	Moby__Buildkit__V1__Frontend__StatFileRequest *req;
	Moby__Buildkit__V1__Frontend__StatFileResponse r =
		MOBY__BUILDKIT__V1__FRONTEND__STAT_FILE_RESPONSE__INIT;
	CLEANUP(localmount_closep) struct localmount *m = NULL;

	TRY(grpc_recv_request(s, ctx, a,
			      &moby__buildkit__v1__frontend__stat_file_request__descriptor, &req));
	TRY(view_container(g, ctx, req->ref, (uint32_t)req->mountindex, req->path, &m));
	TRY(files_stat_at(localmount_dirfd(m), str_from(req->path), true, a, &r.stat));
	return grpc_send_msg(s, ctx, &r);
}

/* ---- the two tables: by build id, and on a connection of their own ---- */

#define BRIDGE "/moby.buildkit.v1.frontend.LLBBridge/"
#define BRIDGE_METHODS(M)                                                                          \
	M(ping, "Ping")                                                                            \
	M(solve, "Solve")                                                                          \
	M(resolve_image_config, "ResolveImageConfig")                                              \
	M(resolve_source_meta, "ResolveSourceMeta")                                                \
	M(read_file, "ReadFile")                                                                   \
	M(read_dir, "ReadDir")                                                                     \
	M(stat_file, "StatFile")                                                                   \
	M(evaluate, "Evaluate")                                                                    \
	M(do_return, "Return")                                                                     \
	M(inputs, "Inputs")                                                                        \
	M(warn, "Warn")                                                                            \
	M(new_container, "NewContainer")                                                           \
	M(release_container, "ReleaseContainer")                                                   \
	M(exec_process, "ExecProcess")                                                             \
	M(read_file_container, "ReadFileContainer")                                                \
	M(read_dir_container, "ReadDirContainer")                                                  \
	M(stat_file_container, "StatFileContainer")

#define HANDLERS(fn, method)                                                                       \
	struct err *llbbridge_##fn(struct ctx *ctx, struct grpc_stream *s, void *arg)              \
	{                                                                                          \
		return with_build(arg, ctx, s, method, fn);                                        \
	}                                                                                          \
	static struct err *own_##fn(struct ctx *ctx, struct grpc_stream *s, void *arg)             \
	{                                                                                          \
		return with_gateway(arg, ctx, s, fn);                                              \
	}
BRIDGE_METHODS(HANDLERS)

#define METHOD(fn, method) { BRIDGE method, own_##fn },
const struct grpc_method gateway_methods[] = { BRIDGE_METHODS(METHOD) };
const size_t gateway_n_methods = ARRAY_SIZE(gateway_methods);
