#include "control/control.h"

#include "base/mem.h"
#include "control/room.h"
#include "grpc/message.h"

Moby__Buildkit__V1__UsageRecord *control_usage_record(struct arena *a, const struct cache_usage *u)
{
	Moby__Buildkit__V1__UsageRecord *r = ARENA_NEW(a, Moby__Buildkit__V1__UsageRecord);

	moby__buildkit__v1__usage_record__init(r);
	r->id = str_cstr(a, u->id);
	r->mutable_ = u->is_mutable;
	r->inuse = u->in_use;
	r->size = u->size;
	r->createdat = proto_timestamp(a, u->created_ns);
	r->lastusedat = proto_timestamp(a, u->last_used_ns);
	r->usagecount = u->usage_count;
	r->description = str_cstr(a, u->description);
	r->recordtype = str_cstr(a, u->type);
	r->shared = u->shared;
	r->n_parents = u->n_parents;
	r->parents = ARENA_NEW_N(a, char *, u->n_parents + 1);
	for (size_t i = 0; i < u->n_parents; i++)
		r->parents[i] = str_cstr(a, u->parents[i]);
	return r;
}

static struct str *filters_of(struct arena *a, char **filters, size_t n)
{
	struct str *out = ARENA_NEW_N(a, struct str, n);

	for (size_t i = 0; i < n; i++)
		out[i] = str_from(filters[i]);
	return out;
}

struct err *control_disk_usage(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	struct control *c = arg;
	SCOPED_ARENA(a);
	Moby__Buildkit__V1__DiskUsageRequest *req;
	Moby__Buildkit__V1__DiskUsageResponse reply = MOBY__BUILDKIT__V1__DISK_USAGE_RESPONSE__INIT;
	struct str *filters;

	TRY(grpc_recv_request(s, ctx, &a, &moby__buildkit__v1__disk_usage_request__descriptor,
			      &req));
	filters = filters_of(&a, req->filter, req->n_filter);
	for (size_t k = 0; k < c->n_workers; k++) {
		Moby__Buildkit__V1__UsageRecord **all;
		struct cache_usage *u;
		size_t n;

		TRY(cache_disk_usage(c->workers[k].worker->cache, ctx, &a, filters, req->n_filter,
				     req->agelimit, &u, &n));
		all = ARENA_NEW_N(&a, Moby__Buildkit__V1__UsageRecord *, reply.n_record + n + 1);
		if (reply.n_record)
			memcpy(all, reply.record, reply.n_record * sizeof(*all));
		reply.record = all;
		for (size_t i = 0; i < n; i++)
			reply.record[reply.n_record++] = control_usage_record(&a, &u[i]);
	}
	return grpc_send_msg(s, ctx, &reply);
}

struct err *control_prune_by(struct control *c, struct ctx *ctx, const struct worker *w,
			     const struct cache_prune *rules, size_t n,
			     struct err *(*each)(void *arg, const struct cache_usage *u), void *arg)
{
	struct err *e = cache_prune(w->cache, ctx, rules, n, each, arg);

	if (err_is(e, ERR_RESOURCE_EXHAUSTED) && room_use(c->room_path)) {
		err_free(e);
		e = cache_prune(w->cache, ctx, rules, n, each, arg);
	}
	if (!e)
		room_make(c->room_path);
	return e;
}

struct sender {
	struct grpc_stream *s;
	struct ctx *ctx;
};

static struct err *send_pruned(void *arg, const struct cache_usage *u)
{
	struct sender *to = arg;
	SCOPED_ARENA(a);

	return grpc_send_msg(to->s, to->ctx, control_usage_record(&a, u));
}

static bool start_sweep(struct control *c)
{
	LOCKED(&c->lock);
	if (c->running || c->sweeping)
		return false;
	c->sweeping = true;
	return true;
}

static void end_sweep(struct control *c)
{
	LOCKED(&c->lock);
	c->sweeping = false;
	cond_broadcast(&c->builds_changed);
}

struct err *control_prune(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	struct control *c = arg;
	SCOPED_ARENA(a);
	Moby__Buildkit__V1__PruneRequest *req;
	struct sender to = { s, ctx };
	struct cache_prune rule;
	struct err *e = NULL;

	TRY(grpc_recv_request(s, ctx, &a, &moby__buildkit__v1__prune_request__descriptor, &req));
	rule = (struct cache_prune) {
		.filters = filters_of(&a, req->filter, req->n_filter),
		.n_filters = req->n_filter,
		.all = req->all,
		.keep_duration_ns = req->keepduration,
		.reserved_space = req->reservedspace,
		.max_used_space = req->maxusedspace,
		.min_free_space = req->minfreespace,
	};
	/* With no build about, nothing can want a blob that no record knows. */
	rule.idle = start_sweep(c);
	for (size_t i = 0; i < c->n_workers && !e; i++)
		e = control_prune_by(c, ctx, c->workers[i].worker, &rule, 1, send_pruned, &to);
	if (rule.idle)
		end_sweep(c);
	return e ? e : solver_release_unreferenced(c->solver, ctx);
}
