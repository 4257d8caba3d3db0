#include "cli/daemonless.h"

#include "base/mem.h"
#include "sys/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#define START_NS (15 * NSEC_PER_SEC)
#define STOP_NS (20 * NSEC_PER_SEC)
#define MAX_ARGS 64

struct daemonless {
	struct cli *c;
	struct proc proc;
	char *dir; /* of socket and log */
	char *log;
};

static struct err *make_dirs(struct arena *a, const char *path)
{
	char *p = arena_strdup(a, path);

	for (char *s = p + 1; *s; s++) {
		if (*s != '/')
			continue;
		*s = '\0';
		if (mkdir(p, 0700) < 0 && errno != EEXIST)
			return err_errno(errno, "mkdir %s", p);
		*s = '/';
	}
	if (mkdir(p, 0700) < 0 && errno != EEXIST)
		return err_errno(errno, "mkdir %s", p);
	return NULL;
}

static const char *state_dir(struct arena *a)
{
	const char *v;

	if ((v = getenv("BUILDKIT_STATE")) && *v)
		return v;
	if (geteuid() == 0)
		return "/var/lib/buildkit-daemonless";
	if ((v = getenv("XDG_DATA_HOME")) && *v)
		return arena_printf(a, "%s/buildkit-daemonless", v);
	v = getenv("HOME");
	return arena_printf(a, "%s/.local/share/buildkit-daemonless", v && *v ? v : "");
}

/* buildkitd beside this program, else from PATH. */
static const char *daemon_path(struct arena *a)
{
	const char *v = getenv("BUILDKITD");
	char self[4096];
	ssize_t n;

	if (v && *v)
		return v;
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n > 0) {
		struct str dir = str_make(self, (size_t)n);
		ptrdiff_t slash = str_rfind(dir, '/');
		char *p = arena_printf(a, "%.*s/buildkitd", (int)MAX(slash, (ptrdiff_t)0), self);

		if (access(p, X_OK) == 0)
			return p;
	}
	return "buildkitd";
}

static struct err *wait_until_up(struct daemonless *d)
{
	int64_t until = clock_now() + START_NS;
	struct cli *c = d->c;

	for (;;) {
		struct proc_status st;
		CLEANUP(ctx_unrefp) struct ctx *now = ctx_new_deadline(c->ctx, clock_now() + 1);
		struct err *e = cli_connect(c);

		if (!e)
			return NULL;
		if (clock_now() > until)
			return err_wrap(e, "buildkitd did not come up (log: %s)", d->log);
		err_free(e);
		/* Has it ended already? Then its log says why. */
		e = proc_wait(&d->proc, now, &st);
		if (!e)
			return err_new(ERR_UNAVAILABLE, "buildkitd ended at its start (log: %s)",
				       d->log);
		err_free(e);
		TRY(ctx_sleep(c->ctx, 10 * NSEC_PER_MSEC));
	}
}

struct err *daemonless_start(struct cli *c, struct daemonless **ret)
{
	struct proc_spec spec = PROC_SPEC_INIT;
	const char *argv[MAX_ARGS + 1];
	struct daemonless *d = NEW(struct daemonless);
	const char *root = state_dir(c->arena), *flags = getenv("BUILDKITD_FLAGS");
	char tmpl[] = "/tmp/buildkit-XXXXXX";
	CLEANUP_FD int log_fd = -1;
	struct err *e;
	size_t n = 0;

	d->c = c;
	d->proc = PROC_INIT;
	if (!mkdtemp(tmpl)) {
		e = err_errno(errno, "mkdir %s", tmpl);
		free(d);
		return e;
	}
	d->dir = mem_strdup(tmpl);
	d->log = mem_printf("%s/buildkitd.log", tmpl);
	c->addr = arena_printf(c->arena, "unix://%s/buildkitd.sock", tmpl);
	e = make_dirs(c->arena, root);
	log_fd = open(d->log, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	spec.file = daemon_path(c->arena);
	argv[n++] = "buildkitd";
	argv[n++] = "--addr";
	argv[n++] = c->addr;
	argv[n++] = "--root";
	argv[n++] = root;
	argv[n++] = "--otel-socket-path";
	argv[n++] = arena_printf(c->arena, "%s/otel.sock", tmpl);
	for (struct str rest = str_from(flags ? flags : ""), f; str_next(&rest, ' ', &f);)
		if (f.len && n < MAX_ARGS)
			argv[n++] = str_cstr(c->arena, f);
	argv[n] = NULL;
	spec.argv = argv;
	spec.stdout_fd = spec.stderr_fd = log_fd;
	/* A Ctrl-C is for us: we end the daemon when the build has been cancelled. */
	spec.new_group = true;
	if (!e)
		e = proc_start(&spec, &d->proc);
	if (!e)
		e = wait_until_up(d);
	if (e) {
		e = err_wrap(e, "failed to start %s", spec.file);
		proc_fini(&d->proc);
		free(d->dir);
		free(d->log);
		free(d);
		return e;
	}
	*ret = d;
	return NULL;
}

struct err *daemonless_stop(struct daemonless *d)
{
	struct ctx *ctx = ctx_new_root(ctx_pool(d->c->ctx));
	struct ctx *limit = ctx_new_timeout(ctx, STOP_NS);
	struct proc_status st;
	struct err *e;

	proc_signal(&d->proc, SIGTERM);
	e = proc_wait(&d->proc, limit, &st);
	proc_fini(&d->proc);
	if (!e && st.exited && st.code == 0) {
		(void)unlink(d->log);
		(void)unlink(d->c->addr + strlen("unix://"));
		(void)rmdir(d->dir);
	} else if (!e) {
		e = err_new(ERR_UNKNOWN, "buildkitd ended badly (log: %s)", d->log);
	}
	ctx_unref(limit);
	ctx_unref(ctx);
	free(d->dir);
	free(d->log);
	free(d);
	return e;
}
