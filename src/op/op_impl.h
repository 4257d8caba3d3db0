/* Inside of the operations: what a vertex carries, and the makers of each kind. */
#ifndef OP_OP_IMPL_H
#define OP_OP_IMPL_H

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "cache/contenthash.h"
#include "op/op.h"

#include <errno.h>

/* Of one definition; in the graph's arena. */
struct op_graph {
	unsigned entitlements;
	struct entitlement_devices devices;
	const char *cgroup_parent;
	bool proxy_network;
	const Pb__Source *source_map; /* or NULL */
	bool has_policy;
	struct op_source_policy policy; /* a reference; graph->owner lets it go */
};

/* vertex->meta */
struct op_meta {
	const struct op_graph *graph;
	struct worker *worker; /* that it runs on */
	const Pb__Op *op;
	const Pb__OpMetadata *md;
	struct digest original; /* as the client knows it */
	bool proxied;           /* an exec that has the proxy network */
	struct platform platform;
};
static inline const struct op_meta *op_meta_of(const struct vertex *v)
{
	return v->meta;
}

/* Every operation begins with this. */
struct op_base {
	struct op op;
	const struct vertex *vertex;
	const struct op_meta *meta;
	struct worker *worker;
	struct arena arena; /* of the op */
	struct cache_dep *deps;
	/* With several workers op.ops is `here`: inputs are brought to this one first. */
	const struct op_ops *kind;
	struct op_ops here;
};
static inline struct op_base *op_base_of(struct op *op)
{
	return container_of(op, struct op_base, op);
}
/* size: of the kind's struct, which begins with struct op_base. */
void *op_new(const struct vertex *v, const struct op_ops *ops, size_t size);
void op_base_free(struct op *op); /* for ops without more to free */

struct err *op_make_source(const struct vertex *v, struct op **ret);
struct err *op_make_exec(const struct vertex *v, struct op **ret);
struct err *op_make_file(const struct vertex *v, struct op **ret);
struct err *op_make_merge(const struct vertex *v, struct op **ret);
struct err *op_make_diff(const struct vertex *v, struct op **ret);
struct err *op_make_build(const struct vertex *v, struct op **ret);
struct err *op_make_passthrough(const struct vertex *v, struct op **ret);

/* ---- llb_check.c ---- */
/* Structure of one op: INVALID_ARGUMENT "invalid exec op with no mounts", ... */
struct err *op_validate(const Pb__Op *op);
struct err *op_check_source_map(const Pb__Source *map);
/* Leaves the devices in op that the step gets; made in the arena. */
struct err *entitlement_check(Pb__Op *op, const Pb__OpMetadata *md, const struct op_load_opts *o,
			      struct arena *a);
/* A copy in the arena. */
struct entitlement_devices entitlement_devices_dup(struct arena *a,
						   const struct entitlement_devices *d);

/* ---- names.c ---- */
/* Of a vertex without a custom name. inputs are the names of its inputs' vertices. */
const char *op_name(struct arena *a, const Pb__Op *op, const char *const *inputs);

/* ---- gojson.c ---- */
/* A message as encoding/json prints the original's generated struct. */
void gojson_message(struct json_out *j, const ProtobufCMessage *m);
/* As protobuf's own JSON mapping. */
void protojson_message(struct json_out *j, const ProtobufCMessage *m);

/* ---- keys ---- */
/* sha256 of {"Type":type,...}: begin leaves the object open for more members. */
struct key_json {
	struct buf out;
	struct json_out j;
};
void key_json_begin(struct key_json *k, const char *type);
struct digest key_json_end(struct key_json *k);
void key_json_platform(struct key_json *k, const struct platform *p);

/* Content hash of inputs: what a dep's arg points to. */
struct content_select {
	struct str path;
	struct contenthash_opts opts;
};
struct content_selects {
	const struct content_select *list;
	size_t n;
};
/* Without paths that are below others; sorted. */
struct content_selects *content_selects_new(struct arena *a, struct content_select *list, size_t n);
/* For cache_dep.content_hash; arg is a struct content_selects. Pulls what is lazy first. */
struct err *op_content_hash(struct op *op, const struct op_env *env, void *arg,
			    struct result *input, struct digest *ret);

/* The tree is there: pulled, with progress, if it was lazy. NULL is fine. */
struct err *op_unlazy(const struct op_env *env, struct cache_ref *r);
/* Sessions of the vertex. */
static inline struct session_group *op_sessions(const struct op_env *env)
{
	return env->session;
}

/* ---- failure.c ---- */
struct op_failure *op_failure_new(const struct op_base *o, struct result *const *inputs,
				  size_t n_inputs);

#endif
