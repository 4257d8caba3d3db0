#include "daemon/daemon.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/task.h"
#include "base/version.h"
#include "control/history.h"
#include "control/room.h"
#include "daemon/worker.h"
#include "exec/native.h"
#include "exec/reaper.h"
#include "kv/kv.h"
#include "net/listen.h"
#include "registry/httpc.h"
#include "sys/file.h"
#include "sys/notify.h"
#include "sys/proc.h"

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <sys/signalfd.h>

/* How long calls under way get after the first signal. */
#define DRAIN_NS (10 * NSEC_PER_SEC)

struct daemon {
	const struct config *cfg;
	struct ctx *root;
	struct ctx *ctx; /* of all work; ends when draining is over */
	int lock_fd;
	char *lock_path;
	int *fds; /* listening */
	size_t n_fds;
	struct grpc_loop *loop;
	struct grpc_tls *tls;
	struct grpc_server *server;
	struct kv *kv;
	struct registry *registry;
	struct httpc *http; /* of the http source */
	struct session_manager *sessions;
	/* The first is the default one. */
	struct daemon_worker *workers;
	size_t n_workers;
	struct worker **worker_list;
	struct worker_set set;
	struct arena arena;
	struct result_ops results;
	struct solver *solver;
	struct control control;
	bool control_made;
};

bool daemon_helper_main(int argc, char **argv)
{
	const struct proc_helper table[] = { exec_reaper_helper, exec_native_helper };

	return proc_helper_main(table, ARRAY_SIZE(table), argc, argv);
}

/* ---- sockets ---- */

static struct err *socket_group(const char *group, gid_t *ret)
{
	CLEANUP_FREE char *mem = mem_alloc(64 * 1024);
	struct group g, *found = NULL;
	uint64_t n;

	if (str_to_u64(str_from(group), &n)) {
		*ret = (gid_t)n;
		return NULL;
	}
	if (getgrnam_r(group, &g, mem, 64 * 1024, &found) != 0 || !found)
		return err_new(ERR_NOT_FOUND, "group: unknown group %s", group);
	*ret = found->gr_gid;
	return NULL;
}

static struct err *open_sockets(struct daemon *d)
{
	const struct config *cfg = d->cfg;
	struct net_listen_opts o = { .uid = cfg->uid < 0 ? geteuid() : (uid_t)cfg->uid,
				     .gid = cfg->gid < 0 ? getegid() : (gid_t)cfg->gid };

	if (!cfg->addresses.n)
		return err_new(ERR_INVALID_ARGUMENT, "--addr cannot be empty");
	if (cfg->group && *cfg->group)
		TRY(socket_group(cfg->group, &o.gid));
	if ((cfg->tls_cert && *cfg->tls_cert) || (cfg->tls_key && *cfg->tls_key)) {
		if (!cfg->tls_cert || !cfg->tls_key)
			return err_new(ERR_INVALID_ARGUMENT,
				       "you must specify key and cert file if one is specified");
		TRY(grpc_tls_server(cfg->tls_cert, cfg->tls_key, cfg->tls_ca, &d->tls));
	}
	d->fds = mem_calloc(cfg->addresses.n, sizeof(*d->fds));
	for (; d->n_fds < cfg->addresses.n; d->n_fds++)
		TRY(net_listen(cfg->addresses.items[d->n_fds], &o, &d->fds[d->n_fds]));
	return NULL;
}

static struct err *serve_sockets(struct daemon *d)
{
	for (size_t i = 0; i < d->n_fds; i++) {
		struct str addr = d->cfg->addresses.items[i];
		bool is_unix = net_address_is_unix(addr);

		if (!is_unix && !d->tls)
			log_warn("TLS is not enabled for %.*s. enabling mutual TLS authentication "
				 "is highly recommended",
				 STR_ARG(addr));
		if (is_unix && d->tls)
			log_warn("TLS is disabled for %.*s", STR_ARG(addr));
		TRY(grpc_server_listen(d->server, TAKE_FD(d->fds[i]), is_unix ? NULL : d->tls));
		log_info("running server on %.*s", STR_ARG(addr));
	}
	return NULL;
}

/* ---- bottom up ---- */

static struct err *lock_root(struct daemon *d)
{
	struct err *e;

	TRY(file_mkdirs(AT_FDCWD, d->cfg->root, 0700));
	d->lock_path = mem_printf("%s/buildkitd.lock", d->cfg->root);
	e = file_lock(AT_FDCWD, d->lock_path, &d->lock_fd);
	if (!e)
		return NULL;
	err_free(e);
	return err_new(ERR_UNAVAILABLE, "could not lock %s, another instance running?",
		       d->lock_path);
}

static void *group_new(void)
{
	return session_group_new(NULL);
}

static void group_add(void *group, void *session)
{
	session_group_add_all(group, session);
}

static void group_free(void *group)
{
	session_group_unref(group);
}

static unsigned entitlements_of(const struct config *cfg)
{
	unsigned all = ENTITLEMENT_DEVICE;

	for (size_t i = 0; i < cfg->insecure_entitlements.n; i++) {
		enum entitlement en;
		struct err *e = entitlement_parse(cfg->insecure_entitlements.items[i], &en);

		if (!e)
			all |= en;
		err_free(e);
	}
	return all;
}

static struct cache_prune *gc_rules(struct arena *a, const struct config_worker *wc)
{
	struct cache_prune *rules = ARENA_NEW_N(a, struct cache_prune, wc->n_gc_policies + 1);

	for (size_t i = 0; i < wc->n_gc_policies; i++) {
		const struct config_gc_policy *p = &wc->gc_policies[i];

		rules[i] = (struct cache_prune) {
			.filters = p->filters.items,
			.n_filters = p->filters.n,
			.all = p->all,
			.keep_duration_ns = p->keep_duration_ns,
			.reserved_space = p->reserved_space,
			.max_used_space = p->max_used_space,
			.min_free_space = p->min_free_space,
		};
	}
	return rules;
}

static void make_control(struct daemon *d)
{
	const struct config *cfg = d->cfg;
	struct control *c = &d->control;
	struct daemon_worker *first = &d->workers[0];
	struct control_worker *list = ARENA_NEW_N(&d->arena, struct control_worker, d->n_workers);

	for (size_t i = 0; i < d->n_workers; i++) {
		const struct config_worker *wc = d->workers[i].config;

		list[i] = (struct control_worker) {
			.worker = &d->workers[i].worker,
			.gc_rules = gc_rules(&d->arena, wc),
			.n_gc_rules = wc->n_gc_policies,
			.gc = wc->gc,
		};
	}
	*c = (struct control){
		.ctx = d->ctx,
		.loop = d->loop,
		.solver = d->solver,
		.http = d->http,
		.worker = &first->worker,
		.workers = list,
		.n_workers = d->n_workers,
		.host = {
			.cache = first->cache,
			.registry = d->registry,
			.sessions = d->sessions,
			.images = daemon_worker_images(first),
			.tmp_dir = first->tmp_dir,
			.platform = first->platforms[0],
		},
		.entitlements = entitlements_of(cfg),
		.proxy_network = cfg->proxy_network,
		.frontend_dockerfile = cfg->frontend_dockerfile,
		.frontend_gateway = cfg->frontend_gateway,
		.gateway_allowed = cfg->gateway_allowed.items,
		.n_gateway_allowed = cfg->gateway_allowed.n,
		.version = buildkit_version,
		.revision = buildkit_revision,
		.cgroup_parent = first->config->default_cgroup_parent,
		.kv = d->kv,
		.room_path = arena_printf(&d->arena, "%s/room", cfg->root),
	};
	room_make(c->room_path);
	control_init(c);
	d->control_made = true;
}

/* One that is only tried may be missing what it needs. */
static struct err *open_worker(struct daemon *d, const struct daemon_parts *p,
			       const struct config_worker *wc)
{
	struct daemon_worker *w = &d->workers[d->n_workers];
	struct err *e = daemon_worker_open(p, wc, w);

	if (!e) {
		d->worker_list[d->n_workers++] = &w->worker;
		return NULL;
	}
	daemon_worker_close(w);
	if (!wc->enabled_auto || wc->kind != WORKER_CONTAINERD)
		return err_wrap(e, "failed to open worker %s", wc->name);
	log_warn("skipping containerd worker: %s", err_text(e));
	err_free(e);
	return NULL;
}

static struct err *open_workers(struct daemon *d)
{
	struct daemon_parts p = {
		.cfg = d->cfg,
		.ctx = d->ctx,
		.loop = d->loop,
		.kv = d->kv,
		.sessions = d->sessions,
		.registry = d->registry,
		.http = d->http,
		.set = &d->set,
	};
	const struct config_worker **all;
	size_t n;

	all = config_workers(d->cfg, &d->arena, &n);
	d->workers = mem_calloc(n + 1, sizeof(*d->workers));
	d->worker_list = mem_calloc(n + 1, sizeof(*d->worker_list));
	for (size_t i = 0; i < n; i++)
		if (all[i]->enabled)
			TRY(open_worker(d, &p, all[i]));
	if (!d->n_workers)
		return err_new(ERR_FAILED_PRECONDITION,
			       "no worker found, rebuild the buildkit daemon?");
	d->set = (struct worker_set) { d->worker_list, d->n_workers };
	return NULL;
}

static struct err *open_all(struct daemon *d)
{
	const struct config *cfg = d->cfg;
	SCOPED_ARENA(a);
	struct solver_config sc;

	TRY(grpc_loop_start(&d->loop));
	TRY(lock_root(d));
	TRY(open_sockets(d));
	TRYW(kv_open(arena_printf(&a, "%s/metadata.db", cfg->root), &d->kv),
	     "failed to open metadata store");
	TRY(registry_new(cfg->registries, cfg->n_registries, (int)cfg->max_registry_concurrency,
			 arena_printf(&a, "buildkit/%s", buildkit_version), &d->registry));
	d->sessions = session_manager_new(d->loop);
	d->http = httpc_new(arena_printf(&a, "buildkit/%s", buildkit_version));
	TRY(open_workers(d));
	op_result_ops_init(&d->results, &d->workers[0].worker);
	sc = (struct solver_config) {
		.kv = d->kv,
		.results = &d->results,
		.sessions = { group_new, group_add, group_free },
		.spill_dir = d->workers[0].tmp_dir,
		.log_limits = progress_limits_from_env(),
	};
	d->solver = solver_new(d->ctx, &sc);
	make_control(d);
	if (cfg->history_max_entries > 0)
		TRYW(history_open(
			     &(struct history_config) {
				     .dir = arena_printf(&a, "%s/history", cfg->root),
				     .kv = d->kv,
				     .max_entries = cfg->history_max_entries,
				     .max_age_ns = cfg->history_max_age_ns,
			     },
			     d->ctx, &d->control.history),
		     "failed to open build history");
	d->server =
		grpc_server_new(d->loop, d->ctx, control_methods, control_n_methods, &d->control);
	return serve_sockets(d);
}

static void close_all(struct daemon *d)
{
	if (d->server)
		grpc_server_free(d->server);
	if (d->control_made)
		control_wait_gc(&d->control);
	if (d->solver)
		solver_free(d->solver);
	history_close(d->control.history);
	if (d->control_made)
		control_fini(&d->control);
	/* Lazy layers of one may hold records of another. */
	for (size_t i = 0; i < d->n_workers; i++)
		daemon_worker_close(&d->workers[i]);
	free(d->workers);
	free(d->worker_list);
	if (d->sessions)
		session_manager_free(d->sessions);
	httpc_free(d->http);
	if (d->registry)
		registry_free(d->registry);
	if (d->kv) {
		struct err *e = kv_close(d->kv);

		if (e)
			log_error("failed to close metadata store: %s", err_text(e));
		err_free(e);
	}
	for (size_t i = 0; i < d->n_fds; i++)
		if (d->fds[i] >= 0)
			(void)close(d->fds[i]);
	free(d->fds);
	grpc_tls_free(d->tls);
	if (d->loop)
		grpc_loop_stop(d->loop);
	if (d->lock_fd >= 0) {
		(void)unlink(d->lock_path);
		(void)close(d->lock_fd);
	}
	free(d->lock_path);
	arena_fini(&d->arena);
}

/* ---- running ---- */

static struct err *wait_for_signal(struct ctx *ctx, int sfd)
{
	struct signalfd_siginfo si;
	struct pollfd p = { .fd = sfd, .events = POLLIN };
	int ready;

	TRY(ctx_poll(ctx, &p, 1, -1, &ready));
	if (read(sfd, &si, sizeof(si)) < 0)
		return err_errno(errno, "read signal");
	return NULL;
}

struct second_signal {
	struct ctx *drain;
	int sfd;
};

/* A second signal ends the draining at once, a third one the process. */
static struct err *on_more_signals(struct ctx *ctx, void *arg)
{
	struct second_signal *s = arg;
	struct err *e = wait_for_signal(ctx, s->sfd);

	if (!e) {
		log_warn("got 2 SIGTERM/SIGINTs, skipping shutdown");
		ctx_cancel(s->drain, NULL);
		e = wait_for_signal(ctx, s->sfd);
	}
	if (!e) {
		log_error("got 3 SIGTERM/SIGINTs, forcibly terminating");
		_exit(1);
	}
	return e;
}

static void drain(struct daemon *d, int sfd)
{
	struct ctx *limit = ctx_new_timeout(d->root, DRAIN_NS), *watch_ctx = ctx_new(d->root);
	struct second_signal more = { limit, sfd };
	struct task *t = task_start(watch_ctx, "signals", on_more_signals, &more);

	log_info("stopping server");
	err_free(notify_send("STOPPING=1"));
	/* Builds under way are cancelled; what is left of the time is for them to clean up. */
	ctx_cancel(d->ctx, NULL);
	grpc_server_drain(d->server, limit);
	ctx_cancel(watch_ctx, NULL);
	err_free(task_wait(t));
	ctx_unref(watch_ctx);
	ctx_unref(limit);
}

static struct err *serve(struct daemon *d)
{
	CLEANUP_FD int sfd = -1;
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	sfd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (sfd < 0)
		return err_errno(errno, "signalfd");
	err_free(notify_send("READY=1"));
	control_schedule_gc(&d->control);
	TRY(wait_for_signal(d->root, sfd));
	log_info("got SIGTERM/SIGINT, forcing shutdown");
	drain(d, sfd);
	return NULL;
}

struct err *daemon_run(const struct config *cfg, struct ctx *root)
{
	struct daemon d = { .cfg = cfg, .root = root, .lock_fd = -1 };
	struct err *e;

	d.ctx = ctx_new(root);
	e = open_all(&d);
	if (!e)
		e = serve(&d);
	ctx_cancel(d.ctx, NULL);
	close_all(&d);
	ctx_unref(d.ctx);
	return e;
}
