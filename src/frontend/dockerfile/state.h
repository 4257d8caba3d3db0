/* A file system while it is put together, and what the next step on it would run with. */
#ifndef FRONTEND_DOCKERFILE_STATE_H
#define FRONTEND_DOCKERFILE_STATE_H

#include "frontend/dockerfile/image.h"
#include "frontend/llbgen.h"

struct fs_state {
	struct llb_out out;
	struct env env;
	struct str dir; /* absolute */
	struct str user;
	bool has_platform;
	struct platform platform; /* normalised; else the target's counts */
};

struct fs_state state_new(struct llb_out out);
void state_set_platform(struct fs_state *st, const struct platform *p);
/* Environment, directory and platform of an image. */
void state_use_image(struct arena *a, struct fs_state *st, const struct image *img);
/* Adds "K=V" texts to the environment. */
void state_use_env(struct arena *a, struct fs_state *st, const struct strs *env);
/* A source op of an image. p may be NULL. */
struct llb_node *image_source(struct arena *a, struct str ref, const struct platform *p);
struct llb_node *http_source(struct arena *a, struct str url, struct str filename, struct str name);

#endif
