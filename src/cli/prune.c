#include "cli/cmd.h"

#include "base/limits.h"
#include "base/mem.h"
#include "cli/usage.h"
#include "grpc/message.h"

static struct err *print_stream(struct cli *c, struct grpc_stream *s, bool verbose, bool json,
				int64_t *total)
{
	SCOPED_BUF(rows, 64 * MIB);
	bool first = true, eof = false;

	for (;;) {
		Moby__Buildkit__V1__UsageRecord *u;
		SCOPED_ARENA(a);

		TRY(grpc_recv_msg(s, c->ctx, &a, &moby__buildkit__v1__usage_record__descriptor, &u,
				  &eof));
		if (eof)
			return NULL;
		*total += u->size;
		if (json) {
			struct json_out j;

			json_out_init(&j, &rows, NULL);
			usage_json(&j, u);
			puts(buf_cstr(&rows));
		} else if (verbose) {
			usage_block(u, stdout);
		} else {
			if (first)
				usage_row(&rows, NULL);
			usage_row(&rows, u);
			cli_columns(&rows, stdout);
		}
		first = false;
		buf_clear(&rows);
		(void)fflush(stdout);
	}
}

static struct err *run(struct cli *c, int argc, char **argv)
{
	struct flag_list filter = { 0 };
	bool verbose = false, all = false, help;
	double keep = 0, keep_min = 0, free_mb = 0;
	int64_t duration = 0, total = 0;
	const char *format = NULL;
	const struct flag flags[] = {
		{ .name = "keep-duration",
		  .type = FLAG_DURATION,
		  .value = &duration,
		  .help = "Keep data newer than this limit" },
		{ .name = "keep-storage",
		  .type = FLAG_FLOAT,
		  .value = &keep,
		  .help = "Keep data below this limit (in MB)" },
		{ .name = "keep-storage-min",
		  .type = FLAG_FLOAT,
		  .value = &keep_min,
		  .help = "Always allow data below this limit (in MB)" },
		{ .name = "free-storage",
		  .type = FLAG_FLOAT,
		  .value = &free_mb,
		  .help = "Keep free data below this limit (in MB)" },
		{ .name = "filter",
		  .alias = "f",
		  .type = FLAG_LIST,
		  .value = &filter,
		  .help = "Filter records" },
		{ .name = "all",
		  .type = FLAG_BOOL,
		  .value = &all,
		  .help = "Include internal/frontend references" },
		{ .name = "verbose",
		  .alias = "v",
		  .type = FLAG_BOOL,
		  .value = &verbose,
		  .help = "Verbose output" },
		{ .name = "format",
		  .type = FLAG_STRING,
		  .value = &format,
		  .help = "Format the output: json" },
	};
	Moby__Buildkit__V1__PruneRequest req = MOBY__BUILDKIT__V1__PRUNE_REQUEST__INIT;
	CLEANUP(grpc_stream_freep) struct grpc_stream *s = NULL;
	SCOPED_ARENA(a);
	SCOPED_BUF(b, KIB);
	int at;

	TRY(cmd_flags(c, &cmd_prune, flags, ARRAY_SIZE(flags), argc, argv, &at, &help));
	if (help)
		return NULL;
	if (format && strcmp(format, "json") != 0 && strcmp(format, "{{json .}}") != 0)
		return err_new(ERR_UNIMPLEMENTED, "format %s is not supported: use json", format);
	TRY(cli_connect(c));
	req.n_filter = filter.n;
	req.filter = filter.items;
	req.all = all;
	req.keepduration = duration;
	req.maxusedspace = (int64_t)(keep * 1e6);
	req.reservedspace = (int64_t)(keep_min * 1e6);
	req.minfreespace = (int64_t)(free_mb * 1e6);
	TRY(grpc_call(c->client, c->ctx, "/moby.buildkit.v1.Control/Prune", NULL, 0, &s));
	TRY(grpc_send_msg(s, c->ctx, &req));
	TRY(grpc_close_send(s));
	TRY(print_stream(c, s, verbose, format != NULL, &total));
	if (!format) {
		buf_addf(&b, "Total:\t%s\n", cli_size(&a, total));
		cli_columns(&b, stdout);
	}
	return NULL;
}

const struct cmd cmd_prune = { .name = "prune", .usage = "clean up build cache", .run = run };
