/* What is below an executor's directory when no executor uses it: containers, their processes,
 * mounts, cgroups and files of one that was killed. */
#ifndef EXEC_LEFTOVERS_H
#define EXEC_LEFTOVERS_H

#include "base/arena.h"
#include "base/err.h"

struct exec_driver;

/* The parts of an executor's directory. */
const char *exec_bundles_dir(struct arena *a, const char *root);
const char *exec_shared_dir(struct arena *a, const char *root);
const char *exec_state_dir(struct arena *a, const char *root);

/* Kills and removes. The caller has the executor's lock. */
struct err *leftovers_remove(const char *root, const struct exec_driver *driver) ERR_RESULT;

#endif
