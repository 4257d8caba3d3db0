/* Containers of a gateway: made of refs and of what failed steps left, running several processes,
 * looked into meanwhile. Nothing runs before the first process; with it all ends. */
#include "base/limits.h"
#include "base/mem.h"
#include "base/vec.h"
#include "control/gateway.h"
#include "control/policy.h"
#include "exec/runtime.h"
#include "op/exec_mounts.h"
#include "op/exec_proxy.h"

#include <arpa/inet.h>

enum gwcontainer_state {
	GWCONTAINER_NEW,
	GWCONTAINER_STARTING,
	GWCONTAINER_RUNNING,
	GWCONTAINER_FAILED, /* to start */
};

struct gwcontainer {
	struct build *build;
	struct arena arena;
	const char *id;
	const Moby__Buildkit__V1__Frontend__NewContainerRequest *req; /* in arena */
	struct exec_kv *hosts;
	struct cache_ref **refs; /* one a mount, held */
	struct ctx *ctx;         /* ends when it is released */
	struct exec_mounts_in in;
	struct exec_mounts *mounts;
	struct step_proxy *proxy; /* or NULL */

	struct lock lock;
	struct cond changed;
	enum gwcontainer_state state;
	struct container *container; /* when it runs */
	size_t users;                /* calls under way */
	struct err *first_err;       /* of a process */
};

/* ---- making ---- */

static struct err *check_request(const Moby__Buildkit__V1__Frontend__NewContainerRequest *req)
{
	bool root = false;

	for (size_t i = 0; i < req->n_mounts; i++) {
		const Pb__Mount *m = req->mounts[i];

		root |= strcmp(m->dest, "/") == 0;
		if (m->mounttype == PB__MOUNT_TYPE__MOUNT_TYPE_SSH && !m->sshopt)
			return err_new(ERR_INVALID_ARGUMENT, "SSH mount \"%s\" requires options",
				       m->dest);
	}
	if (!root)
		return err_new(ERR_INVALID_ARGUMENT, "root mount is required");
	return NULL;
}

static struct err *parse_hosts(struct gwcontainer *c)
{
	c->hosts = ARENA_NEW_N(&c->arena, struct exec_kv, c->req->n_extrahosts + 1);
	for (size_t i = 0; i < c->req->n_extrahosts; i++) {
		const Pb__HostIP *h = c->req->extrahosts[i];
		struct in6_addr any;

		if (inet_pton(AF_INET, h->ip, &any) != 1 && inet_pton(AF_INET6, h->ip, &any) != 1)
			return err_new(ERR_UNKNOWN, "failed to parse IP %s", h->ip);
		c->hosts[i] = (struct exec_kv) { str_from(h->host), str_from(h->ip) };
	}
	return NULL;
}

/* What is behind the id of a mount: of a failed step, or of a result. */
static struct err *find_ref(struct gateway *g, struct ctx *ctx, const Pb__Mount *m,
			    struct cache_ref **ret)
{
	struct bridge_ref *r;
	struct cache_ref *ref = NULL;
	struct err *e;
	bool found;

	if (!*m->resultid)
		return NULL;
	TRY(build_failed_result(g->build, m->resultid, ret, &found));
	if (found)
		return NULL;
	e = gateway_ref(g, m->resultid, &r);
	if (e) {
		err_free(e);
		return err_new(ERR_UNKNOWN,
			       "failed to find ref %s for \"%s\" mount: return reference %s not "
			       "found",
			       m->resultid, m->dest, m->resultid);
	}
	e = lazyref_cache_ref(r, ctx, &ref);
	if (!e && ref)
		*ret = cache_ref_clone(ref);
	bridge_ref_put(r);
	return e;
}

static struct err *find_refs(struct gwcontainer *c, struct gateway *g, struct ctx *ctx)
{
	c->refs = ARENA_NEW_N(&c->arena, struct cache_ref *, c->req->n_mounts + 1);
	for (size_t i = 0; i < c->req->n_mounts; i++) {
		TRY(find_ref(g, ctx, c->req->mounts[i], &c->refs[i]));
		if (c->refs[i])
			TRY(cache_ref_unlazy(c->refs[i], ctx, NULL));
	}
	return NULL;
}

static struct err *open_mounts(struct gwcontainer *c)
{
	Pb__Mount **mounts = ARENA_NEW_N(&c->arena, Pb__Mount *, c->req->n_mounts + 1);

	/* Everything is kept until the release, as with a mount that has an output. */
	for (size_t i = 0; i < c->req->n_mounts; i++) {
		mounts[i] = ARENA_NEW(&c->arena, Pb__Mount);
		*mounts[i] = *c->req->mounts[i];
		mounts[i]->input = c->refs[i] ? (int64_t)i : -1;
		mounts[i]->output = 0;
	}
	c->in = (struct exec_mounts_in) {
		.worker = c->build->control->worker,
		.ctx = c->ctx,
		.sessions = c->build->sessions,
		.mounts = (const Pb__Mount *const *)mounts,
		.n = c->req->n_mounts,
		.refs = c->refs,
		.what = arena_printf(&c->arena, "container %s", c->id),
	};
	return exec_mounts_open(&c->in, &c->mounts);
}

static void container_close(struct gwcontainer *c)
{
	container_free(c->container);
	step_proxy_free(c->proxy);
	exec_mounts_free(c->mounts);
	for (size_t i = 0; c->refs && i < c->req->n_mounts; i++)
		cache_ref_release(c->refs[i]);
	err_free(c->first_err);
	ctx_cancel(c->ctx, NULL);
	ctx_unref(c->ctx);
	cond_fini(&c->changed);
	lock_fini(&c->lock);
	arena_fini(&c->arena);
	free(c);
}

static struct err *exists(const char *id)
{
	return err_new(ERR_ALREADY_EXISTS, "Container %s already exists", id);
}

struct err *gateway_new_container(struct gateway *g, struct ctx *ctx,
				  const Moby__Buildkit__V1__Frontend__NewContainerRequest *req)
{
	struct str id = str_from(req->containerid);
	struct gwcontainer *c;
	bool known;
	struct err *e;

	TRY(check_request(req));
	lock_take(&g->lock);
	known = map_has(&g->containers, id);
	lock_drop(&g->lock);
	if (known)
		return exists(req->containerid);
	c = NEW(struct gwcontainer);
	c->build = g->build;
	c->req = proto_dup(&c->arena, req);
	c->id = c->req->containerid;
	c->ctx = ctx_new(g->ctx);
	lock_init(&c->lock, LOCK_FRONTEND);
	cond_init(&c->changed);
	e = parse_hosts(c);
	if (!e)
		e = find_refs(c, g, ctx);
	if (!e)
		e = open_mounts(c);
	if (!e) {
		LOCKED(&g->lock);
		if (map_has(&g->containers, id))
			e = exists(req->containerid);
		else
			(void)map_put(&g->containers, id, c);
	}
	if (e)
		container_close(c);
	return e;
}

/* ---- use and release ---- */

struct gwcontainer *gateway_container(struct gateway *g, const char *id)
{
	struct gwcontainer *c;

	LOCKED(&g->lock);
	c = map_get(&g->containers, str_from(id));
	if (!c)
		return NULL;
	LOCKED(&c->lock);
	c->users++;
	return c;
}

void gwcontainer_leave(struct gwcontainer *c)
{
	LOCKED(&c->lock);
	c->users--;
	cond_broadcast(&c->changed);
}

/* c is in no table any more. */
static struct err *release(struct gwcontainer *c)
{
	struct err *e;

	ctx_cancel(c->ctx, NULL);
	lock_take(&c->lock);
	while (c->users)
		cond_wait_uninterrupted(&c->changed, &c->lock);
	e = TAKE_PTR(c->first_err);
	lock_drop(&c->lock);
	container_close(c);
	return e;
}

struct err *gateway_release_container(struct gateway *g, const char *id)
{
	struct gwcontainer *c;

	lock_take(&g->lock);
	c = map_del(&g->containers, str_from(id));
	lock_drop(&g->lock);
	if (!c)
		return err_new(ERR_UNKNOWN, "container details for %s not found", id);
	return release(c);
}

void gateway_release_containers(struct gateway *g)
{
	for (;;) {
		struct map_entry *e;
		struct gwcontainer *c = NULL;

		lock_take(&g->lock);
		e = map_next(&g->containers, NULL);
		if (e)
			c = map_del(&g->containers, map_key(e));
		lock_drop(&g->lock);
		if (!c)
			return;
		err_free(release(c));
	}
}

struct err *gwcontainer_view(struct gwcontainer *c, struct ctx *ctx, uint32_t index,
			     struct localmount **ret)
{
	SCOPED_ARENA(a);
	struct mounts *m;

	TRY(ctx_err(c->ctx));
	if (index >= c->req->n_mounts)
		return err_new(ERR_UNKNOWN, "mount index %d is out of bounds (%zu available)",
			       (int)index, c->req->n_mounts);
	TRY(exec_mounts_view(c->mounts, ctx, index, &a, &m));
	return localmount_open(m, c->build->control->host.tmp_dir, ret);
}

/* ---- processes ---- */

static struct err *check_rights(const struct gwcontainer *c, Pb__SecurityMode mode)
{
	unsigned allowed = c->build->entitlements;

	if (!proto_enum_known(&pb__security_mode__descriptor, (int)mode))
		return err_new(ERR_UNKNOWN, "invalid security mode %d", (int)mode);
	if (c->req->network == PB__NET_MODE__NET_MODE_HOST && !(allowed & ENTITLEMENT_NETWORK_HOST))
		return err_new(ERR_UNKNOWN, "network.host is not allowed");
	if (mode == PB__SECURITY_MODE__SECURITY_MODE_INSECURE &&
	    !(allowed & ENTITLEMENT_SECURITY_INSECURE))
		return err_new(ERR_UNKNOWN, "security.insecure is not allowed");
	return NULL;
}

struct env_list {
	struct arena *arena;
	VEC(struct str) list;
};

static void env_fini(struct env_list *l)
{
	vec_fini(&l->list);
}

static void env_default(struct env_list *l, const char *name, const char *value)
{
	struct str prefix = str_from(arena_printf(l->arena, "%s=", name));

	vec_each (&l->list, e)
		if (str_has_prefix(*e, prefix))
			return;
	vec_push(&l->list, str_from(arena_printf(l->arena, "%s=%s", name, value)));
}

static struct err *env_secrets(struct env_list *l, struct gwcontainer *c, struct ctx *ctx,
			       const Moby__Buildkit__V1__Frontend__InitMessage *req)
{
	for (size_t i = 0; i < req->n_secretenv; i++) {
		const Pb__SecretEnv *s = req->secretenv[i];
		struct err *e;
		SCOPED_BUF(data, LIMIT_SECRET);

		if (!*s->id)
			return err_new(ERR_INVALID_ARGUMENT,
				       "secret ID missing for \"%s\" environment variable",
				       s->name);
		e = session_secret(c->build->control->worker->sessions, ctx, c->build->sessions,
				   str_from(s->id), &data);
		if (s->optional && err_is(e, ERR_NOT_FOUND))
			err_free(TAKE_PTR(e)); /* it is set, and empty */
		TRY(e);
		vec_push(&l->list, str_from(arena_printf(l->arena, "%s=%.*s", s->name,
							 STR_ARG(buf_str(&data)))));
		if (data.data)
			explicit_bzero(data.data, data.cap);
	}
	return NULL;
}

#define PATH_UNIX "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define PATH_WINDOWS                                                                               \
	"c:\\Windows\\System32;c:\\Windows;C:\\Windows\\System32\\WindowsPowerShell\\v1.0"

static struct err *make_process(struct gwcontainer *c, struct ctx *ctx,
				const Moby__Buildkit__V1__Frontend__InitMessage *req,
				struct arena *a, struct exec_process *ret)
{
	const Pb__Meta *meta = req->meta;
	bool windows = c->req->platform && !strcmp(c->req->platform->os, "windows");
	CLEANUP(env_fini) struct env_list l = { .arena = a };

	*ret = (struct exec_process) {
		.args = ARENA_NEW_N(a, struct str, meta->n_args + 1),
		.n_args = meta->n_args,
		.cwd = *meta->cwd ? str_from(meta->cwd) : STR("/"),
		.user = str_from(meta->user),
		.tty = req->tty,
	};
	for (size_t i = 0; i < meta->n_args; i++)
		ret->args[i] = str_from(meta->args[i]);
	for (size_t i = 0; i < meta->n_env; i++)
		vec_push(&l.list, str_from(meta->env[i]));
	env_default(&l, "PATH", windows ? PATH_WINDOWS : PATH_UNIX);
	if (req->tty)
		env_default(&l, "TERM", "xterm");
	TRY(env_secrets(&l, c, ctx, req));
	ret->env = arena_dup(a, l.list.items, l.list.len * sizeof(struct str));
	ret->n_env = l.list.len;
	return NULL;
}

static void make_spec(struct gwcontainer *c, const Moby__Buildkit__V1__Frontend__InitMessage *req,
		      const struct exec_process *p, struct exec_spec *ret)
{
	const char *parent = c->build->control->cgroup_parent;

	*ret = (struct exec_spec) {
		.process = *p,
		.insecure = req->security == PB__SECURITY_MODE__SECURITY_MODE_INSECURE,
		.hostname = str_from(c->req->hostname),
		.hosts = c->hosts,
		.n_hosts = c->req->n_extrahosts,
		.cgroup_parent = str_from(parent),
		.remove_stubs_recursive = req->meta->removemountstubsrecursive,
	};
	switch (c->req->network) {
	case PB__NET_MODE__NET_MODE_HOST:
		ret->net = EXEC_NET_HOST;
		break;
	case PB__NET_MODE__NET_MODE_NONE:
		ret->net = EXEC_NET_NONE;
		break;
	default:
		ret->net = EXEC_NET_DEFAULT;
		break;
	}
	exec_mounts_fill(c->mounts, ret);
}

/* Processes of a build with the proxy network have it too. */
static struct err *make_proxy(struct gwcontainer *c, struct exec_spec *spec)
{
	struct worker *w = c->build->control->worker;

	if (!c->build->proxy_network || spec->net == EXEC_NET_NONE)
		return NULL;
	if (!w->proxies)
		return err_new(ERR_UNKNOWN, "proxy network provider is not available");
	TRY(step_proxy_new(w->proxies, w, policy_for_ops(c->build->policy), &c->proxy));
	spec->proxy = step_proxy_exec(c->proxy);
	return NULL;
}

static void set_state(struct gwcontainer *c, enum gwcontainer_state s, struct container *running)
{
	LOCKED(&c->lock);
	c->state = s;
	c->container = running;
	cond_broadcast(&c->changed);
}

/* The first process, to its end. io has a control of its own, since a container does not end with
 * a ctx after its start. */
static struct err *run_first(struct gwcontainer *c, struct ctx *ctx, const struct exec_spec *spec,
			     const struct exec_io *io, int *ret_exit)
{
	struct executor *ex = c->build->control->worker->executor;
	struct container *running;
	struct ctx *no_end;
	struct err *e, *ended;

	e = container_start(ex, ctx, spec, io, &running);
	set_state(c, e ? GWCONTAINER_FAILED : GWCONTAINER_RUNNING, e ? NULL : running);
	TRY(e);
	e = container_wait(running, ctx, ret_exit);
	if (!e || !ctx_done(ctx))
		return e;
	/* Others may still be in it: it is killed here, and let go by the release. */
	err_free(exec_control_signal(io->control, STR("KILL")));
	no_end = ctx_new_root(NULL);
	ended = container_wait(running, no_end, ret_exit);
	ctx_unref(no_end);
	err_free(ended);
	return e;
}

static struct err *wait_started(struct gwcontainer *c, struct ctx *ctx, struct container **ret)
{
	LOCKED(&c->lock);
	while (c->state == GWCONTAINER_STARTING)
		TRY(cond_wait(&c->changed, &c->lock, ctx));
	if (c->state == GWCONTAINER_FAILED)
		return err_new(ERR_UNKNOWN, "container %s has stopped", c->id);
	*ret = c->container;
	return NULL;
}

bool gwcontainer_claim(struct gwcontainer *c)
{
	LOCKED(&c->lock);
	if (c->state != GWCONTAINER_NEW)
		return false;
	c->state = GWCONTAINER_STARTING;
	return true;
}

static struct err *run(struct gwcontainer *c, struct ctx *ctx, bool first,
		       const Moby__Buildkit__V1__Frontend__InitMessage *req,
		       const struct exec_io *io, int *ret_exit)
{
	SCOPED_ARENA(a);
	struct exec_process p;
	struct exec_spec spec;
	struct container *running;
	struct err *e = check_rights(c, req->security);

	if (!e)
		e = make_process(c, ctx, req, &a, &p);
	if (first && e)
		set_state(c, GWCONTAINER_FAILED, NULL);
	TRY(e);
	if (first) {
		make_spec(c, req, &p, &spec);
		e = make_proxy(c, &spec);
		if (e) {
			set_state(c, GWCONTAINER_FAILED, NULL);
			return e;
		}
		return run_first(c, ctx, &spec, io, ret_exit);
	}
	TRY(wait_started(c, ctx, &running));
	return container_exec(running, ctx, &p, io, ret_exit);
}

static void cancel_run(void *arg)
{
	ctx_cancel(arg, NULL);
}

struct err *gwcontainer_run(struct gwcontainer *c, struct ctx *ctx, bool first,
			    const Moby__Buildkit__V1__Frontend__InitMessage *req,
			    const struct exec_io *io, int *ret_exit)
{
	struct ctx *both = ctx_new(ctx);
	struct ctx_watch w;
	struct err *e;

	if (!ctx_watch(c->ctx, &w, cancel_run, both))
		ctx_cancel(both, NULL);
	e = run(c, both, first, req, io, ret_exit);
	ctx_unwatch(c->ctx, &w);
	ctx_unref(both);
	if (e) {
		LOCKED(&c->lock);
		if (!c->first_err)
			c->first_err = err_dup(e);
	}
	return e;
}
