#include "control/control.h"

#include "base/limits.h"
#include "base/mem.h"
#include "control/history.h"
#include "grpc/message.h"

/* Read access to the workers' blobs. */

/* The first that has the blob, build records last; the default worker when none has. */
static struct content *store_with(struct control *c, struct ctx *ctx, const struct digest *d)
{
	for (size_t i = 1; i < c->n_workers; i++) {
		struct content *s = cache_content(c->workers[i].worker->cache);

		if (!content_has(cache_content(c->worker->cache), ctx, d) && content_has(s, ctx, d))
			return s;
	}
	if (c->history && !content_has(cache_content(c->worker->cache), ctx, d) &&
	    content_has(history_content(c->history), ctx, d))
		return history_content(c->history);
	return cache_content(c->worker->cache);
}

static Containerd__Services__Content__V1__Info *info_pb(struct arena *a,
							const struct content_info *ci)
{
	Containerd__Services__Content__V1__Info *out =
		ARENA_NEW(a, Containerd__Services__Content__V1__Info);

	containerd__services__content__v1__info__init(out);
	out->digest = digest_text(&ci->digest, a);
	out->size = (int64_t)ci->size;
	out->created_at = proto_timestamp(a, ci->created_ns);
	out->updated_at = proto_timestamp(a, ci->updated_ns);
	out->n_labels = ci->n_labels;
	out->labels = ARENA_NEW_N(a, Containerd__Services__Content__V1__Info__LabelsEntry *,
				  ci->n_labels + 1);
	for (size_t i = 0; i < ci->n_labels; i++) {
		out->labels[i] = ARENA_NEW(a, Containerd__Services__Content__V1__Info__LabelsEntry);
		containerd__services__content__v1__info__labels_entry__init(out->labels[i]);
		out->labels[i]->key = str_cstr(a, ci->labels[i].key);
		out->labels[i]->value = str_cstr(a, ci->labels[i].value);
	}
	return out;
}

struct err *content_info_rpc(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	struct control *c = arg;
	SCOPED_ARENA(a);
	Containerd__Services__Content__V1__InfoRequest *req;
	Containerd__Services__Content__V1__InfoResponse reply =
		CONTAINERD__SERVICES__CONTENT__V1__INFO_RESPONSE__INIT;
	struct content_info ci;
	struct digest d;

	TRY(grpc_recv_request(s, ctx, &a,
			      &containerd__services__content__v1__info_request__descriptor, &req));
	TRY(digest_parse(str_from(req->digest), &d));
	TRY(content_info(store_with(c, ctx, &d), ctx, &a, &d, &ci));
	reply.info = info_pb(&a, &ci);
	return grpc_send_msg(s, ctx, &reply);
}

struct lister {
	struct grpc_stream *s;
	struct ctx *ctx;
};

static struct err *send_info(void *arg, const struct content_info *ci)
{
	struct lister *l = arg;
	SCOPED_ARENA(a);
	Containerd__Services__Content__V1__ListContentResponse reply =
		CONTAINERD__SERVICES__CONTENT__V1__LIST_CONTENT_RESPONSE__INIT;
	Containerd__Services__Content__V1__Info *one[1] = { info_pb(&a, ci) };

	reply.info = one;
	reply.n_info = 1;
	return grpc_send_msg(l->s, l->ctx, &reply);
}

struct err *content_list_rpc(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	struct control *c = arg;
	SCOPED_ARENA(a);
	Containerd__Services__Content__V1__ListContentRequest *req;
	struct content *store = cache_content(c->worker->cache);
	struct lister l = { s, ctx };

	TRY(grpc_recv_request(s, ctx, &a,
			      &containerd__services__content__v1__list_content_request__descriptor,
			      &req));
	if (req->n_filters)
		return err_new(ERR_UNIMPLEMENTED, "filters of content lists are not supported");
	return store->ops->each(store, ctx, send_info, &l);
}

/* No ingest of ours can be reached from outside. */
struct err *content_statuses_rpc(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	SCOPED_ARENA(a);
	Containerd__Services__Content__V1__ListStatusesRequest *req;
	Containerd__Services__Content__V1__ListStatusesResponse reply =
		CONTAINERD__SERVICES__CONTENT__V1__LIST_STATUSES_RESPONSE__INIT;

	(void)arg;
	TRY(grpc_recv_request(s, ctx, &a,
			      &containerd__services__content__v1__list_statuses_request__descriptor,
			      &req));
	return grpc_send_msg(s, ctx, &reply);
}

struct err *content_refuse_rpc(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	(void)ctx;
	(void)s;
	(void)arg;
	return err_new(ERR_FAILED_PRECONDITION, "read-only content store");
}

static struct err *send_range(struct ctx *ctx, struct grpc_stream *s, struct content_reader *r,
			      uint64_t from, uint64_t to)
{
	CLEANUP_FREE uint8_t *chunk = mem_alloc(MIB);

	while (from < to) {
		Containerd__Services__Content__V1__ReadContentResponse reply =
			CONTAINERD__SERVICES__CONTENT__V1__READ_CONTENT_RESPONSE__INIT;
		size_t n;

		TRY(r->read_at(r, chunk, MIN(to - from, (uint64_t)MIB), from, &n));
		if (!n)
			return err_new(ERR_DATA_LOSS, "unexpected EOF");
		reply.offset = (int64_t)from;
		reply.data = (ProtobufCBinaryData) { n, chunk };
		TRY(grpc_send_msg(s, ctx, &reply));
		from += n;
	}
	return NULL;
}

struct err *content_read_rpc(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	struct control *c = arg;
	SCOPED_ARENA(a);
	Containerd__Services__Content__V1__ReadContentRequest *req;
	CLEANUP(content_reader_closep) struct content_reader *r = NULL;
	struct digest d;
	uint64_t to;

	TRY(grpc_recv_request(s, ctx, &a,
			      &containerd__services__content__v1__read_content_request__descriptor,
			      &req));
	TRY(digest_parse(str_from(req->digest), &d));
	TRY(content_open(store_with(c, ctx, &d), ctx, &d, &r));
	if (req->offset < 0 || req->size < 0 || (uint64_t)req->offset > r->size)
		return err_new(ERR_OUT_OF_RANGE, "read past object length %llu bytes",
			       (unsigned long long)r->size);
	to = req->size ? MIN((uint64_t)req->offset + (uint64_t)req->size, r->size) : r->size;
	return send_range(ctx, s, r, (uint64_t)req->offset, to);
}
