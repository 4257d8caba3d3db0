/* Requests to a frontend other than a build (--opt requestid=...): outline, targets, lint. */
#ifndef CLI_SUBREQUEST_H
#define CLI_SUBREQUEST_H

#include "cli/cmd.h"
#include "proto/proto.h"

/* Runs req as a build that this client drives: the frontend is asked over LLBBridge, and its
 * textual answer (metadata result.txt, else every result.*) is appended to out. */
struct err *cli_subrequest(struct cli *c, const Moby__Buildkit__V1__SolveRequest *req,
			   struct buf *out) ERR_RESULT;

#endif
