/* Proxies of steps: the authority that they all share, the source policy, what was captured. */
#ifndef OP_EXEC_PROXY_H
#define OP_EXEC_PROXY_H

#include "exec/runtime.h"
#include "netproxy/capture.h"
#include "op/op.h"

/* One a daemon, thread-safe. The authority is made when the first step needs it. */
struct step_proxies;
struct step_proxies *step_proxies_new(const char *user_agent);
void step_proxies_free(struct step_proxies *p); /* NULL is fine */

/* Of one step or container. */
struct step_proxy;
/* policy is borrowed; NULL: all may be fetched. */
struct err *step_proxy_new(struct step_proxies *p, const struct worker *w,
			   const struct op_source_policy *policy,
			   struct step_proxy **ret) ERR_RESULT;
/* Not while the step runs. NULL is fine. */
void step_proxy_free(struct step_proxy *s);
void step_proxy_freep(struct step_proxy **s);
const struct exec_proxy *step_proxy_exec(struct step_proxy *s); /* for the exec_spec */
struct capture *step_proxy_capture(struct step_proxy *s);       /* borrowed */

#endif
