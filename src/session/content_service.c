#include "session/content_service.h"

#include "base/limits.h"

#define READ_CHUNK (1 * MIB)
#define LIST_BLOCK 100

/* The generated names, in a form that fits a line. */
#define pb_info Containerd__Services__Content__V1__Info
#define pb_label Containerd__Services__Content__V1__Info__LabelsEntry
#define write_request Containerd__Services__Content__V1__WriteContentRequest
#define write_response Containerd__Services__Content__V1__WriteContentResponse

static struct err *parse_digest(const char *text, struct digest *ret)
{
	struct err *e = digest_parse(str_from(text), ret);

	if (e)
		err_set_code(e, ERR_INVALID_ARGUMENT);
	return e;
}

static pb_info *to_wire(struct arena *a, const struct content_info *i)
{
	pb_info *p = ARENA_NEW(a, pb_info);

	containerd__services__content__v1__info__init(p);
	p->digest = digest_text(&i->digest, a);
	p->size = (int64_t)i->size;
	p->created_at = proto_timestamp(a, i->created_ns);
	p->updated_at = proto_timestamp(a, i->updated_ns);
	p->labels = ARENA_NEW_N(a, pb_label *, i->n_labels + 1);
	for (size_t k = 0; k < i->n_labels; k++) {
		pb_label *l = ARENA_NEW(a, pb_label);

		containerd__services__content__v1__info__labels_entry__init(l);
		l->key = str_cstr(a, i->labels[k].key);
		l->value = str_cstr(a, i->labels[k].value);
		p->labels[p->n_labels++] = l;
	}
	return p;
}

struct err *content_service_info(struct ctx *ctx, struct grpc_stream *s, struct content *c)
{
	Containerd__Services__Content__V1__InfoRequest *q;
	Containerd__Services__Content__V1__InfoResponse r =
		CONTAINERD__SERVICES__CONTENT__V1__INFO_RESPONSE__INIT;
	struct content_info info;
	struct digest d;
	SCOPED_ARENA(a);

	TRY(grpc_recv_request(s, ctx, &a,
			      &containerd__services__content__v1__info_request__descriptor, &q));
	TRY(parse_digest(q->digest, &d));
	TRY(content_info(c, ctx, &a, &d, &info));
	r.info = to_wire(&a, &info);
	return grpc_send_msg(s, ctx, &r);
}

/* Labels named by the mask ("labels.<key>"), or all that are given. */
static size_t pick_labels(struct arena *a, const pb_info *info,
			  const Google__Protobuf__FieldMask *mask, struct content_label **ret)
{
	size_t n_mask = mask ? mask->n_paths : 0, n = 0;
	struct content_label *l = ARENA_NEW_N(a, struct content_label, info->n_labels + n_mask + 1);

	for (size_t i = 0; i < info->n_labels; i++)
		if (!n_mask)
			l[n++] = (struct content_label) { str_from(info->labels[i]->key),
							  str_from(info->labels[i]->value) };
	for (size_t i = 0; i < n_mask; i++) {
		struct str path = str_from(mask->paths[i]);
		struct str key = str_trim_prefix(path, STR("labels."));
		const char *value;

		if (key.len == path.len)
			continue;
		value = PROTO_MAP_GET(info->n_labels, info->labels, key.ptr);
		l[n++] = (struct content_label) { key, str_from(value) };
	}
	*ret = l;
	return n;
}

struct err *content_service_update(struct ctx *ctx, struct grpc_stream *s, struct content *c)
{
	Containerd__Services__Content__V1__UpdateRequest *q;
	Containerd__Services__Content__V1__UpdateResponse r =
		CONTAINERD__SERVICES__CONTENT__V1__UPDATE_RESPONSE__INIT;
	struct content_label *labels;
	struct content_info info;
	struct digest d;
	SCOPED_ARENA(a);
	size_t n;

	TRY(grpc_recv_request(s, ctx, &a,
			      &containerd__services__content__v1__update_request__descriptor, &q));
	if (!q->info)
		return err_new(ERR_INVALID_ARGUMENT, "no content to update: invalid argument");
	TRY(parse_digest(q->info->digest, &d));
	n = pick_labels(&a, q->info, q->update_mask, &labels);
	TRY(content_label(c, ctx, &d, labels, n));
	TRY(content_info(c, ctx, &a, &d, &info));
	r.info = to_wire(&a, &info);
	return grpc_send_msg(s, ctx, &r);
}

struct list_call {
	struct ctx *ctx;
	struct grpc_stream *st;
	struct arena arena;
	pb_info *block[LIST_BLOCK];
	size_t n;
};

static struct err *flush_list(struct list_call *l)
{
	Containerd__Services__Content__V1__ListContentResponse r =
		CONTAINERD__SERVICES__CONTENT__V1__LIST_CONTENT_RESPONSE__INIT;
	struct err *e;

	if (!l->n)
		return NULL;
	r.info = l->block;
	r.n_info = l->n;
	e = grpc_send_msg(l->st, l->ctx, &r);
	l->n = 0;
	arena_fini(&l->arena);
	return e;
}

static struct err *list_one(void *arg, const struct content_info *info)
{
	struct list_call *l = arg;

	l->block[l->n++] = to_wire(&l->arena, info);
	return l->n == LIST_BLOCK ? flush_list(l) : NULL;
}

struct err *content_service_list(struct ctx *ctx, struct grpc_stream *s, struct content *c)
{
	Containerd__Services__Content__V1__ListContentRequest *q;
	struct list_call l = { .ctx = ctx, .st = s };
	SCOPED_ARENA(a);
	struct err *e;

	TRY(grpc_recv_request(s, ctx, &a,
			      &containerd__services__content__v1__list_content_request__descriptor,
			      &q));
	if (q->n_filters)
		return err_new(ERR_UNIMPLEMENTED, "content filters are not supported");
	e = c->ops->each(c, ctx, list_one, &l);
	if (!e)
		e = flush_list(&l);
	arena_fini(&l.arena);
	return e;
}

struct err *content_service_delete(struct ctx *ctx, struct grpc_stream *s, struct content *c)
{
	Containerd__Services__Content__V1__DeleteContentRequest *q;
	Google__Protobuf__Empty r = GOOGLE__PROTOBUF__EMPTY__INIT;
	struct digest d;
	SCOPED_ARENA(a);

	TRY(grpc_recv_request(
		s, ctx, &a, &containerd__services__content__v1__delete_content_request__descriptor,
		&q));
	TRY(parse_digest(q->digest, &d));
	TRY(content_remove(c, ctx, &d));
	return grpc_send_msg(s, ctx, &r);
}

/* ---- reading ---- */

static struct err *send_range(struct ctx *ctx, struct grpc_stream *s, struct content_reader *r,
			      uint64_t at, uint64_t size)
{
	CLEANUP_FREE char *mem = mem_realloc(NULL, READ_CHUNK, 1);
	uint64_t end = at + size;
	size_t n;

	while (at < end) {
		Containerd__Services__Content__V1__ReadContentResponse m =
			CONTAINERD__SERVICES__CONTENT__V1__READ_CONTENT_RESPONSE__INIT;

		TRY(r->read_at(r, mem, (size_t)MIN(READ_CHUNK, end - at), at, &n));
		if (!n)
			return err_new(ERR_DATA_LOSS, "unexpected EOF");
		m.offset = (int64_t)at;
		m.data = proto_from_str(str_make(mem, n));
		TRY(grpc_send_msg(s, ctx, &m));
		at += n;
	}
	return NULL;
}

struct err *content_service_read(struct ctx *ctx, struct grpc_stream *s, struct content *c)
{
	Containerd__Services__Content__V1__ReadContentRequest *q;
	CLEANUP(content_reader_closep) struct content_reader *r = NULL;
	uint64_t at, size;
	struct digest d;
	SCOPED_ARENA(a);

	TRY(grpc_recv_request(s, ctx, &a,
			      &containerd__services__content__v1__read_content_request__descriptor,
			      &q));
	TRY(parse_digest(q->digest, &d));
	TRY(content_open(c, ctx, &d, &r));
	at = q->offset > 0 ? (uint64_t)q->offset : 0;
	if (at > r->size)
		return err_new(ERR_OUT_OF_RANGE, "read past object length %llu bytes",
			       (unsigned long long)r->size);
	size = r->size - at;
	if (q->size > 0 && (uint64_t)q->size < size)
		size = (uint64_t)q->size;
	return send_range(ctx, s, r, at, size);
}

/* ---- ingests ---- */

struct err *content_service_status(struct ctx *ctx, struct grpc_stream *s, struct content *c)
{
	Containerd__Services__Content__V1__StatusRequest *q;
	Containerd__Services__Content__V1__StatusResponse r =
		CONTAINERD__SERVICES__CONTENT__V1__STATUS_RESPONSE__INIT;
	Containerd__Services__Content__V1__Status st =
		CONTAINERD__SERVICES__CONTENT__V1__STATUS__INIT;
	CLEANUP(content_writer_closep) struct content_writer *w = NULL;
	SCOPED_ARENA(a);

	TRY(grpc_recv_request(s, ctx, &a,
			      &containerd__services__content__v1__status_request__descriptor, &q));
	TRYW(content_writer_open(c, ctx, str_from(q->ref), &w),
	     "could not get status for ref \"%s\"", q->ref);
	if (!w->offset) {
		w->discard(w);
		return err_new(ERR_NOT_FOUND, "could not get status for ref \"%s\": not found",
			       q->ref);
	}
	st.ref = q->ref;
	st.offset = (int64_t)w->offset;
	r.status = &st;
	return grpc_send_msg(s, ctx, &r);
}

struct err *content_service_list_statuses(struct ctx *ctx, struct grpc_stream *s, struct content *c)
{
	return err_new(ERR_UNIMPLEMENTED, "listing of ingests is not supported");
}

struct err *content_service_abort(struct ctx *ctx, struct grpc_stream *s, struct content *c)
{
	Containerd__Services__Content__V1__AbortRequest *q;
	Google__Protobuf__Empty r = GOOGLE__PROTOBUF__EMPTY__INIT;
	CLEANUP(content_writer_closep) struct content_writer *w = NULL;
	SCOPED_ARENA(a);

	TRY(grpc_recv_request(s, ctx, &a,
			      &containerd__services__content__v1__abort_request__descriptor, &q));
	TRY(content_writer_open(c, ctx, str_from(q->ref), &w));
	w->discard(w);
	return grpc_send_msg(s, ctx, &r);
}

struct ingest {
	struct ctx *ctx;
	struct grpc_stream *st;
	struct content *c;
	char *ref;
	struct content_writer *w;
	int64_t total;
	struct digest expected;
};

/* From the start again: a writer that finds something there is told to drop it. */
static struct err *restart(struct ingest *g)
{
	g->w->discard(g->w);
	content_writer_closep(&g->w);
	return content_writer_open(g->c, g->ctx, str_from(g->ref), &g->w);
}

static struct err *expect(struct ingest *g, const char *digest)
{
	if (!*digest)
		return NULL;
	TRY(parse_digest(digest, &g->expected));
	if (!content_has(g->c, g->ctx, &g->expected))
		return NULL;
	g->w->discard(g->w);
	return err_new(ERR_ALREADY_EXISTS, "blob with expected digest %s exists", digest);
}

static struct err *commit(struct ingest *g, const write_request *q, struct arena *a,
			  write_response *r)
{
	struct content_label *l = ARENA_NEW_N(a, struct content_label, q->n_labels + 1);
	struct digest got;

	for (size_t i = 0; i < q->n_labels; i++)
		l[i] = (struct content_label) { str_from(q->labels[i]->key),
						str_from(q->labels[i]->value) };
	TRY(content_commit(g->w, (uint64_t)MAX(g->total, INT64_C(0)), &g->expected, l, q->n_labels,
			   &got));
	r->digest = digest_text(&got, a);
	return NULL;
}

static struct err *on_request(struct ingest *g, const write_request *q, struct arena *a,
			      bool *ret_done)
{
	write_response r = CONTAINERD__SERVICES__CONTENT__V1__WRITE_CONTENT_RESPONSE__INIT;
	uint64_t at = g->w->offset;

	r.action = q->action;
	TRY(expect(g, q->expected));
	if (q->total > 0)
		g->total = q->total;
	switch (q->action) {
	case CONTAINERD__SERVICES__CONTENT__V1__WRITE_ACTION__WRITE_ACTION_STAT:
		r.total = g->total;
		break;
	case CONTAINERD__SERVICES__CONTENT__V1__WRITE_ACTION__WRITE_ACTION_WRITE:
	case CONTAINERD__SERVICES__CONTENT__V1__WRITE_ACTION__WRITE_ACTION_COMMIT:
		if (q->offset > 0 && (uint64_t)q->offset != at)
			return err_new(ERR_OUT_OF_RANGE,
				       "write @%lld must occur at current offset %llu",
				       (long long)q->offset, (unsigned long long)at);
		if (!q->offset && at)
			TRY(restart(g));
		if (q->data.len)
			TRY(writer_write(&g->w->io, q->data.data, q->data.len));
		if (q->action ==
		    CONTAINERD__SERVICES__CONTENT__V1__WRITE_ACTION__WRITE_ACTION_COMMIT) {
			TRY(commit(g, q, a, &r));
			*ret_done = true;
		}
		break;
	default:
		return err_new(ERR_INVALID_ARGUMENT, "unknown write action %d", (int)q->action);
	}
	r.offset = (int64_t)g->w->offset;
	return grpc_send_msg(g->st, g->ctx, &r);
}

static struct err *take_requests(struct ingest *g)
{
	bool done = false, eof;

	while (!done) {
		SCOPED_ARENA(a);
		write_request *q;

		TRY(grpc_recv_msg(
			g->st, g->ctx, &a,
			&containerd__services__content__v1__write_content_request__descriptor, &q,
			&eof));
		if (eof)
			return NULL;
		if (!g->w) {
			if (!*q->ref)
				return err_new(ERR_INVALID_ARGUMENT,
					       "first message must have a reference");
			g->ref = mem_strdup(q->ref);
			TRY(content_writer_open(g->c, g->ctx, str_from(g->ref), &g->w));
		}
		TRY(on_request(g, q, &a, &done));
	}
	return NULL;
}

struct err *content_service_write(struct ctx *ctx, struct grpc_stream *s, struct content *c)
{
	struct ingest g = { .ctx = ctx, .st = s, .c = c };
	struct err *e = take_requests(&g);

	content_writer_close(g.w);
	free(g.ref);
	return e;
}
