/* A store of the client as a struct content: containerd's Content service, picked by id. */
#include "session/content_client.h"

#include "base/limits.h"

#define C(name) "/containerd.services.content.v1.Content/" name

/* What gRPC of the original refuses to send as metadata. */
static struct err *check_id(const struct client_store *cs)
{
	for (const char *p = cs->id; *p; p++)
		if (*p < 0x20 || *p > 0x7e)
			return err_new(ERR_INTERNAL,
				       "header key \"" CONTENT_STORE_KEY "\" contains value with "
				       "non-printable ASCII characters");
	return NULL;
}

struct err *client_store_unary(struct client_store *cs, struct ctx *ctx, const char *path,
			       const void *q, struct arena *a, const ProtobufCMessageDescriptor *d,
			       void *ret)
{
	struct grpc_md md = { STR(CONTENT_STORE_KEY), str_from(cs->id ? cs->id : "") };

	if (cs->remote)
		return cs->remote->unary(cs->remote->arg, ctx, path, q, a, d, ret);
	TRY(check_id(cs));
	return grpc_unary_msg(cs->session->client, ctx, path, &md, 1, q, a, d, ret);
}

struct err *client_store_call(struct client_store *cs, struct ctx *ctx, const char *path,
			      struct grpc_stream **ret)
{
	struct grpc_md md = { STR(CONTENT_STORE_KEY), str_from(cs->id ? cs->id : "") };

	if (cs->remote)
		return cs->remote->call(cs->remote->arg, ctx, path, ret);
	TRY(check_id(cs));
	return grpc_call(cs->session->client, ctx, path, &md, 1, ret);
}

struct ctx *client_store_ctx(const struct client_store *cs)
{
	return cs->remote ? cs->remote->ctx : cs->session->ctx;
}

static int by_key(const void *a, const void *b)
{
	const struct content_label *x = a, *y = b;

	return str_cmp(x->key, y->key);
}

static struct err *from_wire(struct arena *a, const Containerd__Services__Content__V1__Info *i,
			     struct content_info *ret)
{
	struct content_info out = { .created_ns = proto_time_ns(i->created_at),
				    .updated_ns = proto_time_ns(i->updated_at),
				    .n_labels = i->n_labels };

	if (i->size < 0)
		return err_new(ERR_INTERNAL, "content %s: negative size", i->digest);
	out.size = (uint64_t)i->size;
	TRY(digest_parse(str_from(i->digest), &out.digest));
	out.labels = ARENA_NEW_N(a, struct content_label, i->n_labels + 1);
	for (size_t k = 0; k < i->n_labels; k++)
		out.labels[k] = (struct content_label) { str_from(i->labels[k]->key),
							 str_from(i->labels[k]->value) };
	qsort(out.labels, out.n_labels, sizeof(*out.labels), by_key);
	*ret = out;
	return NULL;
}

static struct err *store_info(struct content *c, struct ctx *ctx, struct arena *a,
			      const struct digest *d, struct content_info *ret)
{
	struct client_store *cs = container_of(c, struct client_store, base);
	Containerd__Services__Content__V1__InfoRequest q =
		CONTAINERD__SERVICES__CONTENT__V1__INFO_REQUEST__INIT;
	Containerd__Services__Content__V1__InfoResponse *r;

	q.digest = digest_text(d, a);
	TRY(client_store_unary(cs, ctx, C("Info"), &q, a,
			       &containerd__services__content__v1__info_response__descriptor, &r));
	if (!r->info)
		return err_new(ERR_INTERNAL, "content %s: empty answer", q.digest);
	return from_wire(a, r->info, ret);
}

static struct err *store_label(struct content *c, struct ctx *ctx, const struct digest *d,
			       const struct content_label *labels, size_t n)
{
	struct client_store *cs = container_of(c, struct client_store, base);
	Containerd__Services__Content__V1__UpdateRequest q =
		CONTAINERD__SERVICES__CONTENT__V1__UPDATE_REQUEST__INIT;
	Containerd__Services__Content__V1__Info info =
		CONTAINERD__SERVICES__CONTENT__V1__INFO__INIT;
	Google__Protobuf__FieldMask mask = GOOGLE__PROTOBUF__FIELD_MASK__INIT;
	Containerd__Services__Content__V1__UpdateResponse *r;
	SCOPED_ARENA(a);

	info.digest = digest_text(d, &a);
	info.labels =
		ARENA_NEW_N(&a, Containerd__Services__Content__V1__Info__LabelsEntry *, n + 1);
	mask.paths = ARENA_NEW_N(&a, char *, n + 1);
	for (size_t i = 0; i < n; i++) {
		Containerd__Services__Content__V1__Info__LabelsEntry *e =
			ARENA_NEW(&a, Containerd__Services__Content__V1__Info__LabelsEntry);

		containerd__services__content__v1__info__labels_entry__init(e);
		e->key = str_cstr(&a, labels[i].key);
		e->value = str_cstr(&a, labels[i].value);
		info.labels[info.n_labels++] = e;
		mask.paths[mask.n_paths++] =
			arena_printf(&a, "labels.%.*s", STR_ARG(labels[i].key));
	}
	q.info = &info;
	q.update_mask = &mask;
	return client_store_unary(cs, ctx, C("Update"), &q, &a,
				  &containerd__services__content__v1__update_response__descriptor,
				  &r);
}

static struct err *store_remove(struct content *c, struct ctx *ctx, const struct digest *d)
{
	struct client_store *cs = container_of(c, struct client_store, base);
	Containerd__Services__Content__V1__DeleteContentRequest q =
		CONTAINERD__SERVICES__CONTENT__V1__DELETE_CONTENT_REQUEST__INIT;
	Google__Protobuf__Empty *r;
	SCOPED_ARENA(a);

	q.digest = digest_text(d, &a);
	return client_store_unary(cs, ctx, C("Delete"), &q, &a,
				  &google__protobuf__empty__descriptor, &r);
}

static struct err *store_each(struct content *c, struct ctx *ctx,
			      struct err *(*fn)(void *, const struct content_info *), void *arg)
{
	struct client_store *cs = container_of(c, struct client_store, base);
	Containerd__Services__Content__V1__ListContentRequest q =
		CONTAINERD__SERVICES__CONTENT__V1__LIST_CONTENT_REQUEST__INIT;
	CLEANUP(grpc_stream_freep) struct grpc_stream *st = NULL;

	TRY(client_store_call(cs, ctx, C("List"), &st));
	TRY(grpc_send_msg(st, ctx, &q));
	TRY(grpc_close_send(st));
	for (;;) {
		Containerd__Services__Content__V1__ListContentResponse *r;
		SCOPED_ARENA(a);
		bool eof;

		TRY(grpc_recv_msg(
			st, ctx, &a,
			&containerd__services__content__v1__list_content_response__descriptor, &r,
			&eof));
		if (eof)
			return NULL;
		for (size_t i = 0; i < r->n_info; i++) {
			struct content_info info;

			TRY(from_wire(&a, r->info[i], &info));
			TRY(fn(arg, &info));
		}
	}
}

static void store_free(struct content *c)
{
	struct client_store *cs = container_of(c, struct client_store, base);

	if (cs->session)
		session_unref(cs->session);
	free(cs->id);
	free(cs);
}

/* ---- reading: one stream from an offset to the end, as long as reads follow each other ---- */

struct client_reader {
	struct content_reader base;
	struct client_store *store;
	struct joined_ctx ctx;
	struct digest digest;
	struct grpc_stream *st;
	struct buf msg;
	struct str rest;
	uint64_t at; /* of rest in the blob */
};

static struct err *start_at(struct client_reader *r, uint64_t offset)
{
	Containerd__Services__Content__V1__ReadContentRequest q =
		CONTAINERD__SERVICES__CONTENT__V1__READ_CONTENT_REQUEST__INIT;
	SCOPED_ARENA(a);

	grpc_stream_freep(&r->st);
	r->rest = STR_NONE;
	r->at = offset;
	TRY(client_store_call(r->store, r->ctx.ctx, C("Read"), &r->st));
	q.digest = digest_text(&r->digest, &a);
	q.offset = (int64_t)offset;
	TRY(grpc_send_msg(r->st, r->ctx.ctx, &q));
	return grpc_close_send(r->st);
}

static struct err *reader_next(struct client_reader *r)
{
	Containerd__Services__Content__V1__ReadContentResponse *m;
	SCOPED_ARENA(a);
	bool eof;

	TRY(grpc_recv(r->st, r->ctx.ctx, &r->msg, &eof));
	if (eof)
		return err_new(ERR_DATA_LOSS, "unexpected EOF");
	TRY(proto_unpack(&a, &containerd__services__content__v1__read_content_response__descriptor,
			 buf_str(&r->msg), &m));
	/* The bytes are a copy in the arena; the message's own are as good and live longer. */
	if (m->data.len > r->msg.len)
		return err_new(ERR_INTERNAL, "malformed content");
	memcpy(r->msg.data, m->data.data, m->data.len);
	r->rest = str_make(r->msg.data, m->data.len);
	return NULL;
}

static struct err *client_read_at(struct content_reader *base, void *p, size_t len, uint64_t offset,
				  size_t *ret_n)
{
	struct client_reader *r = container_of(base, struct client_reader, base);
	size_t n = 0;

	if (offset >= r->base.size || !len) {
		*ret_n = 0;
		return NULL;
	}
	if (!r->st || offset != r->at)
		TRY(start_at(r, offset));
	while (!r->rest.len)
		TRY(reader_next(r));
	n = MIN(len, r->rest.len);
	memcpy(p, r->rest.ptr, n);
	r->rest = str_sub(r->rest, n, r->rest.len);
	r->at += n;
	*ret_n = n;
	return NULL;
}

static void client_reader_close(struct content_reader *base)
{
	struct client_reader *r = container_of(base, struct client_reader, base);

	grpc_stream_free(r->st);
	joined_ctx_fini(&r->ctx);
	store_free(&r->store->base);
	buf_fini(&r->msg);
	free(r);
}

struct client_store *client_store_dup(struct client_store *cs)
{
	struct client_store *d = NEW(struct client_store);

	d->base = cs->base;
	d->remote = cs->remote;
	if (cs->session)
		d->session = session_ref(cs->session);
	d->id = cs->id ? mem_strdup(cs->id) : NULL;
	return d;
}

void client_store_free(struct client_store *cs)
{
	store_free(&cs->base);
}

static struct err *store_open(struct content *c, struct ctx *ctx, const struct digest *d,
			      struct content_reader **ret)
{
	struct client_store *cs = container_of(c, struct client_store, base);
	struct content_info info;
	struct client_reader *r;
	SCOPED_ARENA(a);

	TRY(store_info(c, ctx, &a, d, &info));
	r = NEW(struct client_reader);
	r->base = (struct content_reader) {
		.read_at = client_read_at, .close = client_reader_close, .size = info.size, .fd = -1
	};
	r->store = client_store_dup(cs);
	r->digest = *d;
	buf_init(&r->msg, LIMIT_GRPC_MESSAGE);
	joined_ctx_init(&r->ctx, ctx, client_store_ctx(cs));
	*ret = &r->base;
	return NULL;
}

static const struct content_ops ops = {
	.info = store_info,
	.open = store_open,
	.writer = client_store_writer,
	.label = store_label,
	.remove = store_remove,
	.each = store_each,
	.free = store_free,
};

struct content *remote_content_new(const struct remote_content *r)
{
	struct client_store *cs = NEW(struct client_store);

	cs->base.ops = &ops;
	cs->remote = r;
	return &cs->base;
}

struct err *session_content(struct session *s, struct str store_id, struct content **ret)
{
	struct client_store *cs = NEW(struct client_store);

	cs->base.ops = &ops;
	cs->session = session_ref(s);
	cs->id = str_heap(store_id);
	*ret = &cs->base;
	return NULL;
}
