/* What can be known of a source without using it (ResolveSourceMeta): digest and config of an
 * image. */
#ifndef CONTROL_SOURCEMETA_H
#define CONTROL_SOURCEMETA_H

#include "control/control.h"

struct sourcemeta_env {
	struct control *control;
	struct session_group *sessions;
};

/* No policy is applied. A scheme of which nothing more can be known gives the source back. */
struct err *sourcemeta_resolve(
	const struct sourcemeta_env *env, struct ctx *ctx,
	const Moby__Buildkit__V1__Frontend__ResolveSourceMetaRequest *req, struct arena *a,
	Moby__Buildkit__V1__Frontend__ResolveSourceMetaResponse **ret) ERR_RESULT;

#endif
