/* Defaults of a daemon that runs in a user namespace: rootless mode. As the original has them. */
#ifndef DAEMON_ROOTLESS_H
#define DAEMON_ROOTLESS_H

#include "daemon/config.h"

/* In a user namespace steps are run as rootless ones unless told otherwise. When $USER is set and
 * not root (rootlesskit leaves it alone) state, socket and configuration are the user's:
 * $XDG_DATA_HOME or ~/.local/share, $XDG_RUNTIME_DIR, $XDG_CONFIG_HOME or ~/.config. Makes the
 * socket's directory, sticky so that it is not cleaned up. */
struct err *rootless_defaults(struct arena *a, struct config *c,
			      const char **config_path) ERR_RESULT;
/* After flags and file: what can't be, and what to warn of. */
struct err *rootless_check(struct arena *a, struct config *c, bool asked) ERR_RESULT;

#endif
