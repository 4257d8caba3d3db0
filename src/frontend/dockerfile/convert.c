/* frontend.convertllb: the graph of a target, readable. */
#include "frontend/dockerfile/subrequest.h"

#include "base/json.h"
#include "codec/digest.h"
#include "frontend/dockerfile/pbjson.h"

struct op {
	struct str digest;
	Pb__Op *op;
	Pb__OpMetadata *md;
};

static int by_digest(const void *x, const void *y)
{
	return str_cmp(((const struct op *)x)->digest, ((const struct op *)y)->digest);
}

static struct err *read_ops(struct arena *a, const Pb__Definition *def, struct op **ret)
{
	struct op *ops = ARENA_NEW_N(a, struct op, def->n_def);

	for (size_t i = 0; i < def->n_def; i++) {
		struct str bytes = proto_bytes(def->def[i]);
		struct digest d = digest_sha256(bytes);
		Pb__Definition__MetadataEntry *e;

		TRY(PROTO_UNPACK(a, pb__op, bytes, &ops[i].op));
		ops[i].digest = str_from(digest_text(&d, a));
		e = PROTO_MAP_FIND(def->n_metadata, def->metadata, ops[i].digest.ptr);
		ops[i].md = e ? e->value : NULL;
	}
	if (def->n_def)
		qsort(ops, def->n_def, sizeof(*ops), by_digest);
	*ret = ops;
	return NULL;
}

struct err *subrequest_convert(struct plan *p, struct frontend_result *ret)
{
	SCOPED_BUF(json, SIZE_MAX);
	Pb__Source none = PB__SOURCE__INIT;
	Pb__Definition *def;
	struct json_out j;
	struct op *ops;

	TRY(plan_run(p));
	TRY(llb_marshal(&p->a, p->target_ptr->state.out, &p->target, &def, NULL));
	TRY(read_ops(&p->a, def, &ops));
	json_out_init(&j, &json, "  ");
	json_obj_begin(&j);
	json_key(&j, STR("def"));
	json_obj_begin(&j);
	for (size_t i = 0; i < def->n_def; i++) {
		json_key(&j, ops[i].digest);
		pbjson_proto(&j, ops[i].op);
	}
	json_obj_end(&j);
	json_key(&j, STR("metadata"));
	json_obj_begin(&j);
	for (size_t i = 0; i < def->n_def; i++) {
		if (!ops[i].md)
			continue;
		json_key(&j, ops[i].digest);
		pbjson_go(&j, ops[i].md);
	}
	json_obj_end(&j);
	json_key(&j, STR("source"));
	pbjson_proto(&j, def->source ? def->source : &none);
	json_obj_end(&j);
	frontend_result_set_meta(ret, STR("result.json"), buf_str(&json));
	frontend_result_set_meta(ret, STR("version"), STR("0.1.0"));
	return NULL;
}
