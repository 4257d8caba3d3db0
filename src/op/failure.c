#include "op/op_impl.h"

#include "errdefs.pb-c.h"

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
	f->file_action = f->content_input = -1;
	f->op = proto_dup(&f->arena, o->meta->op);
	f->metadata = proto_dup(&f->arena, o->meta->md);
	f->inputs = ARENA_NEW_N(&f->arena, struct result *, n_inputs + 1);
	f->n_inputs = n_inputs;
	ops = ops_of(f);
	for (size_t i = 0; i < n_inputs; i++)
		f->inputs[i] = inputs[i] ? ops.ref(inputs[i]) : NULL;
	return f;
}

struct op_failure *op_failure_of(struct failure *f)
{
	return f ? container_of(f, struct op_failure, base) : NULL;
}

static char **id_list(struct arena *a, const char *const *ids, size_t n)
{
	char **list = ARENA_NEW_N(a, char *, n + 1);

	for (size_t i = 0; i < n; i++)
		list[i] = arena_strdup(a, ids[i]);
	return list;
}

void op_failure_detail(const struct op_failure *f, struct err *e, const char *const *input_ids,
		       const char *const *mount_ids)
{
	Errdefs__Solve solve = ERRDEFS__SOLVE__INIT;
	Errdefs__FileAction file = ERRDEFS__FILE_ACTION__INIT;
	Errdefs__ContentCache cache = ERRDEFS__CONTENT_CACHE__INIT;
	const Pb__OpMetadata *md = f->metadata;
	struct json_out j;
	SCOPED_BUF(out, LIMIT_GRPC_MESSAGE);
	SCOPED_ARENA(a);

	solve.inputids = id_list(&a, input_ids, f->n_inputs);
	solve.n_inputids = f->n_inputs;
	solve.mountids = id_list(&a, mount_ids, f->n_mounts);
	solve.n_mountids = f->n_mounts;
	solve.op = (Pb__Op *)f->op;
	if (f->file_action >= 0) {
		solve.subject_case = ERRDEFS__SOLVE__SUBJECT_FILE;
		solve.file = &file;
		file.index = f->file_action;
	} else if (f->content_input >= 0) {
		solve.subject_case = ERRDEFS__SOLVE__SUBJECT_CACHE;
		solve.cache = &cache;
		cache.index = f->content_input;
	}
	solve.n_description = md->n_description;
	solve.description =
		ARENA_NEW_N(&a, Errdefs__Solve__DescriptionEntry *, md->n_description + 1);
	for (size_t i = 0; i < md->n_description; i++) {
		solve.description[i] = ARENA_NEW(&a, Errdefs__Solve__DescriptionEntry);
		errdefs__solve__description_entry__init(solve.description[i]);
		solve.description[i]->key = md->description[i]->key;
		solve.description[i]->value = md->description[i]->value;
	}
	json_out_init(&j, &out, NULL);
	protojson_message(&j, &solve.base);
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
	/* The last one is the outermost, and that comes first. */
	for (size_t i = locs ? locs->n_locations : 0; i-- > 0;) {
		const Pb__Location *l = locs->locations[i];

		if (l->sourceindex >= 0 && (size_t)l->sourceindex < map->n_infos)
			add_source(e, map->infos[l->sourceindex], l);
	}
}
