/* Device nodes of a step: those of security mode "insecure", and those that CDI devices bring. */
#ifndef EXEC_DEVICES_H
#define EXEC_DEVICES_H

#include "base/json.h"
#include "exec/runtime.h"
#include "exec/users.h"

/* linux.devices of an OCI configuration, with its key. edits may be NULL. */
void devices_write(struct json_out *j, bool insecure, const struct exec_edits *edits,
		   const struct exec_user *user);
/* Their entries for linux.resources.devices, inside the array. */
void devices_write_rules(struct json_out *j, const struct exec_edits *edits);

#endif
