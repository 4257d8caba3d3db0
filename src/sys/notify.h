/* The service manager: readiness messages and sockets it opened for us (systemd's protocols).
 * Called by main only: reads the environment. */
#ifndef SYS_NOTIFY_H
#define SYS_NOTIFY_H

#include "base/err.h"

/* Sends e.g. "READY=1" to $NOTIFY_SOCKET; nothing without it. */
struct err *notify_send(const char *state) ERR_RESULT;
/* Number of sockets passed to this process, from descriptor 3 on (made O_CLOEXEC); 0 if none. */
int notify_listen_fds(void);

#endif
