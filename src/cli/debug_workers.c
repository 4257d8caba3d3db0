#include "cli/cmd.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "codec/platform.h"
#include "grpc/message.h"

/* Up to four significant digits and a decimal unit: 512MB, 51GB, 1.234GB. */
static char *short_size(struct arena *a, int64_t bytes)
{
	static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB" };
	double v = (double)bytes;
	size_t u = 0;

	while (v >= 1000 && u + 1 < ARRAY_SIZE(units)) {
		v /= 1000;
		u++;
	}
	return arena_printf(a, "%.4g%s", v, units[u]);
}

static void add_platforms(struct buf *b, struct arena *a,
			  const Moby__Buildkit__V1__Types__WorkerRecord *w)
{
	for (size_t i = 0; i < w->n_platforms; i++) {
		const Pb__Platform *p = w->platforms[i];
		struct platform pl = { .os = str_from(p->os),
				       .arch = str_from(p->architecture),
				       .variant = str_from(p->variant),
				       .os_version = str_from(p->osversion) };

		buf_addf(b, "%s%s", i ? "," : "", platform_format(a, platform_normalize(pl)));
	}
}

static void flush_block(struct buf *b)
{
	cli_columns(b, stdout);
	buf_clear(b);
}

static int by_key(const void *a, const void *b)
{
	const Moby__Buildkit__V1__Types__WorkerRecord__LabelsEntry *x =
		*(Moby__Buildkit__V1__Types__WorkerRecord__LabelsEntry *const *)a;
	const Moby__Buildkit__V1__Types__WorkerRecord__LabelsEntry *y =
		*(Moby__Buildkit__V1__Types__WorkerRecord__LabelsEntry *const *)b;

	return strcmp(x->key, y->key);
}

static void print_policy(struct buf *b, struct arena *a, size_t n,
			 const Moby__Buildkit__V1__Types__GCPolicy *p)
{
	buf_addf(b, "GC Policy rule#%zu:\n", n);
	flush_block(b);
	buf_addf(b, "\tAll:\t%s\n", p->all ? "true" : "false");
	if (p->n_filters) {
		buf_add_cstr(b, "\tFilters:\t");
		for (size_t i = 0; i < p->n_filters; i++)
			buf_addf(b, "%s%s", i ? " " : "", p->filters[i]);
		buf_add_char(b, '\n');
	}
	if (p->keepduration)
		buf_addf(b, "\tKeep duration:\t%s\n", clock_format_duration(a, p->keepduration));
	if (p->reservedspace)
		buf_addf(b, "\tReserved space:\t%s\n", short_size(a, p->reservedspace));
	if (p->minfreespace)
		buf_addf(b, "\tMinimum free space:\t%s\n", short_size(a, p->minfreespace));
	if (p->maxusedspace)
		buf_addf(b, "\tMaximum used space:\t%s\n", short_size(a, p->maxusedspace));
	flush_block(b);
}

static void print_verbose(struct arena *a, const Moby__Buildkit__V1__Types__WorkerRecord *w)
{
	SCOPED_BUF(b, MIB);

	buf_addf(&b, "ID:\t%s\nPlatforms:\t", w->id);
	add_platforms(&b, a, w);
	buf_add_char(&b, '\n');
	if (w->buildkitversion) {
		buf_addf(&b, "BuildKit:\t%s %s %s\n", w->buildkitversion->package,
			 w->buildkitversion->version, w->buildkitversion->revision);
		buf_addf(&b, "Dockerfile:\t%s\n", w->buildkitversion->dockerfileversion);
	}
	buf_add_cstr(&b, "Labels:\n");
	flush_block(&b);
	if (w->n_labels)
		qsort(w->labels, w->n_labels, sizeof(*w->labels), by_key);
	for (size_t i = 0; i < w->n_labels; i++)
		buf_addf(&b, "\t%s:\t%s\n", w->labels[i]->key, w->labels[i]->value);
	flush_block(&b);
	for (size_t i = 0; i < w->n_gcpolicy; i++)
		print_policy(&b, a, i, w->gcpolicy[i]);
	putchar('\n');
}

static struct err *run(struct cli *c, int argc, char **argv)
{
	struct flag_list filter = { 0 };
	bool verbose = false, help;
	const struct flag flags[] = {
		{ .name = "filter",
		  .alias = "f",
		  .type = FLAG_LIST,
		  .value = &filter,
		  .help = "containerd-style filter string slice" },
		{ .name = "verbose",
		  .alias = "v",
		  .type = FLAG_BOOL,
		  .value = &verbose,
		  .help = "Verbose output" },
	};
	Moby__Buildkit__V1__ListWorkersRequest req = MOBY__BUILDKIT__V1__LIST_WORKERS_REQUEST__INIT;
	Moby__Buildkit__V1__ListWorkersResponse *r;
	SCOPED_BUF(rows, MIB);
	int at;

	TRY(cmd_flags(c, &cmd_debug_workers, flags, ARRAY_SIZE(flags), argc, argv, &at, &help));
	if (help)
		return NULL;
	TRY(cli_connect(c));
	req.n_filter = filter.n;
	req.filter = filter.items;
	TRY(grpc_unary_msg(c->client, c->ctx, "/moby.buildkit.v1.Control/ListWorkers", NULL, 0,
			   &req, c->arena, &moby__buildkit__v1__list_workers_response__descriptor,
			   &r));
	if (verbose) {
		for (size_t i = 0; i < r->n_record; i++)
			print_verbose(c->arena, r->record[i]);
		return NULL;
	}
	buf_add_cstr(&rows, "ID\tPLATFORMS\n");
	for (size_t i = 0; i < r->n_record; i++) {
		buf_addf(&rows, "%s\t", r->record[i]->id);
		add_platforms(&rows, c->arena, r->record[i]);
		buf_add_char(&rows, '\n');
	}
	cli_columns(&rows, stdout);
	return NULL;
}

const struct cmd cmd_debug_workers = { .name = "workers", .usage = "list workers", .run = run };
