/* Room for pruning on a full disk: removing records needs to write, too. A file of some
 * megabytes is kept, and let go of when there is nothing left. */
#ifndef CONTROL_ROOM_H
#define CONTROL_ROOM_H

#include <stdbool.h>

/* Makes the file unless it is there; a disk that is too full has none. */
void room_make(const char *path);
/* Frees it: true if there was any. */
bool room_use(const char *path);

#endif
