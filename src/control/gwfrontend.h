/* The frontend gateway.v0: runs the image that option "source" names in a container that speaks
 * LLBBridge over its stdin and stdout. Blocks until it has ended; its container, connection and
 * all it made but the result are gone then. Errors: those it returns, or of its process. */
#ifndef CONTROL_GWFRONTEND_H
#define CONTROL_GWFRONTEND_H

#include "control/gateway.h"

struct err *gwfrontend_build(struct build *b, struct ctx *ctx, struct bridge *bridge,
			     struct frontend_result *ret) ERR_RESULT;

#endif
