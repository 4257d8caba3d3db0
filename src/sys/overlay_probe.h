/* What the kernel's overlayfs can do with its directories under a given one. */
#ifndef SYS_OVERLAY_PROBE_H
#define SYS_OVERLAY_PROBE_H

#include "base/err.h"

/* Most lowers the kernel takes (OVL_MAX_STACK). */
#define OVERLAY_MAX_LOWERS 500

struct overlay_features {
	bool works;        /* a two-layer mount with an upper dir shows what it should */
	bool userxattr;    /* must be given (user namespace) */
	bool is_volatile;  /* "volatile" is known (5.10) */
	bool lowerdir_add; /* fsconfig "lowerdir+" one by one (6.7): no limit of length */
};

/* Mounts in a scratch folder under dir; leaves nothing. An error only if dir can't be used. */
struct err *overlay_probe(const char *dir, struct overlay_features *ret) ERR_RESULT;

#endif
