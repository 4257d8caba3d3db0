#include "cli/cmd.h"

#include "base/limits.h"
#include "cli/insight.h"
#include "grpc/message.h"

static struct err *run(struct cli *c, int argc, char **argv)
{
	Buildkitc__V1__MemoryRequest req = BUILDKITC__V1__MEMORY_REQUEST__INIT;
	Buildkitc__V1__MemoryResponse *r;
	bool help;
	int at;

	TRY(cmd_flags(c, &cmd_debug_memory, NULL, 0, argc, argv, &at, &help));
	if (help)
		return NULL;
	TRY(cli_connect(c));
	TRY(insight_call(c, "Memory", &req, &buildkitc__v1__memory_response__descriptor, &r));
	printf("live:     %lld\nheap:     %lld\nrss:      %lld\npeak rss: %lld\nthreads:  %lld\n"
	       "jobs:     %lld\nvertices: %lld\nkeys:     %lld\n",
	       (long long)r->live, (long long)r->heap, (long long)r->rss, (long long)r->peak_rss,
	       (long long)r->threads, (long long)r->jobs, (long long)r->vertices,
	       (long long)r->keys);
	return NULL;
}

const struct cmd cmd_debug_memory = { .name = "memory",
				      .usage = "display what the daemon has in memory",
				      .run = run };
