#include "control/control.h"

#include "base/limits.h"
#include "base/mem.h"
#include "grpc/message.h"

/* Read access to the worker's blobs. */

struct err *content_info_rpc(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	struct control *c = arg;
	SCOPED_ARENA(a);
	Containerd__Services__Content__V1__InfoRequest *req;
	Containerd__Services__Content__V1__InfoResponse reply =
		CONTAINERD__SERVICES__CONTENT__V1__INFO_RESPONSE__INIT;
	Containerd__Services__Content__V1__Info info =
		CONTAINERD__SERVICES__CONTENT__V1__INFO__INIT;
	struct content_info ci;
	struct digest d;

	TRY(grpc_recv_request(s, ctx, &a,
			      &containerd__services__content__v1__info_request__descriptor, &req));
	TRY(digest_parse(str_from(req->digest), &d));
	TRY(content_info(cache_content(c->worker->cache), ctx, &a, &d, &ci));
	info.digest = req->digest;
	info.size = (int64_t)ci.size;
	info.created_at = proto_timestamp(&a, ci.created_ns);
	info.updated_at = proto_timestamp(&a, ci.updated_ns);
	info.n_labels = ci.n_labels;
	info.labels = ARENA_NEW_N(&a, Containerd__Services__Content__V1__Info__LabelsEntry *,
				  ci.n_labels + 1);
	for (size_t i = 0; i < ci.n_labels; i++) {
		info.labels[i] =
			ARENA_NEW(&a, Containerd__Services__Content__V1__Info__LabelsEntry);
		containerd__services__content__v1__info__labels_entry__init(info.labels[i]);
		info.labels[i]->key = str_cstr(&a, ci.labels[i].key);
		info.labels[i]->value = str_cstr(&a, ci.labels[i].value);
	}
	reply.info = &info;
	return grpc_send_msg(s, ctx, &reply);
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
	TRY(content_open(cache_content(c->worker->cache), ctx, &d, &r));
	if (req->offset < 0 || req->size < 0 || (uint64_t)req->offset > r->size)
		return err_new(ERR_OUT_OF_RANGE, "read past object length %llu bytes",
			       (unsigned long long)r->size);
	to = req->size ? MIN((uint64_t)req->offset + (uint64_t)req->size, r->size) : r->size;
	return send_range(ctx, s, r, (uint64_t)req->offset, to);
}
