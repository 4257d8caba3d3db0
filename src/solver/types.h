/* What the solver is told and what it hands back: vertices, operations, results. The
 * solver knows nothing of containers: an operation is a vtable, a result is opaque.
 *
 * A vertex graph is immutable, in one arena, and counted as a whole; its vertices are in
 * dependency order (inputs have lower numbers). */
#ifndef SOLVER_TYPES_H
#define SOLVER_TYPES_H

#include "base/arena.h"
#include "base/ctx.h"
#include "base/ref.h"
#include "codec/digest.h"
#include "proto/proto.h"

struct builder;
struct solver;
struct vprogress; /* solver/progress.h */

/* ---- results ---- */

/* Counted, shared between threads; made by op->run or loaded by id. */
struct result;
struct result_ops {
	struct result *(*ref)(struct result *r);
	void (*unref)(struct result *r);
	/* "<worker id>::<record id>", by which it can be found after a restart; NULL when it can't.
	 */
	const char *(*id)(const struct result *r);
	int64_t (*created)(const struct result *r); /* wall ns */
	/* By id; NOT_FOUND when it is gone. Runs in a task. */
	struct err *(*load)(void *arg, struct ctx *ctx, struct str id, struct result **ret);
	/* Cheap and non-blocking: false means that load would say NOT_FOUND. */
	bool (*exists)(void *arg, struct str id);
	void *arg;
};

/* What a failed run leaves for debugging (inputs and mounts of a failed step), made and
 * understood by the operations and the frontends. Embedded in theirs; counted. */
struct failure {
	struct ref ref;
	void (*free)(struct failure *f);
};
struct failure *failure_ref(struct failure *f); /* NULL is fine */
void failure_unref(struct failure *f);

/* ---- operations ---- */

struct op;

/* What surrounds a call of an operation. Valid during the call. */
struct op_env {
	struct ctx *ctx;            /* ends when nobody waits for the work any more */
	void *session;              /* group of the sessions of all jobs that share the vertex */
	struct vprogress *progress; /* the vertex's progress */
	struct builder *builder;    /* for builds inside the operation */
	struct failure **failure;   /* what a failing call leaves may be put there; or NULL */
};

/* Content digest of an input: the slow key. Runs in a task. An empty digest counts as none. */
typedef struct err *(*content_hash_fn)(struct op *op, const struct op_env *env, void *arg,
				       struct result *input, struct digest *ret);

struct cache_dep {
	struct digest selector;       /* unset: none */
	content_hash_fn content_hash; /* NULL: the input's own key decides */
	void *arg;                    /* lives as long as the op */
};
/* deps has one entry an input and lives in the op. Only operations without inputs may give
 * more than one map (index 0, 1, ...); deps of index 0 count. */
struct cache_key_info {
	struct digest digest; /* DIGEST_RANDOM: an identity never persisted */
	const struct cache_dep *deps;
	size_t n_deps;
	bool done; /* the last map */
};

#define OP_MAX_OUTPUTS 65536
struct op_outputs {
	struct result **items; /* heap; owned by the receiver */
	size_t n;
};
void op_outputs_add(struct op_outputs *o, struct result *take_r);

struct op_ops {
	/* Thread-safe. */
	struct err *(*cache_key)(struct op *op, const struct op_env *env, unsigned index,
				 struct cache_key_info *ret);
	/* At most one at a time. inputs are borrowed. On failure *ret_failure may be set. */
	struct err *(*run)(struct op *op, const struct op_env *env, struct result *const *inputs,
			   size_t n_inputs, struct op_outputs *out, struct failure **ret_failure);
	void (*free)(struct op *op);
	bool quick_key; /* cache_key only computes: no I/O, no waits */
	bool leaf;      /* run waits for no other vertex: the solver bounds how many run at once */
};
struct op {
	const struct op_ops *ops;
};

/* ---- vertices ---- */

struct vertex_input {
	uint32_t vertex; /* number in the graph */
	uint32_t output;
};
enum export_cache { EXPORT_CACHE_DEFAULT, EXPORT_CACHE_ON, EXPORT_CACHE_OFF };

struct vertex {
	struct digest digest;
	const char *name;
	const struct vertex_input *inputs;
	size_t n_inputs;
	/* Called once a vertex state, on any thread; must not block. */
	struct err *(*make_op)(const struct vertex *v, struct op **ret);
	bool ignore_cache;
	enum export_cache export_cache;
	const Pb__ProgressGroup *progress_group; /* or NULL */
	const void *meta;                        /* the operations' own; in the arena */
};

struct graph {
	struct ref ref;
	struct arena arena; /* of everything below */
	struct vertex *vertices;
	size_t n_vertices;
	const void *shared; /* the loader's own, for all vertices; in the arena */
	void *owner;        /* for make_op and meta; released by free_owner, may be NULL */
	void (*free_owner)(void *owner);
};
struct graph *graph_new(void);
struct graph *graph_ref(struct graph *g);
void graph_unref(struct graph *g); /* NULL is fine */
void graph_unrefp(struct graph **g);

#endif
