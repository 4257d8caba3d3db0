/* Patterns of the ${v#p}, ${v%p} and ${v/p/r} substitutions: `*`, `?`, backslash for a literal one;
 * no brackets. A wildcard does not match a newline. */
#ifndef FRONTEND_DOCKERFILE_PATTERN_H
#define FRONTEND_DOCKERFILE_PATTERN_H

#include "base/arena.h"
#include "base/err.h"

/* value without the shortest or longest part at its begin (end) that matches. "invalid pattern (p)
 * in substitution: invalid escape '\x'". Results are slices of value. */
struct err *pattern_trim_prefix(struct arena *a, struct str pattern, struct str value, bool longest,
				struct str *ret) ERR_RESULT;
struct err *pattern_trim_suffix(struct arena *a, struct str pattern, struct str value, bool longest,
				struct str *ret) ERR_RESULT;
/* The first (or every) longest match replaced. */
struct err *pattern_replace(struct arena *a, struct str pattern, struct str value,
			    struct str replacement, bool all, struct str *ret) ERR_RESULT;

#endif
