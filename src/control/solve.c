#include "control/gateway.h"

#include "base/log.h"
#include "base/mem.h"
#include "control/cacheexport.h"
#include "control/explain.h"
#include "grpc/message.h"

/* ---- the request ---- */

static struct err *check_version(int64_t v)
{
	if (v == 0 || v == 10 || v == 20 || v == 30)
		return NULL;
	if (v > 30)
		return err_new(ERR_UNKNOWN,
			       "unsupported compatibility-version %lld: upgrade buildkit (max "
			       "supported: 30)",
			       (long long)v);
	return err_new(ERR_UNKNOWN,
		       "unsupported compatibility-version %lld (supported: [10 20 30])",
		       (long long)v);
}

/* Old clients use single fields for what are lists now. */
static void translate_legacy(struct arena *a, Moby__Buildkit__V1__SolveRequest *req)
{
	Moby__Buildkit__V1__Exporter *e;

	if (req->n_exporters || !*req->exporterdeprecated)
		return;
	e = ARENA_NEW(a, Moby__Buildkit__V1__Exporter);
	moby__buildkit__v1__exporter__init(e);
	e->type = req->exporterdeprecated;
	e->n_attrs = req->n_exporterattrsdeprecated;
	e->attrs = ARENA_NEW_N(a, Moby__Buildkit__V1__Exporter__AttrsEntry *, e->n_attrs + 1);
	for (size_t i = 0; i < e->n_attrs; i++) {
		e->attrs[i] = ARENA_NEW(a, Moby__Buildkit__V1__Exporter__AttrsEntry);
		moby__buildkit__v1__exporter__attrs_entry__init(e->attrs[i]);
		e->attrs[i]->key = req->exporterattrsdeprecated[i]->key;
		e->attrs[i]->value = req->exporterattrsdeprecated[i]->value;
	}
	req->exporters = ARENA_NEW_N(a, Moby__Buildkit__V1__Exporter *, 1);
	req->exporters[0] = e;
	req->n_exporters = 1;
}

static struct err *make_exporter(struct control *c, struct arena *a,
				 const Moby__Buildkit__V1__SolveRequest *req,
				 const Moby__Buildkit__V1__Exporter *in, struct exporter **ret)
{
	struct exporter_kv *kv = ARENA_NEW_N(a, struct exporter_kv, in->n_attrs + 1);
	const char *epoch = PROTO_MAP_GET(req->n_frontendattrs, req->frontendattrs,
					  "build-arg:SOURCE_DATE_EPOCH");
	size_t n = 0;
	int64_t seconds;

	for (; n < in->n_attrs; n++)
		kv[n] = (struct exporter_kv) { str_from(in->attrs[n]->key),
					       str_from(in->attrs[n]->value) };
	/* Other words ("context") are the frontend's business. */
	if (epoch && *epoch && !str_to_i64(str_from(epoch), &seconds))
		epoch = NULL;
	if (epoch && !PROTO_MAP_FIND(in->n_attrs, in->attrs, "source-date-epoch"))
		kv[n++] = (struct exporter_kv) { STR("source-date-epoch"), str_from(epoch) };
	return exporter_new(&c->host, str_from(in->type), kv, n, ret);
}

/* ---- the solve ---- */

static struct bridge_input *inputs_of(struct build *b)
{
	const Moby__Buildkit__V1__SolveRequest *in = b->req;
	struct bridge_input *list =
		ARENA_NEW_N(&b->arena, struct bridge_input, in->n_frontendinputs);

	for (size_t i = 0; i < in->n_frontendinputs; i++)
		list[i] = (struct bridge_input) { str_from(in->frontendinputs[i]->key),
						  in->frontendinputs[i]->value };
	return list;
}

/* A build that its client drives: wait for Return. What the client has made in it ends then. */
static struct err *wait_for_return(struct build *b, struct frontend_result *ret)
{
	struct control *c = b->control;
	struct gateway *g = gateway_new(b, b->ctx, inputs_of(b), b->req->n_frontendinputs);
	struct err *e;

	lock_take(&c->lock);
	(void)map_put(&c->builds, b->ref, g);
	cond_broadcast(&c->builds_changed);
	lock_drop(&c->lock);
	e = gateway_wait_result(g, b->ctx, ret);
	/* No new calls from here on; those under way are ended and waited for. */
	lock_take(&c->lock);
	(void)map_del(&c->builds, b->ref);
	lock_drop(&c->lock);
	gateway_free(g);
	return e;
}

/* A frontend gets them as an option, too, and hands them on as it sees fit. */
static void add_imports(struct build *b, Moby__Buildkit__V1__Frontend__SolveRequest *req)
{
	typedef Moby__Buildkit__V1__Frontend__CacheOptionsEntry entry;
	typedef Moby__Buildkit__V1__Frontend__CacheOptionsEntry__AttrsEntry attr;
	const Moby__Buildkit__V1__CacheOptions *o = b->req->cache;
	struct arena *a = &b->arena;

	req->n_cacheimports = o ? o->n_imports : 0;
	req->cacheimports = ARENA_NEW_N(a, entry *, req->n_cacheimports + 1);
	for (size_t i = 0; i < req->n_cacheimports; i++) {
		const Moby__Buildkit__V1__CacheOptionsEntry *in = o->imports[i];
		entry *e = req->cacheimports[i] = ARENA_NEW(a, entry);

		moby__buildkit__v1__frontend__cache_options_entry__init(e);
		e->type = in->type;
		e->n_attrs = in->n_attrs;
		e->attrs = ARENA_NEW_N(a, attr *, in->n_attrs + 1);
		for (size_t k = 0; k < in->n_attrs; k++) {
			e->attrs[k] = ARENA_NEW(a, attr);
			moby__buildkit__v1__frontend__cache_options_entry__attrs_entry__init(
				e->attrs[k]);
			e->attrs[k]->key = in->attrs[k]->key;
			e->attrs[k]->value = in->attrs[k]->value;
		}
	}
}

/* The request as a frontend's one. */
static struct err *solve_here(struct build *b, struct frontend_result *ret)
{
	Moby__Buildkit__V1__Frontend__SolveRequest req =
		MOBY__BUILDKIT__V1__FRONTEND__SOLVE_REQUEST__INIT;
	const Moby__Buildkit__V1__SolveRequest *in = b->req;

	req.definition = in->definition;
	req.frontend = in->frontend;
	req.n_frontendopt = in->n_frontendattrs;
	req.frontendopt = ARENA_NEW_N(
		&b->arena, Moby__Buildkit__V1__Frontend__SolveRequest__FrontendOptEntry *,
		in->n_frontendattrs + 1);
	for (size_t i = 0; i < in->n_frontendattrs; i++) {
		Moby__Buildkit__V1__Frontend__SolveRequest__FrontendOptEntry *e = ARENA_NEW(
			&b->arena, Moby__Buildkit__V1__Frontend__SolveRequest__FrontendOptEntry);

		moby__buildkit__v1__frontend__solve_request__frontend_opt_entry__init(e);
		e->key = in->frontendattrs[i]->key;
		e->value = in->frontendattrs[i]->value;
		req.frontendopt[i] = e;
	}
	req.n_frontendinputs = in->n_frontendinputs;
	req.frontendinputs = ARENA_NEW_N(
		&b->arena, Moby__Buildkit__V1__Frontend__SolveRequest__FrontendInputsEntry *,
		in->n_frontendinputs + 1);
	for (size_t i = 0; i < in->n_frontendinputs; i++) {
		Moby__Buildkit__V1__Frontend__SolveRequest__FrontendInputsEntry *e = ARENA_NEW(
			&b->arena, Moby__Buildkit__V1__Frontend__SolveRequest__FrontendInputsEntry);

		moby__buildkit__v1__frontend__solve_request__frontend_inputs_entry__init(e);
		e->key = in->frontendinputs[i]->key;
		e->value = in->frontendinputs[i]->value;
		req.frontendinputs[i] = e;
	}
	add_imports(b, &req);
	return build_solve(b, b->ctx, &req, ret);
}

static struct err *solve_and_export(struct build *b, struct exporter **exporters, size_t n,
				    struct map *response)
{
	const Moby__Buildkit__V1__SolveRequest *req = b->req;
	/* A definition that is there but empty is the empty tree. */
	bool driven = !*req->frontend && !req->definition;
	struct frontend_result result = { 0 };
	struct err *e;

	e = driven ? wait_for_return(b, &result) : solve_here(b, &result);
	if (!e)
		e = build_export(b, &result, exporters, n, response);
	frontend_result_fini(&result);
	return e;
}

static struct err *reply(struct ctx *ctx, struct grpc_stream *s, const struct map *response)
{
	Moby__Buildkit__V1__SolveResponse r = MOBY__BUILDKIT__V1__SOLVE_RESPONSE__INIT;
	SCOPED_ARENA(a);
	struct map_entry **all = map_sorted(response, &a);

	r.n_exporterresponse = map_len(response);
	r.exporterresponse =
		ARENA_NEW_N(&a, Moby__Buildkit__V1__SolveResponse__ExporterResponseEntry *,
			    r.n_exporterresponse + 1);
	for (size_t i = 0; i < r.n_exporterresponse; i++) {
		Moby__Buildkit__V1__SolveResponse__ExporterResponseEntry *e =
			ARENA_NEW(&a, Moby__Buildkit__V1__SolveResponse__ExporterResponseEntry);

		moby__buildkit__v1__solve_response__exporter_response_entry__init(e);
		e->key = all[i]->key;
		e->value = all[i]->value;
		r.exporterresponse[i] = e;
	}
	return grpc_send_msg(s, ctx, &r);
}

static struct err *run(struct control *c, struct ctx *ctx, struct arena *a,
		       Moby__Buildkit__V1__SolveRequest *req, struct map *response)
{
	struct exporter **exporters;
	struct build *b = NULL;
	struct err *e = NULL;
	size_t n = 0;

	if (!*req->ref)
		return err_new(ERR_INVALID_ARGUMENT, "ref is required");
	TRY(check_version(req->compatibilityversion));
	TRY(cacheexport_check(c, req));
	translate_legacy(a, req);
	exporters = mem_calloc(req->n_exporters, sizeof(*exporters));
	for (; n < req->n_exporters && !e; n++)
		e = make_exporter(c, a, req, req->exporters[n], &exporters[n]);
	if (!e)
		e = build_new(c, ctx, a, req, &b);
	if (!e) {
		build_record_begin(b);
		e = solve_and_export(b, exporters, n, response);
		explain_note(b);
		build_record_end(b, e);
	}
	for (size_t i = 0; i < n; i++)
		exporter_free(exporters[i]);
	free(exporters);
	if (b)
		build_free(b);
	return e;
}

static struct err *enter(struct control *c, struct ctx *ctx)
{
	struct err *e = NULL;

	LOCKED(&c->lock);
	while (c->sweeping && !e)
		e = cond_wait(&c->builds_changed, &c->lock, ctx);
	if (!e)
		c->running++;
	return e;
}

static void leave(struct control *c)
{
	LOCKED(&c->lock);
	c->running--;
}

struct err *control_solve(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	struct control *c = arg;
	SCOPED_ARENA(a);
	struct map response = MAP_INIT;
	Moby__Buildkit__V1__SolveRequest *req;
	struct err *e;

	TRY(grpc_recv_request(s, ctx, &a, &moby__buildkit__v1__solve_request__descriptor, &req));
	TRY(enter(c, ctx));
	control_watch_disk(c);
	e = run(c, ctx, &a, req, &response);
	leave(c);
	/* What was built is found again even if we are killed right after the answer. */
	for (size_t i = 0; i < c->n_workers && !e; i++)
		e = cache_flush(c->workers[i].worker->cache, false);
	control_schedule_gc(c);
	control_schedule_trim(c);
	if (!e)
		e = reply(ctx, s, &response);
	map_fini(&response, free);
	return e;
}
