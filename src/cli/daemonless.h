/* A daemon of our own for one build: a private socket and state folder, ended and (the
 * socket) removed afterwards. */
#ifndef CLI_DAEMONLESS_H
#define CLI_DAEMONLESS_H

#include "cli/cmd.h"

struct daemonless;
/* Starts buildkitd (beside our own binary, else from PATH; BUILDKITD and BUILDKITD_FLAGS
 * override) and points c->addr at it. State stays in $BUILDKIT_STATE or a folder of the
 * user's cache, so that the next build finds it. */
struct err *daemonless_start(struct cli *c, struct daemonless **ret) ERR_RESULT;
/* SIGTERM, wait, SIGKILL after 20 s; frees d. */
struct err *daemonless_stop(struct daemonless *take_d) ERR_RESULT;

#endif
