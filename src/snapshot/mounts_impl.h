/* Inside snapshot: the parts of mounting. */
#ifndef SNAPSHOT_MOUNTS_IMPL_H
#define SNAPSHOT_MOUNTS_IMPL_H

#include "snapshot/mounts.h"

/* mounts_open that also tells the workdir it made for this mount (heap, NULL if none): to be
 * removed when the mount is gone. */
struct err *mounts_open_with(const struct mounts *m, char **ret_work, int *ret) ERR_RESULT;
struct err *mounts_make_work(struct str work, char **ret) ERR_RESULT;
/* work is NULL for a mount without an upper dir. */
struct err *mounts_open_overlay(const struct mounts *m, const char *work, int *ret) ERR_RESULT;
/* By mount(2), for kernels without "lowerdir+" (before 6.7): all options in one page, so the
 * directories go by names relative to what they have in common. */
struct err *mounts_open_classic(const struct mounts *m, const char *work, bool userxattr,
				int *ret) ERR_RESULT;

#endif
