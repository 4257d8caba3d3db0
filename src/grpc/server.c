#include "grpc/internal.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/task.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define ACCEPT_TURN 64
#define ACCEPT_PAUSE (100 * NSEC_PER_MSEC)

struct grpc_server {
	struct loop *loop;
	struct ctx *ctx;
	const struct grpc_method *methods;
	size_t n_methods;
	void *arg;
	struct map by_path;
	struct list conns;     /* (loop) */
	struct list listeners; /* (loop) */

	struct lock lock;
	struct cond cond;
	size_t n_running, n_conns;
};

struct server_conn {
	struct list link; /* (loop) */
	struct grpc_server *server;
	struct ctx *ctx;
	struct h2 *h2;  /* (loop) */
	bool *ret_down; /* serve_tunnel's, under the server's lock */
};

struct listener {
	struct list link;
	struct grpc_server *server;
	struct loop_io io;
	struct loop_timer pause;
	struct tls *tls;
};

/* ---- streams ---- */

static const struct grpc_method health[] = {
	{ "/grpc.health.v1.Health/Check", health_check },
	{ "/grpc.health.v1.Health/Watch", health_watch },
};

static struct err *no_method(struct grpc_server *srv, struct str path)
{
	struct str p = str_trim_prefix(path, STR("/")), service, method;
	ptrdiff_t slash = str_rfind(p, '/');

	if (slash < 0)
		return err_new(ERR_UNIMPLEMENTED, "malformed method name: \"%.*s\"", STR_ARG(path));
	service = str_sub(p, 0, (size_t)slash);
	method = str_sub(p, (size_t)slash + 1, p.len);
	for (struct map_entry *e = map_next(&srv->by_path, NULL); e;
	     e = map_next(&srv->by_path, e)) {
		struct str known = str_sub(map_key(e), 1, e->key_len);

		if (str_has_prefix(known, service) && known.ptr[service.len] == '/')
			return err_new(ERR_UNIMPLEMENTED, "unknown method %.*s for service %.*s",
				       STR_ARG(method), STR_ARG(service));
	}
	return err_new(ERR_UNIMPLEMENTED, "unknown service %.*s", STR_ARG(service));
}

/* The stream's answer: what is in the outbox, then this status. */
static void finish(struct grpc_stream *s, struct err *status)
{
	LOCKED(&s->lock);
	s->status = status;
	s->finished = s->out_closed = true;
	s->out_idle = false;
	if (!s->ended)
		stream_kick_locked(s, KICK_OUT);
}

static struct err *run_handler(struct ctx *ctx, void *arg)
{
	struct grpc_stream *s = arg;
	struct grpc_server *srv = s->server;

	finish(s, s->handler(ctx, s, s->handler_arg));
	stream_unref(s);
	lock_take(&srv->lock);
	srv->n_running--;
	cond_broadcast(&srv->cond);
	lock_drop(&srv->lock);
	return NULL;
}

static void on_deadline(void *arg)
{
	struct grpc_stream *s = arg;

	ctx_cancel(s->ctx, err_new(ERR_DEADLINE_EXCEEDED, "context deadline exceeded"));
}

static struct err *check_request(struct grpc_server *srv, struct grpc_stream *s,
				 const struct h2_header *h, size_t n)
{
	struct str type = header_get(h, n, "content-type");
	const struct grpc_method *m = map_get(&srv->by_path, s->path);
	int64_t timeout;
	struct str t = header_get(h, n, "grpc-timeout");

	if (!str_eq_cstr(header_get(h, n, ":method"), "POST"))
		return err_new(ERR_INTERNAL,
			       "http2Server.operateHeaders parsed a :method field: %.*s which "
			       "should be POST",
			       STR_ARG(header_get(h, n, ":method")));
	if (!is_grpc_content(type))
		return err_new(ERR_INVALID_ARGUMENT, "invalid gRPC request content-type \"%.*s\"",
			       STR_ARG(type));
	if (t.len && !timeout_decode(t, &timeout))
		return err_new(ERR_INTERNAL, "malformed grpc-timeout: %.*s", STR_ARG(t));
	if (!m)
		return no_method(srv, s->path);
	s->handler = m->handler;
	s->handler_arg = srv->arg;
	return NULL;
}

static struct h2_stream *on_request(void *arg, const struct h2_header *h, size_t n)
{
	struct server_conn *sc = arg;
	struct grpc_server *srv = sc->server;
	struct grpc_stream *s = stream_new(srv->loop, LIMIT_GRPC_MESSAGE);
	struct err *e;
	int64_t timeout;

	s->server = srv;
	s->path = str_dup(&s->arena, header_get(h, n, ":path"));
	s->peer_md = md_decode(&s->arena, h, n, &s->n_peer_md);
	s->have_peer_md = true;
	if (timeout_decode(header_get(h, n, "grpc-timeout"), &timeout))
		s->ctx = ctx_new_deadline(sc->ctx, clock_now() + timeout);
	else
		s->ctx = ctx_new(sc->ctx);
	stream_arm_deadline_loop(s, on_deadline);
	e = check_request(srv, s, h, n);
	if (e) {
		finish(s, e);
		return &s->h2s;
	}
	ref_get(&s->ref);
	lock_take(&srv->lock);
	srv->n_running++;
	lock_drop(&srv->lock);
	task_go(s->ctx, "grpc handler", run_handler, s);
	return &s->h2s;
}

static void on_closed(struct h2_stream *h, uint32_t code, bool down, const struct err *cause)
{
	struct grpc_stream *s = stream_of(h);

	stream_end_loop(s, NULL);
	stream_unref(s);
}

static void on_trailers(struct h2_stream *h, const struct h2_header *hdr, size_t n, bool last)
{
	/* Clients have none. */
}

static void respond(struct grpc_stream *s)
{
	SCOPED_ARENA(a);
	struct h2_header *h;
	size_t n = 0;
	bool only_status;

	lock_take(&s->lock);
	h = ARENA_NEW_N(&a, struct h2_header, s->n_out_hdrs + 2 + STATUS_HEADERS);
	h[n++] = (struct h2_header) { STR(":status"), STR("200") };
	h[n++] = (struct h2_header) { STR("content-type"), STR("application/grpc") };
	for (size_t i = 0; i < s->n_out_hdrs; i++)
		h[n++] = s->out_hdrs[i];
	only_status = s->finished && !s->out_bytes;
	if (only_status)
		n += status_encode(&a, s->status, h + n);
	s->responded = true;
	lock_drop(&s->lock);
	h2_respond(&s->h2s, h, n, only_status);
}

void server_kick_loop(struct grpc_stream *s, unsigned kicks)
{
	if (!s->h2s.h2)
		return;
	if (!s->responded && kicks & (KICK_OUT | KICK_MD))
		respond(s);
	else if (kicks & KICK_OUT)
		h2_resume(&s->h2s);
}

struct err *grpc_send_md(struct grpc_stream *s, const struct grpc_md *md, size_t n)
{
	struct h2_header *h = ARENA_NEW_N(&s->arena, struct h2_header, n + 1);

	for (size_t i = 0; i < n; i++)
		h[i] = md_encode(&s->arena, &md[i]);
	LOCKED(&s->lock);
	if (s->responded || s->out_bytes || s->out_hdrs)
		return err_new(ERR_INTERNAL, "transport: SendHeader called multiple times");
	s->out_hdrs = h;
	s->n_out_hdrs = n;
	stream_kick_locked(s, KICK_MD);
	return NULL;
}

/* ---- connections ---- */

static void on_down(void *arg, const struct err *cause)
{
	struct server_conn *sc = arg;
	struct grpc_server *srv = sc->server;

	list_del(&sc->link);
	ctx_cancel(sc->ctx, NULL);
	ctx_unref(sc->ctx);
	lock_take(&srv->lock);
	if (sc->ret_down)
		*sc->ret_down = true;
	srv->n_conns--;
	cond_broadcast(&srv->cond);
	lock_drop(&srv->lock);
	free(sc);
}

static const struct h2_user user = {
	.request = on_request,
	.headers = on_trailers,
	.data = stream_on_data,
	.end = stream_on_end,
	.closed = on_closed,
	.pull = stream_on_pull,
	.copy = stream_on_copy,
	.down = on_down,
};

struct attach {
	struct grpc_server *server;
	int rfd, wfd;
	struct tls *tls;
	struct grpc_stream *carrier;
	bool *ret_down;
	struct server_conn *conn;
	struct err *err;
};

static void attach_loop(void *arg)
{
	struct attach *a = arg;
	struct grpc_server *srv = a->server;
	struct server_conn *sc = NEW(struct server_conn);
	struct conn *conn = NULL;

	sc->server = srv;
	sc->ctx = ctx_new(srv->ctx);
	sc->ret_down = a->ret_down;
	list_add_tail(&srv->conns, &sc->link);
	lock_take(&srv->lock);
	srv->n_conns++;
	lock_drop(&srv->lock);
	sc->h2 = h2_new(srv->loop, true, &user, sc);
	if (a->carrier)
		conn = tunnel_conn_new(a->carrier, sc->h2);
	else
		a->err = conn_fd_new(srv->loop, a->rfd, a->wfd, a->tls, &h2_conn_user, sc->h2,
				     &conn);
	h2_start(sc->h2, conn);
	a->conn = sc;
	if (a->err)
		h2_close(sc->h2, NULL);
}

struct err *grpc_server_attach_fd(struct grpc_server *s, int rfd, int wfd)
{
	struct attach a = { .server = s, .rfd = rfd, .wfd = wfd };

	loop_run(s->loop, attach_loop, &a);
	return a.err;
}

struct close_one {
	struct grpc_server *server;
	struct server_conn *conn;
};

static void close_one_loop(void *arg)
{
	struct close_one *c = arg;

	list_each (&c->server->conns, n)
		if (n == &c->conn->link) {
			h2_close(c->conn->h2, NULL);
			break;
		}
}

/* Attaches and waits for the end, which is at the latest that of ctx. */
static struct err *serve_one(struct attach *a, struct ctx *ctx)
{
	struct grpc_server *s = a->server;
	struct err *e = NULL;
	bool down = false;

	a->ret_down = &down;
	loop_run(s->loop, attach_loop, a);
	lock_take(&s->lock);
	while (!down && !e)
		e = cond_wait(&s->cond, &s->lock, ctx);
	if (e) {
		struct close_one c = { s, a->conn };

		lock_drop(&s->lock);
		loop_run(s->loop, close_one_loop, &c);
		lock_take(&s->lock);
		while (!down)
			cond_wait_uninterrupted(&s->cond, &s->lock);
	}
	lock_drop(&s->lock);
	e = err_first(a->err, e);
	/* Cancelling resets a carrier too, which may be seen first. */
	return e ? e : ctx_err(ctx);
}

struct err *grpc_server_serve_fd(struct grpc_server *s, struct ctx *ctx, int rfd, int wfd)
{
	struct attach a = { .server = s, .rfd = rfd, .wfd = wfd };

	return serve_one(&a, ctx);
}

struct err *grpc_server_serve_tunnel(struct grpc_server *s, struct ctx *ctx,
				     struct grpc_stream *carrier)
{
	struct attach a = { .server = s, .carrier = carrier };

	if (carrier->loop != s->loop)
		return err_new(ERR_INTERNAL, "the carrier is on another loop");
	return serve_one(&a, ctx);
}

/* ---- listeners ---- */

static void resume_accept(void *arg)
{
	struct listener *li = arg;

	loop_io_mod(li->server->loop, &li->io, EPOLLIN);
}

static void on_acceptable(void *arg, uint32_t events)
{
	struct listener *li = arg;
	struct grpc_server *srv = li->server;
	int on = 1;

	(void)events;
	for (int i = 0; i < ACCEPT_TURN; i++) {
		int fd = accept4(li->io.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		struct attach a = { .server = srv, .rfd = fd, .wfd = fd, .tls = li->tls };
		struct sockaddr sa = { 0 };
		socklen_t len = sizeof(sa);

		if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (fd < 0 && errno != EAGAIN) {
			/* Out of descriptors: the backlog waits. */
			loop_io_mod(srv->loop, &li->io, 0);
			loop_timer_set(srv->loop, &li->pause, clock_now() + ACCEPT_PAUSE);
		}
		if (fd < 0)
			return;
		if (getsockname(fd, &sa, &len) == 0 && sa.sa_family != AF_UNIX) {
			(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
			(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
		}
		attach_loop(&a);
		err_free(a.err);
	}
}

struct listen_call {
	struct listener *li;
	struct err *err;
};

static void listen_loop(void *arg)
{
	struct listen_call *c = arg;
	struct grpc_server *srv = c->li->server;

	c->err = loop_io_add(srv->loop, &c->li->io, EPOLLIN);
	if (!c->err)
		list_add_tail(&srv->listeners, &c->li->link);
}

struct err *grpc_server_listen(struct grpc_server *s, int fd, struct grpc_tls *tls)
{
	struct listener *li = NEW(struct listener);
	struct listen_call c = { .li = li };

	li->server = s;
	li->io = (struct loop_io) { fd, on_acceptable, li };
	li->pause.fn = resume_accept;
	li->pause.arg = li;
	li->tls = tls ? tls->tls : NULL;
	loop_run(s->loop, listen_loop, &c);
	if (c.err) {
		(void)close(fd);
		free(li);
	}
	return c.err;
}

/* ---- life ---- */

struct grpc_server *grpc_server_new(struct grpc_loop *l, struct ctx *ctx,
				    const struct grpc_method *methods, size_t n, void *arg)
{
	struct grpc_server *s = NEW(struct grpc_server);

	s->loop = l->loop;
	s->ctx = ctx_new(ctx);
	s->arg = arg;
	for (size_t i = 0; i < ARRAY_SIZE(health); i++)
		(void)map_put(&s->by_path, str_from(health[i].path), (void *)&health[i]);
	for (size_t i = 0; i < n; i++)
		(void)map_put(&s->by_path, str_from(methods[i].path), (void *)&methods[i]);
	list_init(&s->conns);
	list_init(&s->listeners);
	lock_init(&s->lock, LOCK_GRPC_SERVER);
	cond_init(&s->cond);
	return s;
}

static void drain_loop(void *arg)
{
	struct grpc_server *s = arg;
	struct list *n;

	while ((n = list_pop(&s->listeners))) {
		struct listener *li = list_entry(n, struct listener, link);

		loop_io_del(s->loop, &li->io);
		loop_timer_cancel(s->loop, &li->pause);
		(void)close(li->io.fd);
		free(li);
	}
	list_each (&s->conns, c)
		h2_drain(list_entry(c, struct server_conn, link)->h2);
}

static void close_loop(void *arg)
{
	struct grpc_server *s = arg;

	list_each (&s->conns, c)
		h2_close(list_entry(c, struct server_conn, link)->h2, NULL);
}

void grpc_server_drain(struct grpc_server *s, struct ctx *ctx)
{
	struct err *e = NULL;

	loop_run(s->loop, drain_loop, s);
	lock_take(&s->lock);
	while (s->n_conns && !e)
		e = cond_wait(&s->cond, &s->lock, ctx);
	lock_drop(&s->lock);
	err_free(e);
	ctx_cancel(s->ctx, NULL);
	/* Their answers still go out, if the peer takes them. */
	lock_take(&s->lock);
	while (s->n_running)
		cond_wait_uninterrupted(&s->cond, &s->lock);
	lock_drop(&s->lock);
	loop_run(s->loop, close_loop, s);
	lock_take(&s->lock);
	while (s->n_conns)
		cond_wait_uninterrupted(&s->cond, &s->lock);
	lock_drop(&s->lock);
}

void grpc_server_free(struct grpc_server *s)
{
	if (!s)
		return;
	ctx_cancel(s->ctx, NULL);
	grpc_server_drain(s, s->ctx);
	ctx_unref(s->ctx);
	map_fini(&s->by_path, NULL);
	cond_fini(&s->cond);
	lock_fini(&s->lock);
	free(s);
}
