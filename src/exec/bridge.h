/* The built-in network of mode "bridge": a CNI list of the plugins loopback, bridge and firewall.
 */
#ifndef EXEC_BRIDGE_H
#define EXEC_BRIDGE_H

#include "exec/cni.h"

/* Programs buildkit-cni-* in PATH, else those in bin_dir. `failed to find CNI bridge "X" or
 * buildkit-cni-bridge`. */
struct err *bridge_make(const char *name, const char *subnet, const char *bin_dir,
			struct cni **ret) ERR_RESULT;
bool bridge_exists(const char *name);
struct err *bridge_remove(const char *name) ERR_RESULT;

#endif
