#include "control/control.h"

#include "base/mem.h"
#include "exec/cdi.h"
#include "grpc/message.h"
#include "op/workers.h"

static Moby__Buildkit__V1__Types__BuildkitVersion *version(struct control *c, struct arena *a)
{
	Moby__Buildkit__V1__Types__BuildkitVersion *v =
		ARENA_NEW(a, Moby__Buildkit__V1__Types__BuildkitVersion);

	moby__buildkit__v1__types__buildkit_version__init(v);
	v->package = (char *)CONTROL_PACKAGE;
	v->version = (char *)c->version;
	v->revision = (char *)c->revision;
	v->dockerfileversion = (char *)CONTROL_DOCKERFILE_VERSION;
	return v;
}

static Pb__Platform *platform_pb(struct arena *a, struct platform p)
{
	Pb__Platform *out = ARENA_NEW(a, Pb__Platform);

	pb__platform__init(out);
	out->os = str_cstr(a, p.os);
	out->architecture = str_cstr(a, p.arch);
	out->variant = str_cstr(a, p.variant);
	out->osversion = str_cstr(a, p.os_version);
	return out;
}

static Moby__Buildkit__V1__Types__GCPolicy *policy(struct arena *a, const struct cache_prune *r)
{
	Moby__Buildkit__V1__Types__GCPolicy *p = ARENA_NEW(a, Moby__Buildkit__V1__Types__GCPolicy);

	moby__buildkit__v1__types__gcpolicy__init(p);
	p->all = r->all;
	p->keepduration = r->keep_duration_ns;
	p->reservedspace = r->reserved_space;
	p->maxusedspace = r->max_used_space;
	p->minfreespace = r->min_free_space;
	p->n_filters = r->n_filters;
	p->filters = ARENA_NEW_N(a, char *, r->n_filters + 1);
	for (size_t i = 0; i < r->n_filters; i++)
		p->filters[i] = str_cstr(a, r->filters[i]);
	return p;
}

static void fill_devices(const struct cdi_config *cdi, struct arena *a,
			 Moby__Buildkit__V1__Types__WorkerRecord *w)
{
	struct cdi_devices all;

	cdi_load(cdi, &all);
	w->cdidevices = ARENA_NEW_N(a, Moby__Buildkit__V1__Types__CDIDevice *, all.n + 1);
	for (; w->n_cdidevices < all.n; w->n_cdidevices++) {
		const struct cdi_device *dev = &all.list[w->n_cdidevices];
		Moby__Buildkit__V1__Types__CDIDevice *out =
			ARENA_NEW(a, Moby__Buildkit__V1__Types__CDIDevice);

		moby__buildkit__v1__types__cdidevice__init(out);
		out->name = arena_strdup(a, dev->name);
		out->autoallow = dev->auto_allow;
		out->annotations =
			ARENA_NEW_N(a, Moby__Buildkit__V1__Types__CDIDevice__AnnotationsEntry *,
				    dev->n_annotations + 1);
		for (size_t i = 0; i < dev->n_annotations; i++) {
			Moby__Buildkit__V1__Types__CDIDevice__AnnotationsEntry *kv = ARENA_NEW(
				a, Moby__Buildkit__V1__Types__CDIDevice__AnnotationsEntry);

			moby__buildkit__v1__types__cdidevice__annotations_entry__init(kv);
			kv->key = str_cstr(a, dev->annotations[i].key);
			kv->value = str_cstr(a, dev->annotations[i].value);
			out->annotations[out->n_annotations++] = kv;
		}
		w->cdidevices[w->n_cdidevices] = out;
	}
	cdi_devices_fini(&all);
}

Moby__Buildkit__V1__Types__WorkerRecord *control_worker_record(struct control *c, struct arena *a,
							       const struct control_worker *cw)
{
	const struct worker *worker = cw->worker;
	Moby__Buildkit__V1__Types__WorkerRecord *w =
		ARENA_NEW(a, Moby__Buildkit__V1__Types__WorkerRecord);

	moby__buildkit__v1__types__worker_record__init(w);
	w->id = (char *)worker->id;
	w->n_labels = worker->n_labels;
	w->labels = ARENA_NEW_N(a, Moby__Buildkit__V1__Types__WorkerRecord__LabelsEntry *,
				worker->n_labels + 1);
	for (size_t i = 0; i < worker->n_labels; i++) {
		Moby__Buildkit__V1__Types__WorkerRecord__LabelsEntry *e =
			ARENA_NEW(a, Moby__Buildkit__V1__Types__WorkerRecord__LabelsEntry);

		moby__buildkit__v1__types__worker_record__labels_entry__init(e);
		e->key = str_cstr(a, worker->labels[i].key);
		e->value = str_cstr(a, worker->labels[i].value);
		w->labels[i] = e;
	}
	w->n_platforms = worker->n_platforms;
	w->platforms = ARENA_NEW_N(a, Pb__Platform *, w->n_platforms + 1);
	for (size_t i = 0; i < w->n_platforms; i++)
		w->platforms[i] = platform_pb(a, worker->platforms[i]);
	w->n_gcpolicy = cw->gc ? cw->n_gc_rules : 0;
	w->gcpolicy = ARENA_NEW_N(a, Moby__Buildkit__V1__Types__GCPolicy *, w->n_gcpolicy + 1);
	for (size_t i = 0; i < w->n_gcpolicy; i++)
		w->gcpolicy[i] = policy(a, &cw->gc_rules[i]);
	w->buildkitversion = version(c, a);
	if (worker->cdi)
		fill_devices(worker->cdi, a, w);
	return w;
}

struct err *control_list_workers(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	struct control *c = arg;
	SCOPED_ARENA(a);
	Moby__Buildkit__V1__ListWorkersRequest *req;
	Moby__Buildkit__V1__ListWorkersResponse reply =
		MOBY__BUILDKIT__V1__LIST_WORKERS_RESPONSE__INIT;
	CLEANUP(filter_freep) struct filter *f = NULL;
	struct str *filters;

	TRY(grpc_recv_request(s, ctx, &a, &moby__buildkit__v1__list_workers_request__descriptor,
			      &req));
	filters = ARENA_NEW_N(&a, struct str, req->n_filter + 1);
	for (size_t i = 0; i < req->n_filter; i++)
		filters[i] = str_from(req->filter[i]);
	TRY(filter_parse(&a, filters, req->n_filter, &f));
	reply.record = ARENA_NEW_N(&a, Moby__Buildkit__V1__Types__WorkerRecord *, c->n_workers + 1);
	for (size_t i = 0; i < c->n_workers; i++)
		if (worker_matches(c->workers[i].worker, f))
			reply.record[reply.n_record++] =
				control_worker_record(c, &a, &c->workers[i]);
	return grpc_send_msg(s, ctx, &reply);
}

struct err *control_info(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	struct control *c = arg;
	SCOPED_ARENA(a);
	Moby__Buildkit__V1__InfoRequest *req;
	Moby__Buildkit__V1__InfoResponse reply = MOBY__BUILDKIT__V1__INFO_RESPONSE__INIT;

	TRY(grpc_recv_request(s, ctx, &a, &moby__buildkit__v1__info_request__descriptor, &req));
	reply.buildkitversion = version(c, &a);
	return grpc_send_msg(s, ctx, &reply);
}
