/* A whole transfer from a hostile client into a directory: packets, each with two bytes of length
 * in front. Nothing may appear outside of the directory. */
#include "base/limits.h"
#include "base/task.h"
#include "grpc/grpc.h"
#include "session/recv.h"
#include "sys/rmtree.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct task_pool *pool;
static struct ctx *root;
static struct grpc_loop *loop;
static struct grpc_server *server;
static struct grpc_client *client;
static char dir[] = "/tmp/fuzz-recv-XXXXXX";
static int parent, dest;

static struct err *receive(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	struct recv_opts o = { .hash = true };
	struct recv_entry **list;
	SCOPED_ARENA(a);
	size_t n;

	(void)arg;
	return recv_run(s, ctx, dest, &o, &a, &list, &n);
}

static const struct grpc_method methods[] = { { "/t.T/Recv", receive } };

static void remove_dir(void)
{
	err_free(rmtree(AT_FDCWD, dir));
}

static void start(void)
{
	int fd[2];

	pool = task_pool_new();
	root = ctx_new_root(pool);
	if (grpc_loop_start(&loop) || !mkdtemp(dir) || socketpair(AF_UNIX, SOCK_STREAM, 0, fd))
		abort();
	(void)atexit(remove_dir);
	parent = open(dir, O_RDONLY | O_DIRECTORY);
	if (mkdirat(parent, "dest", 0755) < 0)
		abort();
	dest = openat(parent, "dest", O_RDONLY | O_DIRECTORY);
	server = grpc_server_new(loop, root, methods, 1, NULL);
	if (grpc_server_attach_fd(server, fd[0], fd[0]) ||
	    grpc_client_attach_fd(loop, root, fd[1], fd[1], NULL, &client))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	SCOPED_BUF(b, LIMIT_GRPC_MESSAGE);
	struct grpc_stream *st;
	struct err *e = NULL;
	bool eof = false;

	if (!pool)
		start();
	if (grpc_call(client, root, "/t.T/Recv", NULL, 0, &st))
		abort();
	while (size >= 2 && !e) {
		size_t n = MIN((size_t)data[0] << 8 | data[1], size - 2);

		e = grpc_send(st, root, str_make(data + 2, n));
		data += 2 + n;
		size -= 2 + n;
	}
	err_free(e);
	e = grpc_close_send(st);
	while (!e && !eof)
		e = grpc_recv(st, root, &b, &eof);
	err_free(e);
	grpc_stream_free(st);
	/* Only "dest" may be there. */
	if (unlinkat(parent, "x", 0) == 0 || unlinkat(parent, "x", AT_REMOVEDIR) == 0)
		abort();
	return 0;
}
