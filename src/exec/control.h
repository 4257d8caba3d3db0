/* The side of struct exec_control that runs the process. */
#ifndef EXEC_CONTROL_H
#define EXEC_CONTROL_H

#include "exec/runtime.h"
#include "sys/proc.h"

/* The runtime program runs and hands signals on to its process; master is the terminal, -1 if
 * none. Borrowed until control_detach. All calls take c NULL. */
void control_attach(struct exec_control *c, const struct proc *runtime, int master);
void control_detach(struct exec_control *c);
/* The process is run by another program: whoever waits for it asks for what is to be done when fd
 * is readable (-1 for NULL), until control_detach. Signals come in a set, a bit each; *ret_rows is
 * 0 when the size of the terminal has not changed. */
int control_attach_remote(struct exec_control *c);
uint64_t control_take(struct exec_control *c, unsigned *ret_rows, unsigned *ret_cols);
/* Readable when the process is to be killed; -1 for NULL. */
int control_kill_fd(const struct exec_control *c);

#endif
