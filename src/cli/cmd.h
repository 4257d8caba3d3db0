/* buildctl's commands: one file each, one table row each. */
#ifndef CLI_CMD_H
#define CLI_CMD_H

#include "base/ctx.h"
#include "base/flags.h"
#include "grpc/grpc.h"

/* What every command can use. Owned by main. */
struct cli {
	struct ctx *ctx;     /* ends on SIGINT and SIGTERM */
	struct arena *arena; /* of the process */
	struct grpc_loop *loop;
	/* Global flags. */
	const char *addr;
	const char *tls_server_name, *tls_ca, *tls_cert, *tls_key, *tls_dir;
	int64_t timeout_s;
	bool debug, wait;
	/* The connection, made by cli_connect(). */
	struct grpc_tls *tls;
	struct grpc_client *client;
};

struct cmd {
	const char *name, *alias;
	const char *usage; /* one line */
	bool hidden;
	/* argv[0] is the command's name. */
	struct err *(*run)(struct cli *c, int argc, char **argv);
};

extern const struct cmd cmd_build, cmd_du, cmd_prune, cmd_prune_histories, cmd_debug_workers,
	cmd_debug_info, cmd_debug_histories, cmd_debug_logs, cmd_debug_get, cmd_debug_memory,
	cmd_dial_stdio, cmd_explain;

/* Parses a command's own flags. True when help was printed: then there is nothing to do. */
struct err *cmd_flags(struct cli *c, const struct cmd *cmd, const struct flag *flags, size_t n,
		      int argc, char **argv, int *ret_rest, bool *ret_help) ERR_RESULT;

/* Connects to --addr, once. "failed to dial ..." */
struct err *cli_connect(struct cli *c) ERR_RESULT;
void cli_disconnect(struct cli *c);

/* One CSV line as Go's encoding/csv reads it. */
struct err *cli_csv(struct arena *a, const char *line, struct str **ret, size_t *ret_n) ERR_RESULT;
/* Text in columns, as text/tabwriter with a tab width of 8 prints them: rows are
 * tab-separated fields, one line each. */
void cli_columns(struct buf *rows, FILE *out);
/* "1.23GB" */
char *cli_size(struct arena *a, int64_t bytes);

#endif
