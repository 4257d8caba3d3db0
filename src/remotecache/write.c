#include "remotecache/impl.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/vec.h"
#include "remotecache/chains.h"
#include "remotecache/layers.h"

struct writing {
	struct ctx *ctx;
	const struct remotecache_results *results;
	const struct remotecache_form *form;
	struct arena *arena;
	struct layer_table table;
	VEC(struct export_record) records;
	VEC(struct chain_result) places;
	struct map own; /* ids of the items' layers */
};

/* What importers look for in a layer's descriptor, beside the diff id that is there. */
static void annotate(struct arena *a, struct oci_descriptor *d, int64_t created_ns)
{
	struct oci_kv *all = ARENA_NEW_N(a, struct oci_kv, d->n_annotations + 1);
	size_t n = 0, i = 0;
	struct oci_kv created = {
		STR("buildkit/createdat"),
		str_from(clock_rfc3339(a, created_ns)),
	};

	for (; i < d->n_annotations && str_cmp(d->annotations[i].key, created.key) < 0; i++)
		all[n++] = d->annotations[i];
	all[n++] = created;
	for (; i < d->n_annotations; i++)
		if (!str_eq(d->annotations[i].key, created.key))
			all[n++] = d->annotations[i];
	d->annotations = all;
	d->n_annotations = n;
}

/* The stack as entries of the table; *ret is its top one. */
static struct err *add_stack(struct writing *w, struct cache_ref *ref, bool own,
			     struct chain_result *ret)
{
	struct cache_layer *layers;
	int64_t parent = -1;
	uint32_t *top;
	size_t n;

	TRY(cache_ref_layers(ref, w->ctx, w->arena, &w->form->compress, &layers, &n));
	for (size_t i = 0; i < n; i++) {
		struct oci_descriptor d = layers[i].desc;

		annotate(w->arena, &d, layers[i].created_ns);
		parent = layer_table_add(&w->table, &d, parent);
		if (own)
			map_put(&w->own, str_from(cache_ref_id(layers[i].ref)), w);
	}
	if (own)
		map_put(&w->own, str_from(cache_ref_id(ref)), w);
	if (!n || !ret)
		return NULL;
	top = ARENA_NEW(w->arena, uint32_t);
	*top = (uint32_t)parent;
	ret->layers = top;
	ret->n = 1;
	return NULL;
}

static struct err *add_record(struct writing *w, struct cache_key *key, struct export_record *rec,
			      uint32_t base)
{
	struct chain_result place = { .created_ns = rec->created_ns };
	struct cache_ref *ref;
	struct result *r;
	struct err *e = NULL;

	TRY(record_load(w->ctx, w->results, key, rec, &r));
	if (r) {
		ref = w->results->ref_of(r);
		if (w->form->max || map_has(&w->own, str_from(cache_ref_id(ref))))
			e = add_stack(w, ref, false, &place);
		if (e && err_is(e, ERR_NOT_FOUND))
			err_free(TAKE_PTR(e));
		w->results->unref(r);
	}
	for (size_t i = 0; i < rec->n_inputs; i++)
		for (size_t k = 0; k < rec->n_links[i]; k++)
			rec->inputs[i][k].record += base;
	vec_push(&w->records, *rec);
	vec_push(&w->places, place);
	return e;
}

static struct err *add_item(struct writing *w, const struct remotecache_item *it)
{
	uint32_t base = (uint32_t)w->records.len;
	struct export_record *records;
	size_t n;

	if (!it->key || !it->ref)
		return NULL;
	TRY(add_stack(w, it->ref, true, NULL));
	TRY(cache_key_export(it->key, w->ctx, w->arena, &records, &n));
	for (size_t i = 0; i < n; i++)
		TRY(add_record(w, it->key, &records[i], base));
	return NULL;
}

static struct err *put(struct writing *w, struct content *store, const char *media_type,
		       struct str data, struct oci_descriptor *ret)
{
	struct digest d = digest_sha256(data);
	struct err *e = content_write_blob(store, w->ctx, data, NULL, 0, &d);

	if (e && !err_is(e, ERR_ALREADY_EXISTS))
		return e;
	err_free(e);
	*ret = (struct oci_descriptor) { .media_type = str_from(media_type),
					 .digest = d,
					 .size = (int64_t)data.len };
	return NULL;
}

static struct err *put_config(struct writing *w, struct content *store,
			      struct remotecache_written *out, bool *ret_found)
{
	SCOPED_BUF(text, LIMIT_MANIFEST);
	struct json_out j;
	uint32_t *now;

	layer_table_sort(&w->table, w->arena, &now);
	vec_each (&w->places, p)
		if (p->n)
			p->layers = arena_dup(w->arena, &now[p->layers[0]], sizeof(*now));
	json_out_init(&j, &text, NULL);
	json_obj_begin(&j);
	json_key(&j, STR("layers"));
	layer_table_print(&w->table, w->form->annotated, &j);
	json_key(&j, STR("records"));
	*ret_found = chains_print(w->records.items, w->records.len, w->places.items, &j);
	if (!*ret_found)
		return NULL;
	json_obj_end(&j);
	TRYW(buf_check(&text, "cache config"), "error writing config blob");
	out->config_text = str_dup(w->arena, buf_str(&text));
	if (w->form->annotated)
		return NULL;
	TRYW(put(w, store, REMOTECACHE_CONFIG, buf_str(&text), &out->config),
	     "error writing config blob");
	return NULL;
}

/* Blobs of the table, each once. */
static void list_blobs(struct writing *w, struct remotecache_written *out)
{
	out->layers = ARENA_NEW_N(w->arena, struct oci_descriptor, w->table.list.len + 1);
	vec_each (&w->table.list, l) {
		/* Equal blobs stand together. */
		if (out->n_layers &&
		    digest_eq(&out->layers[out->n_layers - 1].digest, &l->desc.digest))
			continue;
		out->layers[out->n_layers++] = l->desc;
	}
}

static struct err *put_manifest(struct writing *w, struct content *store,
				struct remotecache_written *out)
{
	bool docker = w->form->compress.docker_types;
	const char *type = w->form->no_image ? (docker ? DOCKER_LIST : OCI_INDEX) : OCI_MANIFEST;
	SCOPED_BUF(text, LIMIT_MANIFEST);

	if (w->form->no_image) {
		struct oci_index ix = { .media_type = str_from(type),
					.n_manifests = out->n_layers + 1 };

		out->layers[out->n_layers] = out->config;
		ix.manifests = out->layers;
		oci_print_index(&ix, &text);
	} else {
		struct oci_manifest m = { .media_type = str_from(type),
					  .config = out->config,
					  .layers = out->layers,
					  .n_layers = out->n_layers };

		oci_print_manifest(&m, &text);
	}
	TRYW(buf_check(&text, "cache manifest"), "error writing manifest blob");
	TRYW(put(w, store, type, buf_str(&text), &out->root), "error writing manifest blob");
	return NULL;
}

struct err *remotecache_write(struct ctx *ctx, const struct remotecache_results *results,
			      const struct remotecache_item *items, size_t n,
			      const struct remotecache_form *form, struct content *store,
			      struct arena *a, struct remotecache_written *ret, bool *ret_found)
{
	struct writing w = { .ctx = ctx, .results = results, .form = form, .arena = a };
	struct remotecache_written out = { 0 };
	struct err *e = NULL;

	if (!form->annotated && !form->no_image && form->compress.docker_types)
		return err_new(ERR_INVALID_ARGUMENT,
			       "invalid configuration for remote cache, OCI mediatypes are "
			       "required for image-manifest cache format");
	*ret_found = false;
	for (size_t i = 0; i < n && !e; i++)
		e = add_item(&w, &items[i]);
	if (!e && w.table.list.len)
		e = put_config(&w, store, &out, ret_found);
	if (!e && *ret_found) {
		list_blobs(&w, &out);
		if (!form->annotated)
			e = put_manifest(&w, store, &out);
	}
	if (!e)
		*ret = out;
	layer_table_fini(&w.table);
	map_fini(&w.own, NULL);
	vec_fini(&w.records);
	vec_fini(&w.places);
	return e;
}
