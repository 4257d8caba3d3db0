#include "control/explain.h"

#include "base/mem.h"
#include "base/vec.h"
#include "cache/contenthash.h"
#include "grpc/message.h"
#include "op/explain.h"

/* ---- noting ---- */

#define NEW_MSG(a, type, name)                                                                     \
	({                                                                                         \
		type *m_ = ARENA_NEW((a), type);                                                   \
		name##__init(m_);                                                                  \
		m_;                                                                                \
	})

static ProtobufCBinaryData first_bytes(struct arena *a, const struct digest *d, size_t n)
{
	if (!digest_is_set(d))
		return (ProtobufCBinaryData) { 0 };
	return proto_from_str(str_dup(a, str_make(d->bytes, n)));
}

struct entries {
	struct arena *a;
	VEC(Buildkitc__V1__StoredEntry *) list;
};

static void add_entry(void *arg, const struct contenthash_part *p)
{
	struct entries *e = arg;
	Buildkitc__V1__StoredEntry *m =
		NEW_MSG(e->a, Buildkitc__V1__StoredEntry, buildkitc__v1__stored_entry);

	m->path = str_cstr(e->a, p->path);
	memcpy(&m->digest, p->digest, sizeof(m->digest));
	m->all_below = p->all_below;
	vec_push(&e->list, m);
}

static Buildkitc__V1__StoredInput *note_input(struct build *b, struct arena *a,
					      const struct job_vertex *v, size_t i, bool detailed)
{
	Buildkitc__V1__StoredInput *m =
		NEW_MSG(a, Buildkitc__V1__StoredInput, buildkitc__v1__stored_input);
	const struct job_input *in = &v->inputs[i];
	struct entries e = { .a = a };

	m->vertex = in->vertex + 1;
	m->selector = first_bytes(a, &in->selector, 8);
	m->content = first_bytes(a, &in->content, 16);
	m->n_keys = in->n_keys;
	m->keys = (uint64_t *)in->keys;
	if (detailed && digest_is_set(&in->content) && in->result) {
		err_free(op_content_parts(b->ctx, in->arg, in->result, EXPLAIN_ENTRIES_MAX,
					  add_entry, &e));
		m->n_entries = e.list.len;
		m->entries = ARENA_NEW_N(a, Buildkitc__V1__StoredEntry *, e.list.len + 1);
		for (size_t k = 0; k < e.list.len; k++)
			m->entries[k] = e.list.items[k];
		vec_fini(&e.list);
	}
	return m;
}

static void note_parts(struct arena *a, const struct op *op, Buildkitc__V1__StoredVertex *m)
{
	struct op_key_part *parts;

	op_key_parts(op, a, &parts, &m->n_parts);
	m->parts = ARENA_NEW_N(a, Buildkitc__V1__StoredPart *, m->n_parts + 1);
	for (size_t i = 0; i < m->n_parts; i++) {
		m->parts[i] = NEW_MSG(a, Buildkitc__V1__StoredPart, buildkitc__v1__stored_part);
		m->parts[i]->name = str_cstr(a, parts[i].name);
		m->parts[i]->value = str_cstr(a, parts[i].value);
	}
}

static Buildkitc__V1__StoredVertex *note_vertex(struct build *b, struct arena *a,
						const struct job_vertex *v, bool detailed)
{
	Buildkitc__V1__StoredVertex *m =
		NEW_MSG(a, Buildkitc__V1__StoredVertex, buildkitc__v1__stored_vertex);
	char *digest = ARENA_NEW_N(a, char, 33);

	digest[0] = (char)v->digest.algo;
	memcpy(digest + 1, v->digest.bytes, 32);
	m->digest = proto_from_str(str_make(digest, 33));
	m->name = (char *)v->vertex->name;
	m->kind = (char *)op_kind(v->vertex);
	m->fate = v->fate;
	m->ignore_cache = v->ignore_cache;
	m->transient = v->transient;
	m->error = (char *)(v->error ?: "");
	m->key = first_bytes(a, &v->key, 16);
	m->result = (char *)(v->result_id ?: "");
	if (v->fate < VERTEX_RAN && strcmp(m->kind, "source") != 0)
		return m; /* what it stands on was noted when it ran */
	m->inputs = ARENA_NEW_N(a, Buildkitc__V1__StoredInput *, v->n_inputs + 1);
	m->n_inputs = v->n_inputs;
	for (size_t i = 0; i < v->n_inputs; i++)
		m->inputs[i] = note_input(b, a, v, i, detailed);
	if (v->op && detailed)
		note_parts(a, v->op, m);
	return m;
}

void explain_note(struct build *b)
{
	SCOPED_ARENA(a);
	Buildkitc__V1__StoredBuild *m =
		NEW_MSG(&a, Buildkitc__V1__StoredBuild, buildkitc__v1__stored_build);
	struct job_vertex *list;
	size_t n, detailed = 0;
	struct err *e = job_vertices(b->job, b->control->ctx, &a, &list, &n);

	if (e || !n) {
		err_free(e);
		return;
	}
	m->ref = str_cstr(&a, b->ref);
	m->time = clock_wall();
	m->vertices = ARENA_NEW_N(&a, Buildkitc__V1__StoredVertex *, n);
	m->n_vertices = n;
	for (size_t i = 0; i < n; i++)
		m->vertices[i] =
			note_vertex(b, &a, &list[i],
				    list[i].fate < VERTEX_RAN || detailed++ < EXPLAIN_DETAILED_MAX);
	explain_store_add(b->control->explain, b->control->ctx, m);
}

/* ---- answering ---- */

struct nearest {
	struct explain_pair pair;
	unsigned near;
};

struct search {
	struct control *control;
	struct arena *a; /* of the answer */
	struct str ref;
	const Buildkitc__V1__StoredBuild *build;
	uint64_t number;
	struct nearest *nearest; /* one a vertex */
	unsigned n_known;
};

static bool find_build(void *arg, uint64_t number, const Buildkitc__V1__StoredBuild *b,
		       struct arena *a)
{
	struct search *s = arg;

	if (s->ref.len && !str_eq_cstr(s->ref, b->ref))
		return true;
	s->build = proto_dup(s->a, b);
	s->number = number;
	return false;
}

static bool wants_reason(const Buildkitc__V1__StoredVertex *v)
{
	return v->fate >= VERTEX_RAN && strcmp(v->kind, "source") != 0;
}

/* Earlier vertices by what they could be near for; a vertex is held against few of them. */
struct index {
	struct map lists; /* "k" key, "n" name, "i" first input's content or key -> struct bucket */
};
struct bucket {
	VEC(const Buildkitc__V1__StoredVertex *) list;
};
#define BUCKET_MAX 16

static size_t index_keys(const Buildkitc__V1__StoredVertex *v, struct arena *a, struct str out[4])
{
	const Buildkitc__V1__StoredInput *in = v->n_inputs ? v->inputs[0] : NULL;
	size_t n = 0;

	out[n++] = str_from(arena_printf(a, "n%s", v->name));
	if (v->key.len)
		out[n++] = str_from(arena_printf(
			a, "k%016llx%016llx", (unsigned long long)*(const uint64_t *)v->key.data,
			(unsigned long long)*(const uint64_t *)(v->key.data + 8)));
	if (in && in->content.len)
		out[n++] = str_from(arena_printf(
			a, "c%016llx", (unsigned long long)*(const uint64_t *)in->content.data));
	if (in && in->n_keys)
		out[n++] = str_from(arena_printf(a, "i%016llx", (unsigned long long)in->keys[0]));
	return n;
}

static void free_bucket(void *p)
{
	struct bucket *b = p;

	vec_fini(&b->list);
	free(b);
}

static void index_build(struct index *x, const Buildkitc__V1__StoredBuild *b, struct arena *a)
{
	struct str keys[4];

	for (size_t i = 0; i < b->n_vertices; i++) {
		const Buildkitc__V1__StoredVertex *v = b->vertices[i];
		size_t n;

		if (v->fate != VERTEX_RAN || strcmp(v->kind, "source") == 0)
			continue;
		n = index_keys(v, a, keys);
		for (size_t k = 0; k < n; k++) {
			struct bucket *at = map_get(&x->lists, keys[k]);

			if (!at) {
				at = NEW(struct bucket);
				(void)map_put(&x->lists, keys[k], at);
			}
			if (at->list.len < BUCKET_MAX)
				vec_push(&at->list, v);
		}
	}
}

static void look_in(struct search *s, const struct index *x, size_t i,
		    const Buildkitc__V1__StoredBuild *b, struct arena *a,
		    Buildkitc__V1__StoredBuild **copy)
{
	const Buildkitc__V1__StoredVertex *v = s->build->vertices[i], *best = NULL;
	struct nearest *at = &s->nearest[i];
	struct str keys[4];
	size_t n = index_keys(v, a, keys);

	for (size_t k = 0; k < n; k++) {
		struct bucket *found = map_get(&x->lists, keys[k]);

		for (size_t c = 0; found && c < found->list.len; c++) {
			unsigned near = explain_nearness(v, found->list.items[c]);

			if (near > at->near) {
				at->near = near;
				best = found->list.items[c];
			}
		}
	}
	if (!best)
		return;
	/* A copy of the whole build, once, as its inputs are looked at too. */
	if (!*copy)
		*copy = proto_dup(s->a, b);
	at->pair.earlier_build = *copy;
	for (size_t k = 0; k < b->n_vertices; k++)
		if (b->vertices[k] == best)
			at->pair.earlier = (*copy)->vertices[k];
}

static bool look_at_earlier(void *arg, uint64_t number, const Buildkitc__V1__StoredBuild *b,
			    struct arena *a)
{
	struct search *s = arg;
	Buildkitc__V1__StoredBuild *copy = NULL;
	struct index x = { 0 };

	s->n_known++;
	index_build(&x, b, a);
	for (size_t i = 0; i < s->build->n_vertices; i++)
		if (wants_reason(s->build->vertices[i]) && map_len(&x.lists))
			look_in(s, &x, i, b, a, &copy);
	map_fini(&x.lists, free_bucket);
	/* Old builds tell less and less, and there may be much to hold them against. */
	return s->a->used < EXPLAIN_ANSWER_MAX;
}

static Buildkitc__V1__ExplainVertex *explain_vertex(struct search *s, size_t i)
{
	const Buildkitc__V1__StoredVertex *v = s->build->vertices[i];
	Buildkitc__V1__ExplainVertex *m =
		NEW_MSG(s->a, Buildkitc__V1__ExplainVertex, buildkitc__v1__explain_vertex);
	struct explain_pair *p = &s->nearest[i].pair;
	struct digest d = { 0 };
	char text[DIGEST_TEXT_MAX];
	struct result_ops ops;

	if (v->digest.len == 33) {
		d.algo = v->digest.data[0];
		memcpy(d.bytes, v->digest.data + 1, 32);
		m->digest = str_cstr(s->a, str_from(digest_format(&d, text)));
	}
	m->name = v->name;
	m->error = v->error;
	m->cached = v->fate == VERTEX_CACHED;
	if (!wants_reason(v))
		return m;
	p->build = s->build;
	p->vertex = v;
	op_result_ops_init(&ops, s->control->worker);
	if (p->earlier && !v->ignore_cache) {
		p->result_exists =
			*p->earlier->result && ops.exists(ops.arg, str_from(p->earlier->result));
		m->compared = p->earlier->name;
		m->compared_time = p->earlier_build->time;
	}
	m->reasons = explain_reasons(p, s->a, &m->n_reasons);
	return m;
}

struct err *insight_explain(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	struct control *c = arg;
	SCOPED_ARENA(a);
	Buildkitc__V1__ExplainRequest *req;
	Buildkitc__V1__ExplainResponse reply = BUILDKITC__V1__EXPLAIN_RESPONSE__INIT;
	struct search f = { .control = c, .a = &a };

	TRY(grpc_recv_request(s, ctx, &a, &buildkitc__v1__explain_request__descriptor, &req));
	f.ref = str_from(req->ref);
	TRY(explain_store_each(c->explain, ctx, UINT64_MAX, find_build, &f));
	if (!f.build && f.ref.len)
		return err_new(ERR_NOT_FOUND, "no build %s is remembered", req->ref);
	if (!f.build)
		return err_new(ERR_NOT_FOUND, "no build is remembered");
	f.nearest = ARENA_NEW_N(&a, struct nearest, f.build->n_vertices + 1);
	TRY(explain_store_each(c->explain, ctx, f.number, look_at_earlier, &f));
	reply.ref = f.build->ref;
	reply.time = f.build->time;
	reply.known = f.n_known;
	reply.vertices = ARENA_NEW_N(&a, Buildkitc__V1__ExplainVertex *, f.build->n_vertices + 1);
	for (size_t i = 0; i < f.build->n_vertices; i++) {
		const Buildkitc__V1__StoredVertex *v = f.build->vertices[i];

		reply.cached += v->fate == VERTEX_CACHED;
		reply.ran += wants_reason(v);
		if (wants_reason(v) || (req->all && v->fate != VERTEX_UNUSED))
			reply.vertices[reply.n_vertices++] = explain_vertex(&f, i);
	}
	return grpc_send_msg(s, ctx, &reply);
}
