#include "session/content_client.h"

#include "base/limits.h"

#define C(name) "/containerd.services.content.v1.Content/" name
/* Bytes gathered before a request, and requests sent ahead of their answers. */
#define GATHER (1 * MIB)
#define AHEAD 8

struct client_writer {
	struct content_writer base;
	struct client_store *store;
	struct joined_ctx ctx;
	struct grpc_stream *st;
	char *ref;
	struct buf pending;
	unsigned unanswered;
	uint64_t sent; /* offset of the next request */
};

/* The generated names, in a form that fits a line. */
#define write_request Containerd__Services__Content__V1__WriteContentRequest
#define write_response Containerd__Services__Content__V1__WriteContentResponse
#define write_label Containerd__Services__Content__V1__WriteContentRequest__LabelsEntry

static struct err *answer(struct client_writer *w, struct arena *a, write_response **ret)
{
	bool eof;

	TRY(grpc_recv_msg(w->st, w->ctx.ctx, a,
			  &containerd__services__content__v1__write_content_response__descriptor,
			  ret, &eof));
	if (eof)
		return err_new(ERR_INTERNAL, "the client ended the transfer of %s", w->ref);
	return NULL;
}

static struct err *collect(struct client_writer *w, unsigned leave)
{
	while (w->unanswered > leave) {
		SCOPED_ARENA(a);
		write_response *r;

		TRY(answer(w, &a, &r));
		w->unanswered--;
	}
	return NULL;
}

static struct err *send_request(struct client_writer *w, const write_request *q)
{
	struct err *e = grpc_send_msg(w->st, w->ctx.ctx, q);
	SCOPED_ARENA(a);
	write_response *r;

	if (!e)
		return NULL;
	/* The reason comes with the status. */
	err_free(e);
	for (;;)
		TRY(answer(w, &a, &r));
}

static struct err *flush(struct client_writer *w)
{
	write_request q = CONTAINERD__SERVICES__CONTENT__V1__WRITE_CONTENT_REQUEST__INIT;

	if (!w->pending.len)
		return NULL;
	q.action = CONTAINERD__SERVICES__CONTENT__V1__WRITE_ACTION__WRITE_ACTION_WRITE;
	q.offset = (int64_t)w->sent;
	q.data = proto_from_str(buf_str(&w->pending));
	TRYW(send_request(w, &q), "failed to send write");
	w->sent += w->pending.len;
	buf_clear(&w->pending);
	w->unanswered++;
	TRYW(collect(w, AHEAD), "failed to send write");
	return NULL;
}

static struct err *client_write(struct writer *io, const void *p, size_t len)
{
	struct client_writer *w = container_of(io, struct client_writer, base.io);
	const char *from = p;

	w->base.offset += len;
	while (len) {
		size_t n = MIN(len, GATHER - w->pending.len);

		buf_add(&w->pending, from, n);
		from += n;
		len -= n;
		if (w->pending.len == GATHER)
			TRY(flush(w));
	}
	return NULL;
}

static void add_labels(write_request *q, struct arena *a, const struct content_label *labels,
		       size_t n)
{
	q->labels = ARENA_NEW_N(a, write_label *, n + 1);
	for (size_t i = 0; i < n; i++) {
		write_label *e = ARENA_NEW(a, write_label);

		containerd__services__content__v1__write_content_request__labels_entry__init(e);
		e->key = str_cstr(a, labels[i].key);
		e->value = str_cstr(a, labels[i].value);
		q->labels[q->n_labels++] = e;
	}
}

static struct err *client_commit(struct content_writer *base, uint64_t size,
				 const struct digest *expected, const struct content_label *labels,
				 size_t n_labels, struct digest *ret_digest)
{
	struct client_writer *w = container_of(base, struct client_writer, base);
	write_request q = CONTAINERD__SERVICES__CONTENT__V1__WRITE_CONTENT_REQUEST__INIT;
	write_response *r;
	struct digest got;
	SCOPED_ARENA(a);

	TRY(flush(w));
	TRY(collect(w, 0));
	q.action = CONTAINERD__SERVICES__CONTENT__V1__WRITE_ACTION__WRITE_ACTION_COMMIT;
	q.offset = (int64_t)w->sent;
	q.total = (int64_t)size;
	if (expected && digest_is_set(expected))
		q.expected = digest_text(expected, &a);
	add_labels(&q, &a, labels, n_labels);
	TRY(send_request(w, &q));
	TRY(answer(w, &a, &r));
	err_free(grpc_close_send(w->st));
	if (size && (uint64_t)r->offset != size)
		return err_new(ERR_FAILED_PRECONDITION, "unexpected size: %lld != %llu",
			       (long long)r->offset, (unsigned long long)size);
	TRY(digest_parse(str_from(r->digest), &got));
	if (*q.expected && !digest_eq(&got, expected))
		return err_new(ERR_FAILED_PRECONDITION, "unexpected digest: %s != %s", r->digest,
			       q.expected);
	*ret_digest = got;
	return NULL;
}

static void client_discard(struct content_writer *base)
{
	struct client_writer *w = container_of(base, struct client_writer, base);
	Containerd__Services__Content__V1__AbortRequest q =
		CONTAINERD__SERVICES__CONTENT__V1__ABORT_REQUEST__INIT;
	Google__Protobuf__Empty *r;
	SCOPED_ARENA(a);

	/* The open stream is what holds the ingest. */
	grpc_stream_freep(&w->st);
	q.ref = w->ref;
	err_free(client_store_unary(w->store, w->ctx.ctx, C("Abort"), &q, &a,
				    &google__protobuf__empty__descriptor, &r));
}

static void client_close(struct writer *io)
{
	struct client_writer *w = container_of(io, struct client_writer, base.io);

	grpc_stream_free(w->st);
	joined_ctx_fini(&w->ctx);
	client_store_free(w->store);
	buf_fini(&w->pending);
	free(w->ref);
	free(w);
}

static struct err *negotiate(struct client_writer *w)
{
	write_request q = CONTAINERD__SERVICES__CONTENT__V1__WRITE_CONTENT_REQUEST__INIT;
	write_response *r;
	SCOPED_ARENA(a);

	TRY(client_store_call(w->store, w->ctx.ctx, C("Write"), &w->st));
	q.action = CONTAINERD__SERVICES__CONTENT__V1__WRITE_ACTION__WRITE_ACTION_STAT;
	q.ref = w->ref;
	TRY(send_request(w, &q));
	TRY(answer(w, &a, &r));
	if (r->offset < 0)
		return err_new(ERR_INTERNAL, "ref %s: negative offset", w->ref);
	w->sent = w->base.offset = (uint64_t)r->offset;
	return NULL;
}

struct err *client_store_writer(struct content *c, struct ctx *ctx, struct str ref,
				struct content_writer **ret)
{
	struct client_store *cs = container_of(c, struct client_store, base);
	struct client_writer *w = NEW(struct client_writer);
	struct err *e;

	w->base = (struct content_writer) {
		.io = { .write = client_write, .close = client_close },
		.commit = client_commit,
		.discard = client_discard,
	};
	w->store = client_store_dup(cs);
	w->ref = str_heap(ref);
	buf_init(&w->pending, GATHER);
	joined_ctx_init(&w->ctx, ctx, client_store_ctx(cs));
	e = negotiate(w);
	if (e) {
		client_close(&w->base.io);
		return e;
	}
	*ret = &w->base;
	return NULL;
}
