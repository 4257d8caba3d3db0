/* The source policy of a build: static rules of the request and of frontends, then the client's
 * verifier (session service PolicyVerifier), which may ask for metadata first.
 * Counted: definitions loaded inside operations may outlive the build. Thread-safe. */
#ifndef CONTROL_POLICY_H
#define CONTROL_POLICY_H

#include "control/control.h"

struct policy;

/* base: rules of the request, or NULL; session_id: of the verifier, or empty. Copied. The policy is
 * NULL when there is nothing to be asked. */
struct err *policy_new(struct control *c, struct session_group *sessions,
		       const Moby__Buildkit__V1__Sourcepolicy__Policy *base, struct str session_id,
		       struct policy **ret) ERR_RESULT;
/* The same with rules of a frontend's request after those of the build; n 0 gives p itself,
 * counted. p may be NULL. */
struct err *policy_with(struct policy *p, struct control *c, struct session_group *sessions,
			Moby__Buildkit__V1__Sourcepolicy__Policy *const *more, size_t n,
			struct policy **ret) ERR_RESULT;
void policy_unref(struct policy *p); /* NULL is fine */
void policy_unrefp(struct policy **p);
/* For op_load_opts; NULL for NULL. As long as p. */
const struct op_source_policy *policy_for_ops(struct policy *p);
/* Puts the canonical identifier into source, which may be changed (in a) or refused. */
struct err *policy_apply(struct policy *p, struct ctx *ctx, struct arena *a, Pb__SourceOp *source,
			 const Pb__Platform *platform, bool *ret_changed) ERR_RESULT;

#endif
