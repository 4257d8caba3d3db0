/* Source policies: rules that allow, deny or convert sources before they are used. Format and
 * semantics: the control API notes (moby.buildkit.v1.sourcepolicy). Evaluation does no I/O; time is
 * bounded by limits on what a regular expression may cost. Thread-safe: nothing is shared. */
#ifndef SOURCE_POLICY_H
#define SOURCE_POLICY_H

#include "base/arena.h"
#include "base/err.h"
#include "proto/proto.h"

/* UNKNOWN "invalid nil selector in policy", ... */
struct err *policy_validate(const Moby__Buildkit__V1__Sourcepolicy__Policy *p) ERR_RESULT;
/* One policy after the other, from the start again after every change, 20 times at most. source
 * (identifier and attributes, in a) may be changed, also when it is refused in the end: UNKNOWN
 * `source "X" denied by policy: source denied by policy`. */
struct err *policy_evaluate(const Moby__Buildkit__V1__Sourcepolicy__Policy *const *list, size_t n,
			    struct arena *a, Pb__SourceOp *source, bool *ret_changed) ERR_RESULT;

/* The identifier as policies see it: image references in full, git without scheme of its own. What
 * can't be parsed stays as it is. */
char *source_canonical(struct arena *a, const char *identifier);

#endif
