/* A small process beside the daemon that outlives it by a moment: when the daemon is gone, killed
 * even, it ends the containers that still run. */
#ifndef EXEC_REAPER_H
#define EXEC_REAPER_H

#include "base/err.h"
#include "sys/proc.h"

/* For main()'s table (proc_helper_main). Only with it may executor_config.reaper be set. */
extern const struct proc_helper exec_reaper_helper;

struct reaper {
	struct proc proc;
	int hold_fd; /* the other end is the helper's standard input: its end is the daemon's */
};
#define REAPER_INIT ((struct reaper) { .proc = PROC_INIT, .hold_fd = -1 })

/* lock_fd: a lock that the next executor of this directory waits for; shared with the helper. */
struct err *reaper_start(struct reaper *r, const char *root, int lock_fd) ERR_RESULT;
/* Without anything being killed. Repeatable. */
void reaper_stop(struct reaper *r);

#endif
