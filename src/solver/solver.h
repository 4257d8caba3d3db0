/* The solver: runs the vertices of all builds as one shared graph. Equal vertices run once; equal
 * work under different digests is joined by cache key; what was built before is found in the cache
 * store and loaded. One scheduler thread owns all states (no I/O there); operations run in tasks.
 * All calls are thread-safe. Facts: docs/internals/solver.md. */
#ifndef SOLVER_SOLVER_H
#define SOLVER_SOLVER_H

#include "solver/cachesource.h"
#include "solver/progress.h"
#include "solver/types.h"

struct kv;
struct job;

/* Session groups are opaque: a job has one session value, a vertex a group that collects those of
 * the jobs that share it. add is called on the scheduler's thread while operations may read the
 * group. All NULL: no sessions. */
struct solver_sessions {
	void *(*group_new)(void);
	void (*group_add)(void *group, void *session);
	void (*group_free)(void *group);
};

struct solver_config {
	struct kv *kv; /* cache store, tables solver_*; NULL: memory only */
	const struct result_ops *results;
	struct solver_sessions sessions;
	const char *spill_dir; /* of progress logs; NULL: memory only */
	size_t max_leaf;       /* leaf operations at once; 0: twice the processors, at least 8 */
	struct progress_limits log_limits;
};

/* ctx names the task pool and is the parent of all work. */
struct solver *solver_new(struct ctx *ctx, const struct solver_config *cfg);
/* All jobs must have been discarded. Writes what is pending to the store. */
void solver_free(struct solver *s);
/* Drops store entries whose result is gone and keys that lead nowhere: after a prune. */
struct err *solver_release_unreferenced(struct solver *s, struct ctx *ctx) ERR_RESULT;

/* ---- jobs ---- */
/* ALREADY_EXISTS "job ID X exists" while X is known. session is handed to group_add and must
 * outlive the job. */
struct err *job_new(struct solver *s, struct str id, void *session, struct job **ret) ERR_RESULT;
/* Waits up to wait_ns for it to appear: NOT_FOUND "no such job X". Unref it. */
struct err *job_get(struct solver *s, struct ctx *ctx, struct str id, int64_t wait_ns,
		    struct job **ret) ERR_RESULT;
struct job *job_ref(struct job *j);
void job_unref(struct job *j); /* NULL is fine */
const char *job_id(const struct job *j);
struct progress *job_progress(struct job *j); /* borrowed */
struct builder *job_builder(struct job *j);   /* borrowed */
void *job_session(const struct job *j);
/* The build is over: no solver_build of it may be running. Closes its progress, lets go of its
 * vertices; the job stays known for 10 s so that Status can still read it. */
void job_discard(struct job *take_j);

/* ---- builds ---- */

/* The key under which a result is stored, with the graph below it: for cache export, provenance. It
 * keeps the vertices alive; free before job_discard. */
struct cache_key;

struct build_request {
	struct graph *graph;
	uint32_t vertex, output;
	/* Caches to look in besides the local one. */
	struct cache_source *const *sources;
	size_t n_sources;
};
struct build_result {
	struct result *result;
	struct cache_key *key;
};
/* Builds that output. The error carries detail errdefs.Vertex+json of the vertex that failed;
 * *ret_failure (may be NULL) is what its operation left, or NULL. When ctx ends the call returns
 * soon; work that others still wait for goes on. */
struct err *solver_build(struct builder *b, struct ctx *ctx, const struct build_request *r,
			 struct build_result *ret, struct failure **ret_failure) ERR_RESULT;
void build_result_fini(struct solver *s, struct build_result *r);
struct cache_key *cache_key_ref(struct cache_key *k);
void cache_key_free(struct cache_key *k); /* drops one reference; NULL is fine */

struct solver *builder_solver(struct builder *b);
/* Any job that the builder works for: for its progress and id. Unref it. */
struct job *builder_job(struct builder *b);

/* ---- looking at what was built ---- */

/* Every vertex below a key, inputs first, each once. op is NULL when it was never made. The op and
 * the vertex live as long as the key. */
struct walk_vertex {
	const struct vertex *vertex;
	struct digest digest; /* as reported in progress */
	struct op *op;
	const uint32_t *inputs; /* positions in the walk */
	size_t n_inputs;
	bool executed; /* run in this process, not found in a cache */
};
struct err *cache_key_walk(struct cache_key *k, struct ctx *ctx, struct arena *a,
			   struct walk_vertex **ret, size_t *ret_n) ERR_RESULT;

/* What became of the vertices of a job, for an account of it: at the end of the job, before
 * job_discard, which ends what this points at. */
enum vertex_fate {
	VERTEX_UNUSED, /* nothing of it was needed */
	VERTEX_CACHED, /* found, or had from equal work */
	VERTEX_RAN,
	VERTEX_FAILED,
};
struct job_input {
	uint32_t vertex; /* position in the list; UINT32_MAX: not in it */
	struct digest selector;
	struct digest content; /* content key; unset: none was made */
	const uint64_t *keys;  /* short forms of the keys that the input was known by */
	size_t n_keys;
	const void *arg;       /* cache_dep.arg */
	struct result *result; /* borrowed; NULL if it was not needed */
};
struct job_vertex {
	const struct vertex *vertex;
	struct digest digest; /* as reported in progress */
	struct op *op;        /* NULL: never made */
	enum vertex_fate fate;
	bool ignore_cache;
	struct digest key; /* of the operation; unset: not known */
	bool transient;    /* one of its keys stands on a random digest: never stored */
	struct job_input *inputs;
	size_t n_inputs;
	const char *error;     /* NULL: none */
	const char *result_id; /* of an output of it, or NULL */
};
struct err *job_vertices(struct job *j, struct ctx *ctx, struct arena *a, struct job_vertex **ret,
			 size_t *ret_n) ERR_RESULT;

/* The same as cache records, for export. Inputs come first; those of the key itself are last. */
struct export_link {
	uint32_t record;
	struct digest selector;
};
struct export_record {
	/* sha256("<op digest>@<output>"), of a content key sha256("<content digest>@-1").
	 * DIGEST_RANDOM: must not be exported, nor what depends on it alone. */
	struct digest digest;
	/* For each input the alternative records (keys, content key). */
	struct export_link **inputs;
	size_t *n_links;
	size_t n_inputs; /* 0: a source or a content key */
	/* There is a result: export_record_load. */
	bool has_result;
	int64_t created_ns;
	const struct vertex *vertex; /* NULL for content keys */
	/* Inside. */
	struct result *result;
	struct cache_source *source;
	struct cache_key_id key;
	struct str result_id;
};
struct err *cache_key_export(struct cache_key *k, struct ctx *ctx, struct arena *a,
			     struct export_record **ret, size_t *ret_n) ERR_RESULT;
/* A counted reference to the record's result, which may be lazy. The key must still be held. */
struct err *export_record_load(struct cache_key *k, struct ctx *ctx, const struct export_record *r,
			       struct result **ret) ERR_RESULT;

/* ---- for tests and debug dumps ---- */
struct solver_stats {
	size_t jobs, vertices, running, keys;
};
struct solver_stats solver_stats(struct solver *s);

#endif
