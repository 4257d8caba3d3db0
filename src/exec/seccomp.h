/* The default seccomp profile of a step: what containerd and Docker give a container with the
 * default capabilities. */
#ifndef EXEC_SECCOMP_H
#define EXEC_SECCOMP_H

#include "base/json.h"

struct seccomp {
	bool supported; /* the kernel has filters at all */
	bool x32;       /* it runs x32 programs: if not, a profile without them says the same, and
			   the runtime compiles it in two thirds of the time */
};
struct seccomp seccomp_probe(void);
/* The value of linux.seccomp in an OCI configuration. */
void seccomp_write(const struct seccomp *s, struct json_out *j);
/* The same compiled: the kernel's instructions (struct sock_filter). */
struct err *seccomp_compile(const struct seccomp *s, struct buf *out) ERR_RESULT;

#endif
