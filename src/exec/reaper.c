#include "exec/reaper.h"

#include "base/ctx.h"
#include "exec/leftovers.h"
#include "sys/fd.h"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#define NAME "exec-reaper"
/* Where the helper has the lock. */
#define LOCK_FD 3
/* What the daemon writes before it closes the pipe in good order. */
#define FAREWELL 'q'

/* Everything that has been read is thrown away but the last: a daemon that ends writes FAREWELL. */
static bool died(void)
{
	char last = 0, chunk[64];
	size_t n;

	for (;;) {
		struct err *e = fd_read(STDIN_FILENO, chunk, sizeof(chunk), &n);

		if (e || !n) {
			err_free(e);
			return last != FAREWELL;
		}
		last = chunk[n - 1];
	}
}

static int helper(int argc, char **argv)
{
	static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE };
	struct err *e;

	if (argc != 2)
		return 2;
	(void)prctl(PR_SET_NAME, NAME);
	/* What ends the daemon's group must not end us before it. */
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		(void)signal(ignored[i], SIG_IGN);
	if (chdir("/") < 0 || !died())
		return 0;
	e = leftovers_remove(argv[1], NULL);
	err_free(e);
	return e ? 1 : 0;
}

const struct proc_helper exec_reaper_helper = { NAME, helper };

struct err *reaper_start(struct reaper *r, const char *root, int lock_fd)
{
	SCOPED_ARENA(a);
	const char *const args[] = { root, NULL };
	const struct proc_fd keep = { lock_fd, LOCK_FD };
	struct proc_spec s = PROC_SPEC_INIT;
	int fds[2];
	struct err *e;

	*r = REAPER_INIT;
	TRY(fd_pipe(fds));
	s.file = proc_self_exe();
	s.argv = proc_helper_argv(&a, NAME, args);
	s.stdin_fd = fds[0];
	s.fds = &keep;
	s.n_fds = 1;
	s.new_session = true;
	e = proc_start(&s, &r->proc);
	(void)close(fds[0]);
	if (e) {
		(void)close(fds[1]);
		return err_wrap(e, "start helper of the executor");
	}
	r->hold_fd = fds[1];
	return NULL;
}

void reaper_stop(struct reaper *r)
{
	CLEANUP(ctx_unrefp) struct ctx *ctx = NULL;
	struct proc_status st;

	if (r->hold_fd < 0)
		return;
	err_free(fd_write_all(r->hold_fd, &(char) { FAREWELL }, 1));
	(void)close(r->hold_fd);
	r->hold_fd = -1;
	ctx = ctx_new_root(NULL);
	err_free(proc_wait(&r->proc, ctx, &st));
	proc_fini(&r->proc);
}
