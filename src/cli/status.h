/* Following a build's Status stream with a progress display. */
#ifndef CLI_STATUS_H
#define CLI_STATUS_H

#include "cli/cmd.h"
#include "progress/display.h"

/* Runs until the stream ends or ctx does. trace_fd >= 0 gets one JSON line an event. */
struct err *cli_follow(struct cli *c, struct ctx *ctx, const char *ref, struct display *p,
		       int trace_fd) ERR_RESULT;

#endif
