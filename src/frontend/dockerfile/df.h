/* One call of dockerfile_build(): what its platforms share. Set up by one task, read-only for those
 * of the platforms except for the parts that say so. */
#ifndef FRONTEND_DOCKERFILE_DF_H
#define FRONTEND_DOCKERFILE_DF_H

#include "frontend/bridge.h"
#include "frontend/dockerfile/gitref.h"
#include "frontend/dockerfile/once.h"
#include "frontend/dockerfile/opts.h"
#include "frontend/llbgen.h"

/* The largest file read from a context: one gRPC message, as if it came over the gateway. */
#define DF_MAX_FILE LIMIT_GRPC_MESSAGE

enum context_kind {
	CONTEXT_LOCAL,
	CONTEXT_GIT,
	CONTEXT_HTTP,    /* one file, the Dockerfile */
	CONTEXT_ARCHIVE, /* over HTTP, to be unpacked */
	CONTEXT_INPUT,   /* a definition given with the request */
};

struct main_context {
	enum context_kind kind;
	struct str local, dockerfile_local; /* names of local sources */
	struct str filename;                /* of the Dockerfile */
	bool local_dockerfile;              /* even if the context is not local */
	struct str url;                     /* as given, of git and HTTP */
	struct git_ref git;
	const Pb__Definition *input, *dockerfile_input;
	bool has_subdir;
	struct str subdir;
	struct bridge_ref *http_ref;
};

struct meta_entry;

struct df {
	struct arena a; /* the set-up's; nothing is added later */
	struct bridge *bridge;
	struct opts opts;
	struct main_context context;

	struct str data; /* the Dockerfile */
	struct llb_source_map map;
	struct str load_digest; /* of the op that loads it: warnings are shown there */

	/* Shared and lazy: */
	struct once ignore_once;
	struct arena ignore_arena;
	bool ignore_known; /* came with the Dockerfile */
	struct str ignore_name, ignore_data;
	struct strs ignore;

	struct lock meta_lock; /* guards the list, not the entries */
	struct meta_entry *meta;
};

/* ---- build.c ---- */
void df_init(struct df *df, struct bridge *b);
void df_fini(struct df *df);

/* ---- context.c ---- */
struct err *context_init(struct df *df, struct ctx *ctx) ERR_RESULT;
/* Reads the Dockerfile and, if it is there, the ignore file that goes with it. */
struct err *context_load_dockerfile(struct df *df, struct ctx *ctx) ERR_RESULT;
/* The build context as a graph in a; of a local one only follow (all for none) is sent. */
struct err *context_main(struct df *df, struct ctx *ctx, struct arena *a, const struct strs *follow,
			 struct llb_out *ret) ERR_RESULT;
/* The patterns of the main context, none unless it is local. */
struct err *context_ignore(struct df *df, struct ctx *ctx, const struct strs **ret) ERR_RESULT;

/* A local source with what all of them have. */
struct llb_node *local_source(struct arena *a, const struct df *df, struct str name,
			      struct str shared_key, struct str custom_name);
/* Paths as the list of what to follow; empty when all is needed. */
struct strs follow_paths(struct arena *a, const struct strs *paths);

/* ---- solve.c ---- */
/* Solves a graph and gives its one ref. */
struct err *df_solve(struct df *df, struct ctx *ctx, struct arena *a, struct llb_out out,
		     bool evaluate, struct str *ret_head, struct bridge_ref **ret) ERR_RESULT;
/* A whole file, DF_MAX_FILE at most. *ret_too_large (may be NULL): that was the failure. */
struct err *df_read_file(struct bridge_ref *ref, struct ctx *ctx, struct arena *a, struct str path,
			 struct str *ret, bool *ret_too_large) ERR_RESULT;
/* Config of an image, in a; equal questions are asked once. *ret_ref is the reference after source
 * policies; `not_image`, if given, gets an identifier that is no image any more, instead of an
 * error.
 */
struct image_meta {
	struct str ref, digest, config;
};
struct err *df_image_meta(struct df *df, struct ctx *ctx, struct arena *a, struct str ref,
			  const struct platform *p, struct str log_name, struct str *not_image,
			  struct image_meta *ret) ERR_RESULT;
/* The same of an OCI layout of the client. */
struct err *df_layout_meta(struct df *df, struct ctx *ctx, struct arena *a, struct str ref,
			   struct str store, const struct platform *p, struct str log_name,
			   struct image_meta *ret) ERR_RESULT;
Pb__Platform *df_platform_msg(struct arena *a, const struct platform *p);
void df_meta_fini(struct df *df);

#endif
