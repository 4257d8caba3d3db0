/* A packed pb.Definition is loaded; each operation is made and gives its cache key. So that graphs
 * come out of bytes at all, an input digest that is a number stands for the op of that number. */
#include "op/op_impl.h"

static Pb__Definition *connect(struct arena *a, Pb__Definition *def)
{
	char **digests = ARENA_NEW_N(a, char *, def->n_def + 1);

	for (size_t i = 0; i < def->n_def; i++) {
		struct digest d;
		Pb__Op *op;
		struct err *e = PROTO_UNPACK(a, pb__op, proto_bytes(def->def[i]), &op);

		for (size_t k = 0; !e && k < op->n_inputs; k++) {
			uint64_t n;

			if (str_to_u64(str_from(op->inputs[k]->digest), &n) && n < i && digests[n])
				op->inputs[k]->digest = digests[n];
		}
		if (!e)
			def->def[i] = proto_from_str(proto_pack_arena(op, a));
		err_free(e);
		d = digest_sha256(proto_bytes(def->def[i]));
		digests[i] = digest_text(&d, a);
	}
	for (size_t i = 0; i < def->n_metadata; i++) {
		uint64_t n;

		if (str_to_u64(str_from(def->metadata[i]->key), &n) && n < def->n_def)
			def->metadata[i]->key = digests[n];
	}
	return def;
}

static void look_at(const struct vertex *v)
{
	struct cache_key_info info;
	struct op *op;
	struct err *e = v->make_op(v, &op);

	if (!e && op->ops->quick_key)
		e = op->ops->cache_key(op, NULL, 0, &info);
	else if (e)
		op = NULL;
	if (op)
		op->ops->free(op);
	err_free(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct worker w = { .id = "w", .sources = source_table_new() };
	struct op_load_opts o = { .worker = &w, .entitlements = ENTITLEMENT_NETWORK_HOST };
	Pb__Definition *def;
	struct graph *g = NULL;
	uint32_t v, output;
	struct err *e;
	SCOPED_ARENA(a);

	e = PROTO_UNPACK(&a, pb__definition, str_make(data, size), &def);
	if (!e)
		e = op_load_definition(NULL, connect(&a, def), &o, &g, &v, &output);
	for (size_t i = 0; !e && i < g->n_vertices; i++)
		look_at(&g->vertices[i]);
	if (!e)
		graph_unref(g);
	err_free(e);
	source_table_free(w.sources);
	return 0;
}
