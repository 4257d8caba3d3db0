#include "cli/subrequest.h"

#include "base/mem.h"
#include "base/task.h"
#include "grpc/message.h"

#define BRIDGE "/moby.buildkit.v1.frontend.LLBBridge/"

struct outer {
	struct cli *c;
	Moby__Buildkit__V1__SolveRequest req; /* without frontend: driven by us */
};

static struct err *solve_outer(struct ctx *ctx, void *arg)
{
	struct outer *o = arg;
	Moby__Buildkit__V1__SolveResponse *reply;
	SCOPED_ARENA(a);

	return grpc_unary_msg(o->c->client, ctx, "/moby.buildkit.v1.Control/Solve", NULL, 0,
			      &o->req, &a, &moby__buildkit__v1__solve_response__descriptor, &reply);
}

static void make_inner(const Moby__Buildkit__V1__SolveRequest *req, struct arena *a,
		       Moby__Buildkit__V1__Frontend__SolveRequest *in)
{
	size_t n = req->n_frontendattrs;

	moby__buildkit__v1__frontend__solve_request__init(in);
	in->frontend = req->frontend;
	in->allowresultreturn = in->allowresultarrayref = true;
	in->frontendopt = ARENA_NEW_N(
		a, Moby__Buildkit__V1__Frontend__SolveRequest__FrontendOptEntry *, n + 1);
	for (size_t i = 0; i <= n; i++) {
		Moby__Buildkit__V1__Frontend__SolveRequest__FrontendOptEntry *e =
			ARENA_NEW(a, Moby__Buildkit__V1__Frontend__SolveRequest__FrontendOptEntry);

		moby__buildkit__v1__frontend__solve_request__frontend_opt_entry__init(e);
		e->key = i < n ? req->frontendattrs[i]->key : (char *)"frontend.caps";
		e->value = i < n ? req->frontendattrs[i]->value
				 : (char *)"moby.buildkit.frontend.subrequests";
		in->frontendopt[i] = e;
	}
	in->n_frontendopt = n + 1;
}

static void show(const Moby__Buildkit__V1__Frontend__Result *r, struct buf *out)
{
	Moby__Buildkit__V1__Frontend__Result__MetadataEntry *text;

	if (!r)
		return;
	text = PROTO_MAP_FIND(r->n_metadata, r->metadata, "result.txt");
	if (text) {
		buf_add_str(out, proto_bytes(text->value));
		return;
	}
	for (size_t i = 0; i < r->n_metadata; i++)
		if (str_has_prefix(str_from(r->metadata[i]->key), STR("result.")))
			buf_addf(out, "%s: %.*s\n", r->metadata[i]->key,
				 STR_ARG(proto_bytes(r->metadata[i]->value)));
}

struct err *cli_subrequest(struct cli *c, const Moby__Buildkit__V1__SolveRequest *req,
			   struct buf *out)
{
	struct grpc_md md = { STR("buildkit-controlapi-buildid"), str_from(req->ref) };
	struct outer o = { .c = c, .req = *req };
	SCOPED_ARENA(a);
	Moby__Buildkit__V1__Frontend__SolveRequest inner;
	Moby__Buildkit__V1__Frontend__SolveResponse *answer;
	Moby__Buildkit__V1__Frontend__ReturnRequest ret =
		MOBY__BUILDKIT__V1__FRONTEND__RETURN_REQUEST__INIT;
	Moby__Buildkit__V1__Frontend__ReturnResponse *done;
	Moby__Buildkit__V1__Frontend__Result empty = MOBY__BUILDKIT__V1__FRONTEND__RESULT__INIT;
	struct task *t;
	struct err *e, *failed = NULL;

	o.req.frontend = (char *)"";
	o.req.n_frontendattrs = 0;
	o.req.n_exporters = 0;
	t = task_start(c->ctx, "solve", solve_outer, &o);
	make_inner(req, &a, &inner);
	e = grpc_unary_msg(c->client, c->ctx, BRIDGE "Solve", &md, 1, &inner, &a,
			   &moby__buildkit__v1__frontend__solve_response__descriptor, &answer);
	if (e) {
		/* The build ends with the frontend's error. */
		ret.error = proto_status_from_err(&a, e);
		failed = e;
	} else {
		show(answer->result, out);
		ret.result = &empty;
	}
	e = grpc_unary_msg(c->client, c->ctx, BRIDGE "Return", &md, 1, &ret, &a,
			   &moby__buildkit__v1__frontend__return_response__descriptor, &done);
	failed = err_first(failed, e);
	return err_first(failed, task_wait(t));
}
