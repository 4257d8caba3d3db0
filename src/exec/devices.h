/* Device nodes that a step with security mode "insecure" gets besides the usual ones. */
#ifndef EXEC_DEVICES_H
#define EXEC_DEVICES_H

#include "base/json.h"

/* linux.devices of an OCI configuration, with its key. */
void devices_write(struct json_out *j);

#endif
