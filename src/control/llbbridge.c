#include "control/build.h"

#include "base/id.h"
#include "base/limits.h"
#include "base/mem.h"
#include "control/caps.h"
#include "grpc/message.h"

/* The bridge over the wire, for clients that drive a build themselves. */

#define BUILD_WAIT (3 * NSEC_PER_SEC)

/* ---- finding the build ---- */

static struct err *find_build(struct control *c, struct ctx *ctx, struct str id, struct build **ret)
{
	int64_t until = clock_now() + BUILD_WAIT;
	bool timeout = false;

	LOCKED(&c->lock);
	for (;;) {
		struct build *b = map_get(&c->builds, id);

		if (b) {
			/* Counted before the lock goes, so that its Solve waits for us. */
			lock_take(&b->lock);
			b->calls++;
			lock_drop(&b->lock);
			*ret = b;
			return NULL;
		}
		if (timeout)
			return err_new(ERR_NOT_FOUND, "no such job %.*s", STR_ARG(id));
		TRY(cond_wait_until(&c->builds_changed, &c->lock, ctx, until, &timeout));
	}
}

static void leave(struct build *b)
{
	lock_take(&b->lock);
	b->calls--;
	cond_broadcast(&b->returned);
	lock_drop(&b->lock);
}

static void cancel_call(void *arg)
{
	ctx_cancel(arg, NULL);
}

typedef struct err *(*bridge_fn)(struct build *b, struct ctx *ctx, struct grpc_stream *s,
				 struct arena *a);

/* Runs fn for the build that the call's metadata names; ends with the build as well as
 * with the call. */
static struct err *with_build(struct control *c, struct ctx *ctx, struct grpc_stream *s,
			      const char *method, bridge_fn fn)
{
	struct str id = grpc_md_get(s, "buildkit-controlapi-buildid");
	SCOPED_ARENA(a);
	struct ctx_watch w;
	struct build *b;
	struct ctx *call;
	struct err *e;

	if (!id.len)
		return err_wrap(err_new(ERR_INVALID_ARGUMENT, "no buildid found in context"),
				"forwarding %s", method);
	TRYW(find_build(c, ctx, id, &b), "forwarding %s", method);
	call = ctx_new(ctx);
	if (!ctx_watch(b->ctx, &w, cancel_call, call))
		ctx_cancel(call, NULL);
	e = fn(b, call, s, &a);
	ctx_unwatch(b->ctx, &w);
	ctx_unref(call);
	leave(b);
	return e;
}

/* ---- refs by id ---- */

static struct err *find_ref(struct build *b, const char *id, struct bridge_ref **ret)
{
	LOCKED(&b->lock);
	if (!*id) {
		*ret = NULL;
		return NULL;
	}
	*ret = bridge_ref_get(map_get(&b->refs, str_from(id)));
	if (*ret)
		return NULL;
	return err_new(ERR_UNKNOWN, "no such ref: %s", id);
}

static Moby__Buildkit__V1__Frontend__Ref *register_ref(struct build *b, struct bridge_ref *r,
						       struct arena *a)
{
	Moby__Buildkit__V1__Frontend__Ref *out = ARENA_NEW(a, Moby__Buildkit__V1__Frontend__Ref);

	moby__buildkit__v1__frontend__ref__init(out);
	if (!r)
		return out;
	out->id = id_new(a);
	/* The client turns a result into the input of another build by this. */
	out->def = (Pb__Definition *)r->ops->definition(r);
	lock_take(&b->lock);
	(void)map_put(&b->refs, str_from(out->id), bridge_ref_get(r));
	lock_drop(&b->lock);
	return out;
}

static Moby__Buildkit__V1__Frontend__Result *result_to_pb(struct build *b,
							  const struct frontend_result *r,
							  struct arena *a)
{
	Moby__Buildkit__V1__Frontend__Result *out =
		ARENA_NEW(a, Moby__Buildkit__V1__Frontend__Result);

	moby__buildkit__v1__frontend__result__init(out);
	if (r->is_map) {
		Moby__Buildkit__V1__Frontend__RefMap *m =
			ARENA_NEW(a, Moby__Buildkit__V1__Frontend__RefMap);

		moby__buildkit__v1__frontend__ref_map__init(m);
		m->n_refs = r->n_refs;
		m->refs = ARENA_NEW_N(a, Moby__Buildkit__V1__Frontend__RefMap__RefsEntry *,
				      r->n_refs + 1);
		for (size_t i = 0; i < r->n_refs; i++) {
			m->refs[i] = ARENA_NEW(a, Moby__Buildkit__V1__Frontend__RefMap__RefsEntry);
			moby__buildkit__v1__frontend__ref_map__refs_entry__init(m->refs[i]);
			m->refs[i]->key = str_cstr(a, r->refs[i].key);
			m->refs[i]->value = register_ref(b, r->refs[i].ref, a);
		}
		out->result_case = MOBY__BUILDKIT__V1__FRONTEND__RESULT__RESULT_REFS;
		out->refs = m;
	} else {
		out->result_case = MOBY__BUILDKIT__V1__FRONTEND__RESULT__RESULT_REF;
		out->ref = register_ref(b, r->ref, a);
	}
	out->n_metadata = r->n_metadata;
	out->metadata = ARENA_NEW_N(a, Moby__Buildkit__V1__Frontend__Result__MetadataEntry *,
				    r->n_metadata + 1);
	for (size_t i = 0; i < r->n_metadata; i++) {
		out->metadata[i] =
			ARENA_NEW(a, Moby__Buildkit__V1__Frontend__Result__MetadataEntry);
		moby__buildkit__v1__frontend__result__metadata_entry__init(out->metadata[i]);
		out->metadata[i]->key = str_cstr(a, r->metadata[i].key);
		out->metadata[i]->value = proto_from_str(r->metadata[i].value);
	}
	return out;
}

static struct err *result_from_pb(struct build *b, const Moby__Buildkit__V1__Frontend__Result *in,
				  struct frontend_result *ret)
{
	struct frontend_result r;
	struct bridge_ref *ref;
	struct err *e = NULL;

	frontend_result_init(&r);
	switch (in->result_case) {
	case MOBY__BUILDKIT__V1__FRONTEND__RESULT__RESULT_REF:
		e = find_ref(b, in->ref->id, &ref);
		if (!e)
			frontend_result_set_ref(&r, ref);
		break;
	case MOBY__BUILDKIT__V1__FRONTEND__RESULT__RESULT_REF_DEPRECATED:
		e = find_ref(b, in->refdeprecated, &ref);
		if (!e)
			frontend_result_set_ref(&r, ref);
		break;
	case MOBY__BUILDKIT__V1__FRONTEND__RESULT__RESULT_REFS:
		r.is_map = true;
		for (size_t i = 0; i < in->refs->n_refs && !e; i++) {
			e = find_ref(b,
				     in->refs->refs[i]->value ? in->refs->refs[i]->value->id : "",
				     &ref);
			if (!e)
				frontend_result_add_ref(&r, str_from(in->refs->refs[i]->key), ref);
		}
		break;
	case MOBY__BUILDKIT__V1__FRONTEND__RESULT__RESULT_REFS_DEPRECATED:
		r.is_map = true;
		for (size_t i = 0; i < in->refsdeprecated->n_refs && !e; i++) {
			e = find_ref(b, in->refsdeprecated->refs[i]->value, &ref);
			if (!e)
				frontend_result_add_ref(
					&r, str_from(in->refsdeprecated->refs[i]->key), ref);
		}
		break;
	default:
		break;
	}
	for (size_t i = 0; i < in->n_metadata && !e; i++)
		frontend_result_set_meta(&r, str_from(in->metadata[i]->key),
					 proto_bytes(in->metadata[i]->value));
	if (!e && in->n_attestations)
		e = err_new(ERR_UNIMPLEMENTED, "attestations are not supported");
	if (e) {
		frontend_result_fini(&r);
		return e;
	}
	*ret = r;
	return NULL;
}

/* ---- the methods ---- */

static struct err *ping(struct build *b, struct ctx *ctx, struct grpc_stream *s, struct arena *a)
{
	Moby__Buildkit__V1__Frontend__PingRequest *req;
	Moby__Buildkit__V1__Frontend__PongResponse r =
		MOBY__BUILDKIT__V1__FRONTEND__PONG_RESPONSE__INIT;
	Moby__Buildkit__V1__Types__WorkerRecord *w[1];

	TRY(grpc_recv_request(s, ctx, a, &moby__buildkit__v1__frontend__ping_request__descriptor,
			      &req));
	r.frontendapicaps = bridge_frontend_caps(a, &r.n_frontendapicaps);
	r.llbcaps = op_caps(a, &r.n_llbcaps);
	w[0] = control_worker_record(b->control, a);
	r.workers = w;
	r.n_workers = 1;
	return grpc_send_msg(s, ctx, &r);
}

static struct err *solve(struct build *b, struct ctx *ctx, struct grpc_stream *s, struct arena *a)
{
	Moby__Buildkit__V1__Frontend__SolveRequest *req;
	Moby__Buildkit__V1__Frontend__SolveResponse r =
		MOBY__BUILDKIT__V1__FRONTEND__SOLVE_RESPONSE__INIT;
	struct frontend_result result;
	struct err *e;

	TRY(grpc_recv_request(s, ctx, a, &moby__buildkit__v1__frontend__solve_request__descriptor,
			      &req));
	TRY(build_solve(b, ctx, req, &result));
	r.result = result_to_pb(b, &result, a);
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

static struct err *resolve_source_meta(struct build *b, struct ctx *ctx, struct grpc_stream *s,
				       struct arena *a)
{
	Moby__Buildkit__V1__Frontend__ResolveSourceMetaRequest *req;
	Moby__Buildkit__V1__Frontend__ResolveSourceMetaResponse *r;

	TRY(grpc_recv_request(
		s, ctx, a, &moby__buildkit__v1__frontend__resolve_source_meta_request__descriptor,
		&req));
	TRY(build_resolve_source_meta(b, ctx, req, a, &r));
	return grpc_send_msg(s, ctx, r);
}

/* The older form of it, for images only. */
static struct err *resolve_image_config(struct build *b, struct ctx *ctx, struct grpc_stream *s,
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
	TRY(build_resolve_source_meta(b, ctx, &meta, a, &got));
	r.digest = got->image->digest;
	r.config = got->image->config;
	r.ref = req->ref;
	return grpc_send_msg(s, ctx, &r);
}

static struct err *read_file(struct build *b, struct ctx *ctx, struct grpc_stream *s,
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
	TRY(find_ref(b, req->ref, &ref));
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

static struct err *read_dir(struct build *b, struct ctx *ctx, struct grpc_stream *s,
			    struct arena *a)
{
	Moby__Buildkit__V1__Frontend__ReadDirRequest *req;
	Moby__Buildkit__V1__Frontend__ReadDirResponse r =
		MOBY__BUILDKIT__V1__FRONTEND__READ_DIR_RESPONSE__INIT;
	struct bridge_ref *ref;
	struct err *e;

	TRY(grpc_recv_request(s, ctx, a,
			      &moby__buildkit__v1__frontend__read_dir_request__descriptor, &req));
	TRY(find_ref(b, req->ref, &ref));
	if (!ref)
		return err_new(ERR_NOT_FOUND, "open %s: no such file or directory", req->dirpath);
	e = ref->ops->read_dir(ref, ctx, str_from(req->dirpath), str_from(req->includepattern), a,
			       &r.entries, &r.n_entries);
	bridge_ref_put(ref);
	TRY(e);
	return grpc_send_msg(s, ctx, &r);
}

static struct err *stat_file(struct build *b, struct ctx *ctx, struct grpc_stream *s,
			     struct arena *a)
{
	Moby__Buildkit__V1__Frontend__StatFileRequest *req;
	Moby__Buildkit__V1__Frontend__StatFileResponse r =
		MOBY__BUILDKIT__V1__FRONTEND__STAT_FILE_RESPONSE__INIT;
	struct bridge_ref *ref;
	struct err *e;

	TRY(grpc_recv_request(s, ctx, a,
			      &moby__buildkit__v1__frontend__stat_file_request__descriptor, &req));
	TRY(find_ref(b, req->ref, &ref));
	if (!ref)
		return err_new(ERR_NOT_FOUND, "lstat %s: no such file or directory", req->path);
	e = ref->ops->stat_file(ref, ctx, str_from(req->path), a, &r.stat);
	bridge_ref_put(ref);
	TRY(e);
	return grpc_send_msg(s, ctx, &r);
}

static struct err *evaluate(struct build *b, struct ctx *ctx, struct grpc_stream *s,
			    struct arena *a)
{
	Moby__Buildkit__V1__Frontend__EvaluateRequest *req;
	Moby__Buildkit__V1__Frontend__EvaluateResponse r =
		MOBY__BUILDKIT__V1__FRONTEND__EVALUATE_RESPONSE__INIT;
	struct bridge_ref *ref;
	struct err *e = NULL;

	TRY(grpc_recv_request(s, ctx, a,
			      &moby__buildkit__v1__frontend__evaluate_request__descriptor, &req));
	TRY(find_ref(b, req->ref, &ref));
	if (ref)
		e = ref->ops->evaluate(ref, ctx);
	bridge_ref_put(ref);
	TRY(e);
	return grpc_send_msg(s, ctx, &r);
}

static struct err *do_return(struct build *b, struct ctx *ctx, struct grpc_stream *s,
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
		TRY(result_from_pb(b, req->result, &result));
	}
	lock_take(&b->lock);
	twice = b->has_result || b->result_err;
	if (!twice && failed) {
		b->result_err = TAKE_PTR(failed);
	} else if (!twice) {
		b->result = result;
		b->has_result = true;
		result = (struct frontend_result) { 0 };
	}
	cond_broadcast(&b->returned);
	lock_drop(&b->lock);
	frontend_result_fini(&result);
	err_free(failed);
	if (twice)
		return err_new(ERR_INVALID_ARGUMENT, "gateway result is already set");
	return grpc_send_msg(s, ctx, &r);
}

static struct err *inputs(struct build *b, struct ctx *ctx, struct grpc_stream *s, struct arena *a)
{
	Moby__Buildkit__V1__Frontend__InputsRequest *req;
	Moby__Buildkit__V1__Frontend__InputsResponse r =
		MOBY__BUILDKIT__V1__FRONTEND__INPUTS_RESPONSE__INIT;
	const Moby__Buildkit__V1__SolveRequest *sr = b->req;

	TRY(grpc_recv_request(s, ctx, a, &moby__buildkit__v1__frontend__inputs_request__descriptor,
			      &req));
	r.n_definitions = sr->n_frontendinputs;
	r.definitions =
		ARENA_NEW_N(a, Moby__Buildkit__V1__Frontend__InputsResponse__DefinitionsEntry *,
			    r.n_definitions + 1);
	for (size_t i = 0; i < r.n_definitions; i++) {
		Moby__Buildkit__V1__Frontend__InputsResponse__DefinitionsEntry *e = ARENA_NEW(
			a, Moby__Buildkit__V1__Frontend__InputsResponse__DefinitionsEntry);

		moby__buildkit__v1__frontend__inputs_response__definitions_entry__init(e);
		e->key = sr->frontendinputs[i]->key;
		e->value = sr->frontendinputs[i]->value;
		r.definitions[i] = e;
	}
	return grpc_send_msg(s, ctx, &r);
}

static struct err *warn(struct build *b, struct ctx *ctx, struct grpc_stream *s, struct arena *a)
{
	Moby__Buildkit__V1__Frontend__WarnRequest *req;
	Moby__Buildkit__V1__Frontend__WarnResponse r =
		MOBY__BUILDKIT__V1__FRONTEND__WARN_RESPONSE__INIT;

	TRY(grpc_recv_request(s, ctx, a, &moby__buildkit__v1__frontend__warn_request__descriptor,
			      &req));
	TRY(build_warn(b, req));
	return grpc_send_msg(s, ctx, &r);
}

#define BRIDGE_HANDLER(name, method, fn)                                                           \
	struct err *name(struct ctx *ctx, struct grpc_stream *s, void *arg)                        \
	{                                                                                          \
		return with_build(arg, ctx, s, method, fn);                                        \
	}

BRIDGE_HANDLER(llbbridge_ping, "Ping", ping)
BRIDGE_HANDLER(llbbridge_solve, "Solve", solve)
BRIDGE_HANDLER(llbbridge_resolve_image_config, "ResolveImageConfig", resolve_image_config)
BRIDGE_HANDLER(llbbridge_resolve_source_meta, "ResolveSourceMeta", resolve_source_meta)
BRIDGE_HANDLER(llbbridge_read_file, "ReadFile", read_file)
BRIDGE_HANDLER(llbbridge_read_dir, "ReadDir", read_dir)
BRIDGE_HANDLER(llbbridge_stat_file, "StatFile", stat_file)
BRIDGE_HANDLER(llbbridge_evaluate, "Evaluate", evaluate)
BRIDGE_HANDLER(llbbridge_return, "Return", do_return)
BRIDGE_HANDLER(llbbridge_inputs, "Inputs", inputs)
BRIDGE_HANDLER(llbbridge_warn, "Warn", warn)

struct err *llbbridge_containers(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	struct str path = grpc_stream_path(s);
	ptrdiff_t slash = str_rfind(path, '/');

	(void)ctx;
	(void)arg;
	return err_new(ERR_UNIMPLEMENTED, "%.*s: containers of the gateway are not supported",
		       STR_ARG(str_sub(path, (size_t)slash + 1, path.len)));
}
