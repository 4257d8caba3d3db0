/* Writable overlays that several steps, or several mounts of one step, have at the same time
 * (shared cache directories): two overlays over one upper directory do not see each other's
 * changes, so there is one, and the others are binds of it. Thread-safe. */
#ifndef EXEC_SHARED_H
#define EXEC_SHARED_H

#include "base/ctx.h"
#include "snapshot/mounts.h"

struct shared_mounts;
struct shared_mount;

/* dir exists and is empty. */
struct shared_mounts *shared_mounts_new(const char *dir);
void shared_mounts_free(struct shared_mounts *s); /* none may be out; NULL is fine */
/* m is an overlay with an upper directory; mounted unless it is already. */
struct err *shared_mount_get(struct shared_mounts *s, struct ctx *ctx, const struct mounts *m,
			     struct shared_mount **ret) ERR_RESULT;
const char *shared_mount_path(const struct shared_mount *m);
/* The last one unmounts. */
void shared_mount_put(struct shared_mounts *s, struct shared_mount *take_m);

#endif
