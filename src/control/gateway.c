#include "control/gateway.h"

#include "base/id.h"
#include "base/mem.h"

struct gateway *gateway_new(struct build *b, struct ctx *ctx, const struct bridge_input *inputs,
			    size_t n_inputs)
{
	struct gateway *g = NEW(struct gateway);

	g->build = b;
	g->ctx = ctx_new(ctx);
	g->inputs = inputs;
	g->n_inputs = n_inputs;
	lock_init(&g->lock, LOCK_BRIDGE);
	cond_init(&g->changed);
	return g;
}

bool gateway_enter(struct gateway *g)
{
	LOCKED(&g->lock);
	if (g->ending)
		return false;
	g->calls++;
	return true;
}

void gateway_leave(struct gateway *g)
{
	LOCKED(&g->lock);
	g->calls--;
	cond_broadcast(&g->changed);
}

void gateway_end(struct gateway *g)
{
	lock_take(&g->lock);
	g->ending = true;
	lock_drop(&g->lock);
	ctx_cancel(g->ctx, NULL);
	/* A call that waits for a container's process ends with that; one that is making a
	 * container may add it after the first pass. */
	gateway_release_containers(g);
	lock_take(&g->lock);
	while (g->calls)
		cond_wait_uninterrupted(&g->changed, &g->lock);
	lock_drop(&g->lock);
	gateway_release_containers(g);
}

static void put_ref(void *r)
{
	bridge_ref_put(r);
}

void gateway_free(struct gateway *g)
{
	if (!g)
		return;
	gateway_end(g);
	map_fini(&g->refs, put_ref);
	map_fini(&g->containers, NULL);
	frontend_result_fini(&g->result);
	err_free(g->result_err);
	ctx_unref(g->ctx);
	cond_fini(&g->changed);
	lock_fini(&g->lock);
	free(g);
}

/* ---- the result ---- */

static struct err *take_result_locked(struct gateway *g, struct frontend_result *ret)
{
	lock_assert_held(&g->lock);
	if (g->result_err)
		return TAKE_PTR(g->result_err);
	if (!g->has_result)
		return err_new(ERR_UNKNOWN, "no result for incomplete build");
	*ret = g->result;
	g->result = (struct frontend_result) { 0 };
	return NULL;
}

struct err *gateway_wait_result(struct gateway *g, struct ctx *ctx, struct frontend_result *ret)
{
	LOCKED(&g->lock);
	while (!g->has_result && !g->result_err)
		TRY(cond_wait(&g->changed, &g->lock, ctx));
	return take_result_locked(g, ret);
}

struct err *gateway_take_result(struct gateway *g, struct frontend_result *ret)
{
	LOCKED(&g->lock);
	return take_result_locked(g, ret);
}

struct err *gateway_first_error(struct gateway *g, struct err *take_e)
{
	LOCKED(&g->lock);
	return err_first(TAKE_PTR(g->result_err), take_e);
}

/* ---- refs ---- */

struct err *gateway_ref(struct gateway *g, const char *id, struct bridge_ref **ret)
{
	LOCKED(&g->lock);
	*ret = NULL;
	if (!*id)
		return NULL;
	*ret = bridge_ref_get(map_get(&g->refs, str_from(id)));
	if (*ret)
		return NULL;
	return err_new(ERR_UNKNOWN, "no such ref: %s", id);
}

/* Of what the client gives back: other words for the same. */
static struct err *returned_ref(struct gateway *g, const char *id, struct bridge_ref **ret)
{
	struct err *e = gateway_ref(g, id, ret);

	if (!e)
		return NULL;
	err_free(e);
	return err_new(ERR_UNKNOWN, "return reference %s not found", id);
}

static Moby__Buildkit__V1__Frontend__Ref *register_ref(struct gateway *g, struct bridge_ref *r,
						       struct arena *a)
{
	Moby__Buildkit__V1__Frontend__Ref *out = ARENA_NEW(a, Moby__Buildkit__V1__Frontend__Ref);

	moby__buildkit__v1__frontend__ref__init(out);
	if (!r)
		return out;
	out->id = id_new(a);
	/* The client turns a result into the input of another build by this. */
	out->def = (Pb__Definition *)r->ops->definition(r);
	lock_take(&g->lock);
	(void)map_put(&g->refs, str_from(out->id), bridge_ref_get(r));
	lock_drop(&g->lock);
	return out;
}

/* ---- attestations ---- */

static Moby__Buildkit__V1__Frontend__InTotoSubject *subject_to_pb(const struct frontend_subject *s,
								  struct arena *a)
{
	Moby__Buildkit__V1__Frontend__InTotoSubject *out =
		ARENA_NEW(a, Moby__Buildkit__V1__Frontend__InTotoSubject);

	moby__buildkit__v1__frontend__in_toto_subject__init(out);
	out->kind = s->kind;
	out->name = str_cstr(a, s->name);
	out->n_digest = s->n_digests;
	out->digest = ARENA_NEW_N(a, char *, s->n_digests + 1);
	for (size_t i = 0; i < s->n_digests; i++)
		out->digest[i] = str_cstr(a, s->digests[i]);
	return out;
}

static Moby__Buildkit__V1__Frontend__Attestation *attestation_to_pb(
	struct gateway *g, const struct frontend_attestation *at, struct arena *a)
{
	Moby__Buildkit__V1__Frontend__Attestation *out =
		ARENA_NEW(a, Moby__Buildkit__V1__Frontend__Attestation);

	moby__buildkit__v1__frontend__attestation__init(out);
	out->kind = at->kind;
	out->path = str_cstr(a, at->path);
	out->intotopredicatetype = str_cstr(a, at->predicate_type);
	if (at->ref)
		out->ref = register_ref(g, at->ref, a);
	out->n_metadata = at->n_metadata;
	out->metadata = ARENA_NEW_N(a, Moby__Buildkit__V1__Frontend__Attestation__MetadataEntry *,
				    at->n_metadata + 1);
	for (size_t i = 0; i < at->n_metadata; i++) {
		out->metadata[i] =
			ARENA_NEW(a, Moby__Buildkit__V1__Frontend__Attestation__MetadataEntry);
		moby__buildkit__v1__frontend__attestation__metadata_entry__init(out->metadata[i]);
		out->metadata[i]->key = str_cstr(a, at->metadata[i].key);
		out->metadata[i]->value = proto_from_str(at->metadata[i].value);
	}
	out->n_intotosubjects = at->n_subjects;
	out->intotosubjects =
		ARENA_NEW_N(a, Moby__Buildkit__V1__Frontend__InTotoSubject *, at->n_subjects + 1);
	for (size_t i = 0; i < at->n_subjects; i++)
		out->intotosubjects[i] = subject_to_pb(&at->subjects[i], a);
	return out;
}

static void attestations_to_pb(struct gateway *g, const struct frontend_result *r, struct arena *a,
			       Moby__Buildkit__V1__Frontend__Result *out)
{
	out->n_attestations = r->n_attestations;
	out->attestations =
		ARENA_NEW_N(a, Moby__Buildkit__V1__Frontend__Result__AttestationsEntry *,
			    r->n_attestations + 1);
	for (size_t i = 0; i < r->n_attestations; i++) {
		const struct frontend_attestations *of = &r->attestations[i];
		Moby__Buildkit__V1__Frontend__Result__AttestationsEntry *e =
			ARENA_NEW(a, Moby__Buildkit__V1__Frontend__Result__AttestationsEntry);

		moby__buildkit__v1__frontend__result__attestations_entry__init(e);
		e->key = str_cstr(a, of->key);
		e->value = ARENA_NEW(a, Moby__Buildkit__V1__Frontend__Attestations);
		moby__buildkit__v1__frontend__attestations__init(e->value);
		e->value->n_attestation = of->n;
		e->value->attestation =
			ARENA_NEW_N(a, Moby__Buildkit__V1__Frontend__Attestation *, of->n + 1);
		for (size_t k = 0; k < of->n; k++)
			e->value->attestation[k] = attestation_to_pb(g, &of->list[k], a);
		out->attestations[i] = e;
	}
}

static struct err *attestation_from_pb(struct gateway *g, struct str key,
				       const Moby__Buildkit__V1__Frontend__Attestation *in,
				       struct frontend_result *r)
{
	SCOPED_ARENA(a);
	struct frontend_attestation at = {
		.kind = (int)in->kind,
		.path = str_from(in->path),
		.predicate_type = str_from(in->intotopredicatetype),
		.metadata = ARENA_NEW_N(&a, struct frontend_kv, in->n_metadata),
		.n_metadata = in->n_metadata,
		.subjects = ARENA_NEW_N(&a, struct frontend_subject, in->n_intotosubjects),
		.n_subjects = in->n_intotosubjects,
	};

	for (size_t i = 0; i < in->n_metadata; i++)
		at.metadata[i] = (struct frontend_kv) { str_from(in->metadata[i]->key),
							proto_bytes(in->metadata[i]->value) };
	for (size_t i = 0; i < in->n_intotosubjects; i++) {
		const Moby__Buildkit__V1__Frontend__InTotoSubject *s = in->intotosubjects[i];
		struct frontend_subject *to = &at.subjects[i];

		*to = (struct frontend_subject) {
			.kind = (int)s->kind,
			.name = str_from(s->name),
			.digests = ARENA_NEW_N(&a, struct str, s->n_digest),
			.n_digests = s->n_digest,
		};
		for (size_t k = 0; k < s->n_digest; k++)
			to->digests[k] = str_from(s->digest[k]);
	}
	if (in->ref)
		TRY(returned_ref(g, in->ref->id, &at.ref));
	frontend_result_add_attestation(r, key, &at);
	return NULL;
}

static struct err *attestations_from_pb(struct gateway *g,
					const Moby__Buildkit__V1__Frontend__Result *in,
					struct frontend_result *r)
{
	for (size_t i = 0; i < in->n_attestations; i++) {
		const Moby__Buildkit__V1__Frontend__Attestations *of = in->attestations[i]->value;

		for (size_t k = 0; of && k < of->n_attestation; k++)
			TRY(attestation_from_pb(g, str_from(in->attestations[i]->key),
						of->attestation[k], r));
	}
	return NULL;
}

/* ---- results ---- */

Moby__Buildkit__V1__Frontend__Result *gateway_result_to_pb(struct gateway *g,
							   const struct frontend_result *r,
							   struct arena *a)
{
	Moby__Buildkit__V1__Frontend__Result *out =
		ARENA_NEW(a, Moby__Buildkit__V1__Frontend__Result);

	moby__buildkit__v1__frontend__result__init(out);
	if (r->is_map) {
		Moby__Buildkit__V1__Frontend__RefMap *m =
			ARENA_NEW(a, Moby__Buildkit__V1__Frontend__RefMap);

		moby__buildkit__v1__frontend__ref_map__init(m);
		m->n_refs = r->n_refs;
		m->refs = ARENA_NEW_N(a, Moby__Buildkit__V1__Frontend__RefMap__RefsEntry *,
				      r->n_refs + 1);
		for (size_t i = 0; i < r->n_refs; i++) {
			m->refs[i] = ARENA_NEW(a, Moby__Buildkit__V1__Frontend__RefMap__RefsEntry);
			moby__buildkit__v1__frontend__ref_map__refs_entry__init(m->refs[i]);
			m->refs[i]->key = str_cstr(a, r->refs[i].key);
			m->refs[i]->value = register_ref(g, r->refs[i].ref, a);
		}
		out->result_case = MOBY__BUILDKIT__V1__FRONTEND__RESULT__RESULT_REFS;
		out->refs = m;
	} else {
		out->result_case = MOBY__BUILDKIT__V1__FRONTEND__RESULT__RESULT_REF;
		out->ref = register_ref(g, r->ref, a);
	}
	out->n_metadata = r->n_metadata;
	out->metadata = ARENA_NEW_N(a, Moby__Buildkit__V1__Frontend__Result__MetadataEntry *,
				    r->n_metadata + 1);
	for (size_t i = 0; i < r->n_metadata; i++) {
		out->metadata[i] =
			ARENA_NEW(a, Moby__Buildkit__V1__Frontend__Result__MetadataEntry);
		moby__buildkit__v1__frontend__result__metadata_entry__init(out->metadata[i]);
		out->metadata[i]->key = str_cstr(a, r->metadata[i].key);
		out->metadata[i]->value = proto_from_str(r->metadata[i].value);
	}
	attestations_to_pb(g, r, a, out);
	return out;
}

static struct err *refs_from_pb(struct gateway *g, const Moby__Buildkit__V1__Frontend__Result *in,
				struct frontend_result *r)
{
	struct bridge_ref *ref;

	switch (in->result_case) {
	case MOBY__BUILDKIT__V1__FRONTEND__RESULT__RESULT_REF:
		TRY(returned_ref(g, in->ref->id, &ref));
		frontend_result_set_ref(r, ref);
		return NULL;
	case MOBY__BUILDKIT__V1__FRONTEND__RESULT__RESULT_REF_DEPRECATED:
		TRY(returned_ref(g, in->refdeprecated, &ref));
		frontend_result_set_ref(r, ref);
		return NULL;
	case MOBY__BUILDKIT__V1__FRONTEND__RESULT__RESULT_REFS:
		r->is_map = true;
		for (size_t i = 0; i < in->refs->n_refs; i++) {
			const Moby__Buildkit__V1__Frontend__Ref *v = in->refs->refs[i]->value;

			TRY(returned_ref(g, v ? v->id : "", &ref));
			frontend_result_add_ref(r, str_from(in->refs->refs[i]->key), ref);
		}
		return NULL;
	case MOBY__BUILDKIT__V1__FRONTEND__RESULT__RESULT_REFS_DEPRECATED:
		r->is_map = true;
		for (size_t i = 0; i < in->refsdeprecated->n_refs; i++) {
			TRY(returned_ref(g, in->refsdeprecated->refs[i]->value, &ref));
			frontend_result_add_ref(r, str_from(in->refsdeprecated->refs[i]->key), ref);
		}
		return NULL;
	default:
		return NULL;
	}
}

struct err *gateway_result_from_pb(struct gateway *g,
				   const Moby__Buildkit__V1__Frontend__Result *in,
				   struct frontend_result *ret)
{
	struct frontend_result r;
	struct err *e;

	frontend_result_init(&r);
	e = refs_from_pb(g, in, &r);
	for (size_t i = 0; i < in->n_metadata && !e; i++)
		frontend_result_set_meta(&r, str_from(in->metadata[i]->key),
					 proto_bytes(in->metadata[i]->value));
	if (!e)
		e = attestations_from_pb(g, in, &r);
	if (e) {
		frontend_result_fini(&r);
		return e;
	}
	*ret = r;
	return NULL;
}
