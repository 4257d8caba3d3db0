/* A list of variables, last set last (the order in which BuildKit puts them into an exec).
 * Lives in the arena given; a copy shares nothing with its origin. */
#ifndef FRONTEND_DOCKERFILE_ENV_H
#define FRONTEND_DOCKERFILE_ENV_H

#include "base/arena.h"

struct env_var {
	struct str key, value;
};

struct env {
	struct env_var *vars;
	size_t len, cap;
};

bool env_get(const struct env *e, struct str key, struct str *ret);
/* Replaces, and moves to the end. Key and value are kept, not copied. */
void env_set(struct arena *a, struct env *e, struct str key, struct str value);
void env_del(struct env *e, struct str key);
struct env env_clone(struct arena *a, const struct env *e);
/* "K=V" */
struct str env_text(struct arena *a, const struct env_var *v);

#endif
