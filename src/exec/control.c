#include "exec/control.h"

#include "base/lock.h"
#include "base/mem.h"
#include "sys/pty.h"

#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct exec_control {
	struct lock lock;
	const struct proc *runtime; /* while it runs */
	int master;
	int kill_fd;
	int wake_fd; /* while the process is another program's */
	bool resized;
	uint64_t pending; /* signals from before the start, a bit each */
	unsigned rows, cols;
};

struct exec_control *exec_control_new(void)
{
	struct exec_control *c = NEW(struct exec_control);

	lock_init(&c->lock, LOCK_LEAF);
	c->master = c->wake_fd = -1;
	c->kill_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return c;
}

void exec_control_free(struct exec_control *c)
{
	if (!c)
		return;
	if (c->kill_fd >= 0)
		(void)close(c->kill_fd);
	lock_fini(&c->lock);
	free(c);
}

static int signal_number(struct str name)
{
	char text[16];

	name = str_trim_prefix(name, STR("SIG"));
	if (!name.len || name.len >= sizeof(text))
		return 0;
	memcpy(text, name.ptr, name.len);
	text[name.len] = '\0';
	for (int i = 1; i < SIGRTMIN; i++) {
		const char *abbrev = sigabbrev_np(i);

		if (abbrev && !strcmp(abbrev, text))
			return i;
	}
	return 0;
}

struct err *exec_control_signal(struct exec_control *c, struct str name)
{
	int sig = signal_number(name);

	if (!sig)
		return err_new(ERR_INVALID_ARGUMENT, "Unknown signal %.*s", STR_ARG(name));
	LOCKED(&c->lock);
	/* The runtime can't hand that one on: whoever waits for the process does it. */
	if (sig == SIGKILL)
		(void)eventfd_write(c->kill_fd, 1);
	else if (c->runtime)
		proc_signal(c->runtime, sig);
	else
		c->pending |= UINT64_C(1) << sig;
	if (c->wake_fd >= 0)
		(void)eventfd_write(c->wake_fd, 1);
	return NULL;
}

static void resize_locked(struct exec_control *c)
{
	lock_assert_held(&c->lock);
	if (c->master >= 0 && c->rows)
		err_free(pty_set_size(c->master, c->rows, c->cols));
}

void exec_control_resize(struct exec_control *c, unsigned rows, unsigned cols)
{
	LOCKED(&c->lock);
	c->rows = rows;
	c->cols = cols;
	resize_locked(c);
	c->resized = true;
	if (c->wake_fd >= 0)
		(void)eventfd_write(c->wake_fd, 1);
	/* It makes the inner terminal as large as the outer one. */
	if (c->runtime && c->master >= 0)
		proc_signal(c->runtime, SIGWINCH);
}

void control_attach(struct exec_control *c, const struct proc *runtime, int master)
{
	if (!c)
		return;
	LOCKED(&c->lock);
	c->runtime = runtime;
	c->master = master;
	resize_locked(c);
	for (int sig = 1; sig < SIGRTMIN; sig++)
		if (c->pending & (UINT64_C(1) << sig))
			proc_signal(runtime, sig);
	c->pending = 0;
}

void control_detach(struct exec_control *c)
{
	if (!c)
		return;
	LOCKED(&c->lock);
	c->runtime = NULL;
	c->master = -1;
	if (c->wake_fd >= 0)
		(void)close(c->wake_fd);
	c->wake_fd = -1;
}

int control_attach_remote(struct exec_control *c)
{
	if (!c)
		return -1;
	LOCKED(&c->lock);
	/* Readable at once if something came before. */
	c->wake_fd = eventfd(c->pending || c->resized, EFD_CLOEXEC | EFD_NONBLOCK);
	return c->wake_fd;
}

uint64_t control_take(struct exec_control *c, unsigned *ret_rows, unsigned *ret_cols)
{
	uint64_t signals;
	eventfd_t n;

	LOCKED(&c->lock);
	(void)eventfd_read(c->wake_fd, &n);
	*ret_rows = c->resized ? c->rows : 0;
	*ret_cols = c->cols;
	signals = c->pending;
	c->pending = 0;
	c->resized = false;
	return signals;
}

int control_kill_fd(const struct exec_control *c)
{
	return c ? c->kill_fd : -1;
}
