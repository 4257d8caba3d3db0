/* One user of LLBBridge: a client that drives a build, or a frontend in a container. It knows the
 * results it was given by id, the containers it has made, and what it returned at the end.
 *
 * A gateway belongs to one build and ends before it. Calls come from many tasks at once. Ending it
 * (gateway_end) refuses new calls, kills its containers and waits for the calls under way.
 * Messages: proto/gateway.proto. Errors are in the words of the original; the id of a failed
 * step's inputs and mounts (errdefs.Solve) are known to all gateways of the build. */
#ifndef CONTROL_GATEWAY_H
#define CONTROL_GATEWAY_H

#include "control/build.h"

struct gwcontainer;

struct gateway {
	struct build *build;
	struct ctx *ctx; /* of its calls and containers */
	/* What Inputs answers; borrowed, as long as the gateway. */
	const struct bridge_input *inputs;
	size_t n_inputs;

	struct lock lock;
	struct cond changed;
	struct map refs;       /* id -> struct bridge_ref *, held */
	struct map containers; /* id -> struct gwcontainer *, owned */
	size_t calls;          /* under way */
	bool ending;
	/* What Return brought. */
	bool has_result;
	struct frontend_result result;
	struct err *result_err;
};

/* ctx ends it as well as gateway_end does. */
struct gateway *gateway_new(struct build *b, struct ctx *ctx, const struct bridge_input *inputs,
			    size_t n_inputs);
void gateway_end(struct gateway *g);  /* repeatable */
void gateway_free(struct gateway *g); /* ends it; NULL is fine */

/* False once it is ending. */
bool gateway_enter(struct gateway *g);
void gateway_leave(struct gateway *g);

/* The result of Return, once; CANCELED or the cause when ctx or the gateway ends before. */
struct err *gateway_wait_result(struct gateway *g, struct ctx *ctx,
				struct frontend_result *ret) ERR_RESULT;
/* The same without waiting: UNKNOWN "no result for incomplete build". */
struct err *gateway_take_result(struct gateway *g, struct frontend_result *ret) ERR_RESULT;
/* Of a gateway that failed by other means: an error that was returned stays. */
struct err *gateway_first_error(struct gateway *g, struct err *take_e) ERR_RESULT;

/* ---- refs by id ---- */
/* Counted, NULL for the empty id. UNKNOWN "no such ref: X". */
struct err *gateway_ref(struct gateway *g, const char *id, struct bridge_ref **ret) ERR_RESULT;
Moby__Buildkit__V1__Frontend__Result *gateway_result_to_pb(struct gateway *g,
							   const struct frontend_result *r,
							   struct arena *a);
struct err *gateway_result_from_pb(struct gateway *g,
				   const Moby__Buildkit__V1__Frontend__Result *in,
				   struct frontend_result *ret) ERR_RESULT;

/* ---- containers (gwcontainer.c) ---- */
struct err *gateway_new_container(struct gateway *g, struct ctx *ctx,
				  const Moby__Buildkit__V1__Frontend__NewContainerRequest *req)
	ERR_RESULT;
/* The error of the first process that failed, CANCELED if one was still running. */
struct err *gateway_release_container(struct gateway *g, const char *id) ERR_RESULT;
void gateway_release_containers(struct gateway *g);
/* Found and kept from going until gwcontainer_leave; NULL if there is none. */
struct gwcontainer *gateway_container(struct gateway *g, const char *id);
void gwcontainer_leave(struct gwcontainer *c);
/* True once: whoever gets it must run the first process, which makes the container. */
bool gwcontainer_claim(struct gwcontainer *c);
/* Runs one process to its end; one that is not the first waits for that to run. req and io are
 * borrowed; io needs a control. */
struct exec_io;
struct err *gwcontainer_run(struct gwcontainer *c, struct ctx *ctx, bool first,
			    const Moby__Buildkit__V1__Frontend__InitMessage *req,
			    const struct exec_io *io, int *ret_exit) ERR_RESULT;
/* Mount number i as it is now, for reading. */
struct localmount;
struct err *gwcontainer_view(struct gwcontainer *c, struct ctx *ctx, uint32_t index,
			     struct localmount **ret) ERR_RESULT;

/* ---- the stream of ExecProcess (gwexec.c) ---- */
struct err *gateway_exec_process(struct gateway *g, struct ctx *ctx,
				 struct grpc_stream *s) ERR_RESULT;

/* ---- LLBBridge for one gateway (llbbridge.c): handlers whose arg is the gateway ---- */
extern const struct grpc_method gateway_methods[];
extern const size_t gateway_n_methods;

#endif
