#include "cli/cmd.h"

#include "base/limits.h"
#include "base/mem.h"
#include "cli/usage.h"
#include "grpc/message.h"

static void print_summary(struct arena *a, const Moby__Buildkit__V1__DiskUsageResponse *r)
{
	int64_t total = 0, reclaimable = 0, shared = 0;
	SCOPED_BUF(b, MIB);

	for (size_t i = 0; i < r->n_record; i++) {
		const Moby__Buildkit__V1__UsageRecord *u = r->record[i];

		if (u->size <= 0)
			continue;
		total += u->size;
		if (!u->inuse)
			reclaimable += u->size;
		if (u->shared)
			shared += u->size;
	}
	if (shared) {
		buf_addf(&b, "Shared:\t%s\n", cli_size(a, shared));
		buf_addf(&b, "Private:\t%s\n", cli_size(a, total - shared));
	}
	buf_addf(&b, "Reclaimable:\t%s\n", cli_size(a, reclaimable));
	buf_addf(&b, "Total:\t%s\n", cli_size(a, total));
	cli_columns(&b, stdout);
}

static void print_json(const Moby__Buildkit__V1__DiskUsageResponse *r)
{
	SCOPED_BUF(b, 256 * MIB);
	struct json_out j;

	for (size_t i = 0; i < r->n_record; i++) {
		json_out_init(&j, &b, NULL);
		usage_json(&j, r->record[i]);
		buf_add_char(&b, '\n');
	}
	fwrite(buf_cstr(&b), 1, b.len, stdout);
}

static struct err *run(struct cli *c, int argc, char **argv)
{
	struct flag_list filter = { 0 };
	bool verbose = false, help;
	const char *format = NULL;
	const struct flag flags[] = {
		{ .name = "filter",
		  .alias = "f",
		  .type = FLAG_LIST,
		  .value = &filter,
		  .help = "Filter records" },
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
	Moby__Buildkit__V1__DiskUsageRequest req = MOBY__BUILDKIT__V1__DISK_USAGE_REQUEST__INIT;
	Moby__Buildkit__V1__DiskUsageResponse *r;
	SCOPED_BUF(rows, 256 * MIB);
	int at;

	TRY(cmd_flags(c, &cmd_du, flags, ARRAY_SIZE(flags), argc, argv, &at, &help));
	if (help)
		return NULL;
	if (format && strcmp(format, "json") != 0 && strcmp(format, "{{json .}}") != 0)
		return err_new(ERR_UNIMPLEMENTED, "format %s is not supported: use json", format);
	TRY(cli_connect(c));
	req.n_filter = filter.n;
	req.filter = filter.items;
	TRY(grpc_unary_msg(c->client, c->ctx, "/moby.buildkit.v1.Control/DiskUsage", NULL, 0, &req,
			   c->arena, &moby__buildkit__v1__disk_usage_response__descriptor, &r));
	if (format) {
		print_json(r);
		return NULL;
	}
	if (verbose) {
		for (size_t i = 0; i < r->n_record; i++)
			usage_block(r->record[i], stdout);
	} else {
		usage_row(&rows, NULL);
		for (size_t i = 0; i < r->n_record; i++)
			usage_row(&rows, r->record[i]);
		cli_columns(&rows, stdout);
	}
	if (!filter.n)
		print_summary(c->arena, r);
	return NULL;
}

const struct cmd cmd_du = { .name = "du", .usage = "disk usage", .run = run };
