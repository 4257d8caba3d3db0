/* The daemon: everything is made here, bottom up, and taken down in reverse. */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

#include "control/control.h"
#include "daemon/config.h"

/* Serves until SIGTERM or SIGINT (blocked in all threads), then drains. */
struct err *daemon_run(const struct config *cfg, struct ctx *root) ERR_RESULT;
/* Hidden sub-commands of this program: true when it was one and is done. */
bool daemon_helper_main(int argc, char **argv);

#endif
