/* One Solve: its job, its bridge, the refs that clients know by id. */
#ifndef CONTROL_BUILD_H
#define CONTROL_BUILD_H

#include "control/control.h"
#include "frontend/bridge.h"

struct policy;

struct build {
	struct control *control;
	struct ctx *ctx; /* of the build; ends with the RPC */
	struct job *job;
	struct arena arena; /* life of the build; used by the Solve task only */
	struct session_group *sessions;
	struct str session_id, ref;
	unsigned entitlements;
	Moby__Buildkit__V1__BuildHistoryRecord *record; /* in arena; NULL: none is kept */
	struct policy *policy;                          /* of sources; NULL: all go */
	struct entitlement_devices devices;
	bool proxy_network;
	const Moby__Buildkit__V1__SolveRequest *req; /* in arena */
	struct bridge_worker *workers;               /* in arena */
	size_t n_workers;

	struct lock lock;
	/* What failed steps left, by the id that errors name it with: id -> struct result *, held
	 * to the end of the build. */
	struct map failed_results;
	struct map imports; /* id -> struct cacheimport * */
	struct cond imported;
};

struct err *build_new(struct control *c, struct ctx *ctx, struct arena *take_arena,
		      const Moby__Buildkit__V1__SolveRequest *req, struct build **ret) ERR_RESULT;
/* Lets go of the job; all refs must have gone. */
void build_free(struct build *b);
/* The tree behind an id of errdefs.Solve, on the default worker: a new reference, or NULL for the
 * empty tree. */
struct err *build_failed_result(struct build *b, const char *id, struct cache_ref **ret,
				bool *ret_found) ERR_RESULT;
/* Registers what the failed operation left, and adds the ids to the error. */
void build_note_failure(struct build *b, struct op_failure *f, struct err *e);

/* ---- lazy results (lazyref.c) ---- */
/* graph is taken; def is copied; imports (n) are waited for and looked in when it is made. */
struct cacheimport;
struct bridge_ref *lazyref_new(struct build *b, struct graph *take_graph, uint32_t vertex,
			       uint32_t output, const Pb__Definition *def,
			       struct cacheimport *const *imports, size_t n);
/* Evaluates, then the record, on the default worker: borrowed from the ref, NULL for an empty tree.
 * r NULL is that too. */
struct err *lazyref_cache_ref(struct bridge_ref *r, struct ctx *ctx,
			      struct cache_ref **ret) ERR_RESULT;
/* The key of what was evaluated, borrowed; NULL for an empty tree. */
struct cache_key *lazyref_key(struct bridge_ref *r);

/* ---- its record (record.c); nothing where no history is kept ---- */
void build_record_begin(struct build *b);
void build_record_result(struct build *b, const struct frontend_result *result);
/* What exporter number index answered. */
void build_record_export(struct build *b, int index, const struct map *response);
/* Closes the progress. failed may be NULL. */
void build_record_end(struct build *b, const struct err *failed);

/* ---- the bridge (bridge.c) ---- */
/* Solves as a frontend would: a definition, a named frontend, or nothing. */
struct err *build_solve(struct build *b, struct ctx *ctx,
			const Moby__Buildkit__V1__Frontend__SolveRequest *req,
			struct frontend_result *ret) ERR_RESULT;
struct err *build_resolve_source_meta(
	struct build *b, struct ctx *ctx,
	const Moby__Buildkit__V1__Frontend__ResolveSourceMetaRequest *req, struct arena *a,
	Moby__Buildkit__V1__Frontend__ResolveSourceMetaResponse **ret) ERR_RESULT;
struct err *build_warn(struct build *b,
		       const Moby__Buildkit__V1__Frontend__WarnRequest *req) ERR_RESULT;

/* ---- what follows the solve (export.c) ---- */
/* Runs exporters and their finalisers; response: key -> heap string. */
struct err *build_export(struct build *b, struct frontend_result *result,
			 struct exporter **exporters, size_t n, struct map *response) ERR_RESULT;

#endif
