/* The streams of a running process: pipes or a terminal, served by the thread that waits for it. */
#ifndef EXEC_IO_H
#define EXEC_IO_H

#include "base/ctx.h"
#include "exec/runtime.h"
#include "sys/proc.h"

struct io_pump {
	const struct exec_io *io; /* borrowed */
	bool tty;
	int ours[2];  /* non-blocking; -1 when closed or at the end. [0] is a terminal's master */
	int child[3]; /* for proc_spec, by number there; -1 after io_started */
	char *chunk;
	char in[4096]; /* of a terminal: input that it has not taken yet */
	size_t in_at, in_len;
	bool in_ended;
};

struct err *io_open(struct io_pump *p, const struct exec_io *io, bool tty) ERR_RESULT;
/* The same of a terminal that the process makes itself and hands over later. */
struct err *io_open_no_terminal(struct io_pump *p, const struct exec_io *io) ERR_RESULT;
struct err *io_take_terminal(struct io_pump *p, int take_master) ERR_RESULT;
/* The child has its ends: ours of them are closed, so that the end of the output is seen. */
void io_started(struct io_pump *p);

enum io_event {
	IO_ENDED, /* proc has ended, and all that was written before has been handed on */
	IO_TIMEOUT,
	IO_WAKE0, /* wake[0] is readable */
	IO_WAKE1,
};
/* Moves data until something happens; timeout in ms, -1 for none; wake: descriptors or -1. ctx's
 * error when that ends. proc is not reaped. */
struct err *io_run(struct io_pump *p, const struct proc *proc, struct ctx *ctx, int timeout_ms,
		   const int wake[2], enum io_event *ret) ERR_RESULT;
void io_close(struct io_pump *p); /* repeatable */
#define IO_PUMP_INIT ((struct io_pump) { .ours = { -1, -1 }, .child = { -1, -1, -1 } })

#endif
