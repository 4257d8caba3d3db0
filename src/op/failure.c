#include "op/op_impl.h"

#define TYPE_PREFIX "github.com/moby/buildkit/"

static struct result_ops ops_of(const struct op_failure *f)
{
	struct result_ops ops;

	op_result_ops_init(&ops, (struct worker *)f->worker);
	return ops;
}

static void failure_free(struct failure *base)
{
	struct op_failure *f = container_of(base, struct op_failure, base);
	struct result_ops ops = ops_of(f);

	for (size_t i = 0; i < f->n_inputs; i++)
		if (f->inputs[i])
			ops.unref(f->inputs[i]);
	for (size_t i = 0; i < f->n_mounts; i++)
		if (f->mounts[i])
			ops.unref(f->mounts[i]);
	arena_fini(&f->arena);
	free(f);
}

struct op_failure *op_failure_new(const struct op_base *o, struct result *const *inputs,
				  size_t n_inputs)
{
	struct op_failure *f = NEW(struct op_failure);
	struct result_ops ops;

	ref_init(&f->base.ref);
	f->base.free = failure_free;
	f->worker = o->worker;
	f->file_action = -1;
	f->op = proto_dup(&f->arena, o->meta->op);
	f->metadata = proto_dup(&f->arena, o->meta->md);
	f->inputs = ARENA_NEW_N(&f->arena, struct result *, n_inputs + 1);
	f->n_inputs = n_inputs;
	ops = ops_of(f);
	for (size_t i = 0; i < n_inputs; i++)
		f->inputs[i] = ops.ref(inputs[i]);
	return f;
}

struct op_failure *op_failure_of(struct failure *f)
{
	return f ? container_of(f, struct op_failure, base) : NULL;
}

static void id_list(struct json_out *j, struct str key, const char *const *ids, size_t n)
{
	if (!n)
		return;
	json_key(j, key);
	json_arr_begin(j);
	for (size_t i = 0; i < n; i++)
		json_str(j, str_from(ids[i]));
	json_arr_end(j);
}

static int by_key(const void *a, const void *b)
{
	const Pb__OpMetadata__DescriptionEntry *const *x = a, *const *y = b;

	return strcmp((*x)->key, (*y)->key);
}

void op_failure_detail(const struct op_failure *f, struct err *e, const char *const *input_ids,
		       const char *const *mount_ids)
{
	const Pb__OpMetadata *md = f->metadata;
	struct json_out j;
	SCOPED_BUF(out, LIMIT_GRPC_MESSAGE);

	json_out_init(&j, &out, NULL);
	json_obj_begin(&j);
	id_list(&j, STR("inputIDs"), input_ids, f->n_inputs);
	id_list(&j, STR("mountIDs"), mount_ids, f->n_mounts);
	json_key(&j, STR("op"));
	gojson_message(&j, &f->op->base);
	if (f->file_action >= 0) {
		json_key(&j, STR("Subject"));
		json_obj_begin(&j);
		json_key(&j, STR("File"));
		json_obj_begin(&j);
		if (f->file_action)
			json_kint(&j, "index", f->file_action);
		json_obj_end(&j);
		json_obj_end(&j);
	} else {
		json_key(&j, STR("Subject"));
		json_nil(&j);
	}
	if (md->n_description) {
		Pb__OpMetadata__DescriptionEntry **d =
			mem_dup(md->description, md->n_description * sizeof(*d));

		qsort(d, md->n_description, sizeof(*d), by_key);
		json_key(&j, STR("description"));
		json_obj_begin(&j);
		for (size_t i = 0; i < md->n_description; i++) {
			json_key(&j, str_from(d[i]->key));
			json_str(&j, str_from(d[i]->value));
		}
		json_obj_end(&j);
		free(d);
	}
	json_obj_end(&j);
	if (!out.overflow)
		err_add_detail(e, TYPE_PREFIX "errdefs.Solve+json", buf_str(&out));
}

/* ---- where in the source files ---- */

static bool failed_vertex(const struct err *e, struct digest *ret)
{
	for (size_t i = 0; i < err_detail_count(e); i++) {
		struct str value;
		struct err *bad;
		SCOPED_JSON(json);

		if (strcmp(err_detail(e, i, &value), TYPE_PREFIX "errdefs.Vertex+json") != 0)
			continue;
		bad = json_read(value, "vertex detail", &json);
		if (!bad)
			bad = digest_parse(json_get_str(json, "digest"), ret);
		err_free(bad);
		return !bad;
	}
	return false;
}

/* The vertex reported under that digest: see the solver's rule for those that ignore the cache. */
static const struct vertex *find_vertex(const struct graph *g, const struct digest *d)
{
	for (size_t i = 0; i < g->n_vertices; i++)
		if (digest_eq(&g->vertices[i].digest, d))
			return &g->vertices[i];
	for (size_t i = 0; i < g->n_vertices; i++) {
		char text[DIGEST_TEXT_MAX];
		struct digest other;
		SCOPED_BUF(b, DIGEST_TEXT_MAX + 16);

		if (!g->vertices[i].ignore_cache)
			continue;
		buf_addf(&b, "%s-ignorecache", digest_format(&g->vertices[i].digest, text));
		other = digest_sha256(buf_str(&b));
		if (digest_eq(&other, d))
			return &g->vertices[i];
	}
	return NULL;
}

static void add_source(struct err *e, const Pb__SourceInfo *info, const Pb__Location *loc)
{
	struct json_out j;
	SCOPED_BUF(out, LIMIT_GRPC_MESSAGE);

	json_out_init(&j, &out, NULL);
	json_obj_begin(&j);
	json_key(&j, STR("info"));
	gojson_message(&j, &info->base);
	if (loc->n_ranges) {
		json_key(&j, STR("ranges"));
		json_arr_begin(&j);
		for (size_t i = 0; i < loc->n_ranges; i++)
			gojson_message(&j, &loc->ranges[i]->base);
		json_arr_end(&j);
	}
	json_obj_end(&j);
	if (!out.overflow)
		err_add_detail(e, TYPE_PREFIX "errdefs.Source+json", buf_str(&out));
}

void op_add_source_details(const struct graph *g, struct err *e)
{
	const struct op_graph *shared = g->shared;
	const Pb__Source *map = shared->source_map;
	const struct vertex *v;
	const Pb__Locations *locs;
	char text[DIGEST_TEXT_MAX];
	struct digest d;

	if (!map || !failed_vertex(e, &d))
		return;
	v = find_vertex(g, &d);
	if (!v)
		return;
	locs = PROTO_MAP_GET(map->n_locations, map->locations,
			     digest_format(&op_meta_of(v)->original, text));
	for (size_t i = 0; locs && i < locs->n_locations; i++) {
		const Pb__Location *l = locs->locations[i];

		if (l->sourceindex >= 0 && (size_t)l->sourceindex < map->n_infos)
			add_source(e, map->infos[l->sourceindex], l);
	}
}
