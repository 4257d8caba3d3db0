#include "cli/cmd.h"

#include "base/mem.h"
#include "cli/status.h"

static struct err *run(struct cli *c, int argc, char **argv)
{
	const char *mode_text = "auto";
	bool help;
	const struct flag flags[] = {
		{ .name = "progress",
		  .type = FLAG_STRING,
		  .value = &mode_text,
		  .help = "progress output type: auto, plain, tty, rawjson" },
	};
	CLEANUP(display_freep) struct display *p = NULL;
	enum display_mode mode;
	int at;

	TRY(cmd_flags(c, &cmd_debug_logs, flags, ARRAY_SIZE(flags), argc, argv, &at, &help));
	if (help)
		return NULL;
	if (at >= argc)
		return err_new(ERR_INVALID_ARGUMENT, "build ref must be specified");
	TRY(display_parse_mode(str_from(mode_text), &mode));
	TRY(cli_connect(c));
	p = display_new(mode, STDERR_FILENO);
	TRY(cli_follow(c, c->ctx, argv[at], p, -1));
	display_finish(p, NULL);
	return NULL;
}

const struct cmd cmd_debug_logs = { .name = "logs", .usage = "display build logs", .run = run };
