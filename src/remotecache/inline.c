#include "remotecache/impl.h"

#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"
#include "remotecache/chains.h"

struct image {
	struct ctx *ctx;
	const struct cache_compress *compress;
	struct cache_ref *ref;
	struct cache_layer *layers;
	size_t n;
	struct map by_id; /* record id -> number of its layer + 1 */
	struct arena *arena;
};

/* The layers of r among those of the image. Nothing when they are not all there. */
static struct err *place(struct image *im, struct cache_ref *r, struct chain_result *ret)
{
	bool whole = !strcmp(cache_ref_id(r), cache_ref_id(im->ref));
	struct cache_layer *layers = im->layers;
	uint32_t *numbers;
	size_t n = im->n, next = 0;
	bool prefix = true;

	/* Blobs are made only of what is in the image anyhow. */
	if (!whole && !map_has(&im->by_id, str_from(cache_ref_id(r))))
		return NULL;
	if (!whole)
		TRY(cache_ref_layers(r, im->ctx, im->arena, im->compress, &layers, &n));
	if (!n || n > im->n)
		return NULL;
	numbers = ARENA_NEW_N(im->arena, uint32_t, n);
	for (size_t i = 0; i < n; i++) {
		while (next < im->n && !digest_eq(&im->layers[next].diff_id, &layers[i].diff_id))
			next++;
		if (next == im->n)
			return NULL;
		prefix = prefix && next == i;
		numbers[i] = (uint32_t)next++;
	}
	if (prefix)
		*ret = (struct chain_result) { .layers = &numbers[n - 1], .n = 1 };
	else
		*ret = (struct chain_result) { .layers = numbers, .n = n, .explicit = true };
	return NULL;
}

static struct err *place_record(struct image *im, const struct remotecache_results *results,
				struct cache_key *key, const struct export_record *rec,
				struct chain_result *ret)
{
	struct result *r;
	struct err *e;

	TRY(record_load(im->ctx, results, key, rec, &r));
	if (!r)
		return NULL;
	e = place(im, results->ref_of(r), ret);
	ret->created_ns = rec->created_ns;
	results->unref(r);
	return e;
}

struct err *remotecache_inline(struct ctx *ctx, const struct remotecache_results *results,
			       struct cache_key *key, struct cache_ref *ref,
			       const struct cache_compress *compress, struct arena *a,
			       struct str *ret)
{
	SCOPED_ARENA(tmp);
	struct image im = { .ctx = ctx, .compress = compress, .ref = ref, .arena = &tmp };
	SCOPED_BUF(text, LIMIT_IMAGE_CONFIG);
	struct export_record *records;
	struct chain_result *places;
	struct json_out j;
	struct err *e = NULL;
	size_t n;

	*ret = STR_NONE;
	if (!ref)
		return NULL;
	TRY(cache_ref_layers(ref, ctx, &tmp, compress, &im.layers, &im.n));
	if (!im.n)
		return NULL;
	TRY(cache_key_export(key, ctx, &tmp, &records, &n));
	for (size_t i = 0; i < im.n; i++)
		map_put(&im.by_id, str_from(cache_ref_id(im.layers[i].ref)),
			(void *)(uintptr_t)(i + 1));
	places = ARENA_NEW_N(&tmp, struct chain_result, n + 1);
	for (size_t i = 0; i < n && !e; i++)
		e = place_record(&im, results, key, &records[i], &places[i]);
	map_fini(&im.by_id, NULL);
	if (e)
		return e;
	json_out_init(&j, &text, NULL);
	if (chains_print(records, n, places, &j)) {
		TRY(buf_check(&text, "inline cache"));
		*ret = str_dup(a, buf_str(&text));
	}
	return NULL;
}
