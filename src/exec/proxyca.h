/* The authority of a step's proxy in the root's bundle of trusted certificates: put in before the
 * step, taken out after it, with whatever the step has added staying. The root is not trusted: the
 * bundle may be a link, a device, huge, and something else after the step than before. */
#ifndef EXEC_PROXYCA_H
#define EXEC_PROXYCA_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>

struct proxyca {
	struct str pem;
	const char *bundle; /* which of the usual names; NULL: nothing was added */
};

/* Into the first usual bundle that is a regular file; without one nothing is done. pem is borrowed
 * until the removal. */
struct err *proxyca_add(int rootfd, struct str pem, struct proxyca *ret) ERR_RESULT;
/* RESOURCE_EXHAUSTED "PATH exceeds 10485760 bytes". Repeatable. */
struct err *proxyca_remove(int rootfd, struct proxyca *c) ERR_RESULT;

/* The text without what was added, for proxyca_remove; out may hold all of it. */
struct buf;
void proxyca_cut(struct str text, struct str pem, struct buf *out);

#endif
