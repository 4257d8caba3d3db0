/* Mounts as data, and doing them. */
#ifndef SNAPSHOT_MOUNTS_H
#define SNAPSHOT_MOUNTS_H

#include "base/arena.h"
#include "base/ctx.h"

enum mount_kind { MOUNT_BIND, MOUNT_OVERLAY, MOUNT_TMPFS };

struct mounts {
	enum mount_kind kind;
	bool readonly;
	struct str source;  /* bind: the directory (absolute) */
	struct str *lowers; /* overlay: absolute, topmost first */
	size_t n_lowers;
	struct str upper, work; /* overlay: empty when read-only */
	bool is_volatile;       /* overlay: unmount does not sync */
	uint64_t size;          /* tmpfs: bytes, 0 is the default */
};

/* Mounts at an existing directory, in the daemon's own mount namespace, by the new mount
 * API (no page-size limit on the number of lowers). */
struct err *mounts_attach(const struct mounts *m, const char *target) ERR_RESULT;

/* The same, detached: gone with the descriptor unless it is attached (sys/mount.h). */
struct err *mounts_open(const struct mounts *m, int *ret_mntfd) ERR_RESULT;

/* A mount in a fresh private directory, undone by close. A plain bind is not mounted at
 * all: path is the source itself (read-only is then the caller's promise). One thread at a time. */
struct localmount;
struct err *localmount_open(const struct mounts *m, const char *tmp_dir,
			    struct localmount **ret) ERR_RESULT;
/* The first call attaches it below tmp_dir: use the descriptor where a path is not needed. */
const char *localmount_path(const struct localmount *l);
int localmount_dirfd(const struct localmount *l); /* O_PATH-capable dir descriptor; borrowed */
void localmount_close(struct localmount *l);      /* NULL is fine */
void localmount_closep(struct localmount **l);

#endif
