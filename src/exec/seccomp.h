/* The default seccomp profile of a step: what containerd and Docker give a container with the
 * default capabilities. */
#ifndef EXEC_SECCOMP_H
#define EXEC_SECCOMP_H

#include "base/json.h"

/* Does this kernel have seccomp filters at all? */
bool seccomp_supported(void);
/* The value of linux.seccomp in an OCI configuration. */
void seccomp_write(struct json_out *j);

#endif
