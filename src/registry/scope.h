/* Token scopes, "repository:library/alpine:pull,push": merged by resource, sorted. Source: the
 * distribution project's token specification. */
#ifndef REGISTRY_SCOPE_H
#define REGISTRY_SCOPE_H

#include "base/arena.h"

/* Normal form of a list whose elements may themselves be lists, separated by spaces. */
void scope_merge(struct arena *a, const struct str *in, size_t n, struct str **ret, size_t *ret_n);
/* The normal form as one text, for keys. */
struct str scope_join(struct arena *a, const struct str *scopes, size_t n);

#endif
