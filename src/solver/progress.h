/* Progress of one build: an append-only log that Status streams read, each at its own pace, from
 * the beginning. Events are kept as packed StatusResponse pieces in memory up to a bound, beyond it
 * in a file. Writers never block on readers. Thread-safe. */
#ifndef SOLVER_PROGRESS_H
#define SOLVER_PROGRESS_H

#include "base/ctx.h"
#include "base/err.h"

#endif
