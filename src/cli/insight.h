/* Calls of buildkitc.v1.Insight, the daemon's own service: a daemon without it (BuildKit's) is
 * named as such. */
#ifndef CLI_INSIGHT_H
#define CLI_INSIGHT_H

#include "cli/cmd.h"
#include "proto/proto.h"

/* UNIMPLEMENTED when the daemon has no such service. The reply is in the arena of c. */
struct err *insight_call(struct cli *c, const char *method, const void *request,
			 const ProtobufCMessageDescriptor *reply, void *ret) ERR_RESULT;

#endif
