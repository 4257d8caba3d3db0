#include "remotecache/parse.h"

#include "base/clock.h"
#include "base/limits.h"

#define UNCOMPRESSED "containerd.io/uncompressed"

static int64_t parse_time(struct str text)
{
	int64_t ns;

	return clock_parse_rfc3339(text, &ns) ? ns : 0;
}

/* An index as Go's encoding/json reads one: missing is 0. */
static struct err *read_index(const json_t *j, size_t n, const char *what, uint32_t *ret)
{
	int64_t v = j ? json_integer_value(j) : 0;

	if ((j && !json_is_integer(j)) || v < 0 || (uint64_t)v >= n)
		return err_new(ERR_INVALID_ARGUMENT, "invalid %s: %lld", what, (long long)v);
	*ret = (uint32_t)v;
	return NULL;
}

static struct err *list_of(const json_t *obj, const char *key, const json_t **ret)
{
	const json_t *l = json_object_get(obj, key);

	if (l && !json_is_array(l) && !json_is_null(l))
		return err_new(ERR_INVALID_ARGUMENT, "cache config: %s is no list", key);
	*ret = l;
	return NULL;
}

/* ---- layers ---- */

struct err *import_blob_of(const struct oci_descriptor *d, struct import_blob *ret)
{
	struct import_blob b = { .desc = *d };
	struct str diff = oci_annotation(d, UNCOMPRESSED);
	char text[DIGEST_TEXT_MAX];

	if (!diff.len)
		return err_new(ERR_INVALID_ARGUMENT, "missing uncompressed annotation for %s",
			       digest_format(&d->digest, text));
	TRY(digest_parse(diff, &b.diff_id));
	b.created_ns = parse_time(oci_annotation(d, "buildkit/createdat"));
	b.description = oci_annotation(d, "buildkit/description");
	*ret = b;
	return NULL;
}

static struct err *read_annotated(struct arena *a, const struct digest *blob, const json_t *an,
				  const struct import_blob **ret)
{
	struct import_blob *b = ARENA_NEW(a, struct import_blob);
	struct oci_kv *kv = ARENA_NEW(a, struct oci_kv);
	struct str diff = json_get_str(an, "diffID");

	*ret = NULL;
	if (!an)
		return NULL;
	b->desc.media_type = str_dup(a, json_get_str(an, "mediaType"));
	b->desc.digest = *blob;
	b->desc.size = json_get_int(an, "size", 0);
	TRY(digest_parse(diff, &b->diff_id));
	*kv = (struct oci_kv) { STR(UNCOMPRESSED), str_dup(a, diff) };
	b->desc.annotations = kv;
	b->desc.n_annotations = 1;
	b->created_ns = parse_time(json_get_str(an, "createdAt"));
	if (b->desc.size < 0)
		return err_new(ERR_INVALID_ARGUMENT, "cache config: negative size of a layer");
	*ret = b;
	return NULL;
}

static struct err *read_layer(struct arena *a, const json_t *j, const struct map *blobs, size_t n,
			      struct import_layer *ret)
{
	const json_t *parent = json_object_get(j, "parent");
	struct str blob = json_get_str(j, "blob");
	struct digest d;
	uint32_t p;

	TRY(digest_parse(blob, &d));
	if (blobs)
		ret->blob = map_get(blobs, blob);
	else
		TRY(read_annotated(a, &d, json_object_get(j, "annotations"), &ret->blob));
	ret->parent = -1;
	if (parent && json_is_integer(parent) && json_integer_value(parent) == -1)
		return NULL;
	TRY(read_index(parent, n, "layer index", &p));
	ret->parent = p;
	return NULL;
}

/* Counts the parents of each, and finds loops: a walk up that is longer than there are layers. */
static struct err *measure_layers(struct import_config *c)
{
	for (size_t i = 0; i < c->n_layers; i++) {
		uint32_t steps = 0, depth;
		int64_t at = (int64_t)i;

		while (at >= 0 && !c->layers[at].depth) {
			if (++steps > c->n_layers)
				return err_new(ERR_INVALID_ARGUMENT, "invalid looping layer");
			at = c->layers[at].parent;
		}
		depth = steps + (at >= 0 ? c->layers[at].depth : 0);
		for (at = (int64_t)i; at >= 0 && !c->layers[at].depth; at = c->layers[at].parent)
			c->layers[at].depth = depth--;
	}
	return NULL;
}

/* Can all of it be had? A layer without its blob spoils those above. */
static void spoil_layers(struct import_config *c, struct arena *a)
{
	uint32_t *order = ARENA_NEW_N(a, uint32_t, c->n_layers + 1);
	uint32_t *starts = ARENA_NEW_N(a, uint32_t, c->n_layers + 2);

	/* By depth: parents come first. */
	for (size_t i = 0; i < c->n_layers; i++)
		starts[c->layers[i].depth + 1]++;
	for (size_t i = 1; i < c->n_layers + 2; i++)
		starts[i] += starts[i - 1];
	for (uint32_t i = 0; i < c->n_layers; i++)
		order[starts[c->layers[i].depth]++] = i;
	for (size_t i = 0; i < c->n_layers; i++) {
		struct import_layer *l = &c->layers[order[i]];

		if (l->parent >= 0 && !c->layers[l->parent].blob)
			l->blob = NULL;
	}
}

static struct err *read_layers(struct arena *a, const json_t *list, const struct map *blobs,
			       struct import_config *c)
{
	c->n_layers = json_array_size(list);
	c->layers = ARENA_NEW_N(a, struct import_layer, c->n_layers + 1);
	for (size_t i = 0; i < c->n_layers; i++)
		TRY(read_layer(a, json_array_get(list, i), blobs, c->n_layers, &c->layers[i]));
	return measure_layers(c);
}

/* ---- records ---- */

struct reading {
	struct arena *arena;
	struct import_config *config;
	/* As above, with what can't be had taken out of it; results as lists need the plain one. */
	const struct import_layer *whole;
};

static struct err *read_result(struct reading *r, const json_t *j, struct import_record *rec)
{
	const struct import_config *c = r->config;
	struct import_result out = { .n = 1 };
	uint32_t *layer = ARENA_NEW(r->arena, uint32_t);

	TRY(read_index(json_object_get(j, "layer"), c->n_layers, "layer index", layer));
	if (!r->whole[*layer].blob)
		return NULL;
	out.layers = layer;
	out.created_ns = parse_time(json_get_str(j, "createdAt"));
	rec->results[rec->n_results++] = out;
	return NULL;
}

static struct err *read_chain(struct reading *r, const json_t *j, struct import_record *rec)
{
	const struct import_config *c = r->config;
	struct import_result out = { .explicit = true };
	const json_t *list;
	uint32_t *layers;
	bool whole = true;

	TRY(list_of(j, "layers", &list));
	out.n = json_array_size(list);
	layers = ARENA_NEW_N(r->arena, uint32_t, out.n + 1);
	for (size_t i = 0; i < out.n; i++) {
		TRY(read_index(json_array_get(list, i), c->n_layers, "layer index", &layers[i]));
		whole = whole && c->layers[layers[i]].blob;
	}
	if (!whole || !out.n)
		return NULL;
	out.layers = layers;
	out.created_ns = parse_time(json_get_str(j, "createdAt"));
	rec->results[rec->n_results++] = out;
	return NULL;
}

static struct err *read_input(struct reading *r, const json_t *list, size_t self,
			      struct import_link **ret, size_t *ret_n)
{
	size_t n = json_array_size(list);
	struct import_link *links = ARENA_NEW_N(r->arena, struct import_link, n + 1);

	if (!n)
		return err_new(ERR_INVALID_ARGUMENT, "invalid empty input for record %zu", self);
	for (size_t i = 0; i < n; i++) {
		const json_t *j = json_array_get(list, i);
		struct str selector = json_get_str(j, "selector");

		TRY(read_index(json_object_get(j, "link"), r->config->n_records, "record ID",
			       &links[i].record));
		if (selector.len)
			TRY(digest_parse(selector, &links[i].selector));
	}
	*ret = links;
	*ret_n = n;
	return NULL;
}

static struct err *read_record(struct reading *r, const json_t *j, size_t self)
{
	struct import_record *rec = &r->config->records[self];
	const json_t *inputs, *layers, *chains;

	TRY(list_of(j, "inputs", &inputs));
	TRY(list_of(j, "layers", &layers));
	TRY(list_of(j, "chains", &chains));
	TRYW(digest_parse(json_get_str(j, "digest"), &rec->digest), "failed to add record %zu",
	     self);
	rec->n_inputs = json_array_size(inputs);
	rec->inputs = ARENA_NEW_N(r->arena, struct import_link *, rec->n_inputs + 1);
	rec->n_links = ARENA_NEW_N(r->arena, size_t, rec->n_inputs + 1);
	for (size_t i = 0; i < rec->n_inputs; i++)
		TRY(read_input(r, json_array_get(inputs, i), self, &rec->inputs[i],
			       &rec->n_links[i]));
	rec->results = ARENA_NEW_N(r->arena, struct import_result,
				   json_array_size(layers) + json_array_size(chains) + 1);
	for (size_t i = 0; i < json_array_size(layers); i++)
		TRY(read_result(r, json_array_get(layers, i), rec));
	for (size_t i = 0; i < json_array_size(chains); i++)
		TRY(read_chain(r, json_array_get(chains, i), rec));
	return NULL;
}

/* Records may come in any order; taking away those whose inputs are gone must take all of them. */
static struct err *check_loops(const struct import_config *c, struct arena *a)
{
	uint32_t *waits = ARENA_NEW_N(a, uint32_t, c->n_records + 1);
	uint32_t *starts = ARENA_NEW_N(a, uint32_t, c->n_records + 2);
	uint32_t *users, *done = ARENA_NEW_N(a, uint32_t, c->n_records + 1);
	size_t n_done = 0;

#define EACH_LINK(i, l)                                                                            \
	for (size_t k_ = 0; k_ < c->records[i].n_inputs; k_++)                                     \
		for (const struct import_link *l = c->records[i].inputs[k_];                       \
		     l < c->records[i].inputs[k_] + c->records[i].n_links[k_]; l++)
	for (size_t i = 0; i < c->n_records; i++)
		EACH_LINK(i, l)
		{
			waits[i]++;
			starts[l->record + 1]++;
		}
	for (size_t i = 1; i <= c->n_records; i++)
		starts[i] += starts[i - 1];
	users = ARENA_NEW_N(a, uint32_t, starts[c->n_records] + 1);
	for (uint32_t i = 0; i < c->n_records; i++)
		EACH_LINK(i, l)
	users[starts[l->record]++] = i;
#undef EACH_LINK
	/* Each start now stands where the next one began. */
	for (uint32_t i = 0; i < c->n_records; i++)
		if (!waits[i])
			done[n_done++] = i;
	for (size_t at = 0; at < n_done; at++)
		for (uint32_t k = done[at] ? starts[done[at] - 1] : 0; k < starts[done[at]]; k++)
			if (!--waits[users[k]])
				done[n_done++] = users[k];
	if (n_done != c->n_records)
		return err_new(ERR_INVALID_ARGUMENT, "invalid looping record");
	return NULL;
}

static struct err *read_records(struct arena *a, const json_t *list, struct import_config *c)
{
	SCOPED_ARENA(tmp);
	struct import_config whole = *c;
	struct reading r = { a, c, NULL };

	whole.layers = arena_dup(&tmp, c->layers, (c->n_layers + 1) * sizeof(*c->layers));
	spoil_layers(&whole, &tmp);
	r.whole = whole.layers;
	c->n_records = json_array_size(list);
	c->records = ARENA_NEW_N(a, struct import_record, c->n_records + 1);
	for (size_t i = 0; i < c->n_records; i++)
		TRY(read_record(&r, json_array_get(list, i), i));
	return check_loops(c, &tmp);
}

struct err *import_parse(struct arena *a, struct str text, const struct map *blobs,
			 struct import_config *ret)
{
	struct import_config c = { 0 };
	const json_t *layers, *records;
	SCOPED_JSON(root);

	TRY(json_read(text, "cache config", &root));
	if (!json_is_object(root))
		return err_new(ERR_INVALID_ARGUMENT, "cache config: no object");
	TRY(list_of(root, "layers", &layers));
	TRY(list_of(root, "records", &records));
	TRY(read_layers(a, layers, blobs, &c));
	TRY(read_records(a, records, &c));
	*ret = c;
	return NULL;
}

struct err *import_parse_inline(struct arena *a, struct str text, const struct import_blob *layers,
				size_t n, struct import_config *ret)
{
	struct import_config c = { .n_layers = n };
	SCOPED_JSON(root);

	TRY(json_read(text, "inline cache", &root));
	if (!json_is_array(root) && !json_is_null(root))
		return err_new(ERR_INVALID_ARGUMENT, "inline cache: no list");
	c.layers = ARENA_NEW_N(a, struct import_layer, n + 1);
	for (size_t i = 0; i < n; i++)
		c.layers[i] = (struct import_layer) { &layers[i], (int64_t)i - 1, (uint32_t)i + 1 };
	TRY(read_records(a, root, &c));
	*ret = c;
	return NULL;
}

struct err *import_result_layers(const struct import_config *c, const struct import_result *r,
				 struct arena *a, const struct import_blob ***ret, size_t *ret_n)
{
	size_t n = r->explicit ? r->n : c->layers[r->layers[0]].depth;
	const struct import_blob **out;

	if (n > LIMIT_DESCRIPTORS)
		return err_new(ERR_INVALID_ARGUMENT, "cached result has %zu layers, more than %d",
			       n, LIMIT_DESCRIPTORS);
	out = ARENA_NEW_N(a, const struct import_blob *, n + 1);
	for (size_t i = 0; r->explicit && i < n; i++)
		out[i] = c->layers[r->layers[i]].blob;
	if (!r->explicit) {
		int64_t at = r->layers[0];

		for (size_t i = n; i-- > 0; at = c->layers[at].parent)
			out[i] = c->layers[at].blob;
	}
	*ret = out;
	*ret_n = n;
	return NULL;
}
