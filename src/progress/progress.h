/* Progress of a build for a person or a program: Status events in, text out.
 * Modes as the original's: auto, plain, tty, rawjson, quiet. One thread. */
#ifndef PROGRESS_PROGRESS_H
#define PROGRESS_PROGRESS_H

#include "base/err.h"
#include "proto/proto.h"

enum progress_mode {
	PROGRESS_AUTO,
	PROGRESS_PLAIN,
	PROGRESS_TTY,
	PROGRESS_RAWJSON,
	PROGRESS_QUIET
};

struct progress;

/* "invalid progress mode X" */
struct err *progress_parse_mode(struct str s, enum progress_mode *ret) ERR_RESULT;
/* Output goes to fd (borrowed); auto is tty when fd is a terminal. */
struct progress *progress_new(enum progress_mode mode, int fd);
void progress_free(struct progress *p); /* NULL is fine */
void progress_freep(struct progress **p);
void progress_update(struct progress *p, const Moby__Buildkit__V1__StatusResponse *r);
/* Redraws what moves by itself (tty); how often is up to the caller: progress_interval. */
void progress_tick(struct progress *p);
int64_t progress_interval(const struct progress *p); /* ns; 0: never */
/* After the last event: flushes, then prints the failed step's log and the warnings. */
void progress_finish(struct progress *p, const struct err *build_error);

/* One SolveStatus as a JSON line, appended. Source: BuildKit's client.SolveStatus. */
void progress_rawjson(const Moby__Buildkit__V1__StatusResponse *r, struct buf *out);

#endif
