/* The control group of a container of the native runner, by an OCI configuration. */
#ifndef EXEC_NATIVE_CGROUP_H
#define EXEC_NATIVE_CGROUP_H

#include "base/arena.h"
#include "base/json.h"

/* Makes the group with its limits: memory, cpu, devices (linux.resources; the devices that every
 * container has are added). On an error there may be a part of it. */
struct err *native_cgroup_make(const char *path, const json_t *resources) ERR_RESULT;

#endif
