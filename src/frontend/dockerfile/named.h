/* Named contexts: --build-context NAME=..., which replace images and stages. */
#ifndef FRONTEND_DOCKERFILE_NAMED_H
#define FRONTEND_DOCKERFILE_NAMED_H

#include "frontend/dockerfile/df.h"
#include "frontend/dockerfile/state.h"

struct named_context {
	struct str input;           /* what it stands for */
	struct str name, full_name; /* the latter with a platform, if it was given for one */
	struct str shared_key;
	bool has_platform;
	struct platform platform;
};

struct named_result {
	struct fs_state state;
	bool has_image;
	struct image image;
	/* A local source that waits for its list of paths: named_finish(). */
	struct llb_node *local;
};

/* *ret_found: there is one of that name (for the platform, or for all). p may be NULL. */
struct err *named_find(const struct df *df, struct arena *a, struct str name,
		       const struct platform *p, bool *ret_found,
		       struct named_context *ret) ERR_RESULT;
/* Asks for metadata; the graph is made in a. */
struct err *named_load(struct df *df, struct ctx *ctx, struct arena *a,
		       const struct named_context *nc, struct named_result *ret) ERR_RESULT;
void named_finish(struct arena *a, struct llb_node *local, const struct strs *paths);

#endif
