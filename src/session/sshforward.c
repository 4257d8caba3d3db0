#include "session/internal.h"

#include "grpc/message.h"
#include "sys/unixsock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#define DEFAULT_ID "default"

static struct err *check(struct ctx *ctx, struct session *s, void *arg)
{
	Moby__Sshforward__V1__CheckAgentRequest q = MOBY__SSHFORWARD__V1__CHECK_AGENT_REQUEST__INIT;
	Moby__Sshforward__V1__CheckAgentResponse *r;
	SCOPED_ARENA(a);

	q.id = arg;
	return grpc_unary_msg(s->client, ctx, "/moby.sshforward.v1.SSH/CheckAgent", NULL, 0, &q, &a,
			      &moby__sshforward__v1__check_agent_response__descriptor, &r);
}

static char *agent_id(struct arena *a, struct str id)
{
	return id.len ? str_cstr(a, id) : arena_strdup(a, DEFAULT_ID);
}

struct err *session_ssh_check(struct session_manager *m, struct ctx *ctx, struct session_group *g,
			      struct str id)
{
	SCOPED_ARENA(a);

	return session_any(m, ctx, g, check, agent_id(&a, id));
}

/* ---- the forwarder ---- */

struct sshforward {
	struct session *session;
	char *id, *path;
	int fd;
	struct task_group tasks; /* the accepting one, and one a connection */
};

struct forward_conn {
	struct sshforward *f;
	int fd;
};

static struct err *forward(struct ctx *ctx, void *arg)
{
	struct forward_conn *c = arg;
	struct grpc_md md = { STR(SSH_ID_KEY), str_from(c->f->id) };
	CLEANUP(grpc_stream_freep) struct grpc_stream *st = NULL;
	struct err *e = grpc_call(c->f->session->client, ctx,
				  "/moby.sshforward.v1.SSH/ForwardAgent", &md, 1, &st);

	if (e)
		(void)close(c->fd);
	else
		e = pump_run(ctx, c->fd, st, true);
	/* A connection's failure is that connection's. */
	err_free(e);
	free(c);
	return NULL;
}

static struct err *accept_all(struct ctx *ctx, void *arg)
{
	struct sshforward *f = arg;

	for (;;) {
		struct pollfd p = { .fd = f->fd, .events = POLLIN };
		struct forward_conn *c;
		int ready, fd;

		TRY(ctx_poll(ctx, &p, 1, -1, &ready));
		fd = accept4(f->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0 && (errno == EMFILE || errno == ENFILE))
			TRY(ctx_sleep(ctx, 100 * NSEC_PER_MSEC));
		if (fd < 0)
			continue;
		c = NEW(struct forward_conn);
		*c = (struct forward_conn) { f, fd };
		task_group_go(&f->tasks, "ssh connection", forward, c);
	}
}

struct open_call {
	struct str id;
	const char *path;
	uid_t uid;
	gid_t gid;
	mode_t mode;
	struct sshforward *out;
};

static struct err *open_on(struct ctx *ctx, struct session *s, void *arg)
{
	struct open_call *c = arg;
	struct sshforward *f;
	SCOPED_ARENA(a);
	int fd;

	TRY(check(ctx, s, agent_id(&a, c->id)));
	TRY(unixsock_listen(c->path, c->mode, c->uid, c->gid, &fd));
	(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	f = NEW(struct sshforward);
	f->session = session_ref(s);
	f->id = mem_strdup(agent_id(&a, c->id));
	f->path = mem_strdup(c->path);
	f->fd = fd;
	task_group_init(&f->tasks, s->ctx, 0);
	task_group_go(&f->tasks, "ssh forward", accept_all, f);
	c->out = f;
	return NULL;
}

struct err *sshforward_open(struct session_manager *m, struct ctx *ctx, struct session_group *g,
			    struct str id, const char *socket_path, uint32_t uid, uint32_t gid,
			    uint32_t mode, struct sshforward **ret)
{
	struct open_call c = {
		.id = id, .path = socket_path, .uid = uid, .gid = gid, .mode = mode
	};

	TRY(session_any(m, ctx, g, open_on, &c));
	*ret = c.out;
	return NULL;
}

void sshforward_close(struct sshforward *f)
{
	if (!f)
		return;
	ctx_cancel(f->tasks.ctx, NULL);
	err_free(task_group_wait(&f->tasks));
	(void)close(f->fd);
	(void)unlink(f->path);
	session_unref(f->session);
	free(f->id);
	free(f->path);
	free(f);
}
