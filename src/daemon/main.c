#include "daemon/daemon.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/task.h"
#include "base/version.h"
#include "daemon/config.h"
#include "sys/ns.h"

#include <malloc.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#define MALLOC_ARENAS 4

static struct err *setup_log(const struct config *c)
{
	enum log_level level;

	if (!log_parse_level(str_from(c->log_level), &level))
		return err_new(ERR_INVALID_ARGUMENT, "unsupported log level %s", c->log_level);
	if (strcmp(c->log_format, "text") != 0 && strcmp(c->log_format, "json") != 0)
		return err_new(ERR_INVALID_ARGUMENT, "unsupported log type \"%s\"", c->log_format);
	log_setup(level, strcmp(c->log_format, "json") == 0);
	for (size_t i = 0; i < c->warnings.n; i++)
		log_warn("%.*s", STR_ARG(c->warnings.items[i]));
	return NULL;
}

/* A containerd worker whose socket is not there is not tried. */
static bool wants_containerd(struct config_worker *w)
{
	if (w->kind != WORKER_CONTAINERD || !w->enabled)
		return false;
	if (w->enabled_auto && access(w->address, F_OK) < 0)
		w->enabled = false;
	return w->enabled;
}

static bool any_containerd(struct config *c)
{
	bool any = wants_containerd(&c->containerd);

	for (size_t i = 0; i < c->n_more; i++)
		any |= wants_containerd(&c->more[i]);
	return any;
}

/* Before the first thread, so that all of them inherit the mask and the namespace. */
static struct err *setup_process(struct config *c)
{
	sigset_t set;

	if (geteuid() > 0)
		return err_new(ERR_PERMISSION_DENIED,
			       "rootless mode requires to be executed as the mapped root in a user "
			       "namespace; you may use RootlessKit for setting up the namespace");
	/* Memory that one thread has freed is of use to the others, and few allocate at once. */
	(void)mallopt(M_ARENA_MAX, MALLOC_ARENAS);
	(void)umask(0);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	/* containerd's shims must see what is mounted for a step. */
	if (any_containerd(c))
		return NULL;
	return ns_enter_private_mounts();
}

static struct err *run(struct config *c)
{
	struct task_pool *pool;
	struct ctx *root;
	struct err *e;

	TRY(setup_log(c));
	TRY(setup_process(c));
	pool = task_pool_new();
	root = ctx_new_root(pool);
	e = daemon_run(c, root);
	ctx_cancel(root, NULL);
	ctx_unref(root);
	task_pool_free(pool);
	return e;
}

int main(int argc, char **argv)
{
	SCOPED_ARENA(arena);
	struct config c;
	struct err *e;

	if (daemon_helper_main(argc, argv))
		return 0;
	e = config_load(&arena, argc, argv, &c);
	if (!e && c.show_version)
		printf("buildkitd %s %s %s\n", CONTROL_PACKAGE, buildkit_version,
		       buildkit_revision);
	else if (!e && c.show_help)
		config_print_help(stdout);
	else if (!e)
		e = run(&c);
	if (e) {
		fprintf(stderr, "buildkitd: %s\n", err_text(e));
		err_free(e);
		return 1;
	}
	return 0;
}
