/* A server and a client on one loop, joined by a socket pair; and the methods they use. */
#ifndef TEST_GRPC_WORLD_H
#define TEST_GRPC_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/task.h"
#include "grpc/message.h"

#include <sys/socket.h>

struct world {
	struct task_pool *pool;
	struct ctx *root;
	struct grpc_loop *loop;
	struct grpc_server *server;
	struct grpc_client *client;
};

#define ok(expr)                                                                                   \
	do {                                                                                       \
		struct err *e_ = (expr);                                                           \
		if (e_)                                                                            \
			fail_msg("%s: %s", #expr, err_text(e_));                                   \
	} while (0)

#define fails(expr, code_, text_)                                                                  \
	do {                                                                                       \
		struct err *e_ = (expr);                                                           \
		assert_non_null(e_);                                                               \
		assert_string_equal(err_text(e_), (text_));                                        \
		assert_int_equal(err_code(e_), (code_));                                           \
		err_free(e_);                                                                      \
	} while (0)

static inline void world_open(struct world *w, const struct grpc_method *m, size_t n, void *arg)
{
	int fd[2];

	memset(w, 0, sizeof(*w));
	w->pool = task_pool_new();
	w->root = ctx_new_root(w->pool);
	ok(grpc_loop_start(&w->loop));
	w->server = grpc_server_new(w->loop, w->root, m, n, arg);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	ok(grpc_server_attach_fd(w->server, fd[0], fd[0]));
	ok(grpc_client_attach_fd(w->loop, w->root, fd[1], fd[1], NULL, &w->client));
}

static inline void world_close(struct world *w)
{
	grpc_client_close(w->client);
	grpc_server_free(w->server);
	grpc_loop_stop(w->loop);
	ctx_unref(w->root);
	task_pool_free(w->pool);
}

#endif
