/* The outputs of a running process: pipes (or a terminal) read by the thread that waits for it. */
#ifndef EXEC_IO_H
#define EXEC_IO_H

#include "base/ctx.h"
#include "exec/runtime.h"
#include "sys/proc.h"

struct io_pump {
	const struct exec_io *io; /* borrowed */
	int ours[2];              /* non-blocking; -1 when closed or at the end */
	int child[2];             /* for proc_spec; -1 after io_started */
	char *chunk;
};

struct err *io_open(struct io_pump *p, const struct exec_io *io) ERR_RESULT;
/* The child has its ends: ours of them are closed, so that the end of the output is seen. */
void io_started(struct io_pump *p);
/* Hands output on until proc ends (it is not reaped), a timeout in ms passes (-1: none;
 * *ret_ended false then) or ctx ends (its error). All that was written before the end has been
 * handed on when this returns. */
struct err *io_run(struct io_pump *p, const struct proc *proc, struct ctx *ctx, int timeout_ms,
		   bool *ret_ended) ERR_RESULT;
void io_close(struct io_pump *p); /* repeatable */

#endif
