#include "cli/cmd.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/task.h"
#include "base/version.h"
#include "cli/errors.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>

#define PACKAGE "github.com/moby/buildkit"

static const struct cmd *const commands[] = {
	&cmd_du, &cmd_prune, &cmd_prune_histories, &cmd_build, &cmd_dial_stdio, &cmd_explain,
};
static const struct cmd *const debug_commands[] = {
	&cmd_debug_workers, &cmd_debug_info, &cmd_debug_histories,
	&cmd_debug_logs,    &cmd_debug_get,  &cmd_debug_memory,
};

static const struct cmd *find(const struct cmd *const *list, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(list[i]->name, name) == 0 ||
		    (list[i]->alias && strcmp(list[i]->alias, name) == 0))
			return list[i];
	return NULL;
}

static void list_commands(const char *title, const struct cmd *const *list, size_t n, FILE *out)
{
	fprintf(out, "%s\n", title);
	for (size_t i = 0; i < n; i++)
		if (!list[i]->hidden)
			fprintf(out, "   %-18s %s\n", list[i]->name, list[i]->usage);
}

static struct err *run_debug(struct cli *c, int argc, char **argv)
{
	const struct cmd *cmd;

	if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		list_commands("USAGE:\n   buildctl debug command [command options]\n\nCOMMANDS:",
			      debug_commands, ARRAY_SIZE(debug_commands), stdout);
		return NULL;
	}
	cmd = find(debug_commands, ARRAY_SIZE(debug_commands), argv[1]);
	if (!cmd)
		return err_new(ERR_INVALID_ARGUMENT, "No help topic for '%s'", argv[1]);
	return cmd->run(c, argc - 1, argv + 1);
}

static struct err *watch_signals(struct ctx *ctx, void *arg)
{
	struct ctx *target = arg;
	struct pollfd p = { .events = POLLIN };
	sigset_t set;
	int ready;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	p.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (p.fd >= 0) {
		struct err *e = ctx_poll(ctx, &p, 1, -1, &ready);

		if (!e)
			ctx_cancel(target, NULL);
		err_free(e);
		(void)close(p.fd);
	}
	return NULL;
}

static struct err *run(struct cli *c, int argc, char **argv)
{
	const char *env = getenv("BUILDKIT_HOST");
	const char *log_format = "text";
	bool version = false, help = false;
	const struct cmd *cmd;
	int at = 1;
	const struct flag flags[] = {
		{ .name = "debug",
		  .type = FLAG_BOOL,
		  .value = &c->debug,
		  .help = "enable debug output in logs" },
		{ .name = "addr",
		  .type = FLAG_STRING,
		  .value = &c->addr,
		  .help = "buildkitd address",
		  .env = "BUILDKIT_HOST" },
		{ .name = "log-format",
		  .type = FLAG_STRING,
		  .value = &log_format,
		  .help = "log formatter: json or text" },
		{ .name = "tlsservername",
		  .type = FLAG_STRING,
		  .value = &c->tls_server_name,
		  .help = "buildkitd server name for certificate validation" },
		{ .name = "tlscacert",
		  .type = FLAG_STRING,
		  .value = &c->tls_ca,
		  .help = "CA certificate for validation" },
		{ .name = "tlscert",
		  .type = FLAG_STRING,
		  .value = &c->tls_cert,
		  .help = "client certificate" },
		{ .name = "tlskey",
		  .type = FLAG_STRING,
		  .value = &c->tls_key,
		  .help = "client key" },
		{ .name = "tlsdir",
		  .type = FLAG_STRING,
		  .value = &c->tls_dir,
		  .help = "directory containing CA certificate, client certificate, and client "
			  "key" },
		{ .name = "timeout",
		  .type = FLAG_INT,
		  .value = &c->timeout_s,
		  .help = "timeout backend connection after value seconds" },
		{ .name = "wait",
		  .type = FLAG_BOOL,
		  .value = &c->wait,
		  .help = "block RPCs until the connection becomes available" },
		{ .name = "version",
		  .alias = "v",
		  .type = FLAG_BOOL,
		  .value = &version,
		  .help = "print the version" },
	};

	c->addr = env && *env ? env : "unix:///run/buildkit/buildkitd.sock";
	c->timeout_s = 5;
	TRY(flags_parse(c->arena, flags, ARRAY_SIZE(flags), argc, argv, &at, &help));
	if (version) {
		printf("buildctl %s %s %s\n", PACKAGE, buildkit_version, buildkit_revision);
		return NULL;
	}
	log_setup(c->debug ? LOG_DEBUG : LOG_INFO, strcmp(log_format, "json") == 0);
	if (help || at >= argc || strcmp(argv[at], "help") == 0) {
		printf("NAME:\n   buildctl - build utility\n\nUSAGE:\n   buildctl [global options] "
		       "command [command options] [arguments...]\n\n");
		list_commands("COMMANDS:", commands, ARRAY_SIZE(commands), stdout);
		printf("   %-18s %s\n\nGLOBAL OPTIONS:\n", "debug", "debug utilities");
		flags_describe(flags, ARRAY_SIZE(flags), stdout);
		return NULL;
	}
	if (strcmp(argv[at], "debug") == 0)
		return run_debug(c, argc - at, argv + at);
	cmd = find(commands, ARRAY_SIZE(commands), argv[at]);
	if (!cmd)
		return err_new(ERR_INVALID_ARGUMENT, "No help topic for '%s'", argv[at]);
	return cmd->run(c, argc - at, argv + at);
}

int main(int argc, char **argv)
{
	SCOPED_ARENA(arena);
	struct task_pool *pool;
	struct ctx *root, *watcher;
	struct task *watch;
	struct cli c = { .arena = &arena };
	struct err *e;
	sigset_t set;
	int status = 0;

	/* Before any thread, so that all of them inherit it. */
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	(void)signal(SIGPIPE, SIG_IGN);

	pool = task_pool_new();
	root = ctx_new_root(pool);
	c.ctx = ctx_new(root);
	watcher = ctx_new(root);
	watch = task_start(watcher, "signals", watch_signals, c.ctx);
	e = grpc_loop_start(&c.loop);
	if (!e)
		e = run(&c, argc, argv);
	cli_disconnect(&c);
	if (e) {
		cli_print_error(e, c.debug, stderr);
		status = 1;
	}
	err_free(e);
	ctx_cancel(c.ctx, NULL);
	ctx_cancel(watcher, NULL);
	err_free(task_wait(watch));
	if (c.loop)
		grpc_loop_stop(c.loop);
	ctx_unref(watcher);
	ctx_unref(c.ctx);
	ctx_unref(root);
	task_pool_free(pool);
	return status;
}
