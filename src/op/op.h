/* LLB: a Definition becomes a graph of vertices, and each kind of operation runs on a worker.
 * Facts: docs/internals/op.md. */
#ifndef OP_OP_H
#define OP_OP_H

#include "base/sem.h"
#include "cache/cache.h"
#include "codec/oci.h"
#include "codec/platform.h"
#include "op/result.h"
#include "session/session.h"
#include "solver/solver.h"
#include "source/source.h"

struct cachemounts;
struct executor;
struct cdi_config;
struct step_proxies;
struct capture;

/* All workers of the daemon; the first is the default. */
struct worker_set {
	struct worker *const *list;
	size_t n;
};

/* What operations run on: plain parameters, owned by main, alive as long as the solver. The
 * executor only runs processes; all else that an operation needs is beside it. */
struct worker {
	const char *id;
	const struct oci_kv *labels; /* sorted */
	size_t n_labels;
	const struct worker_set *set; /* which it is one of; NULL: it is alone */
	struct cache *cache;
	struct cachemounts *cachemounts; /* cache/cachemount.h */
	struct executor *executor;
	struct session_manager *sessions;
	struct source_table *sources;
	/* Platforms it can run; the first is the default. */
	const struct platform *platforms;
	size_t n_platforms;
	struct sem *parallelism; /* max-parallelism: execs and file operations; NULL: no bound */
	const char *tmp_dir;     /* local mounts, sockets */
	const char *secrets_dir; /* a private tmpfs for secrets, made by main */
	/* Path in the daemon's file system of the emulator for a foreign platform, or NULL. May be
	 * NULL itself. */
	const char *(*emulator)(const struct worker *w, struct platform p);
	const struct cdi_config *cdi; /* exec/cdi.h; NULL: no devices */
	struct step_proxies *proxies; /* op/exec_proxy.h; NULL: no proxy network */
};

/* ---- entitlements ---- */
enum entitlement {
	ENTITLEMENT_NETWORK_HOST = 1,
	ENTITLEMENT_SECURITY_INSECURE = 2,
	ENTITLEMENT_DEVICE = 4,
};
/* "network.host", "security.insecure", "device" (also "device=..."); INVALID_ARGUMENT otherwise. */
struct err *entitlement_parse(struct str name, enum entitlement *ret) ERR_RESULT;

/* Devices that a build may use besides those that are for everybody. */
struct entitlement_device {
	struct str name; /* as steps ask for it */
	struct str is;   /* what they get then; empty: the same */
};
struct entitlement_devices {
	bool all;
	struct entitlement_device *list;
	size_t n;
};
/* One granted entitlement "device", "device=NAME" or "device=NAME,alias=ALIAS"; others are ignored.
 * It borrows from text. */
struct err *entitlement_add_device(struct arena *a, struct str text,
				   struct entitlement_devices *d) ERR_RESULT;

/* ---- loading ---- */

/* May change a source (identifier and attrs, in the arena) and says so. An error refuses it. Called
 * in tasks, for several sources at once; may block. platform is the op's, or NULL. A loaded graph
 * keeps arg for definitions that are loaded inside its operations, possibly for longer than the
 * build: counted by ref and unref. */
struct op_source_policy {
	struct err *(*evaluate)(void *arg, struct ctx *ctx, struct arena *a, Pb__SourceOp *source,
				const Pb__Platform *platform, bool *ret_changed);
	void (*ref)(void *arg);
	void (*unref)(void *arg);
	void *arg;
};
struct op_load_opts {
	struct worker *worker;
	const struct op_source_policy *policy;     /* or NULL */
	unsigned entitlements;                     /* of the build: enum entitlement bits */
	const struct entitlement_devices *devices; /* or NULL: none */
	bool proxy_network;                        /* steps reach the network by a proxy only */
	const char *cgroup_parent;                 /* default for execs; or NULL */
};
/* The graph and the vertex and output it ends in. INVALID_ARGUMENT etc. in the words of the LLB
 * notes. def is borrowed for the call. */
struct err *op_load_definition(struct ctx *ctx, const Pb__Definition *def,
			       const struct op_load_opts *o, struct graph **ret_graph,
			       uint32_t *ret_vertex, uint32_t *ret_output) ERR_RESULT;
/* Adds errdefs.Source+json details for the vertex that e's errdefs.Vertex+json names, from the
 * definition's source map. */
void op_add_source_details(const struct graph *g, struct err *e);

/* ---- looking into vertices (provenance, gateway) ---- */
/* The op as loaded (after policy and platform defaults). */
const Pb__Op *op_vertex_pb(const struct vertex *v);
const Pb__OpMetadata *op_vertex_metadata(const struct vertex *v); /* never NULL */
/* A source's immutable id, once its key is known; "" otherwise. Lives as long as the op. */
const char *op_source_pin(const struct op *op);

/* Of an exec with the proxy network that has run (netproxy/capture.h); NULL otherwise. Borrowed. */
struct capture *op_exec_capture(const struct op *op);
bool op_vertex_is_proxied(const struct vertex *v);

/* What a failed exec or file operation leaves, for containers on the failed state. */
struct op_failure {
	struct failure base;
	const struct worker *worker;
	/* Of an exec one a mount, else one an input of the vertex; NULL entries are possible. */
	struct result **inputs;
	size_t n_inputs;
	struct result **mounts; /* state at the failure: of an exec by mount, of a file operation
				   by action */
	size_t n_mounts;
	const Pb__Op *op; /* in arena */
	const Pb__OpMetadata *metadata;
	int64_t file_action;   /* which, or -1 */
	int64_t content_input; /* number of the vertex input that could not be hashed (then inputs
				  has just that one), or -1 */
	struct arena arena;
};
/* NULL for NULL. */
struct op_failure *op_failure_of(struct failure *f);
/* Adds errdefs.Solve+json with these gateway ids (one an input, one a mount; "" for none). */
void op_failure_detail(const struct op_failure *f, struct err *e, const char *const *input_ids,
		       const char *const *mount_ids);

/* ---- capabilities (caps.def) ---- */
/* True when LLB capability id is known and on. */
bool op_cap(const char *id);
/* All of them, sorted by id, as answered by Ping. */
Moby__Buildkit__V1__Apicaps__APICap **op_caps(struct arena *a, size_t *ret_n);

#endif
