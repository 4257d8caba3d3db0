#include "sys/pty.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

struct err *pty_open(int *ret_master, int *ret_slave)
{
	CLEANUP_FD int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	int slave;

	if (master < 0 || unlockpt(master) < 0)
		return err_errno(errno, "open /dev/ptmx");
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return err_errno(errno, "open terminal");
	*ret_slave = slave;
	*ret_master = TAKE_FD(master);
	return NULL;
}

struct err *pty_set_size(int fd, unsigned rows, unsigned cols)
{
	struct winsize ws = { .ws_row = (unsigned short)MIN(rows, 65535u),
			      .ws_col = (unsigned short)MIN(cols, 65535u) };

	if (ioctl(fd, TIOCSWINSZ, &ws) < 0)
		return err_errno(errno, "set terminal size");
	return NULL;
}

bool pty_get_size(int fd, unsigned *ret_rows, unsigned *ret_cols)
{
	struct winsize ws;

	if (ioctl(fd, TIOCGWINSZ, &ws) < 0)
		return false;
	*ret_rows = ws.ws_row;
	*ret_cols = ws.ws_col;
	return true;
}

bool pty_is_terminal(int fd)
{
	return isatty(fd);
}

struct pty_saved {
	int fd;
	struct termios t;
};

struct err *pty_make_raw(int fd, struct pty_saved **ret)
{
	struct termios t, raw;
	struct pty_saved *s;

	if (tcgetattr(fd, &t) < 0)
		return err_errno(errno, "tcgetattr");
	raw = t;
	cfmakeraw(&raw);
	if (tcsetattr(fd, TCSANOW, &raw) < 0)
		return err_errno(errno, "tcsetattr");
	s = NEW(struct pty_saved);
	s->fd = fd;
	s->t = t;
	*ret = s;
	return NULL;
}

void pty_restore(struct pty_saved *s)
{
	if (!s)
		return;
	(void)tcsetattr(s->fd, TCSANOW, &s->t);
	free(s);
}
