#include "cli/cmd.h"

#include "base/mem.h"
#include "codec/digest.h"
#include "codec/io.h"
#include "grpc/message.h"

static struct err *run(struct cli *c, int argc, char **argv)
{
	Containerd__Services__Content__V1__ReadContentRequest req =
		CONTAINERD__SERVICES__CONTENT__V1__READ_CONTENT_REQUEST__INIT;
	CLEANUP(grpc_stream_freep) struct grpc_stream *s = NULL;
	CLEANUP(writer_closep) struct writer *out = NULL;
	struct digest d;
	bool help;
	int at;

	TRY(cmd_flags(c, &cmd_debug_get, NULL, 0, argc, argv, &at, &help));
	if (help)
		return NULL;
	if (at >= argc)
		return err_new(ERR_INVALID_ARGUMENT, "blob digest must be specified");
	TRY(digest_parse(str_from(argv[at]), &d));
	TRY(cli_connect(c));
	req.digest = argv[at];
	out = writer_of_fd(STDOUT_FILENO, false);
	TRY(grpc_call(c->client, c->ctx, "/containerd.services.content.v1.Content/Read", NULL, 0,
		      &s));
	TRY(grpc_send_msg(s, c->ctx, &req));
	TRY(grpc_close_send(s));
	for (;;) {
		Containerd__Services__Content__V1__ReadContentResponse *r;
		SCOPED_ARENA(a);
		bool eof;

		TRY(grpc_recv_msg(
			s, c->ctx, &a,
			&containerd__services__content__v1__read_content_response__descriptor, &r,
			&eof));
		if (eof)
			return NULL;
		TRY(writer_write(out, r->data.data, r->data.len));
	}
}

const struct cmd cmd_debug_get = { .name = "get",
				   .usage = "retrieve a blob from contentstore",
				   .run = run };
