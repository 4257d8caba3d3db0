#include "cli/cmd.h"

#include "base/mem.h"
#include "grpc/message.h"

static struct err *run(struct cli *c, int argc, char **argv)
{
	Moby__Buildkit__V1__InfoRequest req = MOBY__BUILDKIT__V1__INFO_REQUEST__INIT;
	Moby__Buildkit__V1__InfoResponse *r;
	bool help;
	int at;

	TRY(cmd_flags(c, &cmd_debug_info, NULL, 0, argc, argv, &at, &help));
	if (help)
		return NULL;
	TRY(cli_connect(c));
	TRY(grpc_unary_msg(c->client, c->ctx, "/moby.buildkit.v1.Control/Info", NULL, 0, &req,
			   c->arena, &moby__buildkit__v1__info_response__descriptor, &r));
	if (r->buildkitversion) {
		printf("BuildKit:   %s %s %s\n", r->buildkitversion->package,
		       r->buildkitversion->version, r->buildkitversion->revision);
		printf("Dockerfile: %s\n", r->buildkitversion->dockerfileversion);
	}
	return NULL;
}

const struct cmd cmd_debug_info = { .name = "info",
				    .usage = "display internal information",
				    .run = run };
