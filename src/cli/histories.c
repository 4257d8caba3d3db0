#include "cli/cmd.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "grpc/message.h"

#define LISTEN "/moby.buildkit.v1.Control/ListenBuildHistory"

static const char *const type_names[] = { "STARTED", "COMPLETED", "DELETED" };

/* Calls each() for every record there is now. */
static struct err *list(struct cli *c,
			struct err *(*each)(struct cli *c,
					    const Moby__Buildkit__V1__BuildHistoryEvent *ev,
					    void *arg),
			void *arg)
{
	Moby__Buildkit__V1__BuildHistoryRequest req =
		MOBY__BUILDKIT__V1__BUILD_HISTORY_REQUEST__INIT;
	CLEANUP(grpc_stream_freep) struct grpc_stream *s = NULL;

	req.earlyexit = true;
	TRY(grpc_call(c->client, c->ctx, LISTEN, NULL, 0, &s));
	TRY(grpc_send_msg(s, c->ctx, &req));
	TRY(grpc_close_send(s));
	for (;;) {
		Moby__Buildkit__V1__BuildHistoryEvent *ev;
		SCOPED_ARENA(a);
		bool eof;

		TRY(grpc_recv_msg(s, c->ctx, &a,
				  &moby__buildkit__v1__build_history_event__descriptor, &ev, &eof));
		if (eof)
			return NULL;
		if (ev->record)
			TRY(each(c, ev, arg));
	}
}

static char *when(struct arena *a, const Google__Protobuf__Timestamp *t)
{
	int64_t ns = proto_time_ns(t);

	return t ? clock_rfc3339(a, ns - ns % NSEC_PER_SEC) : arena_strdup(a, "");
}

static void add_row(struct buf *rows, const Moby__Buildkit__V1__BuildHistoryEvent *ev)
{
	const Moby__Buildkit__V1__BuildHistoryRecord *r = ev->record;
	SCOPED_ARENA(a);
	size_t type = (size_t)ev->type;

	buf_addf(rows, "%s\t%s\t%s\t%s\t%d\t",
		 type < ARRAY_SIZE(type_names) ? type_names[type] : "", r->ref,
		 when(&a, r->createdat), when(&a, r->completedat), r->generation);
}

static struct err *show(struct cli *c, const Moby__Buildkit__V1__BuildHistoryEvent *ev, void *arg)
{
	struct buf *rows = arg;

	add_row(rows, ev);
	buf_addf(rows, "%s\n", ev->record->pinned ? "*\t" : "\t");
	return NULL;
}

static struct err *run_histories(struct cli *c, int argc, char **argv)
{
	SCOPED_BUF(rows, 64 * MIB);
	bool help;
	int at;

	TRY(cmd_flags(c, &cmd_debug_histories, NULL, 0, argc, argv, &at, &help));
	if (help)
		return NULL;
	TRY(cli_connect(c));
	buf_add_cstr(&rows, "TYPE\tREF\tCREATED\tCOMPLETED\tGENERATION\tPINNED\n");
	TRY(list(c, show, &rows));
	cli_columns(&rows, stdout);
	return NULL;
}

static struct err *remove_one(struct cli *c, const Moby__Buildkit__V1__BuildHistoryEvent *ev,
			      void *arg)
{
	Moby__Buildkit__V1__UpdateBuildHistoryRequest req =
		MOBY__BUILDKIT__V1__UPDATE_BUILD_HISTORY_REQUEST__INIT;
	Moby__Buildkit__V1__UpdateBuildHistoryResponse *reply;
	SCOPED_ARENA(a);

	if (ev->record->pinned || !ev->record->completedat)
		return NULL;
	req.ref = ev->record->ref;
	req.delete_ = true;
	TRY(grpc_unary_msg(c->client, c->ctx, "/moby.buildkit.v1.Control/UpdateBuildHistory", NULL,
			   0, &req, &a,
			   &moby__buildkit__v1__update_build_history_response__descriptor, &reply));
	add_row(arg, ev);
	buf_add_char(arg, '\n');
	return NULL;
}

static struct err *run_prune(struct cli *c, int argc, char **argv)
{
	SCOPED_BUF(rows, 64 * MIB);
	bool help;
	int at;

	TRY(cmd_flags(c, &cmd_prune_histories, NULL, 0, argc, argv, &at, &help));
	if (help)
		return NULL;
	TRY(cli_connect(c));
	buf_add_cstr(&rows, "TYPE\tREF\tCREATED\tCOMPLETED\tGENERATION\n");
	TRY(list(c, remove_one, &rows));
	cli_columns(&rows, stdout);
	return NULL;
}

const struct cmd cmd_debug_histories = { .name = "histories",
					 .usage = "list build records",
					 .run = run_histories };
const struct cmd cmd_prune_histories = { .name = "prune-histories",
					 .usage = "clean up build histories",
					 .run = run_prune };
