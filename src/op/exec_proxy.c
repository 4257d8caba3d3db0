#include "op/exec_proxy.h"

#include "base/mem.h"
#include "net/tls_ca.h"
#include "netproxy/netproxy.h"
#include "op/op_impl.h"

struct step_proxies {
	char *user_agent;
	struct lock lock;
	struct cond made;
	bool making;
	struct tls_ca *ca;
};

struct step_proxies *step_proxies_new(const char *user_agent)
{
	struct step_proxies *p = NEW(struct step_proxies);

	p->user_agent = mem_strdup(user_agent);
	lock_init(&p->lock, LOCK_OP);
	cond_init(&p->made);
	return p;
}

void step_proxies_free(struct step_proxies *p)
{
	if (!p)
		return;
	tls_ca_free(p->ca);
	cond_fini(&p->made);
	lock_fini(&p->lock);
	free(p->user_agent);
	free(p);
}

/* The first one makes it, the others wait; not under the lock, as it takes a while. */
static struct err *ensure_ca(struct step_proxies *p)
{
	struct tls_ca *ca = NULL;
	struct err *e;
	bool done;

	lock_take(&p->lock);
	while (p->making)
		cond_wait_uninterrupted(&p->made, &p->lock);
	done = p->ca != NULL;
	p->making = !done;
	lock_drop(&p->lock);
	if (done)
		return NULL;
	e = tls_ca_new("BuildKit exec proxy", &ca);
	lock_take(&p->lock);
	p->ca = ca;
	p->making = false;
	cond_broadcast(&p->made);
	lock_drop(&p->lock);
	return e;
}

struct step_proxy {
	struct step_proxies *all;
	const struct worker *worker;
	const struct op_source_policy *policy;
	struct exec_proxy exec;
	struct capture *capture;
	struct netproxy *running;
	int (*dial)(void *arg, int family, int type, int protocol);
	void *dial_arg;
};

/* A request is a source like any other to the policy. */
static struct err *check(void *arg, struct ctx *ctx, struct arena *a, struct str method,
			 struct str url, struct str *ret_url)
{
	const struct step_proxy *s = arg;
	Pb__SourceOp src = PB__SOURCE_OP__INIT;
	bool changed = false;

	(void)method;
	src.identifier = str_cstr(a, url);
	TRY(s->policy->evaluate(s->policy->arg, ctx, a, &src, NULL, &changed));
	if (src.n_attrs)
		return err_new(ERR_PERMISSION_DENIED,
			       "source policy converted proxy request \"%.*s\" with attrs, but "
			       "proxy conversion only supports URL updates",
			       STR_ARG(url));
	*ret_url = str_from(src.identifier);
	return NULL;
}

static int dial(void *arg, int family, int type, int protocol)
{
	const struct step_proxy *s = arg;

	return s->dial(s->dial_arg, family, type, protocol);
}

static struct err *start(void *arg, struct ctx *ctx, int listen_fd,
			 int (*step_dial)(void *dial_arg, int family, int type, int protocol),
			 void *dial_arg)
{
	struct step_proxy *s = arg;
	const struct netproxy_config cfg = {
		.ca = s->all->ca,
		.user_agent = s->all->user_agent,
		.capture = s->capture,
		.check = s->policy ? check : NULL,
		.dial = dial,
		.arg = s,
	};

	s->dial = step_dial;
	s->dial_arg = dial_arg;
	return netproxy_start(&cfg, ctx, listen_fd, &s->running);
}

static void stop(void *arg)
{
	struct step_proxy *s = arg;

	netproxy_stop(s->running);
	s->running = NULL;
}

struct err *step_proxy_new(struct step_proxies *p, const struct worker *w,
			   const struct op_source_policy *policy, struct step_proxy **ret)
{
	struct step_proxy *s;

	TRY(ensure_ca(p));
	s = NEW(struct step_proxy);
	*s = (struct step_proxy) {
		.all = p,
		.worker = w,
		.policy = policy,
		.exec = { .ca_pem = tls_ca_pem(p->ca), .start = start, .stop = stop, .arg = s },
		.capture = capture_new(),
	};
	*ret = s;
	return NULL;
}

void step_proxy_free(struct step_proxy *s)
{
	if (!s)
		return;
	capture_unref(s->capture);
	free(s);
}

void step_proxy_freep(struct step_proxy **s)
{
	step_proxy_free(*s);
}

const struct exec_proxy *step_proxy_exec(struct step_proxy *s)
{
	return &s->exec;
}

struct capture *step_proxy_capture(struct step_proxy *s)
{
	return s->capture;
}
