#include "frontend/bridge.h"

#include "base/mem.h"
#include "frontend/push.h"

#include <assert.h>

void bridge_ref_init(struct bridge_ref *r, const struct bridge_ref_ops *ops)
{
	r->ops = ops;
	ref_init(&r->refs);
}

struct bridge_ref *bridge_ref_get(struct bridge_ref *r)
{
	if (r)
		ref_get(&r->refs);
	return r;
}

void bridge_ref_put(struct bridge_ref *r)
{
	if (r && ref_put(&r->refs))
		r->ops->free(r);
}

void bridge_ref_putp(struct bridge_ref **r)
{
	bridge_ref_put(*r);
}

struct str bridge_opt(const struct bridge *b, struct str key)
{
	size_t lo = 0, hi = b->info->n_opts;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = str_cmp(b->info->opts[mid].key, key);

		if (c == 0)
			return b->info->opts[mid].value;
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return STR_NONE;
}

void frontend_result_init(struct frontend_result *r)
{
	*r = (struct frontend_result) { 0 };
}

void frontend_result_fini(struct frontend_result *r)
{
	bridge_ref_put(r->ref);
	for (size_t i = 0; i < r->n_refs; i++)
		bridge_ref_put(r->refs[i].ref);
	for (size_t i = 0; i < r->n_attestations; i++)
		for (size_t k = 0; k < r->attestations[i].n; k++)
			bridge_ref_put(r->attestations[i].list[k].ref);
	arena_fini(&r->arena);
	frontend_result_init(r);
}

void frontend_result_set_ref(struct frontend_result *r, struct bridge_ref *take_ref)
{
	bridge_ref_put(r->ref);
	r->ref = take_ref;
}

void frontend_result_add_ref(struct frontend_result *r, struct str key, struct bridge_ref *take_ref)
{
	r->is_map = true;
	for (size_t i = 0; i < r->n_refs; i++)
		if (str_eq(r->refs[i].key, key)) {
			bridge_ref_put(r->refs[i].ref);
			r->refs[i].ref = take_ref;
			return;
		}
	ARENA_PUSH(&r->arena, r->refs, r->n_refs, r->cap_refs,
		   ((struct frontend_ref) { str_dup(&r->arena, key), take_ref }));
}

/* Where key is or belongs in a sorted array whose elements begin with their key. */
static size_t position(const void *items, size_t n, size_t size, struct str key, bool *ret_found)
{
	size_t i;

	*ret_found = false;
	for (i = 0; i < n; i++) {
		int c = str_cmp(*(const struct str *)((const char *)items + i * size), key);

		if (c >= 0) {
			*ret_found = c == 0;
			break;
		}
	}
	return i;
}

void frontend_result_set_meta(struct frontend_result *r, struct str key, struct str value)
{
	bool found;
	size_t at = position(r->metadata, r->n_metadata, sizeof(*r->metadata), key, &found);

	if (!found) {
		ARENA_GROW(&r->arena, r->metadata, r->n_metadata, r->cap_metadata);
		memmove(r->metadata + at + 1, r->metadata + at,
			(r->n_metadata - at) * sizeof(*r->metadata));
		r->n_metadata++;
		r->metadata[at].key = str_dup(&r->arena, key);
	}
	r->metadata[at].value = str_dup(&r->arena, value);
}

bool frontend_result_meta(const struct frontend_result *r, struct str key, struct str *ret)
{
	bool found;
	size_t at = position(r->metadata, r->n_metadata, sizeof(*r->metadata), key, &found);

	if (found)
		*ret = r->metadata[at].value;
	return found;
}

void frontend_result_add_attestation(struct frontend_result *r, struct str key,
				     const struct frontend_attestation *at)
{
	struct arena *a = &r->arena;
	struct frontend_attestations *of;
	struct frontend_attestation *copy;
	bool found;
	size_t i =
		position(r->attestations, r->n_attestations, sizeof(*r->attestations), key, &found);

	if (!found) {
		ARENA_GROW(a, r->attestations, r->n_attestations, r->cap_attestations);
		memmove(r->attestations + i + 1, r->attestations + i,
			(r->n_attestations - i) * sizeof(*r->attestations));
		r->n_attestations++;
		r->attestations[i] =
			(struct frontend_attestations) { .key = str_dup(a, key), .cap = 0 };
	}
	of = &r->attestations[i];
	ARENA_GROW(a, of->list, of->n, of->cap);
	copy = &of->list[of->n++];
	*copy = (struct frontend_attestation) {
		.kind = at->kind,
		.ref = at->ref,
		.path = str_dup(a, at->path),
		.predicate_type = str_dup(a, at->predicate_type),
		.metadata = ARENA_NEW_N(a, struct frontend_kv, at->n_metadata),
		.n_metadata = at->n_metadata,
		.subjects = ARENA_NEW_N(a, struct frontend_subject, at->n_subjects),
		.n_subjects = at->n_subjects,
	};
	for (size_t k = 0; k < at->n_metadata; k++)
		copy->metadata[k] = (struct frontend_kv) { str_dup(a, at->metadata[k].key),
							   str_dup(a, at->metadata[k].value) };
	for (size_t k = 0; k < at->n_subjects; k++) {
		const struct frontend_subject *s = &at->subjects[k];

		copy->subjects[k] = (struct frontend_subject) {
			.kind = s->kind,
			.name = str_dup(a, s->name),
			.digests = ARENA_NEW_N(a, struct str, s->n_digests),
			.n_digests = s->n_digests,
		};
		for (size_t d = 0; d < s->n_digests; d++)
			copy->subjects[k].digests[d] = str_dup(a, s->digests[d]);
	}
}

struct err *frontend_result_single(const struct frontend_result *r, struct bridge_ref **ret)
{
	if (!r->is_map)
		*ret = r->ref;
	else if (r->n_refs == 1)
		*ret = r->refs[0].ref;
	else
		return err_new(ERR_INVALID_ARGUMENT, "failed to get single ref for map result");
	return NULL;
}
