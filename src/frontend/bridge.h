/* What a frontend needs from the daemon, and what it gives back.
 *
 * `struct bridge` is LLBBridge (see proto/gateway.proto) without a wire: requests and responses are
 * the same messages, but results are handles instead of ids. The daemon implements it once a build;
 * frontends in this folder call it, and the gateway server puts the wire on top of it.
 *
 * Memory: messages passed in are borrowed for the call; answers go to the caller's arena.
 * Threads: every call may come from any task, several at once. Calls block; all end with ctx.
 * Errors of a failed vertex carry the typed details the daemon adds (Vertex, Source, Solve): a
 * frontend passes them on untouched. The Source detail of a vertex comes from the source map of the
 * definition it was solved from. */
#ifndef FRONTEND_BRIDGE_H
#define FRONTEND_BRIDGE_H

#include "base/arena.h"
#include "base/ctx.h"
#include "base/ref.h"
#include "codec/platform.h"
#include "proto/proto.h"

struct bridge;
struct bridge_ref;
struct frontend_result;

/* Handle of one lazy result: counted, thread-safe. Nothing runs before something is read from it or
 * it is evaluated. NULL stands for the empty (scratch) result wherever a handle is expected.
 * The daemon embeds this as the first member of its own type, with bridge_ref_init(). It must stay
 * valid after the bridge is gone (exporters use it). */
struct bridge_ref_ops {
	struct err *(*evaluate)(struct bridge_ref *r, struct ctx *ctx);
	/* Appends to out, whose maximum bounds it (RESOURCE_EXHAUSTED beyond). length 0 is up to
	 * the end. Symlinks resolve inside the root. A missing file is NOT_FOUND in the daemon's
	 * words. */
	struct err *(*read_file)(struct bridge_ref *r, struct ctx *ctx, struct str path,
				 int64_t offset, int64_t length, struct buf *out);
	/* The last component is not followed. */
	struct err *(*stat_file)(struct bridge_ref *r, struct ctx *ctx, struct str path,
				 struct arena *a, Fsutil__Types__Stat **ret);
	/* Sorted by name; path in each is the base name. include may be empty. */
	struct err *(*read_dir)(struct bridge_ref *r, struct ctx *ctx, struct str path,
				struct str include, struct arena *a, Fsutil__Types__Stat ***ret,
				size_t *ret_n);
	/* The definition it was made from (Ref.def of the gateway); borrowed, lives as long as r.
	 */
	const Pb__Definition *(*definition)(struct bridge_ref *r);
	void (*free)(struct bridge_ref *r);
};

struct bridge_ref {
	const struct bridge_ref_ops *ops;
	struct ref refs;
};

void bridge_ref_init(struct bridge_ref *r, const struct bridge_ref_ops *ops);
struct bridge_ref *bridge_ref_get(struct bridge_ref *r); /* NULL is fine */
void bridge_ref_put(struct bridge_ref *r);               /* NULL is fine */
void bridge_ref_putp(struct bridge_ref **r);

/* ---- the result of a build ---- */

struct frontend_kv {
	struct str key, value;
};

struct frontend_subject {
	int kind; /* InTotoSubjectKind */
	struct str name;
	struct str *digests;
	size_t n_digests;
};

struct frontend_attestation {
	int kind; /* AttestationKind */
	struct frontend_kv *metadata;
	size_t n_metadata;
	struct bridge_ref *ref; /* owned by the result; may be NULL */
	struct str path, predicate_type;
	struct frontend_subject *subjects;
	size_t n_subjects;
};

/* Entry of the map form: key is a platform id. */
struct frontend_ref {
	struct str key;
	struct bridge_ref *ref; /* owned; may be NULL */
};

struct frontend_attestations {
	struct str key;
	struct frontend_attestation *list;
	size_t n, cap;
};

/* Either one ref or a map of them (is_map), and metadata. Owns its memory and its handles.
 * Metadata keys: spec of the gateway ("containerimage.config/linux/amd64", "refs.platforms",
 * ...). */
struct frontend_result {
	struct arena arena;
	bool is_map;
	struct bridge_ref *ref;
	struct frontend_ref *refs;
	size_t n_refs, cap_refs;
	struct frontend_kv *metadata; /* by key, ascending */
	size_t n_metadata, cap_metadata;
	struct frontend_attestations *attestations; /* by key, ascending */
	size_t n_attestations, cap_attestations;
};

void frontend_result_init(struct frontend_result *r);
void frontend_result_fini(struct frontend_result *r);
#define SCOPED_FRONTEND_RESULT(name)                                                               \
	CLEANUP(frontend_result_fini) struct frontend_result name = { 0 }
/* Key, value and text are copied, handles taken. Setting twice replaces. */
void frontend_result_set_ref(struct frontend_result *r, struct bridge_ref *take_ref);
void frontend_result_add_ref(struct frontend_result *r, struct str key,
			     struct bridge_ref *take_ref);
void frontend_result_set_meta(struct frontend_result *r, struct str key, struct str value);
/* False when it isn't there. */
bool frontend_result_meta(const struct frontend_result *r, struct str key, struct str *ret);
/* Takes at->ref, copies the rest. */
void frontend_result_add_attestation(struct frontend_result *r, struct str key,
				     const struct frontend_attestation *at);
/* The ref of a result that has exactly one (single, or a map of one); borrowed. INVALID_ARGUMENT
 * otherwise. */
struct err *frontend_result_single(const struct frontend_result *r,
				   struct bridge_ref **ret) ERR_RESULT;

/* ---- the bridge ---- */

struct bridge_worker {
	struct str id;
	struct frontend_kv *labels;
	size_t n_labels;
	/* The first is the one builds default to. */
	const struct platform *platforms;
	size_t n_platforms;
};

/* Fixed for the whole build, filled by the daemon. */
struct bridge_info {
	const struct frontend_kv *opts; /* FrontendOpt, by key ascending */
	size_t n_opts;
	struct str session_id;
	struct str product; /* "buildkit" */
	const struct bridge_worker *workers;
	size_t n_workers;
	/* FrontendInputs: definitions by name. */
	const struct bridge_input {
		struct str name;
		const Pb__Definition *def;
	} * inputs;
	size_t n_inputs;
	/* gateway.proto's APICap ids and those of LLB: is id enabled? */
	bool (*frontend_cap)(const char *id);
	bool (*llb_cap)(const char *id);
};

struct bridge_ops {
	/* A definition, or a frontend by name with FrontendOpt and FrontendInputs. Without
	 * Evaluate nothing runs. Neither: an empty result. The definition's ops are loaded with
	 * its metadata and source map. allowResult* are ignored: results are always full. ret is
	 * uninitialised memory, initialised and filled on success only. */
	struct err *(*solve)(struct bridge *b, struct ctx *ctx,
			     const Moby__Buildkit__V1__Frontend__SolveRequest *req,
			     struct frontend_result *ret);
	/* LogName is the name of the vertex it is reported under. The Source of the answer may
	 * differ from the request's (source policies). */
	struct err *(*resolve_source_meta)(
		struct bridge *b, struct ctx *ctx,
		const Moby__Buildkit__V1__Frontend__ResolveSourceMetaRequest *req, struct arena *a,
		Moby__Buildkit__V1__Frontend__ResolveSourceMetaResponse **ret);
	/* A VertexWarning for the vertex with that digest (empty: the build). */
	struct err *(*warn)(struct bridge *b, struct ctx *ctx,
			    const Moby__Buildkit__V1__Frontend__WarnRequest *req);
};

/* Embedded by the implementation as its first member. */
struct bridge {
	const struct bridge_ops *ops;
	const struct bridge_info *info;
};

/* Value of an opt; STR_NONE (ptr NULL) when it isn't given. */
struct str bridge_opt(const struct bridge *b, struct str key);

/* The frontends: they fill *ret, uninitialised memory, on success only. */
struct err *dockerfile_build(struct ctx *ctx, struct bridge *b,
			     struct frontend_result *ret) ERR_RESULT;

/* "unsupported frontend capability X" (UNIMPLEMENTED), with its detail. */
struct err *frontend_missing_cap(struct str name) ERR_RESULT;

/* A frontend that is an image: its file system, and what its configuration says. In the arena. */
struct frontend_image {
	Pb__Definition *def;
	struct str digest; /* of the manifest; empty if it comes from elsewhere */
	struct str *env, *entrypoint;
	size_t n_env, n_entrypoint;
	struct str cwd;
	struct frontend_kv *labels; /* by key */
	size_t n_labels;
};
/* source is a reference; a named context of that name (option "context:...") stands for it. */
struct err *frontend_image_find(struct ctx *ctx, struct bridge *b, struct str source,
				struct arena *a, struct frontend_image *ret) ERR_RESULT;

#endif
