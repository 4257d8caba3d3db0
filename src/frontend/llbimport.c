/* llb_import(): a finished definition as nodes again. */
#include "frontend/llbgen_int.h"

#include "base/limits.h"
#include "base/map.h"
#include "codec/digest.h"

struct import {
	struct arena *a;
	const Pb__Definition *def;
	struct map nodes; /* digest text -> struct llb_node */
	struct llb_source_map *maps;
};

static struct err *add_node(struct import *im, struct str bytes, struct str *ret_digest)
{
	struct digest d = digest_sha256(bytes);
	struct llb_node *n;
	Pb__Op *op;

	TRYW(PROTO_UNPACK(im->a, pb__op, bytes, &op), "failed to parse llb proto op");
	n = ARENA_NEW(im->a, struct llb_node);
	n->kind = LLB_RAW;
	n->op = *op;
	pb__op_metadata__init(&n->md);
	n->bytes = str_dup(im->a, bytes);
	n->digest = str_from(digest_text(&d, im->a));
	map_put(&im->nodes, n->digest, n);
	*ret_digest = n->digest;
	return NULL;
}

static struct err *link_inputs(struct import *im)
{
	for (struct map_entry *e = map_next(&im->nodes, NULL); e; e = map_next(&im->nodes, e)) {
		struct llb_node *n = e->value;

		for (size_t i = 0; i < n->op.n_inputs; i++) {
			const Pb__Input *in = n->op.inputs[i];
			struct llb_node *from = map_get(&im->nodes, str_from(in->digest));

			if (!from)
				return err_new(ERR_UNKNOWN,
					       "invalid definition op with unknown op \"%s\"",
					       in->digest);
			if (in->index < 0)
				return err_new(ERR_UNKNOWN,
					       "invalid definition op with invalid index");
			ARENA_GROW(im->a, n->edges.items, n->edges.len, n->edges.cap);
			n->edges.items[n->edges.len++] =
				(struct llb_edge) { { from, in->index }, NULL, false };
		}
	}
	return NULL;
}

static struct err *add_locations(struct import *im)
{
	const Pb__Source *src = im->def->source;

	if (!src)
		return NULL;
	im->maps = ARENA_NEW_N(im->a, struct llb_source_map, src->n_infos);
	for (size_t i = 0; i < src->n_infos; i++)
		im->maps[i] = (struct llb_source_map) {
			.filename = str_from(src->infos[i]->filename),
			.language = str_from(src->infos[i]->language),
			.data = proto_bytes(src->infos[i]->data),
			.definition = src->infos[i]->definition
					      ? proto_dup(im->a, src->infos[i]->definition)
					      : NULL,
		};
	for (size_t i = 0; i < src->n_locations; i++) {
		const Pb__Source__LocationsEntry *e = src->locations[i];
		struct llb_node *n = map_get(&im->nodes, str_from(e->key));

		for (size_t k = 0; e->value && k < e->value->n_locations; k++) {
			Pb__Location *loc = e->value->locations[k];

			if (loc->sourceindex < 0 || (size_t)loc->sourceindex >= src->n_infos)
				return err_new(ERR_UNKNOWN,
					       "failed to find source map with index %d",
					       loc->sourceindex);
			if (!n)
				continue;
			ARENA_GROW(im->a, n->locations.items, n->locations.len, n->locations.cap);
			n->locations.items[n->locations.len++] =
				(struct llb_location) { &im->maps[loc->sourceindex],
							arena_dup(im->a, loc, sizeof(*loc)) };
		}
	}
	return NULL;
}

static struct err *import(struct import *im, struct llb_out *ret)
{
	struct str last = STR_NONE;
	const struct llb_node *terminal;

	for (size_t i = 0; i < im->def->n_def; i++)
		TRY(add_node(im, proto_bytes(im->def->def[i]), &last));
	terminal = map_get(&im->nodes, last);
	if (!terminal->op.n_inputs)
		return err_new(ERR_UNKNOWN, "invalid definition with no inputs on last vertex");
	TRY(link_inputs(im));
	for (size_t i = 0; i < im->def->n_metadata; i++) {
		struct llb_node *n = map_get(&im->nodes, str_from(im->def->metadata[i]->key));

		if (n && im->def->metadata[i]->value)
			n->md = *im->def->metadata[i]->value;
	}
	TRY(add_locations(im));
	*ret = terminal->edges.items[0].out;
	return NULL;
}

bool llb_is_nil(const Pb__Definition *def)
{
	return !def || (!def->n_def && !def->n_metadata);
}

struct err *llb_nil_input(void)
{
	return err_new(ERR_UNKNOWN, "invalid nil input definition to definition op");
}

struct err *llb_import(struct arena *a, const Pb__Definition *def, struct llb_out *ret)
{
	struct import im = { .a = a, .def = def };
	struct err *e;

	if (llb_is_nil(def))
		return llb_nil_input();
	if (!def->n_def) {
		*ret = LLB_SCRATCH;
		return NULL;
	}
	if (def->n_def > LIMIT_LLB_OPS)
		return err_new(ERR_RESOURCE_EXHAUSTED, "definition has more than %d ops",
			       LIMIT_LLB_OPS);
	map_init(&im.nodes);
	e = import(&im, ret);
	map_fini(&im.nodes, NULL);
	return e;
}
