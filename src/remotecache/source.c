#include "remotecache/source.h"

#include "base/limits.h"
#include "base/mem.h"

#include <stdlib.h>

/* One way from a record to a record: sorted, so that a look-up is a binary search. */
struct way {
	uint32_t from, input, to;
	struct digest digest; /* of the record that it leads to */
	struct digest selector;
};

struct import_source {
	struct cache_source base;
	struct remotecache_origin origin;
	struct arena arena;
	struct import_config config;
	struct way *ways;
	size_t n_ways;
	struct map roots; /* digest of a record without inputs -> number + 1 */
};

static struct import_source *of(struct cache_source *s)
{
	return container_of(s, struct import_source, base);
}

/* ---- keys ---- */

/* The ids of roots are the same everywhere; others are numbers. */
static struct cache_key_id id_of(uint32_t record)
{
	struct cache_key_id id = { .len = sizeof(record) };

	memcpy(id.bytes, &record, sizeof(record));
	return id;
}

static bool record_of(const struct import_source *s, const struct cache_key_id *id, uint32_t *ret)
{
	struct digest d;
	uintptr_t n;

	if (id->len == sizeof(*ret)) {
		memcpy(ret, id->bytes, sizeof(*ret));
		return *ret < s->config.n_records;
	}
	if (!cache_key_root_digest(id, &d))
		return false;
	n = (uintptr_t)map_get(&s->roots, str_make(&d, sizeof(d)));
	*ret = (uint32_t)n - 1;
	return n;
}

/* ---- ways ---- */

static int compare_from(const struct way *x, const struct way *y)
{
	int d = (x->from > y->from) - (x->from < y->from);

	if (!d)
		d = (x->input > y->input) - (x->input < y->input);
	if (!d)
		d = digest_cmp(&x->digest, &y->digest);
	return d ? d : digest_cmp(&x->selector, &y->selector);
}

static int compare_ways(const void *a, const void *b)
{
	const struct way *x = a, *y = b;
	int d = compare_from(x, y);

	return d ? d : (x->to > y->to) - (x->to < y->to);
}

/* Of several records of the same root digest all ways start at the first. */
static uint32_t start_of(const struct import_source *s, uint32_t record)
{
	const struct import_record *r = &s->config.records[record];

	if (r->n_inputs)
		return record;
	return (uint32_t)(uintptr_t)map_get(&s->roots, str_make(&r->digest, sizeof(r->digest))) - 1;
}

static void make_ways(struct import_source *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->config.n_records; i++)
		for (size_t k = 0; k < s->config.records[i].n_inputs; k++)
			n += s->config.records[i].n_links[k];
	s->ways = ARENA_NEW_N(&s->arena, struct way, n + 1);
	for (uint32_t i = 0; i < s->config.n_records; i++) {
		const struct import_record *r = &s->config.records[i];

		for (uint32_t k = 0; k < r->n_inputs; k++)
			for (size_t m = 0; m < r->n_links[k]; m++)
				s->ways[s->n_ways++] = (struct way) {
					.from = start_of(s, r->inputs[k][m].record),
					.input = k,
					.to = i,
					.digest = r->digest,
					.selector = r->inputs[k][m].selector,
				};
	}
	qsort(s->ways, s->n_ways, sizeof(*s->ways), compare_ways);
}

static void query(struct cache_source *src, const struct cache_key_id *key,
		  const struct cache_link *link,
		  void (*each)(void *arg, const struct cache_key_id *id), void *arg)
{
	struct import_source *s = of(src);
	struct cache_key_id target = cache_key_root(&link->digest, link->output);
	struct way want = { .input = link->input, .selector = link->selector };
	size_t low = 0, high = s->n_ways;

	if (!record_of(s, key, &want.from) || !cache_key_root_digest(&target, &want.digest))
		return;
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (compare_from(&s->ways[mid], &want) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	for (; low < s->n_ways && !compare_from(&s->ways[low], &want); low++) {
		struct cache_key_id id = id_of(s->ways[low].to);

		each(arg, &id);
	}
}

/* ---- results ---- */

static void results(struct cache_source *src, const struct cache_key_id *key,
		    void (*each)(void *arg, const struct cache_hit *hit), void *arg)
{
	struct import_source *s = of(src);
	uint32_t record;

	if (!record_of(s, key, &record))
		return;
	for (size_t i = 0; i < s->config.records[record].n_results; i++) {
		uint64_t place = ((uint64_t)record << 32) | i;
		struct cache_hit hit = {
			.created_ns = s->config.records[record].results[i].created_ns,
		};
		char text[24];
		int len = snprintf(text, sizeof(text), "%llx", (unsigned long long)place);

		hit.result_id = str_make(text, (size_t)len);
		each(arg, &hit);
	}
}

static const struct import_result *result_of(const struct import_source *s, struct str id)
{
	char text[24], *end;
	unsigned long long place;
	const struct import_record *r;

	if (!id.len || id.len >= sizeof(text))
		return NULL;
	memcpy(text, id.ptr, id.len);
	text[id.len] = '\0';
	place = strtoull(text, &end, 16);
	if (*end || place >> 32 >= s->config.n_records)
		return NULL;
	r = &s->config.records[place >> 32];
	return (uint32_t)place < r->n_results ? &r->results[(uint32_t)place] : NULL;
}

static struct cache_key_id id_of_root(const struct digest *d)
{
	struct cache_key_id id = { .len = (uint8_t)(1 + digest_size((enum digest_algo)d->algo)) };

	id.bytes[0] = d->algo;
	memcpy(id.bytes + 1, d->bytes, (size_t)id.len - 1);
	return id;
}

static void backlinks(struct cache_source *src, const struct cache_key_id *key,
		      void (*each)(void *arg, const struct cache_key_id *from,
				   const struct cache_link *link),
		      void *arg)
{
	struct import_source *s = of(src);
	const struct import_record *r;
	uint32_t record;

	if (!record_of(s, key, &record))
		return;
	r = &s->config.records[record];
	for (uint32_t i = 0; i < r->n_inputs; i++)
		for (size_t k = 0; k < r->n_links[i]; k++) {
			const struct import_link *l = &r->inputs[i][k];
			const struct import_record *from = &s->config.records[l->record];
			struct cache_link link = { .input = i, .selector = l->selector };
			struct cache_key_id id =
				from->n_inputs ? id_of(l->record) : id_of_root(&from->digest);

			each(arg, &id, &link);
		}
}

static struct digest chain_on(const struct digest *below, const struct digest *diff_id)
{
	char x[DIGEST_TEXT_MAX], y[DIGEST_TEXT_MAX], both[2 * DIGEST_TEXT_MAX + 1];
	int len;

	if (!digest_is_set(below))
		return *diff_id;
	len = snprintf(both, sizeof(both), "%s %s", digest_format(below, x),
		       digest_format(diff_id, y));
	return digest_sha256(str_make(both, (size_t)len));
}

static struct err *stack(struct import_source *s, struct ctx *ctx, const struct cache_fetcher *f,
			 const struct import_blob *const *layers, size_t n, struct arena *a,
			 struct cache_ref **ret)
{
	struct cache_ref *below = NULL;
	struct digest chain = { 0 };

	for (size_t i = 0; i < n; i++) {
		const struct import_blob *l = layers[i];
		struct cache_blob b = { .desc = l->desc, .diff_id = l->diff_id };
		struct cache_opts o = { .description = l->description,
					.created_ns = l->created_ns };
		struct cache_ref *next;
		struct err *e;

		b.chain_id = chain = chain_on(&chain, &l->diff_id);
		if (!o.description.len)
			o.description = str_from(
				arena_printf(a, "imported %s", digest_text(&l->desc.digest, a)));
		e = cache_get_by_blob(s->origin.cache, ctx, below, &b, f, &o, &next);
		cache_ref_release(below);
		if (e)
			return e;
		below = next;
	}
	*ret = below;
	return NULL;
}

/* Layers are fetched in the name of those who need them, who may outlive the one that imported. */
static struct cache_fetcher fetcher_for(struct import_source *s, void *session)
{
	struct cache_fetcher f = s->origin.fetch;

	if (session && s->origin.for_session)
		f.arg = s->origin.for_session(f.arg, session);
	else
		f.ref(f.arg);
	return f;
}

static struct err *load(struct cache_source *src, struct ctx *ctx, void *session,
			const struct cache_key_id *key, struct str result_id, struct result **ret)
{
	struct import_source *s = of(src);
	const struct import_result *r = result_of(s, result_id);
	const struct import_blob **layers;
	CLEANUP(cache_ref_releasep) struct cache_ref *ref = NULL;
	struct cache_fetcher f;
	SCOPED_ARENA(a);
	struct err *e;
	size_t n;

	if (!r)
		return err_new(ERR_NOT_FOUND, "cached result %.*s: not found", STR_ARG(result_id));
	TRY(import_result_layers(&s->config, r, &a, &layers, &n));
	for (size_t i = 0; s->origin.check && i < n; i++)
		TRY(s->origin.check(s->origin.fetch.arg, ctx, &layers[i]->desc));
	f = fetcher_for(s, session);
	e = stack(s, ctx, &f, layers, n, &a, &ref);
	f.unref(f.arg);
	if (e)
		return e;
	if (s->origin.eager)
		TRY(cache_ref_unlazy(ref, ctx, NULL));
	*ret = s->origin.result_of(s->origin.arg, TAKE_PTR(ref));
	return NULL;
}

static void source_free(struct cache_source *src)
{
	struct import_source *s = of(src);

	s->origin.fetch.unref(s->origin.fetch.arg);
	map_fini(&s->roots, NULL);
	arena_fini(&s->arena);
	free(s);
}

static const struct cache_source_ops ops = {
	.query = query,
	.results = results,
	.backlinks = backlinks,
	.load = load,
	.free = source_free,
};

struct cache_source *import_source_new(const struct remotecache_origin *o, struct arena *take_a,
				       const struct import_config *c)
{
	struct import_source *s = NEW(struct import_source);

	s->base.ops = &ops;
	ref_init(&s->base.ref);
	s->origin = *o;
	s->origin.fetch.ref(s->origin.fetch.arg);
	s->arena = *take_a;
	*take_a = ARENA_INIT;
	s->config = *c;
	for (size_t i = 0; i < c->n_records; i++) {
		struct str d = str_make(&c->records[i].digest, sizeof(c->records[i].digest));

		if (!c->records[i].n_inputs && !map_has(&s->roots, d))
			map_put(&s->roots, d, (void *)(uintptr_t)(i + 1));
	}
	make_ways(s);
	return &s->base;
}
