#include "netproxy/impl.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/task.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

struct conn {
	struct netproxy *proxy;
	int fd;
};

/* Where a connection's requests go: a tunnel has its own. */
struct tunnel {
	struct str scheme, authority;
};

static struct err *start_tunnel(struct netproxy *p, struct peer *peer,
				const struct http1_request *rq, struct arena *a, struct tunnel *t)
{
	struct tls *tls;
	struct err *e;

	if (peer->conn || rq->length)
		return err_new(ERR_INVALID_ARGUMENT, "a tunnel in a tunnel");
	TRY(tls_ca_server(p->cfg.ca, http1_host(rq->target), &tls));
	*t = (struct tunnel) { STR("https"), str_dup(a, rq->target) };
	e = peer_write(peer, STR("HTTP/1.1 200 Connection Established\r\n\r\n"));
	if (e) {
		tls_free(tls);
		return e;
	}
	return peer_start_tls(peer, tls);
}

/* One request; *ret_again when another may follow. a is of the request, whole of the connection. */
static struct err *serve_one(struct netproxy *p, struct peer *peer, struct arena *a,
			     struct arena *whole, struct tunnel *t, bool *ret_again)
{
	struct http1_request rq;
	struct exchange x = { .proxy = p, .peer = peer, .rq = &rq, .a = a };
	struct str head;
	struct err *e;

	*ret_again = false;
	TRY(peer_read_head(peer, a, &head));
	if (!head.len)
		return NULL;
	e = http1_parse(head, a, &rq);
	if (!e && str_eq_cstr(rq.method, "CONNECT")) {
		TRY(start_tunnel(p, peer, &rq, whole, t));
		*ret_again = true;
		return NULL;
	}
	if (!e)
		e = http1_url(&rq, t->scheme, t->authority, a, &x.url);
	/* In a tunnel the server is the one that was named. */
	if (!e && t->authority.len && rq.target.ptr[0] != '/')
		e = err_new(ERR_INVALID_ARGUMENT, "malformed HTTP request: target");
	if (e) {
		err_free(e);
		return exchange_refuse(peer, 400, "Bad Request");
	}
	return exchange_run(&x, ret_again);
}

static struct err *serve(struct ctx *ctx, void *arg)
{
	struct conn *c = arg;
	struct tunnel t = { .scheme = STR("http") };
	SCOPED_ARENA(whole);
	struct peer peer;
	struct err *e = NULL;
	bool again = true;

	peer_open(ctx, c->fd, &peer);
	while (!e && again) {
		SCOPED_ARENA(a);

		e = serve_one(c->proxy, &peer, &a, &whole, &t, &again);
	}
	peer_close(&peer);
	free(c);
	/* One connection's trouble is not the others'. */
	err_free(e);
	return NULL;
}

static struct err *accept_all(struct ctx *ctx, void *arg)
{
	struct netproxy *p = arg;

	for (;;) {
		struct pollfd fd = { .fd = p->listen_fd, .events = POLLIN };
		struct conn *c;
		int ready, s;

		TRY(ctx_poll(ctx, &fd, 1, -1, &ready));
		s = accept4(p->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (s < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM))
			TRY(ctx_sleep(ctx, 100 * NSEC_PER_MSEC));
		if (s < 0)
			continue;
		c = NEW(struct conn);
		*c = (struct conn) { p, s };
		task_group_go(&p->conns, "proxy connection", serve, c);
	}
}

struct err *netproxy_start(const struct netproxy_config *cfg, struct ctx *ctx, int listen_fd,
			   struct netproxy **ret)
{
	struct netproxy *p = NEW(struct netproxy);

	p->cfg = *cfg;
	p->listen_fd = listen_fd;
	p->ctx = ctx_new(ctx);
	p->client = httpc_new(cfg->user_agent);
	httpc_set_dial(p->client, cfg->dial, cfg->arg);
	task_group_init(&p->conns, p->ctx, LIMIT_PROXY_CONNS);
	p->acceptor = task_start(p->ctx, "proxy", accept_all, p);
	*ret = p;
	return NULL;
}

void netproxy_stop(struct netproxy *p)
{
	if (!p)
		return;
	ctx_cancel(p->ctx, NULL);
	err_free(task_wait(p->acceptor));
	err_free(task_group_wait(&p->conns));
	httpc_free(p->client);
	ctx_unref(p->ctx);
	free(p);
}
