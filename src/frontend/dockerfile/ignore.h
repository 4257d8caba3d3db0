/* .dockerignore files. */
#ifndef FRONTEND_DOCKERFILE_IGNORE_H
#define FRONTEND_DOCKERFILE_IGNORE_H

#include "frontend/dockerfile/text.h"

/* The patterns, cleaned; negated ones begin with !. */
struct err *ignore_parse(struct arena *a, struct str data, struct strs *ret) ERR_RESULT;

#endif
