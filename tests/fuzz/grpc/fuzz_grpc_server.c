/* Bytes of a hostile client: HTTP/2 frames, headers, gRPC frames. */
#include "base/task.h"
#include "grpc/grpc.h"

#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct err *echo(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	SCOPED_BUF(b, 1 << 20);
	bool eof;

	(void)arg;
	for (;;) {
		TRY(grpc_recv(s, ctx, &b, &eof));
		if (eof)
			return NULL;
		TRY(grpc_send(s, ctx, buf_str(&b)));
	}
}

static const struct grpc_method methods[] = { { "/t.T/Echo", echo } };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct task_pool *pool;
	static struct ctx *root;
	static struct grpc_loop *loop;
	struct grpc_server *server;
	char junk[4096];
	int fd[2];

	if (!pool) {
		pool = task_pool_new();
		root = ctx_new_root(pool);
		if (grpc_loop_start(&loop))
			abort();
	}
	if (size > 60000 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd))
		return 0;
	server = grpc_server_new(loop, root, methods, 1, NULL);
	err_free(grpc_server_attach_fd(server, fd[0], fd[0]));
	if (write(fd[1], data, size) != (ssize_t)size)
		abort();
	(void)shutdown(fd[1], SHUT_WR);
	while (read(fd[1], junk, sizeof(junk)) > 0)
		;
	(void)close(fd[1]);
	grpc_server_free(server);
	return 0;
}
