/* The daemon's services: moby.buildkit.v1.Control and the LLBBridge that clients drive
 * builds with. One RPC (or a small group) a file. What it stands on is made by main and
 * handed in; it outlives the control. Facts: docs/internals/control.md. */
#ifndef CONTROL_CONTROL_H
#define CONTROL_CONTROL_H

#include "base/lock.h"
#include "base/map.h"
#include "exporter/exporter.h"
#include "grpc/grpc.h"
#include "op/op.h"
#include "solver/solver.h"

#define CONTROL_PACKAGE "github.com/moby/buildkit"
/* Of the Dockerfile language that the built-in frontend speaks. */
#define CONTROL_DOCKERFILE_VERSION "1.28.0"

struct explain_store;
struct kv;

/* A worker, and how it is kept small. */
struct control_worker {
	struct worker *worker;
	struct cache_prune *gc_rules;
	size_t n_gc_rules;
	bool gc;
};

struct control {
	struct ctx *ctx; /* of the daemon */
	struct grpc_loop *loop;
	struct solver *solver;
	struct httpc *http;    /* for caches in cloud stores */
	struct worker *worker; /* the default one: the first of them */
	const struct control_worker *workers;
	size_t n_workers;
	struct exporter_host host; /* on the default worker */
	unsigned entitlements;     /* that builds may ask for: enum entitlement bits */
	bool proxy_network;        /* of all builds */
	bool frontend_dockerfile, frontend_gateway;
	const struct str *gateway_allowed; /* repositories of frontend images; none: all */
	size_t n_gateway_allowed;
	const char *version, *revision;
	const char *cgroup_parent;
	const char *room_path; /* control/room.h */
	struct kv *kv;
	struct history *history; /* of builds (control/history.h); NULL: none is kept */

	/* ---- own state ---- */
	bool trim_pending;
	struct explain_store *explain;
	struct lock lock;
	struct cond builds_changed;
	struct map builds; /* ref -> struct gateway *, those that clients may drive */
	size_t running;    /* Solve calls */
	bool sweeping;     /* a prune that needs that there are none */
	int64_t last_gc_ns;
	bool gc_pending, gc_watching; /* each is a task that is there */
	bool gc_again;                /* another build has ended since the collection began */
};

void control_init(struct control *c);
void control_fini(struct control *c);
/* Table for grpc_server_new, whose arg must be the control. */
extern const struct grpc_method control_methods[];
extern const size_t control_n_methods;

/* One second after start and after each build, at most once a minute. */
void control_schedule_gc(struct control *c);
/* Once c->ctx is cancelled: waits for collections to end. Before what they use is gone. */
void control_wait_gc(struct control *c);
/* Called when a build begins: while there are any, the policies are also applied when less is free
 * than one of them wants. */
void control_watch_disk(struct control *c);
/* cache_prune; on a full disk once more, with the room that was kept for it. */
struct err *control_prune_by(struct control *c, struct ctx *ctx, const struct worker *w,
			     const struct cache_prune *rules, size_t n,
			     struct err *(*each)(void *arg, const struct cache_usage *u),
			     void *arg) ERR_RESULT;

/* Gives free memory back to the kernel, once, when no build has run for a moment. */
void control_schedule_trim(struct control *c);

/* ---- explainstore.c ---- */
struct explain_store *explain_store_new(struct kv *kv);
void explain_store_free(struct explain_store *s); /* NULL is fine */

/* ---- shared by the RPC files ---- */
Moby__Buildkit__V1__Types__WorkerRecord *control_worker_record(struct control *c, struct arena *a,
							       const struct control_worker *w);
Moby__Buildkit__V1__UsageRecord *control_usage_record(struct arena *a, const struct cache_usage *u);
/* The header "buildkit-current-timestamp" for clients to work out clock skew. */
struct err *control_send_timestamp(struct grpc_stream *s) ERR_RESULT;

#define CONTROL_HANDLER(name)                                                                      \
	struct err *name(struct ctx *ctx, struct grpc_stream *s, void *arg) ERR_RESULT
CONTROL_HANDLER(control_solve);
CONTROL_HANDLER(control_status);
CONTROL_HANDLER(control_session);
CONTROL_HANDLER(control_disk_usage);
CONTROL_HANDLER(control_prune);
CONTROL_HANDLER(control_list_workers);
CONTROL_HANDLER(control_info);
CONTROL_HANDLER(control_listen_history);
CONTROL_HANDLER(control_update_history);
CONTROL_HANDLER(llbbridge_ping);
CONTROL_HANDLER(llbbridge_solve);
CONTROL_HANDLER(llbbridge_resolve_image_config);
CONTROL_HANDLER(llbbridge_resolve_source_meta);
CONTROL_HANDLER(llbbridge_read_file);
CONTROL_HANDLER(llbbridge_read_dir);
CONTROL_HANDLER(llbbridge_stat_file);
CONTROL_HANDLER(llbbridge_evaluate);
CONTROL_HANDLER(llbbridge_do_return);
CONTROL_HANDLER(llbbridge_inputs);
CONTROL_HANDLER(llbbridge_warn);
CONTROL_HANDLER(llbbridge_new_container);
CONTROL_HANDLER(llbbridge_release_container);
CONTROL_HANDLER(llbbridge_exec_process);
CONTROL_HANDLER(llbbridge_read_file_container);
CONTROL_HANDLER(llbbridge_read_dir_container);
CONTROL_HANDLER(llbbridge_stat_file_container);
CONTROL_HANDLER(content_info_rpc);
CONTROL_HANDLER(content_read_rpc);
CONTROL_HANDLER(content_list_rpc);
CONTROL_HANDLER(content_statuses_rpc);
CONTROL_HANDLER(content_refuse_rpc);
CONTROL_HANDLER(insight_explain);
CONTROL_HANDLER(insight_memory);

#endif
