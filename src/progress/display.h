/* Progress of a build for a person or a program: Status events in, text out.
 * Modes as the original's: auto, plain, tty, rawjson, quiet. One thread. */
#ifndef PROGRESS_DISPLAY_H
#define PROGRESS_DISPLAY_H

#include "base/err.h"
#include "proto/proto.h"

enum display_mode { DISPLAY_AUTO, DISPLAY_PLAIN, DISPLAY_TTY, DISPLAY_RAWJSON, DISPLAY_QUIET };

struct display;

/* "invalid progress mode X" */
struct err *display_parse_mode(struct str s, enum display_mode *ret) ERR_RESULT;
/* Output goes to fd (borrowed); auto is tty when fd is a terminal. */
struct display *display_new(enum display_mode mode, int fd);
void display_free(struct display *p); /* NULL is fine */
void display_freep(struct display **p);
void display_update(struct display *p, const Moby__Buildkit__V1__StatusResponse *r);
/* Redraws what moves by itself (tty); how often is up to the caller: display_interval. */
void display_tick(struct display *p);
int64_t display_interval(const struct display *p); /* ns; 0: never */
/* After the last event: flushes, then prints the failed step's log and the warnings. */
void display_finish(struct display *p, const struct err *build_error);

/* One SolveStatus as a JSON line, appended. Source: BuildKit's client.SolveStatus. */
void display_rawjson(const Moby__Buildkit__V1__StatusResponse *r, struct buf *out);

#endif
