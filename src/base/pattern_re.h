/* The part of Go's regular expressions that an ignore pattern can turn into: characters,
 * classes, escapes, assertions, `(.*<slash>)?`, counted repetition of one item, and
 * alternatives at the top. No groups, no Unicode classes (\p): these count as bad. */
#ifndef BASE_PATTERN_RE_H
#define BASE_PATTERN_RE_H

#include "base/arena.h"

struct pattern_re; /* immutable once made */

/* False when the expression is bad. */
bool pattern_re_new(struct arena *a, struct str expression, struct pattern_re **ret);
/* Is there a match anywhere in s? Time is bounded by the product of both lengths. */
bool pattern_re_match(const struct pattern_re *re, struct str s);

#endif
