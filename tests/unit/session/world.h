/* Both halves of a session in one process: a control server with the manager, a client that
 * attaches services to it. Files live under a scratch directory. */
#ifndef TEST_SESSION_WORLD_H
#define TEST_SESSION_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/task.h"
#include "session/attach.h"
#include "session/filesync.h"
#include "session/session.h"
#include "sys/fd.h"
#include "sys/file.h"
#include "sys/rmtree.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

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

struct world {
	struct task_pool *pool;
	struct ctx *root, *attach_ctx;
	struct grpc_loop *loop;
	struct session_manager *manager;
	struct grpc_server *server;
	struct grpc_client *client;
	struct attach *attach;
	struct task *running;
	struct session *session; /* the daemon's handle */
	struct session_group *group;
	char dir[32];
	int dirfd;
};

static inline struct err *world_session(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	return session_serve(((struct world *)arg)->manager, ctx, s);
}

static const struct grpc_method world_methods[] = {
	{ "/moby.buildkit.v1.Control/Session", world_session },
};

static inline void world_open(struct world *w)
{
	int fd[2];

	memset(w, 0, sizeof(*w));
	w->pool = task_pool_new();
	w->root = ctx_new_root(w->pool);
	ok(grpc_loop_start(&w->loop));
	w->manager = session_manager_new(w->loop);
	w->server = grpc_server_new(w->loop, w->root, world_methods, 1, w);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	ok(grpc_server_attach_fd(w->server, fd[0], fd[0]));
	ok(grpc_client_attach_fd(w->loop, w->root, fd[1], fd[1], NULL, &w->client));
	w->attach = attach_new(w->root, w->loop);
	(void)snprintf(w->dir, sizeof(w->dir), "/tmp/test-session-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	ok(fd_open_dir(AT_FDCWD, w->dir, &w->dirfd));
}

static inline struct err *world_run(struct ctx *ctx, void *arg)
{
	struct world *w = arg;

	return attach_run(w->attach, ctx, w->client);
}

/* After the services were added. */
static inline void world_start(struct world *w)
{
	w->attach_ctx = ctx_new(w->root);
	w->running = task_start(w->attach_ctx, "attach", world_run, w);
	ok(session_get(w->manager, w->root, str_from(attach_id(w->attach)), false, &w->session));
	w->group = session_group_new(attach_id(w->attach));
}

static inline void world_stop(struct world *w)
{
	if (!w->running)
		return;
	ctx_cancel(w->attach_ctx, NULL);
	ok(task_wait(w->running));
	w->running = NULL;
	session_unref(w->session);
	session_group_unref(w->group);
	ctx_unref(w->attach_ctx);
}

static inline void world_close(struct world *w)
{
	world_stop(w);
	attach_free(w->attach);
	grpc_client_close(w->client);
	grpc_server_free(w->server);
	session_manager_free(w->manager);
	grpc_loop_stop(w->loop);
	ctx_unref(w->root);
	task_pool_free(w->pool);
	(void)close(w->dirfd);
	ok(rmtree(AT_FDCWD, w->dir));
}

/* A path in the scratch directory; a few are good at a time. */
static inline const char *in(struct world *w, const char *name)
{
	static char paths[8][400];
	static int i;

	i = (i + 1) % 8;
	(void)snprintf(paths[i], sizeof(paths[i]), "%s/%s", w->dir, name);
	return paths[i];
}

static inline void put_file(struct world *w, const char *name, const char *text)
{
	char *slash, path[400];

	(void)snprintf(path, sizeof(path), "%s", name);
	slash = strrchr(path, '/');
	if (slash) {
		*slash = '\0';
		ok(file_mkdirs(w->dirfd, path, 0755));
	}
	ok(file_write(w->dirfd, name, str_from(text), 0644));
}

static inline char *get_file(struct world *w, const char *name, struct arena *a)
{
	struct str s;

	ok(file_read_str(w->dirfd, name, a, 64 * MIB, &s));
	return str_cstr(a, s);
}

static inline int open_dir(struct world *w, const char *name)
{
	int fd;

	ok(file_mkdirs(w->dirfd, name, 0755));
	ok(fd_open_dir(w->dirfd, name, &fd));
	return fd;
}

#endif
