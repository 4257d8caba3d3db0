#include "control/room.h"

#include "base/cleanup.h"
#include "base/limits.h"

#include <fcntl.h>
#include <sys/stat.h>

#define ROOM (4 * MIB)

void room_make(const char *path)
{
	CLEANUP_FD int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (fd >= 0 && fallocate(fd, 0, 0, (off_t)ROOM) < 0)
		(void)unlink(path);
}

bool room_use(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && st.st_blocks > 0 && unlink(path) == 0;
}
